//! The recording of one call, as its actor sees it: the gate of consent before the conversation, switching on and off,
//! pausing, and what the journal is told.
//!
//! Nothing is recorded before the caller has heard the announcement, or has pressed 1 after the question. A caller who
//! does not agree is served all the same, unrecorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::agent::RecordingOrder;
use crate::codec::{Frame, SampleRate};
use crate::config::Consent;
use crate::identity::{AccountId, CallId, Pii};
use crate::limits::{AGENT_LEG_FRAMES_MAX, CALL_CLOSE_S_MAX};
use crate::media::{Heard, PlayoutFrame};
use crate::platform::calls::Event;
use crate::server::media_link::{LegCommand, LegTick, TaskEnd};
use crate::server::recorder::{Format, TapEnd};
use crate::server::recordings::{Recordings, Underway};
use crate::server::sip_worker::{Command, LiveRefused, RecordRequest};
use crate::server::{clock, task};
use crate::timer::Now;

/// What an agent's configuration says about recording.
#[derive(Clone, Debug)]
pub(crate) struct RecordingPlan {
    /// Whether a call is recorded from its answer on.
    pub(crate) enabled: bool,
    /// What it is written as.
    pub(crate) format: Format,
    /// What must happen first.
    pub(crate) consent: Consent,
    /// The announcement or the question, as audio. Without any nothing is recorded that needs consent.
    pub(crate) words: Arc<[Frame]>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CallRecording {
    call: CallId,
    plan: Arc<RecordingPlan>,
    format: Format,
    recordings: Arc<Recordings>,
    worker: mpsc::Sender<Command>,
    gate: Gate,
    /// `None` until it is known.
    consent: Option<bool>,
    underway: Option<(Underway, u64)>,
    /// How many recordings have been begun.
    begun: u32,
    /// When the call was answered.
    answered: Option<Now>,
    /// Of what the caller sends.
    rate: SampleRate,
    /// For the journal.
    events: Vec<Event>,
    /// Recordings that are being finished.
    finishing: Vec<(Underway, u64)>,
}

/// Whether the conversation may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Unanswered,
    /// The words are being said: so many frames of them have been handed to the leg, and so many sent by it.
    Speaking {
        handed: usize,
        sent: usize,
    },
    /// The question has been asked; so many ticks are left for an answer.
    Waiting {
        ticks: u32,
    },
    Open,
}

impl CallRecording {
    /// Of a call that has not been answered.
    pub(crate) fn new(
        call: CallId,
        plan: Arc<RecordingPlan>,
        recordings: Arc<Recordings>,
        worker: mpsc::Sender<Command>,
        rate: SampleRate,
    ) -> Self {
        Self {
            call,
            format: plan.format,
            plan,
            recordings,
            worker,
            gate: Gate::Unanswered,
            consent: None,
            underway: None,
            begun: 0,
            answered: None,
            rate,
            events: vec![],
            finishing: vec![],
        }
    }

    /// The call is answered. Says whether the conversation may begin; if not, [`CallRecording::handle_tick`] says when.
    pub(crate) fn handle_answered(&mut self, now: Now) -> bool {
        self.answered = Some(now);
        self.gate = Gate::Open;
        match (self.plan.enabled, self.plan.consent) {
            (false, _) => {}
            (true, Consent::None) => self.start(now),
            (true, Consent::Announce | Consent::Ask) if self.plan.words.is_empty() => {
                self.fail("the consent cannot be asked for: its words could not be spoken");
            }
            (true, Consent::Announce | Consent::Ask) => self.gate = Gate::Speaking { handed: 0, sent: 0 },
        }
        self.gate == Gate::Open
    }

    /// Whether the conversation has to wait.
    pub(crate) const fn is_gate_closed(&self) -> bool {
        matches!(self.gate, Gate::Speaking { .. } | Gate::Waiting { .. })
    }

    /// 20 ms of the leg have passed, in which `digit` was pressed. Says whether the conversation may begin with them.
    pub(crate) fn handle_tick(&mut self, tick: &LegTick, digit: Option<char>, link: &mut TaskEnd, now: Now) -> bool {
        if let Heard::Audio(frame) | Heard::Concealed(frame) = &tick.tick.heard {
            self.rate = frame.rate();
        }
        let asks = self.plan.consent == Consent::Ask;
        if asks && self.is_gate_closed() && matches!(digit, Some('1' | '2')) {
            link.command(LegCommand::Clear).unwrap_or(());
            return self.decide(digit == Some('1'), "key", now);
        }
        match self.gate {
            Gate::Unanswered | Gate::Open => false,
            Gate::Speaking { handed, sent } => {
                let is_playing = tick.tick.played.is_some_and(|it| it.utterance == UTTERANCE);
                let missed = usize::try_from(tick.missed).unwrap_or(0);
                let sent = if is_playing { (sent + 1 + missed).min(handed) } else { sent };
                let handed = self.speak(handed, sent, link);
                self.gate = Gate::Speaking { handed, sent };
                // What was sent in ticks that nobody saw shows when there is nothing left.
                let ran_out = sent > 0 && !is_playing && tick.tick.queued_frames == 0;
                if handed < self.plan.words.len() || !(ran_out || sent >= handed) {
                    return false;
                }
                if !asks {
                    return self.decide(true, "announced", now);
                }
                self.gate = Gate::Waiting { ticks: ANSWER_TICKS };
                false
            }
            Gate::Waiting { ticks: 0 } => self.decide(false, "silence", now),
            Gate::Waiting { ticks } => {
                self.gate = Gate::Waiting { ticks: ticks.saturating_sub(1 + tick.missed) };
                false
            }
        }
    }

    /// Of a call between two people, which is under way since `answered`.
    pub(crate) const fn answered_at(mut self, answered: Now) -> Self {
        self.answered = Some(answered);
        self.gate = Gate::Open;
        self
    }

    /// Does what the agent asks for, and notes when that cannot be.
    pub(crate) fn handle_order(&mut self, order: RecordingOrder, now: Now) {
        let (Ok(done) | Err(done)) = self.carry_out(order, now);
        self.note(done);
    }

    /// Does what somebody outside of the call asks for, who may vouch for the consent, unless the caller has refused it.
    pub(crate) fn handle_request(&mut self, request: RecordRequest, now: Now) -> Result<(), LiveRefused> {
        if self.answered.is_none() {
            return Err(LiveRefused::NotTalking);
        }
        let begins = request.order == RecordingOrder::Start && self.underway.is_none();
        if begins && request.is_vouched && self.consent.is_none() && !self.is_gate_closed() {
            self.consent = Some(true);
            self.events.push(Event::RecordingConsent { given: true, how: "api".to_owned() });
        }
        if let Some(format) = request.format {
            self.format = format;
        }
        let done = self.carry_out(request.order, now).map_err(LiveRefused::Conflict)?;
        self.note(done);
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.events.push(Event::Note { topic: "recording".to_owned(), text: Pii::new(text.to_owned()) });
    }

    fn carry_out(&mut self, order: RecordingOrder, now: Now) -> Result<&'static str, &'static str> {
        Ok(match (order, &self.underway) {
            (RecordingOrder::Start | RecordingOrder::Resume, Some((underway, _))) => {
                underway.control.pause(false);
                "on"
            }
            (RecordingOrder::Start, None) => match (self.plan.consent, self.consent) {
                (Consent::None, _) | (_, Some(true)) => {
                    self.start(now);
                    "on"
                }
                (Consent::Announce | Consent::Ask, _) => return Err(NO_CONSENT),
            },
            (RecordingOrder::Pause, Some((underway, _))) => {
                underway.control.pause(true);
                "paused"
            }
            (RecordingOrder::Stop, Some(_)) => {
                self.stop();
                "off"
            }
            (RecordingOrder::Pause | RecordingOrder::Resume | RecordingOrder::Stop, None) => {
                return Err("there is none");
            }
        })
    }

    /// What the journal is to be told.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The leg is closed: waits a little for the files to be finished, and tells of them.
    pub(crate) async fn finish(mut self) -> Vec<Event> {
        let until = clock::now().instant + Duration::from_secs(CALL_CLOSE_S_MAX);
        let finishing = std::mem::take(&mut self.finishing).into_iter().chain(self.underway.take());
        for (underway, start_ms) in finishing {
            let recordings = Arc::clone(&self.recordings);
            // A task of its own, so that a slow disk does not keep the file from being passed on.
            let kept = task::spawn("recording-end", async move { recordings.keep(underway, start_ms).await });
            tokio::select! {
                kept = kept => match kept {
                    Ok((recording, error)) => {
                        self.events.extend(recording.map(Event::Recording));
                        if let Some(error) = error {
                            self.fail(&error);
                        }
                    }
                    Err(_) => self.fail("a defect of the recorder"),
                },
                () = task::deadline(until) => self.fail("the disk was too slow for the journal to be told more"),
            }
        }
        self.events
    }

    /// Hands the leg as much as it is to have ahead of the wire.
    fn speak(&self, handed: usize, sent: usize, link: &mut TaskEnd) -> usize {
        let ahead = usize::try_from(AGENT_LEG_FRAMES_MAX).unwrap_or(0);
        let room = (sent + ahead).saturating_sub(handed);
        let words = self.plan.words.iter().skip(handed).take(room);
        let taken = words.take_while(|frame| {
            link.command(LegCommand::Play(PlayoutFrame { utterance: UTTERANCE, frame: **frame })).is_ok()
        });
        handed + taken.count()
    }

    fn decide(&mut self, given: bool, how: &str, now: Now) -> bool {
        self.gate = Gate::Open;
        self.consent = Some(given);
        self.events.push(Event::RecordingConsent { given, how: how.to_owned() });
        if given {
            self.start(now);
        }
        true
    }

    fn start(&mut self, now: Now) {
        self.begun += 1;
        let begun = self.recordings.begin(&AccountId::default(), self.call, self.begun, self.format, self.rate);
        match begun {
            Ok((tap, underway)) => {
                let start_ms = self.answered.map_or(0, |it| now.since(it).as_millis());
                self.underway = Some((underway, u64::try_from(start_ms).unwrap_or(u64::MAX)));
                self.tap(Some(tap));
            }
            Err(error) => self.fail(&error.to_string()),
        }
    }

    fn stop(&mut self) {
        self.tap(None);
        self.finishing.extend(self.underway.take());
    }

    fn tap(&mut self, tap: Option<TapEnd>) {
        if self.worker.try_send(Command::Record(self.call, tap)).is_err() {
            self.fail("the signalling is too busy to switch the recording");
        }
    }

    fn fail(&mut self, reason: &str) {
        tracing::warn!(reason, "the call is not recorded as it should be");
        self.events.push(Event::Failed { component: "recorder".to_owned(), reason: reason.to_owned() });
    }
}

/// Why a recording is not begun that needs consent.
pub(crate) const NO_CONSENT: &str = "not begun: there is no consent";
/// Names the words of consent among the utterances of the leg; agents count theirs from one.
const UTTERANCE: u32 = u32::MAX;
/// Eight seconds.
const ANSWER_TICKS: u32 = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::media::{Played, Tick};
    use crate::server::media_link::{WorkerEnd, link};

    #[tokio::test]
    async fn without_consent_it_begins_with_the_answer() {
        check(Consent::None, "answer tick tick", "open on | open | open", "recording").await;
    }

    #[tokio::test]
    async fn the_announcement_comes_first() {
        check(
            Consent::Announce,
            "answer tick said said tick",
            "closed | closed play play | closed | open on | open",
            "consent announced recording",
        )
        .await;
    }

    #[tokio::test]
    async fn only_a_1_is_consent() {
        check(Consent::Ask, "answer tick key1", "closed | closed play play | open on clear", "consent key recording")
            .await;
        check(
            Consent::Ask,
            "answer tick said said key2",
            "closed | closed play play | closed | closed | open clear",
            "no consent key",
        )
        .await;
        check(
            Consent::Ask,
            "answer tick said said silence",
            "closed | closed play play | closed | closed | open",
            "no consent silence",
        )
        .await;
    }

    /// Goes through `steps` and compares what the gate, the leg and the media saw after each, and the journal.
    async fn check(consent: Consent, steps: &str, expected: &str, journal: &str) {
        let data = std::env::temp_dir().join(format!("hookswitch-consent-{}-{}", std::process::id(), fresh()));
        let recordings = Recordings::open(&config::Recordings { place: None, keep: None }, &data).unwrap();
        let words = Arc::from([Frame::silence(SampleRate::Hz8000); 2]);
        let plan = RecordingPlan { enabled: true, format: Format::Wav, consent, words };
        let (worker, mut commands) = mpsc::channel(8);
        let call = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let mut recording = CallRecording::new(call, Arc::new(plan), Arc::new(recordings), worker, SampleRate::Hz8000);
        let (mut task, mut leg) = link(SampleRate::Hz8000);
        let (mut log, mut taps) = (vec![], vec![]);
        let now = clock::now();
        for step in steps.split(' ') {
            let mut seen = vec![];
            match step {
                "answer" => drop(recording.handle_answered(now)),
                "tick" => drop(recording.handle_tick(&tick(None), None, &mut task, now)),
                "said" => drop(recording.handle_tick(&tick(Some(320)), None, &mut task, now)),
                "key1" => drop(recording.handle_tick(&tick(None), Some('1'), &mut task, now)),
                "key2" => drop(recording.handle_tick(&tick(None), Some('2'), &mut task, now)),
                "silence" => {
                    for _ in 0..=ANSWER_TICKS {
                        recording.handle_tick(&tick(None), None, &mut task, now);
                    }
                }
                other => panic!("{other}"),
            }
            seen.push(if recording.is_gate_closed() { "closed" } else { "open" });
            while let Ok(Command::Record(_, Some(tap))) = commands.try_recv() {
                taps.push(tap);
                seen.push("on");
            }
            seen.extend(commanded(&mut leg));
            log.push(seen.join(" "));
        }
        drop(taps);
        let events: Vec<_> = recording.finish().await.iter().map(shown).collect();
        std::fs::remove_dir_all(&data).unwrap();
        assert_eq!(events.join(" "), journal);
        assert_eq!(log.join(" | "), expected);
    }

    fn commanded(leg: &mut WorkerEnd) -> Vec<&'static str> {
        std::iter::from_fn(|| leg.command())
            .map(|it| match it {
                LegCommand::Play(_) => "play",
                LegCommand::Clear => "clear",
                LegCommand::Dtmf(..) => "dtmf",
            })
            .collect()
    }

    fn shown(event: &Event) -> String {
        if let Event::RecordingConsent { given, how } = event {
            return format!("{}consent {how}", if *given { "" } else { "no " });
        }
        serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned()
    }

    fn fresh() -> u32 {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    fn tick(played: Option<u32>) -> LegTick {
        let played = played.map(|position| Played { utterance: UTTERANCE, position });
        let queued_frames = u16::from(played.is_none());
        let tick = Tick {
            number: 1,
            heard: Heard::Nothing,
            played,
            dtmf: None,
            dtmf_ended: None,
            tone: None,
            queued_frames,
            inactive_for: Duration::ZERO,
        };
        LegTick { tick, missed: 0 }
    }
}
