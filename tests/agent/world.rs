//! A simulated world around one agent: a caller, a leg, a recogniser, a synthesiser and a language model on simulated
//! time, driven by a timeline in text.
//!
//! A timeline is its own result: lines with `>` are what the agent does, all other lines are what happens to it, and the
//! whole file is compared. The agent speaks three words a second, 100 ms after it was asked to; the recogniser gives its
//! final result 120 ms after it was asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookswitch::agent::barge_in::{BargeIn, WordsBargeIn};
use hookswitch::agent::pathway::Pathway;
use hookswitch::agent::provider::{
    ModelCommand, ModelEvent, RecogniserCommand, RecogniserEvent, SynthesiserCommand, SynthesiserEvent, UtteranceId,
    WordTime,
};
use hookswitch::agent::voice_activity::{Detector, VoiceActivityConfig};
use hookswitch::agent::{
    Agent, AgentConfig, Apology, CallContext, Event, FirstMessage, MindConfig, ModelConfig, Output, Sound, Tick,
};
use hookswitch::codec::{Clip, Frame, SampleRate};
use hookswitch::identity::{CallId, Pii};
use hookswitch::timer::Now;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

pub(crate) const RATE: SampleRate = SampleRate::Hz8000;
const WORD_MS: u32 = 300;
const SYNTHESIS_MS: u64 = 100;
const RECOGNITION_MS: u64 = 120;

/// The origin of simulated time.
#[expect(clippy::disallowed_methods, reason = "any instant will do as the origin of simulated time")]
pub(crate) fn origin() -> Now {
    Now { instant: Instant::now(), unix: Duration::from_secs(1_700_000_000) }
}

pub(crate) fn context() -> CallContext {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    CallContext {
        call: CallId::generate(&mut rng, 0),
        from: Pii::new("+4930123456".to_owned()),
        to: Pii::new("100".to_owned()),
        variables: BTreeMap::from([("company".to_owned(), "Acme".to_owned())]),
    }
}

pub(crate) fn desk() -> MindConfig {
    let text = include_str!("../turns/desk.toml");
    MindConfig::Pathway(Arc::new(Pathway::load("desk.toml", text).expect("the pathway of the timelines is right")))
}

pub(crate) fn model() -> MindConfig {
    MindConfig::Model(ModelConfig {
        instructions: "You work for {{company}}.".to_owned(),
        greeting: "Hello.".to_owned(),
        ..ModelConfig::default()
    })
}

/// An agent whose apology lasts 600 ms, and that hears voices by their loudness.
pub(crate) fn config(mind: MindConfig) -> AgentConfig {
    let frames: Arc<[Frame]> = vec![Frame::from_samples(RATE, &[5; 160]); 30].into();
    let mut config = AgentConfig::new(mind, RATE, Apology { text: "Sorry, goodbye.".to_owned(), frames });
    config.voice_activity = VoiceActivityConfig { detector: Detector::Energy, ..VoiceActivityConfig::default() };
    config
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    start: Now,
    now_ms: u64,
    leg: Leg,
    caller: Caller,
    recogniser: Recogniser,
    synthesiser: Synthesiser,
    generation: u32,
    playing: Option<UtteranceId>,
    fetching: VecDeque<UtteranceId>,
    recognised_frames: u64,
    pub(crate) log: Vec<String>,
}

/// A leg: plays a frame a tick, unless it is stalled.
#[derive(Default)]
struct Leg {
    queue: VecDeque<UtteranceId>,
    played: BTreeMap<UtteranceId, u32>,
    stalled: bool,
    missed: u32,
    digits: VecDeque<char>,
}

#[derive(Default)]
struct Caller {
    speaks_until_ms: u64,
    /// What is said when the speech ends.
    saying: String,
    sends_nothing: bool,
    frames: u64,
}

#[derive(Default)]
struct Recogniser {
    heard: Vec<String>,
    due: VecDeque<(u64, RecogniserEvent)>,
    hangs: bool,
}

#[derive(Default)]
struct Synthesiser {
    jobs: VecDeque<Job>,
    hangs: bool,
    ignores_stop: bool,
}

struct Job {
    id: UtteranceId,
    words: Vec<String>,
    begins_ms: u64,
    given_ms: u32,
}

/// Runs a timeline and returns what happened, in the same form.
pub(crate) fn run(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let settings: Vec<&str> = lines.iter().filter_map(|it| it.strip_prefix("@ ")).collect();
    let inputs: Vec<(u64, &str)> = lines
        .iter()
        .filter(|it| !it.is_empty() && !it.starts_with(['#', '@']) && !it.contains('>'))
        .map(|it| (time_of(it), it.trim_start().split_once(' ').map_or("", |(_, rest)| rest.trim())))
        .collect();
    let mut world = World::new(configured(&settings));
    world.settle();
    let mut inputs = inputs.into_iter().peekable();
    while inputs.peek().is_some() {
        while let Some((_, input)) = inputs.next_if(|(at_ms, _)| *at_ms <= world.now_ms) {
            world.log(input);
            world.apply(input);
            world.settle();
        }
        let late_audio = world.agent.counts().late_audio;
        if inputs.peek().is_none() && late_audio > 0 {
            world.log(format!("> dropped late audio {late_audio} times"));
        }
        if inputs.peek().is_some() {
            world.step();
        }
    }
    let head = lines.iter().take_while(|it| it.is_empty() || it.starts_with(['#', '@']));
    let head: Vec<String> = head.map(|it| (*it).to_owned()).collect();
    let mut result = [head, world.log].concat().join("\n");
    result.push('\n');
    result
}

fn configured(settings: &[&str]) -> AgentConfig {
    let mind = if settings.contains(&"model") { model() } else { desk() };
    let mut config = config(mind);
    for setting in settings {
        let words: Vec<&str> = setting.split_whitespace().collect();
        match words.as_slice() {
            ["model" | "desk"] => {}
            ["caller", "first", ms] => config.first_message = FirstMessage::CallerFirst { wait_ms_max: number(ms) },
            ["greeting", "after", ms] => config.first_message = FirstMessage::AgentFirst { delay_ms: number(ms) },
            ["call", ms] => config.times.call_ms_max = number(ms),
            ["farewell", ms] => config.times.farewell_ms_max = number(ms),
            ["idle", ms] => config.turn_taking.idle_ms = number(ms),
            ["transfer", "sound"] => {
                let clip = Clip::new(&[1_000; 800], 8_000, RATE).expect("its rate is ours");
                config.transfer_sound = Some(Sound { name: "hold-music".to_owned(), clip });
            }
            ["barge-in", "words"] => config.turn_taking.barge_in = BargeIn::Words(WordsBargeIn::default()),
            _ => panic!("unknown setting {setting}"),
        }
    }
    config
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn time_of(line: &str) -> u64 {
    let word = line.split_whitespace().next().unwrap_or_default();
    number(&word.replace('.', ""))
}

impl World {
    pub(crate) fn new(config: AgentConfig) -> Self {
        let start = origin();
        Self {
            agent: Agent::new(config, context(), ChaCha12Rng::seed_from_u64(1), start),
            start,
            now_ms: 0,
            leg: Leg::default(),
            caller: Caller::default(),
            recogniser: Recogniser::default(),
            synthesiser: Synthesiser::default(),
            generation: 0,
            playing: None,
            fetching: VecDeque::new(),
            recognised_frames: 0,
            log: vec![],
        }
    }

    fn now(&self) -> Now {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn log(&mut self, what: impl AsRef<str>) {
        self.log.push(format!("{:3}.{:03} {}", self.now_ms / 1_000, self.now_ms % 1_000, what.as_ref()));
    }

    pub(crate) fn apply(&mut self, input: &str) {
        let now = self.now();
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            ["answered"] => {
                self.agent.handle_recogniser(RecogniserEvent::Ready, now);
                self.agent.handle_answered(now);
            }
            ["answered", "recogniser", "warming"] => self.agent.handle_answered(now),
            ["caller", "says", text @ .., "for", ms] => {
                self.caller.speaks_until_ms = self.now_ms + number::<u64>(ms);
                self.caller.saying = text.join(" ");
            }
            ["caller", "presses", keys] => self.leg.digits.extend(keys.chars()),
            ["caller", "sends", "nothing"] => self.caller.sends_nothing = true,
            ["caller", "hangs", "up"] => self.agent.handle_hangup(now),
            ["leg", "stalls"] => self.leg.stalled = true,
            ["leg", "misses", ticks] => self.leg.missed = number(ticks),
            ["transfer", "refused", reason @ ..] => self.agent.handle_transfer_refused(&reason.join(" "), now),
            ["sound", "of", ms] => {
                let clip = Clip::new(&vec![1_000; number::<usize>(ms) * 8], 8_000, RATE).expect("its rate is ours");
                let utterance = self.fetching.pop_front().expect("a sound is asked for");
                self.agent.handle_sound(utterance, Ok(clip), now);
            }
            ["sound", "missing"] => {
                let utterance = self.fetching.pop_front().expect("a sound is asked for");
                self.agent.handle_sound(utterance, Err("it is not there".to_owned()), now);
            }
            ["recogniser", "hangs"] => self.recogniser.hangs = true,
            ["recogniser", "dies"] => {
                self.agent.handle_recogniser(RecogniserEvent::Failed { reason: "gone".to_owned() }, now);
            }
            ["synthesiser", "hangs"] => self.synthesiser.hangs = true,
            ["synthesiser", "ignores", "stop"] => self.synthesiser.ignores_stop = true,
            ["synthesiser", "dies"] => {
                self.synthesiser.hangs = true;
                self.agent.handle_synthesiser(SynthesiserEvent::Failed { reason: "gone".to_owned() }, now);
            }
            ["model", generation, "done"] => {
                self.agent.handle_model(ModelEvent::Done { generation: number(generation) }, now);
            }
            ["model", generation, "fails"] => {
                let (generation, reason) = (number(generation), "overloaded".to_owned());
                self.agent.handle_model(ModelEvent::Failed { generation, reason }, now);
            }
            ["model", generation, "says", text @ ..] => {
                let (generation, delta) = (number(generation), format!("{} ", text.join(" ")));
                self.agent.handle_model(ModelEvent::Text { generation, delta }, now);
            }
            ["end"] => {}
            _ => panic!("unknown input {input}"),
        }
    }

    /// Lets 20 ms pass.
    pub(crate) fn step(&mut self) {
        self.now_ms += 20;
        self.serve();
        let tick = self.tick();
        self.agent.handle_tick(&tick, self.now());
        self.settle();
    }

    fn tick(&mut self) -> Tick {
        let played = if self.leg.stalled { None } else { self.leg.queue.pop_front() };
        let played = played.map(|id| {
            let samples = self.leg.played.entry(id).or_default();
            *samples += 160;
            (id, *samples)
        });
        let missed = std::mem::take(&mut self.leg.missed);
        self.now_ms += u64::from(missed) * 20;
        let audio = if self.caller.sends_nothing { None } else { Some(self.caller.frame(self.now_ms)) };
        let queued_frames = u16::try_from(self.leg.queue.len()).expect("the leg has few frames");
        assert!(
            u32::from(queued_frames) <= hookswitch::limits::AGENT_LEG_FRAMES_MAX,
            "the leg has more than it should"
        );
        Tick { audio, played, digit: self.leg.digits.pop_front(), queued_frames, missed }
    }

    /// What the services have to say by now.
    fn serve(&mut self) {
        let now = self.now();
        if self.caller.speaks_until_ms <= self.now_ms && !self.caller.saying.is_empty() {
            let said = std::mem::take(&mut self.caller.saying);
            if said != "(noise)" {
                self.recogniser.heard.push(said);
                let text = self.recogniser.heard.join(" ");
                self.agent.handle_recogniser(RecogniserEvent::Partial { text }, now);
                self.settle();
            }
        }
        while let Some((_, event)) = self.recogniser.due.pop_front_if(|(at_ms, _)| *at_ms <= self.now_ms) {
            self.agent.handle_recogniser(event, now);
            self.settle();
        }
        while let Some(events) = self.synthesiser.next(self.now_ms) {
            for event in events {
                self.agent.handle_synthesiser(event, now);
                self.settle();
            }
        }
    }

    /// Does what the agent wants, and writes it down.
    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            if let Some(line) = self.perform(output) {
                self.log(format!("> {line}"));
            }
        }
    }

    fn perform(&mut self, output: Output) -> Option<String> {
        Some(match output {
            Output::Recogniser(RecogniserCommand::Audio(_)) => {
                self.recognised_frames += 1;
                return None;
            }
            Output::Recogniser(RecogniserCommand::Finalize { turn }) => {
                let text = std::mem::take(&mut self.recogniser.heard).join(" ");
                if !self.recogniser.hangs {
                    let event = RecogniserEvent::Final { turn: Some(turn), text, words: vec![] };
                    self.recogniser.due.push_back((self.now_ms + RECOGNITION_MS, event));
                }
                format!("finalize {turn}")
            }
            Output::Synthesiser(SynthesiserCommand::Speak { utterance, text }) => {
                self.synthesiser.speak(utterance, &text, self.now_ms);
                format!("synthesise u{} \"{text}\"", utterance.0)
            }
            Output::Synthesiser(SynthesiserCommand::Stop { utterance }) => {
                self.synthesiser.stop(utterance);
                format!("stop u{}", utterance.0)
            }
            Output::Model(ModelCommand::Generate { generation, messages }) => {
                self.generation = generation;
                let said: Vec<_> = messages.iter().map(|it| format!("{:?}: {}", it.role, it.text)).collect();
                format!("generate {generation} ({})", said.join(" | ").to_lowercase())
            }
            Output::Model(ModelCommand::Cancel { generation }) => format!("cancel {generation}"),
            Output::Play { utterance, .. } => {
                self.leg.queue.push_back(utterance);
                if self.playing.replace(utterance) == Some(utterance) {
                    return None;
                }
                format!("play u{}", utterance.0)
            }
            Output::ClearPlayout => {
                self.leg.queue.clear();
                self.playing = None;
                "clear".to_owned()
            }
            Output::Fetch { utterance, source } => {
                self.fetching.push_back(utterance);
                format!("fetch u{} {source}", utterance.0)
            }
            Output::SendDtmf(key) => format!("dtmf {key}"),
            Output::HangUp { reason } => format!("hang up: {reason:?}"),
            Output::Event(event) => show(event),
        })
    }
}

fn show(event: Event) -> String {
    match event {
        Event::State(state) => format!("[{state:?}]").to_lowercase(),
        Event::Transcript { speaker, text, start_ms, end_ms, interrupted } => {
            let cut = if interrupted { " (cut off)" } else { "" };
            let who = format!("{speaker:?}").to_lowercase();
            format!("{who} said \"{text}\" {start_ms}-{end_ms}{cut}")
        }
        Event::TurnLatency(it) => format!(
            "latency {} + {} + {} + {} + {} = {} ms",
            it.end_of_turn_wait, it.recogniser, it.decision, it.synthesiser, it.playout, it.total
        ),
        Event::Played { source, start_ms, end_ms, interrupted } => {
            let cut = if interrupted { " (cut off)" } else { "" };
            format!("played {source} {start_ms}-{end_ms}{cut}")
        }
        Event::NotPlayed { source, reason } => format!("not played {source}: {reason}"),
        Event::Digit(digit) => format!("digit {digit}"),
        Event::ServiceFailed { service, reason } => format!("{service:?} failed: {reason}").to_lowercase(),
        Event::NodeEntered { node } => format!("node {node}"),
        Event::VariableSet { name, value } => format!("{name} = {value}"),
        Event::TransferRequested { target } => format!("transfer to {target}"),
        Event::TransferRefused { reason } => format!("transfer refused: {reason}"),
        Event::BargeIn
        | Event::RecogniserLate
        | Event::AudioDropped { .. }
        | Event::SpeechDropped
        | Event::VariableMissing { .. }
        | Event::Recording(_)
        | Event::Note { .. } => format!("{event:?}").to_lowercase(),
    }
}

impl Caller {
    /// Syllables of 180 ms with 20 ms between them, or the silence of a line.
    fn frame(&mut self, now_ms: u64) -> Frame {
        self.frames += 1;
        let loud = now_ms <= self.speaks_until_ms && !self.frames.is_multiple_of(10);
        Frame::from_samples(RATE, &[if loud { 6_000 } else { 3 }; 160])
    }
}

impl Synthesiser {
    fn speak(&mut self, id: UtteranceId, text: &str, now_ms: u64) {
        let words = text.split_whitespace().map(str::to_owned).collect();
        self.jobs.push_back(Job { id, words, begins_ms: now_ms + SYNTHESIS_MS, given_ms: 0 });
    }

    fn stop(&mut self, id: UtteranceId) {
        if !self.ignores_stop {
            self.jobs.retain(|it| it.id != id);
        }
    }

    /// A tenth of a second of audio for every 20 ms.
    fn next(&mut self, now_ms: u64) -> Option<Vec<SynthesiserEvent>> {
        if self.hangs {
            return None;
        }
        let job = self.jobs.iter_mut().find(|it| it.begins_ms <= now_ms)?;
        job.begins_ms = now_ms + 20;
        let mut events = vec![];
        if job.given_ms == 0 {
            let time = |(at, word): (u32, &String)| WordTime {
                word: word.clone(),
                start_ms: at * WORD_MS,
                end_ms: (at + 1) * WORD_MS,
            };
            let words = (0..).zip(&job.words).map(time).collect();
            events.push(SynthesiserEvent::Words { utterance: job.id, words });
        }
        let total_ms = u32::try_from(job.words.len()).expect("texts are short") * WORD_MS;
        let ms = (total_ms - job.given_ms).min(100);
        let samples = vec![7; usize::try_from(ms * 8).expect("a tenth of a second fits")];
        events.push(SynthesiserEvent::Audio { utterance: job.id, samples });
        job.given_ms += ms;
        if job.given_ms == total_ms {
            let utterance = job.id;
            events.push(SynthesiserEvent::Complete { utterance });
            self.jobs.retain(|it| it.id != utterance);
        }
        Some(events)
    }
}
