//! `/v1/calls/{call}/play`: files and streams played to the sides of calls under way.

use std::collections::BTreeMap;
use std::num::ParseIntError;

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::limits::{LIVE_PLAY_TIMES_MAX, LIVE_SOUND_CHARS_MAX, MARK_CHARS_MAX, PLAYER_MARKS_MAX};
use crate::media::player::{PlayId, Playing};
use crate::platform::problem::Problem;
use crate::server::live_calls::{Account, Calls, LiveCalls, read};
use crate::server::media_worker::new_play_id;
use crate::server::plays::{PlayRequest, PlayTo, Wanted};
use crate::server::sip_worker::{LiveOrder, Side};

/// The routes.
pub(crate) fn routes() -> Router<LiveCalls> {
    Router::new()
        .route("/v1/calls/{call}/play", post(play).delete(clear_all).patch(pause))
        .route("/v1/calls/{call}/play/{play}", delete(clear).patch(change))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlayThis {
    sound: String,
    #[serde(default)]
    to: Hearers,
    #[serde(default)]
    times: Times,
    #[serde(default)]
    from_ms: u32,
    #[serde(default = "unchanged")]
    gain: f64,
    #[serde(default)]
    marks: BTreeMap<String, u32>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hearers {
    #[default]
    Caller,
    Called,
    Both,
}

/// How often.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Times {
    So(u32),
    Until(Forever),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Forever {
    Forever,
}

impl Default for Times {
    fn default() -> Self {
        Self::So(1)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// In the place of whatever else there is to hear.
    #[default]
    Alone,
    /// Beside it.
    Mixed,
}

const fn unchanged() -> f64 {
    1.0
}

/// Has something played, after what is to be played already.
async fn play(calls: Calls, account: Account, Path(call): Path<String>, body: Bytes) -> Result<Response, Problem> {
    let PlayThis { sound, to, times, from_ms, gain, marks, mode } = read(&body)?;
    if sound.is_empty() || sound.chars().count() > LIVE_SOUND_CHARS_MAX {
        return Err(Problem::invalid_parameter("sound", "a built-in sound, a file of [sounds] directory, or a URL"));
    }
    let times = match times {
        Times::Until(Forever::Forever) => None,
        Times::So(times) if (1..=LIVE_PLAY_TIMES_MAX).contains(&times) => Some(times),
        Times::So(_) => {
            return Err(Problem::invalid_parameter("times", &format!("1 to {LIVE_PLAY_TIMES_MAX}, or \"forever\"")));
        }
    };
    let id = new_play_id();
    let playing =
        Playing { id, times, from_ms, gain: gain_of(gain)?, marks: placed(marks)?, is_alone: mode == Mode::Alone };
    let to = match to {
        Hearers::Caller => PlayTo::One(Side::Caller),
        Hearers::Called => PlayTo::One(Side::Called),
        Hearers::Both => PlayTo::Both,
    };
    let PlayId(number) = id;
    let request = PlayRequest::Play(Wanted { play: number, sound, playing }, to);
    calls.order(&account, &call, LiveOrder::Play(request)).await?;
    let location = [(header::LOCATION, format!("/v1/calls/{call}/play/{number}"))];
    Ok((StatusCode::CREATED, location, Json(serde_json::json!({ "play": number }))).into_response())
}

/// The marks by their places, of which no two are the same.
fn placed(marks: BTreeMap<String, u32>) -> Result<BTreeMap<u32, String>, Problem> {
    let expected =
        format!("at most {PLAYER_MARKS_MAX} names of 1 to {MARK_CHARS_MAX} characters, each with a place of its own");
    let wrong = || Problem::invalid_parameter("marks", &expected);
    let count = marks.len();
    if count > PLAYER_MARKS_MAX || marks.keys().any(|it| it.is_empty() || it.chars().count() > MARK_CHARS_MAX) {
        return Err(wrong());
    }
    let placed: BTreeMap<u32, String> = marks.into_iter().map(|(name, ms)| (ms, name)).collect();
    if placed.len() == count { Ok(placed) } else { Err(wrong()) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 to 4096 by then")]
fn gain_of(gain: f64) -> Result<u16, Problem> {
    if !(0.0..=GAIN_MAX).contains(&gain) {
        return Err(Problem::invalid_parameter("gain", "0 to 16, where 1 leaves it as it is"));
    }
    Ok((gain * 256.0).round() as u16)
}

/// Forgets everything that is or was to be played.
async fn clear_all(calls: Calls, account: Account, Path(call): Path<String>) -> Result<StatusCode, Problem> {
    calls.order(&account, &call, LiveOrder::Play(PlayRequest::Clear(None))).await
}

/// Forgets one thing.
async fn clear(
    calls: Calls,
    account: Account,
    Path((call, play)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let request = PlayRequest::Clear(Some(number(&play)?));
    calls.order(&account, &call, LiveOrder::Play(request)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pause {
    paused: bool,
}

/// Holds what is played where it is, or goes on with it.
async fn pause(calls: Calls, account: Account, Path(call): Path<String>, body: Bytes) -> Result<StatusCode, Problem> {
    let Pause { paused } = read(&body)?;
    calls.order(&account, &call, LiveOrder::Play(PlayRequest::Pause(paused))).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    position_ms: Option<u32>,
    gain: Option<f64>,
}

/// Goes on from another place, or as loud as this.
async fn change(
    calls: Calls,
    account: Account,
    Path((call, play)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Change { position_ms, gain } = read(&body)?;
    let gain = gain.map(gain_of).transpose()?;
    let request = PlayRequest::Change(number(&play)?, position_ms, gain);
    calls.order(&account, &call, LiveOrder::Play(request)).await
}

fn number(play: &str) -> Result<u32, Problem> {
    play.parse().map_err(|_error: ParseIntError| Problem::not_found("play"))
}

const GAIN_MAX: f64 = 16.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_once_to_the_caller_alone() {
        let PlayThis { to, times, from_ms, gain, marks, mode, .. } =
            serde_json::from_str(r#"{"sound": "beep"}"#).unwrap();
        assert!(matches!((to, times, mode), (Hearers::Caller, Times::So(1), Mode::Alone)));
        assert_eq!((from_ms, gain_of(gain).ok(), marks.len()), (0, Some(256), 0));
        let all = r#"{"sound": "a", "to": "both", "times": "forever", "mode": "mixed", "marks": {"a": 0, "b": 5}}"#;
        let PlayThis { to, times, mode, marks, .. } = serde_json::from_str(all).unwrap();
        assert!(matches!((to, times, mode), (Hearers::Both, Times::Until(Forever::Forever), Mode::Mixed)));
        assert_eq!(placed(marks).unwrap(), BTreeMap::from([(0, "a".to_owned()), (5, "b".to_owned())]));
        for wrong in [r#"{"a": 1, "b": 1}"#, r#"{"": 1}"#] {
            assert!(placed(serde_json::from_str(wrong).unwrap()).is_err());
        }
        assert_eq!(gain_of(0.5).ok(), Some(128));
        assert!(gain_of(16.1).is_err() && gain_of(-0.1).is_err() && gain_of(f64::NAN).is_err());
    }
}
