//! `[agents.NAME]` and `[numbers."…"]`

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::reading::{Section, nearest};
use super::recordings::Recording;
use super::trunks::Trunk;
use super::users::User;
use super::{Origin, Places, Room};
use crate::identity::Secret;
use crate::limits;
use crate::sip::Uri;

/// `[agents.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `pathway` or `[agents.NAME.model]`
    pub brain: Brain,
    /// `greeting`: said first. It, `apology`, `goodbye` and `idle_prompt` are for agents with a model: a pathway has its own.
    pub greeting: Option<String>,
    /// `apology`: said before hanging up when a service that the call needs has failed.
    pub apology: String,
    /// `goodbye`: said before the agent hangs up by itself.
    pub goodbye: String,
    /// `voice`: a name that the speech service knows.
    pub voice: Option<String>,
    /// `transfers`: whom it may hand callers over to, by the names that its pathway or model uses.
    pub transfers: BTreeMap<String, Number>,
    /// `transfer_by`: how callers get there.
    pub transfer_by: TransferBy,
    /// `[agents.NAME.speech]`; without it, the embedded engine.
    pub speech: Option<SpeechService>,
    /// The keys about timing.
    pub turns: Turns,
    /// `on_machine`: what is done when a machine answers a call of the agent's own.
    pub on_machine: OnMachine,
    /// `on_fax`: what is done when a fax machine shows itself.
    pub on_fax: OnFax,
    /// `transfer_sound`: what the caller hears meanwhile; `silence` is nothing.
    pub transfer_sound: String,
    /// The keys about the caller's sound.
    pub sound: Sound,
    /// `[agents.NAME.recording]`
    pub recording: Recording,
}

/// How the callers of an agent get to whom it hands them over to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransferBy {
    /// `bridge`: we call, and stay between the two.
    #[default]
    Bridge,
    /// `refer`: the caller's side is asked to call there.
    Refer,
    /// `refer_or_bridge`: the same, and if it does not do that, we call.
    ReferOrBridge,
    /// `release`: we call, and once both hear each other the caller's side is asked to take our place.
    Release,
}

impl TransferBy {
    const ALL: [Self; 4] = [Self::Bridge, Self::Refer, Self::ReferOrBridge, Self::Release];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Refer => "refer",
            Self::ReferOrBridge => "refer_or_bridge",
            Self::Release => "release",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| "expected \"bridge\", \"refer\", \"refer_or_bridge\" or \"release\"".to_owned())
    }
}

/// What is done when a machine answers a call of the agent's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnMachine {
    /// `go_on`: it is talked to as a person is.
    GoOn,
    /// `hang_up`
    HangUp,
    /// `message`: `machine_message` is said once it records.
    Message(String),
}

/// What is done when a fax machine shows itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFax {
    /// `go_on`: nothing.
    GoOn,
    /// `hang_up`
    HangUp,
    /// A name of `transfers`.
    Transfer(String),
}

/// What is done to the caller's audio before anything listens to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound {
    /// `noise_suppression`
    pub noise_suppression: bool,
    /// `echo_cancellation`: of what the agent says, out of what comes back.
    pub echo_cancellation: bool,
    /// `gain_control`: quiet callers are made louder.
    pub gain_control: bool,
}

/// What decides on the agent's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brain {
    /// `pathway`
    Pathway(Pathway),
    /// `[agents.NAME.model]`
    Model(Model),
}

/// Where a scripted conversation flow is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pathway {
    /// `builtin:demo`, the receptionist that is compiled in.
    Demo,
    /// A file. It was there when the configuration was read.
    File(PathBuf),
}

/// A language model behind an OpenAI-compatible chat-completions endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// `url`: of the API, to which `/chat/completions` is appended.
    pub url: String,
    /// `model`
    pub model: String,
    /// `api_key`, or what the variable named by `api_key_env` holds.
    pub api_key: Option<Secret>,
    /// `system_prompt`
    pub system_prompt: String,
    /// `fallback`: said when the model fails or keeps the caller waiting.
    pub fallback: String,
    /// `timeout_ms`: how long the first words may take.
    pub timeout: Duration,
}

/// A speech service of the agent's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeechService {
    /// `url`: of a websocket.
    pub url: String,
    /// `token`, or what the variable named by `token_env` holds.
    pub token: Option<Secret>,
}

/// When the agent listens, speaks and gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turns {
    /// `end_of_turn_ms`: silence that ends the caller's turn.
    pub end_of_turn: Duration,
    /// `barge_in_ms`: speech of the caller that interrupts the agent.
    pub barge_in: Duration,
    /// `idle_prompt_s`: silence of both after which the agent asks.
    pub idle_prompt_after: Duration,
    /// `idle_prompt`: what it asks.
    pub idle_prompt: String,
    /// `idle_prompts_max`: how often it asks before it says goodbye.
    pub idle_prompts_max: u32,
    /// `max_duration_s`: of the call.
    pub duration_max: Duration,
}

/// `[numbers."…"]`: who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// `agent`: it exists.
    Agent(String),
    /// `user`: it exists, and is called wherever it is registered.
    User(String),
    /// `room`: it exists.
    Room(String),
    /// `uri`: it is called at our cost.
    Uri(Uri),
    /// `trunk`, which exists, and `dial`: the number that is called over it at our cost; the same one if not given.
    Trunk(String, String),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) | Self::User(name) | Self::Room(name) => f.write_str(name),
            Self::Uri(uri) => f.write_str(uri.as_str()),
            Self::Trunk(trunk, number) => write!(f, "{number} over {trunk}"),
        }
    }
}

pub(super) fn read_agents(
    root: &Section<'_>,
    users: &BTreeMap<String, User>,
    places: &Places<'_>,
) -> BTreeMap<String, Agent> {
    let mut agents = BTreeMap::new();
    for (name, section) in root.sections("agents") {
        let fits = !name.is_empty() && name.len() <= limits::AGENT_NAME_BYTES_MAX;
        if !fits || !name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-')) {
            section.complain_of_section(&format!(
                "the name of an agent is 1 to {} letters, digits, `-` and `_`",
                limits::AGENT_NAME_BYTES_MAX
            ));
        }
        // An agent with a mistake in it still exists for what refers to it.
        let brain = read_brain(&section, places).unwrap_or(Brain::Pathway(Pathway::Demo));
        agents.insert(name, read_agent(brain, &section, users, places));
        section.finish();
    }
    agents
}

/// What numbers may lead to.
#[derive(Clone, Copy)]
pub(super) struct Answering<'a> {
    pub(super) agents: &'a BTreeMap<String, Agent>,
    pub(super) users: &'a BTreeMap<String, User>,
    pub(super) rooms: &'a BTreeMap<String, Room>,
    pub(super) trunks: &'a BTreeMap<String, Trunk>,
}

/// Numbers, and how calls to them are recorded that lead to people.
pub(super) fn read_numbers(
    root: &Section<'_>,
    answering: &Answering<'_>,
) -> (BTreeMap<String, Number>, BTreeMap<String, Recording>) {
    let (mut numbers, mut recordings) = (BTreeMap::new(), BTreeMap::new());
    for (number, section) in root.sections("numbers") {
        if let Err(message) = check_number(&number) {
            section.complain_of_section(&message);
        }
        let recording = section.section_if_any("recording").map(Recording::read);
        if let Some(to) = read_number(&section, &number, answering) {
            match (recording, &to) {
                (None, _) => {}
                (Some(_), Number::Agent(_)) => {
                    section.complain("recording", "an agent's calls are recorded as [agents.NAME.recording] says");
                }
                (Some(_), Number::Room(_)) => {
                    section.complain("recording", "a room is recorded as `record` of [rooms.NAME] says");
                }
                (Some(recording), Number::User(_) | Number::Uri(_) | Number::Trunk(..)) => {
                    recordings.insert(number.clone(), recording);
                }
            }
            numbers.insert(number, to);
        }
        section.finish();
    }
    (numbers, recordings)
}

fn read_number(section: &Section<'_>, number: &str, answering: &Answering<'_>) -> Option<Number> {
    const KEYS: [&str; 5] = ["agent", "user", "room", "uri", "trunk"];
    let Answering { agents, users, rooms, trunks } = answering;
    let (trunk, dial) = (section.text("trunk"), section.text("dial"));
    let (agent, user, room) = (section.text("agent"), section.text("user"), section.text("room"));
    let uri = section.parsed("uri", parse_callee);
    match KEYS.iter().filter(|it| section.origin(it).is_some()).count() {
        0 => section.complain_of_section("`agent`, `user`, `room`, `uri` or `trunk` is missing"),
        1 => (),
        _ => section.complain_of_section("`agent`, `user`, `room`, `uri` and `trunk` exclude each other"),
    }
    if let Some(agent) = agent {
        if !agents.contains_key(&agent) {
            section.complain("agent", &no_such_agent(&agent, agents));
        }
        return Some(Number::Agent(agent));
    }
    if let Some(user) = user {
        if !users.contains_key(&user) {
            section.complain("user", "there is no such user: add it as [users.NAME]");
        }
        return Some(Number::User(user));
    }
    if let Some(room) = room {
        if !rooms.contains_key(&room) {
            section.complain("room", "there is no such room: add it as [rooms.NAME]");
        }
        return Some(Number::Room(room));
    }
    if let Some(trunk) = trunk {
        if !trunks.contains_key(&trunk) {
            section.complain("trunk", "there is no such trunk: add it as [trunks.NAME]");
        }
        let dial = dial.unwrap_or_else(|| number.to_owned());
        if let Err(message) = check_number(&dial) {
            section.complain("dial", &message);
        }
        return Some(Number::Trunk(trunk, dial));
    }
    uri.map(Number::Uri)
}

fn read_on_machine(section: &Section<'_>) -> OnMachine {
    let message = section.parsed("machine_message", parse_speech);
    let action = section.parsed("on_machine", |text| match (text, message.clone()) {
        ("go_on", _) => Ok(OnMachine::GoOn),
        ("hang_up", _) => Ok(OnMachine::HangUp),
        ("message", Some(message)) => Ok(OnMachine::Message(message)),
        ("message", None) => Err("`machine_message` is missing: what the machine is told".to_owned()),
        _ => Err("expected \"go_on\", \"hang_up\" or \"message\"".to_owned()),
    });
    action.unwrap_or(OnMachine::GoOn)
}

fn read_on_fax(section: &Section<'_>, transfers: &BTreeMap<String, Number>) -> OnFax {
    let action = section.parsed("on_fax", |text| match text {
        "go_on" => Ok(OnFax::GoOn),
        "hang_up" => Ok(OnFax::HangUp),
        name if transfers.contains_key(name) => Ok(OnFax::Transfer(name.to_owned())),
        _ => Err("expected \"go_on\", \"hang_up\" or a name of `transfers`".to_owned()),
    });
    action.unwrap_or(OnFax::GoOn)
}

/// To users and URIs, by names.
fn read_transfers(section: &Section<'_>, users: &BTreeMap<String, User>) -> BTreeMap<String, Number> {
    let read = |(name, to): (String, String)| {
        let found = if users.contains_key(&to) { Ok(Number::User(to)) } else { parse_callee(&to).map(Number::Uri) };
        match found {
            Ok(found) => Some((name, found)),
            Err(message) => {
                section.complain("transfers", &format!("{name}: there is no such user, and {message}"));
                None
            }
        }
    };
    section.pairs("transfers").unwrap_or_default().into_iter().filter_map(read).collect()
}

/// Whom a number leads to out of the house.
fn parse_callee(text: &str) -> Result<Uri, String> {
    let uri = Uri::parse(text).map_err(|it| it.to_string())?;
    if uri.is_sip() && !uri.has_headers() {
        return Ok(uri);
    }
    Err("expected a SIP URI such as sip:100@sip.example.com".to_owned())
}

pub(super) fn no_such_agent(name: &str, agents: &BTreeMap<String, Agent>) -> String {
    let names: Vec<_> = agents.keys().map(String::as_str).collect();
    let guess = nearest(name, &names).map_or_else(|| ".".to_owned(), |it| format!("; did you mean \"{it}\"?"));
    match names.join(", ") {
        names if names.is_empty() => "there is no agent: add one as [agents.NAME]".to_owned(),
        names => format!("there is no such agent{guess} Agents: {names}"),
    }
}

/// The user part of a URI: `+` and digits, or a name or extension.
pub(super) fn check_number(number: &str) -> Result<(), String> {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.' | b'*' | b'#');
    let (digits, rest): (_, fn(u8) -> bool) = match number.strip_prefix('+') {
        Some(digits) => (digits, |it| it.is_ascii_digit()),
        None => (number, |_| true),
    };
    if !digits.is_empty()
        && number.len() <= limits::NUMBER_BYTES_MAX
        && digits.bytes().all(|it| allowed(it) && rest(it))
    {
        return Ok(());
    }
    Err("a number is \"+\" and digits without separators, or an extension or name such as \"100\"".to_owned())
}

/// What an agent with a pathway says otherwise than one with a model.
const PATHWAY_SAYS: [&str; 4] = ["greeting", "apology", "goodbye", "idle_prompt"];

fn read_agent(brain: Brain, section: &Section<'_>, users: &BTreeMap<String, User>, places: &Places<'_>) -> Agent {
    let transfers = read_transfers(section, users);
    Agent {
        brain,
        greeting: section.parsed("greeting", parse_speech),
        apology: speech_or(section, "apology", "I am sorry, something went wrong. Please call again later."),
        goodbye: speech_or(section, "goodbye", "Goodbye."),
        voice: section.text("voice"),
        transfer_by: section.parsed("transfer_by", TransferBy::parse).unwrap_or_default(),
        speech: section.section_if_any("speech").and_then(|section| read_speech(section, places)),
        turns: Turns {
            end_of_turn: Duration::from_millis(section.number("end_of_turn_ms", 100..=5000).unwrap_or(500).into()),
            barge_in: Duration::from_millis(section.number("barge_in_ms", 20..=5000).unwrap_or(200).into()),
            idle_prompt_after: Duration::from_secs(section.number("idle_prompt_s", 1..=600).unwrap_or(8).into()),
            idle_prompt: speech_or(section, "idle_prompt", "Are you still there?"),
            idle_prompts_max: section.number("idle_prompts_max", 0..=10).unwrap_or(2),
            duration_max: Duration::from_secs(
                section.number("max_duration_s", 1..=limits::CALL_DURATION_CONFIGURED_S_MAX).unwrap_or(3600).into(),
            ),
        },
        on_machine: read_on_machine(section),
        on_fax: read_on_fax(section, &transfers),
        transfers,
        transfer_sound: section.text("transfer_sound").unwrap_or_else(|| "hold-music".to_owned()),
        sound: Sound {
            noise_suppression: section.boolean("noise_suppression").unwrap_or(false),
            echo_cancellation: section.boolean("echo_cancellation").unwrap_or(false),
            gain_control: section.boolean("gain_control").unwrap_or(false),
        },
        recording: section.section_if_any("recording").map(Recording::read).unwrap_or_default(),
    }
}

fn read_brain(section: &Section<'_>, places: &Places<'_>) -> Option<Brain> {
    let pathway = section.text("pathway");
    let model = section.section_if_any("model");
    match (pathway, model) {
        (Some(_), Some(model)) => {
            section.complain("pathway", "the agent has a [model] too; it can have one of them");
            read_model(model, places);
            None
        }
        (Some(pathway), None) => {
            let theirs = |key: &&&str| section.origin(key).is_some();
            for key in PATHWAY_SAYS.iter().filter(theirs) {
                section.complain(key, "a pathway says this in its own words: change them in the pathway's file");
            }
            read_pathway(section, &pathway, places).map(Brain::Pathway)
        }
        (None, Some(model)) => read_model(model, places).map(Brain::Model),
        (None, None) => {
            if section.origin("pathway").is_none() && section.origin("model").is_none() {
                section.complain_of_section("`pathway` or a table `model` is missing");
            }
            None
        }
    }
}

fn read_pathway(section: &Section<'_>, written: &str, places: &Places<'_>) -> Option<Pathway> {
    if let Some(name) = written.strip_prefix("builtin:") {
        if name == "demo" {
            return Some(Pathway::Demo);
        }
        section.complain("pathway", "the only built-in pathway is builtin:demo");
        return None;
    }
    let path = places.path(written, section.origin("pathway"));
    if path.is_file() {
        return Some(Pathway::File(path));
    }
    let from = match section.origin("pathway") {
        Some(Origin::File { .. }) => "the directory of this file",
        Some(Origin::Environment { .. } | Origin::BuiltIn) | None => "the working directory",
    };
    section.complain("pathway", &format!("there is no such file, seen from {from}; builtin:demo is the built-in one"));
    None
}

fn read_model(section: Section<'_>, places: &Places<'_>) -> Option<Model> {
    let url = read_url(&section, &["http", "https"]);
    let model = required(&section, "model", parse_name);
    let api_key = places.secret(&section, "api_key", "api_key_env");
    let system_prompt = section.text("system_prompt").unwrap_or_else(|| "You are a helpful voice agent.".to_owned());
    let fallback = speech_or(&section, "fallback", "I am sorry, could you say that again?");
    let timeout_ms = section.number("timeout_ms", 100..=limits::MODEL_TIMEOUT_CONFIGURED_MS_MAX).unwrap_or(3000);
    section.finish();
    let timeout = Duration::from_millis(timeout_ms.into());
    Some(Model { url: url?, model: model?, api_key, system_prompt, fallback, timeout })
}

fn read_speech(section: Section<'_>, places: &Places<'_>) -> Option<SpeechService> {
    let url = read_url(&section, &["ws", "wss"]);
    let token = places.secret(&section, "token", "token_env");
    section.finish();
    Some(SpeechService { url: url?, token })
}

fn required<T>(section: &Section<'_>, key: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    if section.origin(key).is_none() {
        section.complain_of_section(&format!("`{key}` is missing"));
    }
    section.parsed(key, parse)
}

pub(super) fn speech_or(section: &Section<'_>, key: &'static str, default: &str) -> String {
    section.parsed(key, parse_speech).unwrap_or_else(|| default.to_owned())
}

/// Something to say.
pub(super) fn parse_speech(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > limits::SPOKEN_TEXT_CONFIGURED_BYTES_MAX {
        return Err(format!("expected 1 to {} bytes of text", limits::SPOKEN_TEXT_CONFIGURED_BYTES_MAX));
    }
    Ok(text.to_owned())
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        Err("expected a name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The key `url`. One that may hold a password is not repeated in a message.
fn read_url(section: &Section<'_>, schemes: &[&str]) -> Option<String> {
    if section.origin("url").is_none() {
        section.complain_of_section("`url` is missing");
    }
    let text = section.text("url")?;
    if text.contains('@') {
        section.complain_of_secret("url", "a URL with `@` is not taken: secrets have keys of their own");
        return None;
    }
    section.parsed("url", |text| {
        let expected = || format!("expected a URL that begins with {}://", schemes.join(":// or "));
        let url = reqwest::Url::parse(text).map_err(|error| format!("{} ({error})", expected()))?;
        if !schemes.contains(&url.scheme()) || !url.has_host() {
            return Err(expected());
        }
        Ok(text.trim_end_matches('/').to_owned())
    })
}
