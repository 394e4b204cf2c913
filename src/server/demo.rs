//! `hookswitch demo`: a server on loopback, a real call to its receptionist by the test phone, the conversation printed as
//! it happens, a transcript and a recording left behind.
#![expect(clippy::print_stdout, reason = "a command of the terminal: what it prints is its result")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::agent::pathway::CallerScript;
use crate::codec::{AudioCodec, SampleRate};
use crate::config::{Config, Environment};
use crate::identity::{AccountId, CallId};
use crate::platform::calls::record::CallRecord;
use crate::platform::calls::transcript::Transcript;
use crate::platform::calls::{EndCause, Entry, Event, Role, TurnTiming};
use crate::server::endpoint::Recording;
use crate::server::phone::dialogue::{Action, Dialogue, Patience};
use crate::server::phone::line::{Dial, Line, LineEvent, Target, speak};
use crate::server::recorder::Recorder;
use crate::server::speech::{self, SpeechConfig, render_text};
use crate::server::system::{System, random_token};
use crate::server::{clock, task};
use crate::transport::TransportKind;

/// Runs the demo and leaves `transcript.json` and `recording.wav` in `output`.
///
/// # Errors
/// If something is missing, or the conversation does not come to its end.
pub async fn run(output: &Path) -> anyhow::Result<()> {
    speech::probe(&SpeechConfig::new(random_token()).model)?;
    std::fs::create_dir_all(output).with_context(|| format!("{} cannot be made", output.display()))?;
    let data = Scratch::make()?;
    let script = CallerScript::receptionist();
    let config = configuration(&data.0)?;

    let recorder = Recorder::start().context("the recorder does not start")?;
    let recording_path = output.join("recording.wav");
    let (tap, recorded) = recorder.record(&recording_path, RATE)?;
    let mut tap = Some(tap);
    let system = System::start(config, Some(Recording::new(move |_, _| tap.take()))).await?;

    let conversation = converse(&system, &script).await;
    let finish = tokio::task::spawn_blocking(move || drop(recorder));
    drop(finish.await);
    let conversation = conversation?;
    let written = write_transcript(output, &system, &conversation).await;
    system.drain().await;
    let transcript = written?;
    let recorded = recorded.await.context("the recording was not finished")?;
    if let Some(error) = recorded.error {
        bail!("{}: {error}", recording_path.display());
    }
    summarise(&conversation);
    println!("left {} and {} (caller left, agent right)", transcript.display(), recording_path.display());
    ensure!(
        conversation.reached_end,
        "the conversation did not come to its end: {}",
        conversation.cause.map_or_else(|| "it stopped".to_owned(), |it| format!("{it:?}"))
    );
    Ok(())
}

/// What came of the call.
struct Conversation {
    call: CallId,
    timings: Vec<TurnTiming>,
    /// The caller's own measurement: the end of what they said to the first sound of the reply.
    heard_after_ms: Vec<u32>,
    reached_end: bool,
    cause: Option<EndCause>,
}

async fn converse(system: &System, script: &CallerScript) -> anyhow::Result<Conversation> {
    let address = system.sip.iter().find(|it| it.0 == TransportKind::Udp).context("the server does not listen")?.1;
    println!("server on udp://{address}, calling sip:demo@{address}");
    let mut events = system.log().watch();
    let target = Target::find(&format!("sip:demo@{address}"), vec![]).await?;
    let patience = Patience { quiet_ms: script.silence_ms, nothing_ms: u32::MAX, linger_ms: u32::MAX };
    let dial = Dial { from: "caller".to_owned(), codecs: vec![CODEC], record: None, tls_ca: None, ears: None };
    let mut line = Line::dial(&target, dial, Dialogue::new([], patience, true)).await?;
    let mut caller = Caller::new(script)?;
    let give_up = clock::now().instant + DEMO_LIMIT;
    loop {
        tokio::select! {
            event = line.next() => match event {
                LineEvent::FarSideFinished => caller.far_side_finished(),
                LineEvent::ReplyBegins(ms) => caller.heard_after_ms.push(ms),
                LineEvent::Ended(_) => caller.line_ended = true,
                LineEvent::Ringing | LineEvent::Answered | LineEvent::Began(_) | LineEvent::Heard(_)
                | LineEvent::Deaf(_) | LineEvent::Detected(_) => (),
            },
            event = events.recv() => match event {
                Ok(entry) => caller.handle_entry(&entry),
                Err(broadcast::error::RecvError::Lagged(_)) => (),
                Err(broadcast::error::RecvError::Closed) => bail!("the server ended"),
            },
            () = task::deadline(give_up) => {
                line.hang_up().await;
                bail!("the conversation took longer than {} s", DEMO_LIMIT.as_secs());
            }
        }
        if let Some(action) = caller.next_words() {
            line.dialogue.push(action);
        }
        if caller.is_over() {
            line.close().await;
            return caller.finish();
        }
        if caller.line_ended {
            // The line asks nothing more of us; what is left comes from the server.
            while !caller.is_over() {
                let Ok(Ok(entry)) = tokio::time::timeout(LAST_EVENTS, events.recv()).await else {
                    bail!("the server does not say how the call ended");
                };
                caller.handle_entry(&entry);
            }
        }
    }
}

/// The scripted caller: knows where the agent stands, and what to say there.
struct Caller<'a> {
    script: &'a CallerScript,
    spoken: Vec<(String, Vec<i16>)>,
    turn: usize,
    call: Option<CallId>,
    node: String,
    visited: Vec<String>,
    may_speak: bool,
    line_ended: bool,
    cause: Option<EndCause>,
    timings: Vec<TurnTiming>,
    waiting_timing: VecDeque<TurnTiming>,
    heard_after_ms: Vec<u32>,
}

impl<'a> Caller<'a> {
    fn new(script: &'a CallerScript) -> anyhow::Result<Self> {
        let texts = script.turns.iter().map(|it| &it.say).chain(script.answers.values());
        let spoken = texts.map(|text| {
            let samples = render_text(text, CALLER_VOICE, RATE)?;
            anyhow::Ok((text.clone(), samples))
        });
        Ok(Self {
            script,
            spoken: spoken.collect::<Result<_, _>>()?,
            turn: 0,
            call: None,
            node: String::new(),
            visited: vec![],
            may_speak: false,
            line_ended: false,
            cause: None,
            timings: vec![],
            waiting_timing: VecDeque::new(),
            heard_after_ms: vec![],
        })
    }

    fn far_side_finished(&mut self) {
        self.may_speak = true;
    }

    fn handle_entry(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Offered { .. } => self.call = Some(entry.call),
            Event::Note { topic, text } if topic == "node" => {
                self.node.clone_from(text.reveal());
                self.visited.push(text.reveal().clone());
            }
            Event::Said { role: Role::Agent, text, .. } => {
                let timing = self.waiting_timing.pop_front().map(|it| describe(&it));
                println!("agent   {}{}", text.reveal(), timing.unwrap_or_default());
            }
            Event::Said { role: Role::Caller, text, .. } => println!("caller  {}", text.reveal()),
            Event::TurnTiming(timing) => {
                self.timings.push(*timing);
                self.waiting_timing.push_back(*timing);
            }
            Event::Failed { component, reason } => println!("        ({component} failed: {reason})"),
            Event::Ended { cause, .. } => self.cause = Some(cause.clone()),
            Event::Ringing
            | Event::Answered { .. }
            | Event::AnsweredBy { .. }
            | Event::Held { .. }
            | Event::Digit { .. }
            | Event::MediaReport(_)
            | Event::Transfer { .. }
            | Event::RecordingConsent { .. }
            | Event::Recording(_)
            | Event::Room { .. }
            | Event::Play(_)
            | Event::Note { .. }
            | Event::Settled
            | Event::Unknown(_) => (),
        }
    }

    /// What to say now, if it is the caller's turn and the agent stands where the script, or an answer, has words.
    fn next_words(&mut self) -> Option<Action> {
        if !std::mem::take(&mut self.may_speak) {
            return None;
        }
        let scripted = self.script.turns.get(self.turn).filter(|it| it.at == self.node);
        let words = match scripted {
            Some(turn) => {
                self.turn += 1;
                &turn.say
            }
            None => self.script.answers.get(&self.node)?,
        };
        let (label, samples) = self.spoken.iter().find(|it| it.0 == *words)?;
        Some(speak(label.clone(), samples, RATE))
    }

    const fn is_over(&self) -> bool {
        self.cause.is_some()
    }

    fn finish(self) -> anyhow::Result<Conversation> {
        let mut visited = self.visited.iter();
        let all_reached = self.script.turns.iter().all(|turn| visited.any(|it| *it == turn.leads_to));
        Ok(Conversation {
            call: self.call.context("the server never saw the call")?,
            reached_end: all_reached && self.cause == Some(EndCause::ConversationEnded),
            timings: self.timings,
            heard_after_ms: self.heard_after_ms,
            cause: self.cause,
        })
    }
}

fn describe(timing: &TurnTiming) -> String {
    format!(
        "\n        [{} ms: {} waiting whether the caller goes on, {} recogniser, {} decision, {} synthesiser, {} playout]",
        timing.total_ms,
        timing.end_of_turn_ms,
        timing.recogniser_ms,
        timing.decision_ms,
        timing.synthesiser_ms,
        timing.playout_ms
    )
}

fn summarise(conversation: &Conversation) {
    let list = |it: &mut dyn Iterator<Item = u32>| it.map(|ms| format!("{ms}")).collect::<Vec<_>>().join(", ");
    println!("response times: {} ms to the first packet", list(&mut conversation.timings.iter().map(|it| it.total_ms)));
    println!(
        "                {} ms to the first sound at the caller",
        list(&mut conversation.heard_after_ms.iter().copied())
    );
}

/// What `transcript.json` holds.
#[derive(Serialize)]
struct Left {
    record: Option<CallRecord>,
    transcript: Option<Transcript>,
    timings: Vec<TurnTiming>,
    heard_after_ms: Vec<u32>,
}

async fn write_transcript(output: &Path, system: &System, conversation: &Conversation) -> anyhow::Result<PathBuf> {
    let account = AccountId::default();
    let left = Left {
        record: system.journal().record(&account, conversation.call).await?,
        transcript: system.journal().transcript(&account, conversation.call).await?,
        timings: conversation.timings.clone(),
        heard_after_ms: conversation.heard_after_ms.clone(),
    };
    let path = output.join("transcript.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&left)?).with_context(|| format!("{}", path.display()))?;
    Ok(path)
}

fn configuration(data: &Path) -> anyhow::Result<Config> {
    let text = format!(
        "[sip]\nlisten = [\"udp://127.0.0.1:0\"]\nopen = true\n[http]\nlisten = \"127.0.0.1:0\"\n[data]\ndirectory = {:?}\n",
        data.display().to_string()
    );
    Ok(Config::parse(&text, Path::new("the demo's configuration"), &Environment::new())?)
}

/// A directory of its own for the journal, gone when the demo is over.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("hookswitch-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it does no harm.
        std::fs::remove_dir_all(&self.0).unwrap_or(());
    }
}

/// Of flite's voices, one that is not the agent's.
const CALLER_VOICE: &str = "awb";
const CODEC: AudioCodec = AudioCodec::Opus;
const RATE: SampleRate = CODEC.rate();
/// The whole demo.
const DEMO_LIMIT: Duration = Duration::from_secs(120);
/// From the end of the call to the last event in the journal.
const LAST_EVENTS: Duration = Duration::from_secs(5);
