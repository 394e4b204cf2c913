//! `/v1/calls` for calls under way: ended, transferred, recorded, supervised, pressed keys into, for whoever has
//! shown a key. The key is the authority for whom these call.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::agent::RecordingOrder;
use crate::config::{Config, Consent};
use crate::identity::{AccountId, CallId, InvalidCallId};
use crate::limits::LIVE_DIGITS_MAX;
use crate::platform::calls::sql::Journal;
use crate::platform::calls::{self, MediaReport};
use crate::platform::problem::Problem;
use crate::route::{Admission, Caller, Destination, Routes, Target, TrunkName};
use crate::rtp::Digit;
use crate::server::call_log::CallLog;
use crate::server::call_recording::NO_CONSENT;
use crate::server::endpoint::EndpointHandle;
use crate::server::media_report::media_report;
use crate::server::originate::is_number;
use crate::server::recorder::Format;
use crate::server::sip_worker::{Command, LiveOrder, LiveRefused, Mode, RecordRequest, Side, Vouching};
use crate::server::system;
use crate::sip::Uri;

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct LiveCalls(Arc<Inner>);

struct Inner {
    worker: mpsc::Sender<Command>,
    log: CallLog,
    journal: Journal,
    routes: Routes,
    trunks: BTreeSet<String>,
}

impl LiveCalls {
    /// For the calls that `worker` has.
    pub(crate) fn new(config: &Config, worker: mpsc::Sender<Command>, log: CallLog, journal: Journal) -> Self {
        let (routes, trunks) = (system::routes(config), config.trunks.keys().cloned().collect());
        Self(Arc::new(Inner { worker, log, journal, routes, trunks }))
    }

    /// Has something done with a call of `account`.
    async fn order(&self, account: &AccountId, call: &str, order: LiveOrder) -> Result<StatusCode, Problem> {
        let call: CallId = call.parse().map_err(|_error: InvalidCallId| Problem::not_found("call"))?;
        if *account != AccountId::default() || !self.0.log.is_live(call) {
            let events = self.0.journal.events(account, call).await.map_err(failed)?;
            let is_over = !events.is_empty();
            return Err(if is_over { Problem::conflict("the call is over") } else { Problem::not_found("call") });
        }
        let (reply, done) = oneshot::channel();
        // Without waiting: a worker with so much to do has calls to look after.
        self.0.worker.try_send(Command::Live(call, Box::new(order), reply)).map_err(|_error| Problem::busy())?;
        match done.await.map_err(|_error| Problem::busy())? {
            Ok(()) => Ok(StatusCode::NO_CONTENT),
            Err(LiveRefused::NotTalking) => Err(Problem::conflict("the call is over, or not answered yet")),
            Err(LiveRefused::Conflict(why)) if why == NO_CONSENT => Err(Problem::no_consent()),
            Err(LiveRefused::Conflict(why)) => Err(Problem::conflict(why)),
            Err(LiveRefused::Unreachable(status)) => Err(Problem::unreachable(status)),
            Err(LiveRefused::Busy) => Err(Problem::busy()),
        }
    }

    /// Whom `to` names: a user, a number of the configuration, a SIP URI, or a number over `trunk`.
    fn target(&self, account: &AccountId, to: &str, trunk: Option<&str>) -> Result<Target, Problem> {
        let unknown = || Problem::invalid_parameter("to", "a user, a number of [numbers], a SIP URI, or a trunk");
        if let Some(trunk) = trunk {
            if !self.0.trunks.contains(trunk) {
                return Err(Problem::invalid_parameter("trunk", "the name of a trunk"));
            }
            if !is_number(to) {
                return Err(Problem::invalid_parameter("to", "a number, with a trunk"));
            }
            let to = Destination::Trunk(TrunkName(trunk.to_owned()), to.to_owned());
            return Ok(Target { account: account.clone(), to });
        }
        let caller = Caller::User(account.clone(), String::new());
        if let Ok(target) = self.0.routes.route(&Admission::default(), &caller, to) {
            return Ok(target);
        }
        let uri = Uri::parse(to).ok().filter(|it| it.is_sip() && !it.has_headers()).ok_or_else(unknown)?;
        Ok(Target { account: account.clone(), to: Destination::Uri(uri) })
    }
}

/// How calls under way are.
pub(crate) struct Present {
    /// Which there are.
    pub(crate) log: CallLog,
    /// Who has their media.
    pub(crate) endpoint: EndpointHandle,
}

impl calls::http::Live for Present {
    fn calls(&self) -> Vec<CallId> {
        self.log.live()
    }

    fn media(&self, call: CallId) -> Vec<MediaReport> {
        self.endpoint.media_of(call).iter().map(|(leg, report)| media_report(*leg, report)).collect()
    }
}

/// The routes.
pub(crate) fn routes(calls: LiveCalls) -> Router {
    Router::new()
        .route("/v1/calls/{call}/end", post(end))
        .route("/v1/calls/{call}/dtmf", post(press))
        .route("/v1/calls/{call}/transfer", post(transfer))
        .route("/v1/calls/{call}/recording", post(record))
        .route("/v1/calls/{call}/supervise", delete(dismiss).post(supervise).patch(change_mode))
        .with_state(calls)
}

type Account = Extension<AccountId>;
type Calls = State<LiveCalls>;

/// Hangs a call up, whatever its state.
async fn end(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
) -> Result<StatusCode, Problem> {
    calls.order(&account, &call, LiveOrder::HangUp).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    digits: String,
    #[serde(default)]
    to: OneSide,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OneSide {
    #[default]
    Caller,
    Called,
}

impl From<OneSide> for Side {
    fn from(side: OneSide) -> Self {
        match side {
            OneSide::Caller => Self::Caller,
            OneSide::Called => Self::Called,
        }
    }
}

/// Sends digits to one side.
async fn press(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Press { digits, to } = read(&body)?;
    let expected = format!("1 to {LIVE_DIGITS_MAX} of 0-9, *, # and A-D");
    let digits: Option<Vec<_>> = digits.chars().map(Digit::from_char).take(LIVE_DIGITS_MAX + 1).collect();
    let digits = digits.filter(|it| (1..=LIVE_DIGITS_MAX).contains(&it.len()));
    let digits = digits.ok_or_else(|| Problem::invalid_parameter("digits", &expected))?;
    calls.order(&account, &call, LiveOrder::Digits(digits, to.into())).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    to: String,
    trunk: Option<String>,
}

/// Calls somebody for the first side of a call. It goes on as it is until they answer.
async fn transfer(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Transfer { to, trunk } = read(&body)?;
    let target = calls.target(&account, &to, trunk.as_deref())?;
    let begun = calls.order(&account, &call, LiveOrder::Transfer(target)).await;
    begun.map(|_| StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    action: RecordAction,
    consent: Option<HowGiven>,
    format: Option<FileFormat>,
}

/// What is done with a recording, as a request says.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordAction {
    Start,
    Pause,
    Resume,
    Stop,
}

impl From<RecordAction> for RecordingOrder {
    fn from(action: RecordAction) -> Self {
        match action {
            RecordAction::Start => Self::Start,
            RecordAction::Pause => Self::Pause,
            RecordAction::Resume => Self::Resume,
            RecordAction::Stop => Self::Stop,
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HowGiven {
    Given,
    Announce,
    Ask,
}

impl From<HowGiven> for Vouching {
    fn from(how: HowGiven) -> Self {
        match how {
            HowGiven::Given => Self::Given,
            HowGiven::Announce => Self::Asked(Consent::Announce),
            HowGiven::Ask => Self::Asked(Consent::Ask),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileFormat {
    Wav,
    Mp3,
}

/// Begins a recording, pauses it, goes on with it or ends it.
async fn record(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Record { action, consent, format } = read(&body)?;
    let request = RecordRequest {
        order: action.into(),
        vouching: consent.map(Into::into),
        format: format.map(|it| match it {
            FileFormat::Wav => Format::Wav,
            FileFormat::Mp3 => Format::Mp3,
        }),
    };
    let done = calls.order(&account, &call, LiveOrder::Record(request)).await;
    match consent {
        Some(HowGiven::Announce | HowGiven::Ask) => done.map(|_| StatusCode::ACCEPTED),
        Some(HowGiven::Given) | None => done,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Supervise {
    to: String,
    trunk: Option<String>,
    mode: SuperviseMode,
    whisper_to: Option<OneSide>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeMode {
    mode: SuperviseMode,
    whisper_to: Option<OneSide>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SuperviseMode {
    Listen,
    Whisper,
    Barge,
}

impl SuperviseMode {
    fn with(self, whisper_to: Option<OneSide>) -> Mode {
        match self {
            Self::Listen => Mode::Listen,
            Self::Whisper => Mode::Whisper(whisper_to.unwrap_or(OneSide::Called).into()),
            Self::Barge => Mode::Barge,
        }
    }
}

/// Calls a supervisor, who hears the call as soon as they answer.
async fn supervise(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let Supervise { to, trunk, mode, whisper_to } = read(&body)?;
    let target = calls.target(&account, &to, trunk.as_deref())?;
    let begun = calls.order(&account, &call, LiveOrder::Supervise(target, mode.with(whisper_to))).await;
    begun.map(|_| StatusCode::ACCEPTED)
}

/// Changes who hears the supervisor, at once.
async fn change_mode(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let ChangeMode { mode, whisper_to } = read(&body)?;
    calls.order(&account, &call, LiveOrder::ChangeMode(mode.with(whisper_to))).await
}

/// Hangs the supervisor up; the call goes on.
async fn dismiss(
    State(calls): Calls,
    Extension(account): Account,
    Path(call): Path<String>,
) -> Result<StatusCode, Problem> {
    calls.order(&account, &call, LiveOrder::Dismiss).await
}

/// The body of a request, which is JSON whatever its type says.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid_parameter("body", &format!("JSON that fits: {error}")))
}

fn failed(error: sqlx::Error) -> Problem {
    tracing::error!(%error, "the journal cannot be read");
    Problem::internal()
}
