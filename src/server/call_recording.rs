//! The recording of one call, as its actor sees it: the gate of consent before the conversation, switching on and off,
//! pausing, and what the journal is told.
//!
//! Nothing is recorded before the caller has heard the announcement, or has pressed 1 after the question. A caller who
//! does not agree is served all the same, unrecorded. Where two people talk, both are told or asked, and so is whoever comes
//! later: the recording waits for each ([`Ask`] says who is to be), and ends if one does not agree.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use tokio::sync::mpsc;

use crate::agent::RecordingOrder;
use crate::codec::{Clip, Frame, SampleRate};
use crate::config::Consent;
use crate::identity::{AccountId, CallId, Pii};
use crate::limits::{AGENT_LEG_FRAMES_MAX, CALL_CLOSE_S_MAX};
use crate::media::{Heard, PlayoutFrame};
use crate::platform::calls::Event;
use crate::server::consent::{ANSWER_TICKS, Answer, RecordingPlan};
use crate::server::media_link::{LegCommand, LegTick, TaskEnd};
use crate::server::recorder::{Format, TapEnd};
use crate::server::recordings::{Recordings, Underway};
use crate::server::sip_worker::{Bridged, Command, LiveRefused, RecordRequest, Vouching};
use crate::server::{clock, task};
use crate::timer::Now;

/// See the module.
#[derive(Debug)]
pub(crate) struct CallRecording {
    call: CallId,
    plan: Arc<RecordingPlan>,
    format: Format,
    recordings: Arc<Recordings>,
    worker: mpsc::Sender<Command>,
    gate: Gate,
    /// The words of the gate.
    words: Vec<Frame>,
    /// The legs of the people who talk; the first is recorded on the left.
    sides: SmallVec<[u8; 2]>,
    /// How each has taken it, as far as they were told or asked.
    answers: BTreeMap<u8, Answer>,
    /// Somebody has vouched for them all.
    is_vouched: bool,
    /// What must happen before anything is recorded.
    demanded: Consent,
    /// Somebody is being told or asked.
    is_asking: bool,
    /// Somebody does not want a recording now.
    is_switched_off: bool,
    /// The same, of one that is under way.
    is_paused: bool,
    underway: Option<(Underway, u64)>,
    /// The leg that is recorded.
    tapped: Option<u8>,
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

/// Who is to be told or asked before a recording begins or goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Which of the two.
    pub(crate) consent: Consent,
    /// What they hear.
    pub(crate) clip: Clip,
    /// Their legs.
    pub(crate) legs: SmallVec<[u8; 2]>,
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
            demanded: plan.consent,
            plan,
            recordings,
            worker,
            gate: Gate::Unanswered,
            words: vec![],
            sides: SmallVec::new(),
            answers: BTreeMap::new(),
            is_vouched: false,
            is_asking: false,
            is_switched_off: false,
            is_paused: false,
            underway: None,
            tapped: None,
            begun: 0,
            answered: None,
            rate,
            events: vec![],
            finishing: vec![],
        }
    }

    /// With its caller, who is the only one to be asked.
    pub(crate) fn of_caller(mut self) -> Self {
        self.sides = smallvec![CALLER_LEG];
        self
    }

    /// The call is answered. Says whether the conversation may begin; if not, [`CallRecording::handle_tick`] says when.
    pub(crate) fn handle_answered(&mut self, now: Now) -> bool {
        self.answered = Some(now);
        self.gate = Gate::Open;
        match (self.plan.enabled, self.plan.consent) {
            (false, _) => {}
            (true, Consent::None) => self.start(now),
            (true, Consent::Announce | Consent::Ask) => {
                self.words = self.plan.frames(self.rate);
                if self.words.is_empty() {
                    self.fail(NO_WORDS);
                } else {
                    self.gate = Gate::Speaking { handed: 0, sent: 0 };
                }
            }
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
            return self.decide(if digit == Some('1') { Answer::Yes } else { Answer::No }, now);
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
                if handed < self.words.len() || !(ran_out || sent >= handed) {
                    return false;
                }
                if !asks {
                    return self.decide(Answer::Announced, now);
                }
                self.gate = Gate::Waiting { ticks: ANSWER_TICKS };
                false
            }
            Gate::Waiting { ticks: 0 } => self.decide(Answer::Silence, now),
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

    /// Two people talk from here on. Who of them is to be told or asked, if somebody is.
    pub(crate) fn handle_bridged(&mut self, bridged: &Bridged, now: Now) -> Option<Ask> {
        let Bridged { sides, plan, newcomer } = bridged;
        self.answers.retain(|leg, _| sides.contains(leg) && Some(*leg) != *newcomer);
        self.sides = SmallVec::from_slice(sides);
        self.answered.get_or_insert(now);
        let was_asking = std::mem::take(&mut self.is_asking) || self.is_gate_closed();
        let was_on = self.underway.is_some() || was_asking;
        self.gate = Gate::Open;
        if self.tapped.is_some_and(|it| it != sides[0]) {
            // Its leg has gone, and the recording with it: what follows is another one.
            self.finishing.extend(self.underway.take());
        }
        if !was_on {
            (self.plan, self.demanded) = (Arc::clone(plan), plan.consent);
            self.format = plan.format;
        } else if plan.enabled && plan.consent > self.demanded {
            (self.plan, self.demanded) = (Arc::clone(plan), plan.consent);
        }
        let is_wanted = was_on || (plan.enabled && !self.is_switched_off);
        if is_wanted { self.proceed(now) } else { None }
    }

    /// Somebody who was told or asked takes it so.
    pub(crate) fn handle_answer(&mut self, leg: u8, answer: Answer, now: Now) {
        if !self.is_asking {
            return;
        }
        self.note_answer(leg, answer);
        if !answer.is_consent() {
            self.is_asking = false;
            self.stop();
        } else if self.missing().is_empty() {
            self.is_asking = false;
            self.go_on(now);
        }
    }

    /// Whether somebody is being told or asked by whoever attends to the call.
    pub(crate) const fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Begins a recording or lets it go on, if all who talk agree; or says who is to be told or asked before.
    fn proceed(&mut self, now: Now) -> Option<Ask> {
        let legs = self.missing();
        if self.demanded == Consent::None || self.is_vouched || legs.is_empty() {
            self.go_on(now);
            return None;
        }
        if legs.iter().any(|it| self.answers.contains_key(it)) {
            // One of them has not agreed.
            self.stop();
            return None;
        }
        let Some(clip) = self.plan.words.of(self.demanded).cloned() else {
            self.stop();
            self.fail(NO_WORDS);
            return None;
        };
        if let Some((underway, _)) = &self.underway {
            underway.control.pause(true);
        }
        self.is_asking = true;
        Some(Ask { consent: self.demanded, clip, legs })
    }

    /// Those who talk and have not agreed.
    fn missing(&self) -> SmallVec<[u8; 2]> {
        let has_agreed = |it: &&u8| self.answers.get(it).is_some_and(|it| it.is_consent());
        self.sides.iter().filter(|it| !has_agreed(it)).copied().collect()
    }

    fn go_on(&mut self, now: Now) {
        match &self.underway {
            Some((underway, _)) => underway.control.pause(self.is_paused),
            None => self.start(now),
        }
    }

    fn note_answer(&mut self, leg: u8, answer: Answer) {
        self.answers.insert(leg, answer);
        let by = if self.sides.first() == Some(&leg) { "caller" } else { "called" };
        let (given, how, by) = (answer.is_consent(), answer.how().to_owned(), Some(by.to_owned()));
        self.events.push(Event::RecordingConsent { given, how, by });
    }

    /// Does what the agent asks for, and notes when that cannot be.
    pub(crate) fn handle_order(&mut self, order: RecordingOrder, now: Now) {
        let (Ok(done) | Err(done)) = self.carry_out(order, now);
        self.note(done);
    }

    /// Does what somebody outside of the call asks for, who may vouch for the consent, unless one of those who talk has
    /// refused it; or says who is to be told or asked before.
    pub(crate) fn handle_request(&mut self, request: RecordRequest, now: Now) -> Result<Option<Ask>, LiveRefused> {
        if self.answered.is_none() {
            return Err(LiveRefused::NotTalking);
        }
        let begins = request.order == RecordingOrder::Start && self.underway.is_none();
        let vouching = request.vouching.filter(|_| begins);
        let is_refused = self.answers.values().any(|it| !it.is_consent());
        let has_gate = self.is_gate_closed() || self.is_asking;
        let format = request.format.unwrap_or(self.format);
        match vouching {
            Some(Vouching::Given) if !is_refused && !has_gate => {
                if !std::mem::replace(&mut self.is_vouched, true) {
                    self.events.push(Event::RecordingConsent { given: true, how: "api".to_owned(), by: None });
                }
            }
            Some(Vouching::Asked(consent)) => {
                self.check_asked(consent, has_gate).map_err(LiveRefused::Conflict)?;
                self.answers.retain(|_, it| it.is_consent());
                (self.demanded, self.format, self.is_vouched, self.is_switched_off) = (consent, format, false, false);
                return Ok(self.proceed(now));
            }
            Some(Vouching::Given) | None => {}
        }
        self.format = format;
        let done = self.carry_out(request.order, now).map_err(LiveRefused::Conflict)?;
        self.note(done);
        Ok(None)
    }

    /// Whether people may be told or asked now. Who has said nothing may be asked again, and not be told instead.
    fn check_asked(&mut self, consent: Consent, has_gate: bool) -> Result<(), &'static str> {
        let is_final = |it: &Answer| *it == Answer::No || (*it == Answer::Silence && consent != Consent::Ask);
        if self.sides.is_empty() || self.answers.values().any(is_final) {
            return Err(NO_CONSENT);
        }
        if has_gate {
            return Err("somebody is being asked already");
        }
        if self.plan.words.of(consent).is_none() {
            self.fail(NO_WORDS);
            return Err(NO_WORDS);
        }
        Ok(())
    }

    fn note(&mut self, text: &str) {
        self.events.push(Event::Note { topic: "recording".to_owned(), text: Pii::new(text.to_owned()) });
    }

    fn carry_out(&mut self, order: RecordingOrder, now: Now) -> Result<&'static str, &'static str> {
        Ok(match (order, &self.underway) {
            (RecordingOrder::Start | RecordingOrder::Resume, Some((underway, _))) => {
                self.is_paused = false;
                underway.control.pause(self.is_asking);
                "on"
            }
            (RecordingOrder::Start, None) => {
                let has_agreed = !self.sides.is_empty() && self.missing().is_empty();
                if self.demanded != Consent::None && !self.is_vouched && !has_agreed {
                    return Err(NO_CONSENT);
                }
                self.is_switched_off = false;
                self.start(now);
                "on"
            }
            (RecordingOrder::Pause, Some((underway, _))) => {
                self.is_paused = true;
                underway.control.pause(true);
                "paused"
            }
            (RecordingOrder::Stop, Some(_)) => {
                (self.is_asking, self.is_switched_off) = (false, true);
                self.stop();
                "off"
            }
            (RecordingOrder::Stop, None) if self.is_asking => {
                (self.is_asking, self.is_switched_off) = (false, true);
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
        let words = self.words.iter().skip(handed).take(room);
        let taken = words.take_while(|frame| {
            link.command(LegCommand::Play(PlayoutFrame { utterance: UTTERANCE, frame: **frame })).is_ok()
        });
        handed + taken.count()
    }

    fn decide(&mut self, answer: Answer, now: Now) -> bool {
        self.gate = Gate::Open;
        self.note_answer(CALLER_LEG, answer);
        if answer.is_consent() {
            self.start(now);
        }
        true
    }

    fn start(&mut self, now: Now) {
        self.begun += 1;
        (self.tapped, self.is_paused) = (self.sides.first().copied(), false);
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
        if let Some(underway) = self.underway.take() {
            self.tap(None);
            self.finishing.push(underway);
        }
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
/// Why one is not begun whose words are not there.
const NO_WORDS: &str = "the consent cannot be asked for: its words could not be spoken";
/// The leg of an agent's caller.
pub(crate) const CALLER_LEG: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::media::{Played, Tick};
    use crate::server::consent::Words;
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

    #[tokio::test]
    async fn both_of_two_people_have_to_agree() {
        check_bridged("none:0-1", "on", "recording").await;
        check_bridged(
            "announce:0-1 told:1 told:0",
            "asks 0 1 | - | on",
            "called announced true, caller announced true, recording",
        )
        .await;
        check_bridged("ask:0-1 yes:0 no:1", "asks 0 1 | - | -", "caller key true, called key false").await;
        check_bridged(
            "ask:0-1 no:0 yes:1 given tell question start",
            "asks 0 1 | - | - | no | no | no | no",
            "caller key false",
        )
        .await;
        check_bridged(
            "ask:0-1 silence:0 tell question yes:0 yes:1",
            "asks 0 1 | - | no | asks 0 1 | - | on",
            "caller silence false, caller key true, called key true, recording",
        )
        .await;
    }

    #[tokio::test]
    async fn who_comes_later_is_asked_too() {
        // The first side stays: its recording waits, and goes on or ends.
        let first = "asks 0 1 | - | on | asks 2";
        let journal = "caller announced true, called announced true, called announced true, recording";
        check_bridged("announce:0-1 told:0 told:1 announce:0-2 told:2", &format!("{first} | -"), journal).await;
        let journal = "caller announced true, called announced true, called silence false, recording";
        check_bridged("announce:0-1 told:0 told:1 announce:0-2 silence:2", &format!("{first} | off"), journal).await;
        // In the middle of the words.
        let journal = "caller announced true, called announced true, recording";
        check_bridged("announce:0-1 told:0 off:0-2 told:2", "asks 0 1 | - | asks 2 | on", journal).await;
        check_bridged("off:0-1 tell off:0-2 told:0 told:2", "- | asks 0 1 | asks 0 2 | - | on", journal).await;
        // The first side leaves, and the recording with it.
        let journal = "caller announced true, called announced true, called announced true, recording, recording";
        check_bridged("announce:0-1 told:0 told:1 announce:1-2 told:2", "asks 0 1 | - | on | asks 2 | on", journal)
            .await;
        // Somebody else in the place of a side.
        let journal = "caller announced true, called announced true, called announced true, recording";
        check_bridged("announce:0-1 told:0 told:1 announce:0-1=1 told:1", "asks 0 1 | - | on | asks 1 | -", journal)
            .await;
        // What was vouched for goes on, what was switched off does not.
        check_bridged("off:0-1 start given off:0-2", "- | no | on | -", "all api true, note, recording").await;
        let journal = "caller announced true, called announced true, note, recording";
        check_bridged(
            "announce:0-1 told:0 told:1 stop announce:0-2 start",
            "asks 0 1 | - | on | off | - | no",
            journal,
        )
        .await;
    }

    /// Goes through `steps` of a call between two people and compares what comes of each, and the journal.
    async fn check_bridged(steps: &str, expected: &str, journal: &str) {
        let data = std::env::temp_dir().join(format!("hookswitch-consent-{}-{}", std::process::id(), fresh()));
        let recordings = Recordings::open(&config::Recordings { place: None, keep: None }, &data).unwrap();
        let (worker, mut commands) = mpsc::channel(8);
        let call = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let plan = Arc::new(RecordingPlan::unwritten(Words::silent(320)));
        let recording = CallRecording::new(call, plan, Arc::new(recordings), worker, SampleRate::Hz8000);
        let now = clock::now();
        let mut recording = recording.answered_at(now);
        let (mut log, mut taps, mut events) = (vec![], vec![], vec![]);
        for step in steps.split(' ') {
            let mut seen = vec![];
            let (what, number) = step.split_once(':').unwrap_or((step, ""));
            let mut answer = |answer| {
                recording.handle_answer(number.parse().unwrap(), answer, now);
                Ok(None)
            };
            let outcome = match what {
                "told" => answer(Answer::Announced),
                "yes" => answer(Answer::Yes),
                "no" => answer(Answer::No),
                "silence" => answer(Answer::Silence),
                "start" => recording.handle_request(request(RecordingOrder::Start, None), now),
                "stop" => recording.handle_request(request(RecordingOrder::Stop, None), now),
                "given" => recording.handle_request(request(RecordingOrder::Start, Some(Vouching::Given)), now),
                "tell" | "question" => {
                    let consent = if what == "question" { Consent::Ask } else { Consent::Announce };
                    recording.handle_request(request(RecordingOrder::Start, Some(Vouching::Asked(consent))), now)
                }
                plan => Ok(recording.handle_bridged(&bridged(plan, number), now)),
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(ask)) => {
                    seen.push("asks".to_owned());
                    seen.extend(ask.legs.iter().map(ToString::to_string));
                }
                Err(_) => seen.push("no".to_owned()),
            }
            while let Ok(Command::Record(_, tap)) = commands.try_recv() {
                seen.push(if tap.is_some() { "on" } else { "off" }.to_owned());
                // A leg that ends takes its tap with it, and so does one that is recorded anew.
                taps.clear();
                taps.extend(tap);
            }
            events.append(&mut recording.take_events());
            log.push(if seen.is_empty() { "-".to_owned() } else { seen.join(" ") });
        }
        drop(taps);
        events.extend(recording.finish().await);
        std::fs::remove_dir_all(&data).unwrap();
        let events: Vec<_> = events.iter().map(taken).collect();
        assert_eq!(log.join(" | "), expected, "{steps}");
        assert_eq!(events.join(", "), journal, "{steps}");
    }

    const fn request(order: RecordingOrder, vouching: Option<Vouching>) -> RecordRequest {
        RecordRequest { order, vouching, format: None }
    }

    /// `plan`, and the legs: the first, the second, and the one on which somebody else talks than before.
    fn bridged(plan: &str, legs: &str) -> Bridged {
        let (sides, newcomer) = legs.split_once('=').unwrap_or((legs, ""));
        let (first, second) = sides.split_once('-').unwrap();
        let consent = match plan {
            "none" => Consent::None,
            "announce" | "off" => Consent::Announce,
            "ask" => Consent::Ask,
            other => panic!("{other}"),
        };
        let (enabled, words) = (plan != "off", Words::silent(320));
        Bridged {
            sides: [first.parse().unwrap(), second.parse().unwrap()],
            plan: Arc::new(RecordingPlan { enabled, format: Format::Wav, consent, words }),
            newcomer: newcomer.parse().ok(),
        }
    }

    fn taken(event: &Event) -> String {
        let Event::RecordingConsent { given, how, by } = event else {
            return shown(event);
        };
        format!("{} {how} {given}", by.as_deref().unwrap_or("all"))
    }

    /// Goes through `steps` and compares what the gate, the leg and the media saw after each, and the journal.
    async fn check(consent: Consent, steps: &str, expected: &str, journal: &str) {
        let data = std::env::temp_dir().join(format!("hookswitch-consent-{}-{}", std::process::id(), fresh()));
        let recordings = Recordings::open(&config::Recordings { place: None, keep: None }, &data).unwrap();
        let plan = RecordingPlan { enabled: true, format: Format::Wav, consent, words: Words::silent(320) };
        let (worker, mut commands) = mpsc::channel(8);
        let call = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let recording = CallRecording::new(call, Arc::new(plan), Arc::new(recordings), worker, SampleRate::Hz8000);
        let mut recording = recording.of_caller();
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
        if let Event::RecordingConsent { given, how, .. } = event {
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
