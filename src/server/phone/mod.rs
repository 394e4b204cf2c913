//! `hookswitch call`: the test phone. It places a call, speaks, listens, and prints what it heard.
#![expect(clippy::print_stdout, reason = "a command of the terminal: what it prints is its result")]

pub mod arguments;
pub(crate) mod dialogue;
pub(crate) mod line;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use arguments::{Arguments, Step};
use dialogue::{Action, Dialogue, Patience};
use line::{Dial, Line, LineEvent, Target, audio_rate, speak};

use crate::call::{End, EndCause};
use crate::codec::SampleRate;
use crate::config::{self, Config};
use crate::media::Report;
use crate::server::speech::{self, SpeechConfig, SpeechServer, converted, render_text};
use crate::server::system::random_token;
use crate::server::{clock, system, task};

/// Calls, and returns when the call is over.
///
/// # Errors
/// If the call cannot be placed, is not answered, or a file or voice is missing.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let target = find(arguments).await?;
    let actions = prepare(arguments)?;
    let ears = listen(arguments).await?;
    let patience =
        Patience { quiet_ms: arguments.quiet, nothing_ms: NOTHING_MS, linger_ms: arguments.quiet.max(LINGER_MS) };
    let dial = Dial {
        from: arguments.from.clone(),
        codecs: arguments.codecs.clone(),
        record: arguments.record.clone(),
        tls_ca: arguments.tls_ca.clone(),
        ears,
    };
    println!("calling {}", arguments.target);
    let mut line = Line::dial(&target, dial, Dialogue::new(actions, patience, false)).await?;
    let end = talk(&mut line, arguments).await;
    let (report, recorded) = line.close().await;
    if let Some(report) = report {
        print_media(&report);
    }
    if let Some(recorded) = recorded {
        if let Some(error) = recorded.error {
            anyhow::bail!("the recording {} ended early: {error}", recorded.path.display());
        }
        println!("recorded {} ({:.1} s)", recorded.path.display(), seconds(recorded.duration_ms));
    }
    match end {
        Some(end) => outcome(end),
        None => anyhow::bail!("nobody answered within {} s", arguments.ring),
    }
}

/// Finds whom to call, over a trunk if there is one.
async fn find(arguments: &Arguments) -> anyhow::Result<Target> {
    let Some(file) = &arguments.config else {
        return Target::find(&arguments.target, vec![]).await;
    };
    let config = Config::load(file, &config::environment())?;
    let Some(name) = &arguments.trunk else {
        return Target::find(&arguments.target, config.dns.servers).await;
    };
    let trunk = config.trunks.get_key_value(name);
    let trunk = trunk.with_context(|| format!("{} has no [trunks.{name}]", file.display()))?;
    Target::over(system::trunk_config(&config.media, trunk), &arguments.target, config.dns.servers).await
}

/// Lets the call go on to its end; `None` if it was not answered in time.
async fn talk(line: &mut Line, arguments: &Arguments) -> Option<End> {
    let started = clock::now();
    let mut give_up = started.instant + Duration::from_secs(arguments.ring);
    let mut answered = false;
    loop {
        let event = tokio::select! {
            event = line.next() => event,
            () = task::deadline(give_up) => {
                line.hang_up().await;
                if !answered {
                    return None;
                }
                // For the answer to our BYE.
                give_up = clock::now().instant + Duration::from_secs(arguments.limit.max(60));
                continue;
            }
        };
        match event {
            LineEvent::Ringing => println!("ringing"),
            LineEvent::Answered => {
                answered = true;
                println!("answered after {:.2} s", clock::now().since(started).as_secs_f64());
                give_up = clock::now().instant + Duration::from_secs(arguments.limit);
            }
            LineEvent::Began(label) => println!("> {label}"),
            LineEvent::ReplyBegins(ms) => println!("  (reply after {:.2} s)", seconds(ms.into())),
            LineEvent::Heard(text) => println!("< {text}"),
            LineEvent::Detected(what) => println!("  ({what})"),
            LineEvent::Deaf(reason) => println!("  (what is said is not recognised any more: {reason})"),
            LineEvent::FarSideFinished => (),
            LineEvent::Ended(end) => return Some(end),
        }
    }
}

/// How the call sounded, at both ends.
fn print_media(report: &Report) {
    let Some(codec) = report.codec else { return };
    let Report { received, remote, quality, remote_quality, .. } = report;
    println!(
        "heard {} of {} packets in {}, jitter {} ms, MOS {}",
        received.packets,
        received.packets + received.lost,
        codec.name(),
        received.jitter_us / 1_000,
        score(quality.mos_hundredths)
    );
    if let (Some(round_trip_us), Some(quality)) = (remote.round_trip_us, remote_quality) {
        let (lost, score) = (remote.lost, score(quality.mos_hundredths));
        println!(
            "the far side lost {lost} of {}, round trip {} ms, MOS {score}",
            report.sent.packets,
            round_trip_us / 1_000
        );
    }
}

fn score(hundredths: u16) -> String {
    if hundredths == 0 { "unknown".to_owned() } else { format!("{}.{:02}", hundredths / 100, hundredths % 100) }
}

fn outcome(end: End) -> anyhow::Result<()> {
    match (end.cause, end.sip_status) {
        (EndCause::HungUp, _) => {
            println!("the call is over");
            Ok(())
        }
        (cause, Some(status)) => anyhow::bail!("the call ended: {} ({status})", cause.name()),
        (cause, None) => anyhow::bail!("the call ended: {}", cause.name()),
    }
}

/// Makes audio of what is to be said and played, before the call.
fn prepare(arguments: &Arguments) -> anyhow::Result<Vec<Action>> {
    let rate = audio_rate(&arguments.codecs);
    let prepared = arguments.actions.0.iter().map(|step| match step {
        Step::Say(text) => {
            let samples =
                render_text(text, &arguments.voice, rate).with_context(|| format!("`{text}` cannot be spoken"))?;
            Ok(speak(text.clone(), &samples, rate))
        }
        Step::Play(path) => Ok(speak(path.display().to_string(), &read_wav(path, rate)?, rate)),
        Step::Dtmf(keys) => Ok(Action::Press(keys.clone())),
    });
    prepared.collect()
}

/// A recogniser for what the far side says, if the speech libraries are there.
async fn listen(
    arguments: &Arguments,
) -> anyhow::Result<Option<(crate::server::provider::SocketAddress, Vec<String>)>> {
    let mut config = SpeechConfig::new(random_token());
    config.recognisers = 1;
    if let Err(missing) = speech::probe(&config.model) {
        println!("  (what is said will not be printed: {missing})");
        return Ok(None);
    }
    let token = config.token.clone();
    let server = SpeechServer::start(config).await?;
    Ok(Some((system::speech_address(&server, token), arguments.expect.clone())))
}

fn read_wav(path: &Path, rate: SampleRate) -> anyhow::Result<Vec<i16>> {
    let context = || format!("{} cannot be played", path.display());
    let mut reader = hound::WavReader::open(path).with_context(context)?;
    let spec = reader.spec();
    let from = match spec.sample_rate {
        8_000 => SampleRate::Hz8000,
        16_000 => SampleRate::Hz16000,
        other => anyhow::bail!("{}: {other} Hz; expected 8000 or 16000", path.display()),
    };
    let fits = spec.channels == 1 && spec.bits_per_sample == 16 && spec.sample_format == hound::SampleFormat::Int;
    anyhow::ensure!(fits, "{}: expected 16-bit mono", path.display());
    let samples: Vec<i16> = reader.samples().collect::<Result<_, _>>().with_context(context)?;
    Ok(converted(&samples, from, rate))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A far side that says nothing at all is spoken to after so long.
const NOTHING_MS: u32 = 5_000;
/// The least that the phone stays on the line when it has nothing left to say.
const LINGER_MS: u32 = 3_000;
