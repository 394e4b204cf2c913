//! `hookswitch.toml`: what can be written in it, and what is used once it is resolved.
//!
//! A file is read in three steps: its text becomes a tree of values that know their lines (`written`), environment
//! variables are laid over the tree, and the sections take what they know from it (`reading`), each with its defaults,
//! bounds and cross references. Every mistake is reported, at once, with its place, what is allowed there and, for a
//! slip of the pen, the nearest name. Relative paths in the file start at the file's directory, those in variables at
//! the working directory.
//!
//! Without a file the [built-in configuration](Config::built_in) applies: a demo agent that answers on loopback.

mod agents;
mod capture;
mod media;
mod network;
mod operation;
mod reading;
mod recordings;
mod rooms;
mod show;
mod sip;
mod sip_limits;
mod sounds;
mod tls;
mod trunk_inbound;
mod trunks;
mod users;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use reading::{Problem, Problems, Section};
use written::{Malformed, Origin, Table};

pub use crate::identity::Secret;
pub use agents::{Agent, Brain, Model, Number, OnFax, OnMachine, Pathway, Sound, SpeechService, TransferBy, Turns};
pub use capture::{Capture, Homer};
pub use media::{Keys, Media, TrunkMedia};
pub use network::{Advertise, Http, Listener, PortRange, Rtp, SignallingTransport, parse_sha256};
pub use operation::{Data, Drain, Log, LogFormat, Speech};
pub use recordings::{Consent, Recording, RecordingFormat, RecordingPlace, Recordings};
pub use rooms::Room;
pub use sip::{Sip, TransfersFor};
pub use sip_limits::SipLimits;
pub use sounds::Sounds;
pub use tls::{SipTls, TlsClients, TrunkTls};
pub use trunk_inbound::TrunkInbound;
pub use trunks::{Dns, MediaAddresses, Trunk};
pub use users::User;

/// The environment, as far as it can be read as text.
pub type Environment = BTreeMap<String, String>;

/// Everything that is configured, resolved and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[sip]`
    pub sip: Sip,
    /// `[rtp]`
    pub rtp: Rtp,
    /// `[media]`
    pub media: Media,
    /// `[http]`
    pub http: Http,
    /// `[agents.NAME]`, by name.
    pub agents: BTreeMap<String, Agent>,
    /// `[numbers."…"]`, by the user part of the URI that is called. Every agent named here exists.
    pub numbers: BTreeMap<String, Number>,
    /// `[numbers."…".recording]`, of those that lead to people.
    pub number_recordings: BTreeMap<String, Recording>,
    /// `[users.NAME]`, by name.
    pub users: BTreeMap<String, User>,
    /// `[rooms.NAME]`, by name.
    pub rooms: BTreeMap<String, Room>,
    /// `[trunks.NAME]`, by name.
    pub trunks: BTreeMap<String, Trunk>,
    /// `[dns]`
    pub dns: Dns,
    /// `[speech]`
    pub speech: Speech,
    /// `[data]`
    pub data: Data,
    /// `[recordings]`
    pub recordings: Recordings,
    /// `[sounds]`
    pub sounds: Sounds,
    /// `[log]`
    pub log: Log,
    /// `[drain]`
    pub drain: Drain,
    /// `[capture]`
    pub capture: Capture,
}

impl Config {
    /// Reads a file and lays the environment over it.
    pub fn load(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file, environment),
            Err(error) => {
                let problem = Problem { origin: Origin::BuiltIn, message: format!("it cannot be read: {error}") };
                Err(ConfigError { file: Some(file.to_owned()), problems: vec![problem] })
            }
        }
    }

    /// As [`Config::load`], of the text of a file that would be `file`.
    pub fn parse(text: &str, file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let (mut tree, malformed) = written::parse(text, |line| Origin::File { line });
        if !malformed.is_empty() {
            // What follows a syntax error may be misread, so nothing else is said about such a file.
            let problems = malformed.into_iter().map(Problem::from).collect();
            return Err(ConfigError { file: Some(file.to_owned()), problems });
        }
        if !tree.contains_key("agents") {
            tree.extend(built_in().remove_entry("agents"));
        }
        Self::resolve(tree, Some(file), environment)
    }

    /// What applies without a file, with the environment laid over it.
    pub fn built_in(environment: &Environment) -> Result<Self, ConfigError> {
        Self::resolve(built_in(), None, environment)
    }

    fn resolve(mut tree: Table, file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let problems = Problems::default();
        for Malformed { origin, message } in written::overlay(&mut tree, environment) {
            problems.add(origin, message);
        }
        if written::is_built_in(&tree, "agents") && written::is_off(&tree, "speech", "enabled") {
            // Nobody wrote that the demo agent should answer, and without speech it cannot.
            tree.remove("agents");
        }
        let places = Places { directory: file.and_then(Path::parent).unwrap_or_else(|| Path::new("")), environment };
        let root = Section::root(&tree, &problems);
        let mut asked = BTreeMap::new();
        let mut finish = |name, section: Section<'_>| drop(asked.insert(name, section.finish()));

        let (sip_section, rtp_section) = (root.section("sip"), root.section("rtp"));
        let users = users::read_users(&root, &places);
        let agents = agents::read_agents(&root, &users, &places);
        let sip = Sip::read(&sip_section, &agents, &places);
        let rtp = Rtp::read(&rtp_section, &sip.advertise);
        let trunks = trunks::read_trunks(&root, &users, &places);
        let rooms = rooms::read_rooms(&root, &users, &places);
        let answering = agents::Answering { agents: &agents, users: &users, rooms: &rooms, trunks: &trunks };
        let (numbers, number_recordings) = agents::read_numbers(&root, &answering);
        finish("sip", sip_section);
        finish("rtp", rtp_section);
        let media = read(&root, "media", |section| Media::read(section, &rtp.ports), &mut finish);
        let dns = read(&root, "dns", Dns::read, &mut finish);
        let http = read(&root, "http", |section| Http::read(section, &places), &mut finish);
        let speech = read(&root, "speech", Speech::read, &mut finish);
        let data = read(&root, "data", |section| Data::read(section, &places), &mut finish);
        let recordings = read(&root, "recordings", |section| Recordings::read(section, &places), &mut finish);
        let sounds = read(&root, "sounds", |section| Sounds::read(section, &places), &mut finish);
        let log = read(&root, "log", Log::read, &mut finish);
        let drain = read(&root, "drain", Drain::read, &mut finish);
        let capture = read(&root, "capture", |section| Capture::read(section, &places), &mut finish);
        root.finish();
        report_single_underscores(environment, &asked, &problems);

        let problems = problems.into_sorted();
        if !problems.is_empty() {
            return Err(ConfigError { file: file.map(Path::to_owned), problems });
        }
        Ok(Self {
            sip,
            rtp,
            media,
            http,
            agents,
            numbers,
            number_recordings,
            users,
            rooms,
            trunks,
            dns,
            speech,
            data,
            recordings,
            sounds,
            log,
            drain,
            capture,
        })
    }
}

/// The environment of this process. What is not Unicode is left out.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Every mistake in a configuration, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&problem.origin, &self.file) {
                (Origin::File { line }, Some(file)) => write!(f, "{}:{line}: ", file.display())?,
                (Origin::BuiltIn, Some(file)) => write!(f, "{}: ", file.display())?,
                (origin, _) => write!(f, "{origin}: ")?,
            }
            f.write_str(&problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Malformed> for Problem {
    fn from(Malformed { origin, message }: Malformed) -> Self {
        Self { origin, message }
    }
}

/// What paths and names of variables in the configuration refer to.
struct Places<'a> {
    directory: &'a Path,
    environment: &'a Environment,
}

impl Places<'_> {
    /// A path as written at `origin`.
    fn path(&self, written: &str, origin: Option<&Origin>) -> PathBuf {
        match origin {
            Some(Origin::File { .. }) => self.directory.join(written),
            Some(Origin::Environment { .. } | Origin::BuiltIn) | None => PathBuf::from(written),
        }
    }

    /// The secret `key`, or what the variable named by `key_env` holds.
    fn secret(&self, section: &Section<'_>, key: &'static str, key_env: &'static str) -> Option<Secret> {
        let (secret, variable) = (section.secret(key), section.text(key_env));
        match (secret, variable) {
            (Some(_), Some(_)) => {
                section.complain(key_env, &format!("`{key}` is given too; one of them is enough"));
                None
            }
            (Some(secret), None) => Some(secret),
            (None, Some(variable)) => {
                let secret = self.environment.get(&variable).filter(|it| !it.is_empty());
                if secret.is_none() {
                    section.complain(key_env, "the environment has no such variable");
                }
                secret.cloned().map(Secret::new)
            }
            (None, None) => None,
        }
    }
}

fn read<'a, T>(
    root: &Section<'a>,
    name: &'static str,
    read: impl FnOnce(&Section<'a>) -> T,
    finish: &mut impl FnMut(&'static str, Section<'a>),
) -> T {
    let section = root.section(name);
    let value = read(&section);
    finish(name, section);
    value
}

/// `HOOKSWITCH_SIP_LISTEN` is surely meant for `[sip] listen`, which takes two underscores.
fn report_single_underscores(
    environment: &Environment,
    keys: &BTreeMap<&'static str, Vec<&'static str>>,
    problems: &Problems,
) {
    for variable in environment.keys().filter(|variable| !variable.contains("__")) {
        let lower = variable.to_ascii_lowercase();
        let Some((section, key)) = lower.strip_prefix(written::PREFIX).and_then(|rest| rest.split_once('_')) else {
            continue;
        };
        if keys.get(section).is_some_and(|keys| keys.contains(&key)) {
            let right = format!("{}{section}__{key}", written::PREFIX).to_ascii_uppercase();
            let origin = Origin::Environment { variable: variable.clone() };
            problems.add(origin, format!("write {right}, with two underscores, to set [{section}] {key}"));
        }
    }
}

fn built_in() -> Table {
    let (tree, malformed) = written::parse(BUILT_IN, |_| Origin::BuiltIn);
    debug_assert!(malformed.is_empty(), "{malformed:?}");
    tree
}

/// Only loopback is listened on, so nobody else reaches the demo agent unless a variable changes `listen`; then the
/// listeners that are not loopback stay closed unless a variable also changes `open`.
const BUILT_IN: &str = r#"
[sip]
listen = ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "udp://[::1]:5060", "tcp://[::1]:5060"]
open = "loopback"

[agents.demo]
pathway = "builtin:demo"
"#;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The resolved configuration, or the message.
    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::parse(text, Path::new("hookswitch.toml"), &environment).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check_error(text: &str, variables: &[(&str, &str)], expected: &[&str]) {
        assert_eq!(parse(text, variables).unwrap_err().lines().collect::<Vec<_>>(), expected);
    }

    fn built_in(variables: &[(&str, &str)]) -> Config {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::built_in(&environment).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn without_a_file_the_demo_agent_answers_on_loopback_only() {
        let config = built_in(&[]);
        let listeners: Vec<_> = config.sip.listeners.iter().map(|it| (it.to_string(), it.open, it.required)).collect();
        let expected =
            ["udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", "udp://[::1]:5060", "tcp://[::1]:5060"].map(str::to_owned);
        assert_eq!(listeners, expected.map(|it| (it, true, false)));
        assert_eq!(config.sip.open_agent.as_deref(), Some("demo"));
        assert_eq!(config.agents["demo"].brain, Brain::Pathway(Pathway::Demo));
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!((config.rtp.ports.first, config.rtp.ports.last, config.rtp.ports.pairs()), (16_384, 32_767, 8_192));
        assert_eq!(config.data.directory, Path::new("data"));
    }

    #[test]
    fn a_listener_set_by_a_variable_is_open_only_on_loopback() {
        let config = built_in(&[("HOOKSWITCH_SIP__LISTEN", "udp://127.0.0.1:15060, tcp://192.0.2.1")]);
        let listeners: Vec<_> = config.sip.listeners.iter().map(|it| (it.to_string(), it.open, it.required)).collect();
        let expected =
            [("udp://127.0.0.1:15060".to_owned(), true, true), ("tcp://192.0.2.1:5060".to_owned(), false, true)];
        assert_eq!(listeners, expected);
    }

    #[test]
    fn a_listener_may_say_more_about_itself() {
        let text = "[sip]\nlisten = ['udp://192.0.2.1', { url = 'tls://192.0.2.1', advertise = '203.0.113.7:5071', open = true }]\n\
                    [sip.tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\nclient_ca = '/ca.pem'\n\
                    [sip.limits]\nexempt = ['10.0.0.0/8', '192.0.2.9']\n";
        let sip = parse(text, &[]).unwrap().sip;
        let listeners: Vec<_> = sip.listeners.iter().map(|it| (it.to_string(), it.advertise, it.open)).collect();
        let advertised = ("203.0.113.7".parse().unwrap(), Some(5071));
        let expected = [
            ("udp://192.0.2.1:5060".to_owned(), None, false),
            ("tls://192.0.2.1:5061".to_owned(), Some(advertised), true),
        ];
        assert_eq!(listeners, expected);
        assert_eq!(sip.tls.certificate, Some(("cert.pem".into(), "key.pem".into())));
        assert_eq!(sip.tls.clients, TlsClients::Required("/ca.pem".into()));
        assert_eq!(
            sip.limits.exempt.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "192.0.2.9/32"]
        );
        check_error(
            "[sip]\nlisten = ['wss://192.0.2.1', { open = true }]\norigins = ['phone.example']\n[sip.tls]\n\
             client_certificates = 'optional'\n[sip.limits]\nexempt = ['here']",
            &[],
            &[
                "hookswitch.toml:2: [sip.listen] `url` is missing, such as udp://0.0.0.0:5060",
                "hookswitch.toml:2: [sip] listen = a list: tls:// and wss:// need [sip.tls] certificate and key: the PEM files \
                 for the host name that peers connect to",
                "hookswitch.toml:3: [sip] origins = \"phone.example\": expected an origin such as \
                 https://phone.example.com, without a path, or *",
                "hookswitch.toml:5: [sip.tls] client_certificates = \"optional\": `client_ca` must say whose: a PEM file of \
                 authorities",
                "hookswitch.toml:7: [sip.limits] exempt = \"here\": expected an address or a network such as 10.0.0.0/8",
            ],
        );
    }

    #[test]
    fn with_a_file_nothing_is_open_unless_it_says_so() {
        let closed = parse("", &[]).unwrap().sip.listeners;
        assert_eq!(
            closed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"]
        );
        assert!(closed.iter().all(|it| !it.open && it.required));

        let text = "[sip]\nlisten = ['udp://192.0.2.1', 'tcp://192.0.2.1']\nopen = ['udp://192.0.2.1']";
        let open: Vec<_> = parse(text, &[]).unwrap().sip.listeners.iter().map(|it| it.open).collect();
        assert_eq!(open, [true, false]);

        let by_variable = parse("", &[("HOOKSWITCH_SIP__OPEN", "TRUE")]).unwrap();
        assert!(by_variable.sip.listeners.iter().all(|it| it.open));
    }

    #[test]
    fn without_speech_no_agent_answers_unless_one_is_written() {
        let off = "[speech]\nenabled = false";
        let variable = [("HOOKSWITCH_SPEECH__ENABLED", "False")];
        for config in [parse(off, &[]), parse("", &variable), Ok(built_in(&variable))] {
            let config = config.unwrap();
            assert_eq!((config.agents.len(), config.sip.open_agent), (0, None));
        }
        let agents = |text: &str, variables: &[(&str, &str)]| parse(text, variables).unwrap().agents.len();
        assert_eq!(agents("[speech]\nenabled = true", &[]), 1);
        assert_eq!(agents(&format!("{off}\n[agents.a]\npathway = 'builtin:demo'"), &[]), 1);
        assert_eq!(agents(off, &[("HOOKSWITCH_AGENTS__DEMO__VOICE", "kal")]), 1);
    }

    #[test]
    fn trunks_are_known_by_their_addresses_unless_they_are_by_something_else() {
        let inbound = |text: &str, variables: &[(&str, &str)]| {
            let text = format!("[trunks.a]\nuri = 'sip:a.example'\n{text}");
            parse(&text, variables).map(|it| it.trunks["a"].inbound.clone())
        };
        assert_eq!(inbound("", &[]), Ok(TrunkInbound::default()));
        let by_name = inbound("[trunks.a.inbound]\ncertificate_names = ['sbc.a.example']", &[]).unwrap();
        assert_eq!((by_name.address, by_name.certificate_names.len(), by_name.registration), (false, 1, false));
        let asked = "[trunks.a.inbound]\nusername = 'a'\npassword_env = 'P'\nregistration = true\naddress = true";
        let asked = inbound(asked, &[("P", "secret")]).unwrap();
        assert_eq!((asked.address, asked.registration), (true, true));
        assert!(asked.account.is_some_and(|(name, password)| name == "a" && password.reveal() == "secret"));
        check_error(
            "[users.a]\npassword = 'x'\n[trunks.a]\nuri = 'sip:a.example'\n[trunks.a.inbound]\n\
             certificate_names = ['*.a.example']\nusername = 'a'\npassword = 'x'\n\
             [trunks.b]\nuri = 'sip:b.example'\n[trunks.b.inbound]\npassword = 'x'",
            &[],
            &[
                "hookswitch.toml:3: [trunks.a] `username` of `inbound` is that of a user or of another trunk",
                "hookswitch.toml:6: [trunks.a.inbound] certificate_names = \"*.a.example\": expected the name of a host \
                 such as sbc.example.com; wildcards stand for nobody",
                "hookswitch.toml:11: [trunks.b.inbound] a password is given, but no `username`",
            ],
        );
    }

    #[test]
    fn recordings_have_a_place_and_a_consent() {
        let config = parse(
            "[recordings]\nurl = 's3://calls/a/'\nkeep_days = 30\n[agents.a]\npathway = 'builtin:demo'\n\
             noise_suppression = true\n[agents.a.recording]\nenabled = true\nformat = 'mp3'\nconsent = 'ask'",
            &[],
        );
        let config = config.unwrap();
        assert_eq!(config.recordings.place, Some(RecordingPlace::Bucket("s3://calls/a".to_owned())));
        assert_eq!(config.recordings.keep, Some(std::time::Duration::from_secs(30 * 86_400)));
        let agent = &config.agents["a"];
        assert!(agent.recording.enabled && agent.sound.noise_suppression && !agent.sound.gain_control);
        assert_eq!((agent.recording.format, agent.recording.consent), (RecordingFormat::Mp3, Consent::Ask));
        let place = "expected the path of a directory, s3://bucket/prefix or gs://bucket/prefix";
        check_error(
            "[recordings]\nurl = 'ftp://x'\n[agents.a]\npathway = 'builtin:demo'\n[agents.a.recording]\nformat = 'ogg'",
            &[],
            &[
                &format!("hookswitch.toml:2: [recordings] url = \"ftp://x\": {place}"),
                "hookswitch.toml:6: [agents.a.recording] format = \"ogg\": expected \"wav\" or \"mp3\"",
            ],
        );
        let folder = parse("[recordings]\nurl = 'kept'", &[]).unwrap().recordings.place;
        assert_eq!(folder, Some(RecordingPlace::Directory(PathBuf::from("kept"))));
    }

    #[test]
    fn users_have_a_password() {
        let config =
            parse("[users.alice]\npassword = 'x'\n[users.\"+4930\"]\npassword_env = 'PHONE'", &[("PHONE", "secret")]);
        let users = config.unwrap().users;
        let passwords: Vec<_> = users.iter().map(|(name, it)| (name.as_str(), it.password.reveal())).collect();
        assert_eq!(passwords, [("+4930", "secret"), ("alice", "x")]);
        assert!(!format!("{users:?}").contains("secret\""));
        check_error(
            "[sip]\nrealm = 'a\"b'\n[users.\"a b\"]\npassword = ''\n[users.bob]",
            &[],
            &[
                "hookswitch.toml:2: [sip] realm = \"a\\\"b\": expected 1 to 100 bytes without quotes, backslashes \
                 and control characters",
                "hookswitch.toml:3: [users.\"a b\"] a user has a name or number such as \"alice\", \"100\" or \"+4930123\"",
                "hookswitch.toml:4: [users.\"a b\"] password = \"\": it is empty",
                "hookswitch.toml:5: [users.bob] `password` or `password_env` is missing",
            ],
        );
    }

    #[test]
    fn api_keys_are_long_or_hashed() {
        let hash = format!("sha256:{}", "0f".repeat(32));
        let http = parse(&format!("[http]\napi_keys = ['{hash}']\napi_key_env = 'K'"), &[("K", "0123456789abcdef")]);
        let http = http.unwrap().http;
        assert_eq!(http.api_key_hashes, [[15; 32]]);
        assert_eq!(http.api_key.unwrap().reveal(), "0123456789abcdef");
        check_error(
            "[http]\napi_key = 'short'\napi_keys = ['0123']",
            &[],
            &[
                "hookswitch.toml:2: [http] api_key: an API key has at least 16 characters",
                "hookswitch.toml:3: [http] api_keys = \"0123\": expected \"sha256:\" and 64 hexadecimal digits",
            ],
        );
    }

    #[test]
    fn capture_is_on_unless_it_is_not_wanted() {
        let capture = parse("", &[]).unwrap().capture;
        assert_eq!((capture.enabled, capture.bytes_per_call, capture.homer), (true, 65_536, None));
        let text = "[capture]\nenabled = false\nhomer = 'udp://192.0.2.60'\ncapture_id = 7\nauth_key = 'k'";
        let capture = parse(text, &[]).unwrap().capture;
        let homer = capture.homer.unwrap();
        assert_eq!((homer.host.as_str(), homer.port, homer.id), ("192.0.2.60", 9_060, 7));
        assert!(!capture.enabled && homer.key.is_some());
        check_error(
            "[capture]\nhomer = 'tls://192.0.2.60'",
            &[],
            &[
                "hookswitch.toml:2: [capture] homer = \"tls://192.0.2.60\": expected udp:// or tcp:// and a host, such as \
               udp://homer.example.com:9060",
            ],
        );
    }

    #[test]
    fn an_agent_with_a_pathway_has_its_words() {
        check_error(
            "[agents.a]\npathway = 'builtin:demo'\ngreeting = 'Hello.'",
            &[],
            &[
                "hookswitch.toml:3: [agents.a] greeting = \"Hello.\": a pathway says this in its own words: change them in \
               the pathway's file",
            ],
        );
    }

    #[test]
    fn trunks_say_where_they_are_and_who_we_are_there() {
        let config = parse(
            "[trunks.acme]\nuri = 'sip:sip.acme.example'\nusername = 'u'\npassword_env = 'P'\nregister = true\n\
             sources = ['203.0.113.0/24', '2001:db8::1']\noptions_s = 30\n\
             [trunks.pbx]\ngateways = ['sip:10.0.0.1;transport=tcp', 'sips:10.0.0.2']\nrealm = 'asterisk'\n\
             [trunks.branch.inbound]\nusername = 'b'\npassword = 'x'\nregistration = true\n\
             [dns]\nservers = ['127.0.0.1:5300', '::1']",
            &[("P", "secret")],
        )
        .unwrap();
        let branch = &config.trunks["branch"];
        assert_eq!((&branch.domain, branch.gateways.len(), branch.inbound.address), (&None, 0, false));
        let acme = &config.trunks["acme"];
        assert_eq!((acme.realms.as_slice(), acme.gateways.len()), (&["sip.acme.example".to_owned()][..], 1));
        assert_eq!((acme.register, acme.expires.as_secs(), acme.sources.len()), (true, 3_600, 2));
        assert_eq!(acme.options_every, Some(std::time::Duration::from_secs(30)));
        let pbx = &config.trunks["pbx"];
        assert_eq!(
            (pbx.domain.as_ref().map(crate::sip::Uri::as_str), pbx.gateways.len()),
            (Some("sip:10.0.0.1;transport=tcp"), 2)
        );
        assert_eq!((pbx.realms.as_slice(), pbx.register), (&["asterisk".to_owned()][..], false));
        let servers: Vec<_> = config.dns.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.1:5300", "[::1]:53"]);
        assert!(!format!("{config:?}").contains("secret\""));
        check_error(
            "[trunks.a]\nuri = 'sip:me@host'\nsources = ['10.0.0.0/33']\ntransport = 'sctp'\n[trunks.b]\n\
             register = true\npassword = 'x'\n[dns]\nservers = ['dns.example']",
            &[],
            &[
                "hookswitch.toml:2: [trunks.a] uri = \"sip:me@host\": expected sip: or sips: and a host, such as \
                 sip:sip.example.com or sip:192.0.2.1:5060;transport=tcp",
                "hookswitch.toml:3: [trunks.a] sources = \"10.0.0.0/33\": expected an address or a network such as \
                 203.0.113.0/24",
                "hookswitch.toml:4: [trunks.a] transport = \"sctp\": expected udp, tcp or tls",
                "hookswitch.toml:5: [trunks.b] `uri` or `gateways` is missing; without them it has to register with us \
                 (`registration`, `username` and `password` of `inbound`)",
                "hookswitch.toml:5: [trunks.b] `password` is given, but no `username`",
                "hookswitch.toml:6: [trunks.b] register = true: `username` says who is registered; it is missing",
                "hookswitch.toml:6: [trunks.b] register = true: `uri` or `gateways` says where; both are missing",
                "hookswitch.toml:9: [dns] servers = \"dns.example\": `dns.example` is a name: write its address, such as \
                 127.0.0.1",
            ],
        );
    }

    #[test]
    fn everything_wrong_with_a_file_is_said_at_once() {
        let text = r#"
[sip]
lisen = ["udp://0.0.0.0:5060"]
max_calls = "many"
open = ["udp://0.0.0.0:5061"]

[rtp]
ports = "16385-20000"
inactivity_s = 0

[htp]
listen = "127.0.0.1:8080"

[agents.reception]
pathway = "nowhere.toml"
voice = 7
end_of_turn_ms = 1.5

[numbers."+49 30 1234"]
agent = "receptoin"

[log]
level = "inof"
format = "xml"
"#;
        check_error(
            text,
            &[],
            &[
                "hookswitch.toml:3: [sip] there is no key `lisen`; did you mean `listen`? Keys: advertise, \
                 auth_int, authentication_info, digest, expose_headers, limits, listen, max_calls, next_hop_ms, nonce_s, \
                 open, open_agent, origins, pass_headers, realm, redirects, ring_ms, tls, transfers, user_agent",
                "hookswitch.toml:4: [sip] max_calls = \"many\": expected a whole number from 1 to 100000",
                "hookswitch.toml:5: [sip] open = a list: udp://0.0.0.0:5061 is not in `listen`",
                "hookswitch.toml:8: [rtp] ports = \"16385-20000\": expected an even first and an odd last port of 1024 to \
                 65535, such as \"16384-32767\"; each call leg takes two",
                "hookswitch.toml:9: [rtp] inactivity_s = 0: expected a whole number from 1 to 86400",
                "hookswitch.toml:11: there is no section [htp]; did you mean [http]? Sections: agents, capture, data, dns, \
                 drain, http, log, media, numbers, recordings, rooms, rtp, sip, sounds, speech, trunks, users",
                "hookswitch.toml:15: [agents.reception] pathway = \"nowhere.toml\": there is no such file, seen from the \
                 directory of this file; builtin:demo is the built-in one",
                "hookswitch.toml:16: [agents.reception] voice = 7: expected text in quotes",
                "hookswitch.toml:17: [agents.reception] end_of_turn_ms = 1.5: expected a whole number from 100 to 5000",
                "hookswitch.toml:19: [numbers.\"+49 30 1234\"] a number is \"+\" and digits without separators, or an \
                 extension or name such as \"100\"",
                "hookswitch.toml:20: [numbers.\"+49 30 1234\"] agent = \"receptoin\": there is no such agent; did you mean \
                 \"reception\"? Agents: reception",
                "hookswitch.toml:23: [log] level = \"inof\": expected off, error, warn, info, debug or trace, with \
                 exceptions as in \"info,hookswitch::call=debug\"",
                "hookswitch.toml:24: [log] format = \"xml\": expected \"text\" or \"json\"",
            ],
        );
    }

    #[test]
    fn a_name_that_resembles_nothing_gets_the_list_alone() {
        let expected = [
            "hookswitch.toml:1: there is no section [billing]. Sections: agents, capture, data, dns, drain, http, log, media, \
             numbers, recordings, rooms, rtp, sip, sounds, speech, trunks, users",
            "hookswitch.toml:3: [drain] there is no key `grace`. Keys: limit_s",
        ];
        check_error("[billing]\n[drain]\ngrace = 4", &[], &expected);
    }

    #[test]
    fn addresses_are_addresses() {
        let text = r#"
[sip]
listen = [
    "udp://localhost:5060",
    "sips://192.0.2.1",
    "tcp://192.0.2.1:99999",
    "udp://192.0.2.1",
    "udp://192.0.2.1:5060",
]
advertise = { "10.0.0.1" = "2001:db8::1", "10.0.0.2" = "0.0.0.0" }
[rtp]
advertise = "192.0.2.7:5060"
[http]
listen = "everywhere"
"#;
        check_error(
            text,
            &[],
            &[
                "hookswitch.toml:3: [sip] listen = a list: udp://192.0.2.1:5060 is there twice",
                "hookswitch.toml:4: [sip] listen = \"udp://localhost:5060\": `localhost` is a name: write its address, such \
                 as 127.0.0.1",
                "hookswitch.toml:5: [sip] listen = \"sips://192.0.2.1\": expected udp://, tcp://, tls://, ws:// or wss:// and an \
                 address, such as udp://0.0.0.0:5060",
                "hookswitch.toml:6: [sip] listen = \"tcp://192.0.2.1:99999\": expected an address with or without a port, \
                 such as 192.0.2.1:5060 or [2001:db8::1]:5060",
                "hookswitch.toml:10: [sip] advertise = a table: 10.0.0.1 and 2001:db8::1 are of different families",
                "hookswitch.toml:10: [sip] advertise = a table: 0.0.0.0 is no address that a peer could reach",
                "hookswitch.toml:12: [rtp] advertise = \"192.0.2.7:5060\": media ports are not translated: advertise an \
                 address without a port",
                "hookswitch.toml:14: [http] listen = \"everywhere\": `everywhere` is a name: write its address, such as \
                 127.0.0.1",
            ],
        );
    }

    #[test]
    fn broken_toml_is_told_by_its_line_alone() {
        let error = parse("[sip]\nmax_calls = 5\nmax_calls = 6\n[what]\n", &[]).unwrap_err();
        assert_eq!(error, "hookswitch.toml:3: not TOML: duplicate key");
        check_error("[sip\n", &[], &["hookswitch.toml:1: not TOML: unclosed table, expected `]`"]);
        check_error("sip = 3", &[], &["hookswitch.toml:1: sip = 3: expected the table [sip]"]);
    }

    #[test]
    fn an_agent_has_one_brain_and_its_secrets_stay_secret() {
        let text = r#"
[agents.none]
[agents.both]
pathway = "builtin:demo"
[agents.both.model]
url = "https://models.example/v1"
model = "small"
[agents.odd]
pathway = "builtin:receptionist"
[agents.model.model]
url = "ftp://models.example"
api_key = "hunter2"
api_key_env = "THE_KEY"
[agents.model.speech]
url = "ws://user:hunter2@speech.example"
token = 12345678
[agents.missing.model]
url = "http://127.0.0.1:1/v1"
model = "small"
api_key_env = "THE_KEY"
"#;
        let expected = [
            "hookswitch.toml:2: [agents.none] `pathway` or a table `model` is missing",
            "hookswitch.toml:4: [agents.both] pathway = \"builtin:demo\": the agent has a [model] too; it can have one of \
             them",
            "hookswitch.toml:9: [agents.odd] pathway = \"builtin:receptionist\": the only built-in pathway is builtin:demo",
            "hookswitch.toml:10: [agents.model.model] `model` is missing",
            "hookswitch.toml:11: [agents.model.model] url = \"ftp://models.example\": expected a URL that begins with \
             http:// or https://",
            "hookswitch.toml:13: [agents.model.model] api_key_env = \"THE_KEY\": `api_key` is given too; one of them is \
             enough",
            "hookswitch.toml:15: [agents.model.speech] url: a URL with `@` is not taken: secrets have keys of their own",
            "hookswitch.toml:16: [agents.model.speech] token: expected text in quotes",
            "hookswitch.toml:20: [agents.missing.model] api_key_env = \"THE_KEY\": the environment has no such variable",
        ];
        check_error(text, &[], &expected);
    }

    #[test]
    fn secrets_come_from_variables_and_are_never_shown() {
        let text = r#"
[agents.sales.model]
url = "https://models.example/v1/"
model = "small"
api_key_env = "THE_KEY"
[agents.sales.speech]
url = "wss://speech.example/stream"
"#;
        let variables = [("THE_KEY", "hunter2"), ("HOOKSWITCH_AGENTS__SALES__SPEECH__TOKEN", "hunter3")];
        let config = parse(text, &variables).unwrap();
        let agent = &config.agents["sales"];
        let Brain::Model(model) = &agent.brain else { panic!("{agent:?}") };
        assert_eq!(model.url, "https://models.example/v1");
        assert_eq!(model.api_key.as_ref().map(Secret::reveal), Some("hunter2"));
        assert_eq!(agent.speech.as_ref().and_then(|it| it.token.as_ref()).map(Secret::reveal), Some("hunter3"));
        let shown = format!("{config:?} {config}");
        assert!(!shown.contains("hunter") && shown.contains("<secret>"), "{shown}");
    }

    #[test]
    fn variables_override_whatever_their_case_and_reach_deep() {
        let text = r#"
[agents.front-desk]
pathway = "builtin:demo"
voice = "slt"
[numbers."+4930123"]
agent = "front-desk"
"#;
        let variables = [
            ("HOOKSWITCH_AGENTS__FRONT_DESK__VOICE", "awb"),
            ("hookswitch_Agents__Front_Desk__Turns", ""),
            ("HOOKSWITCH_AGENTS__NIGHT__PATHWAY", "builtin:demo"),
            ("HOOKSWITCH_NUMBERS___4930123__AGENT", "night"),
            ("HOOKSWITCH_NUMBERS___4930124__AGENT", "front-desk"),
            ("HOOKSWITCH_SIP__MAX_CALLS", "7"),
            ("HOOKSWITCH_SIP__ADVERTISE", "203.0.113.7"),
            ("HOOKSWITCH_SPEECH__ENABLED", "false"),
            ("HOOKSWITCH_DATA__DIRECTORY", "/var/lib/hookswitch"),
            // As container systems set for a service called hookswitch.
            ("HOOKSWITCH_SERVICE_PORT", "5060"),
            ("HOOKSWITCH_PORT_5060_UDP", "udp://10.0.0.1:5060"),
        ];
        let config = parse(text, &variables).unwrap();
        assert_eq!(config.agents["front-desk"].voice.as_deref(), Some("awb"));
        assert_eq!(config.numbers["+4930123"], Number::Agent("night".to_owned()));
        assert_eq!(config.numbers["+4930124"], Number::Agent("front-desk".to_owned()));
        assert_eq!((config.sip.calls_max, config.speech.enabled), (7, false));
        assert_eq!(config.data.directory, Path::new("/var/lib/hookswitch"));
        assert_eq!(config.sip.advertise.of("10.1.2.3:5060".parse().unwrap()).to_string(), "203.0.113.7:5060");
    }

    #[test]
    fn a_mistake_in_a_variable_names_the_variable() {
        let text = "[agents.a-b]\npathway = 'builtin:demo'\n[agents.a_b]\npathway = 'builtin:demo'\n";
        let variables = [
            ("HOOKSWITCH_AGENTS__A_B__VOICE", "awb"),
            ("HOOKSWITCH_RTP__PORT", "5"),
            ("HOOKSWITCH_SIP", "nothing of ours"),
            ("HOOKSWITCH_SIP_LISTEN", "udp://0.0.0.0:5060"),
            ("HOOKSWITCH_SIP__LISTEN__X", "1"),
            ("HOOKSWITCH_SIP__MAX_CALLS", "-1"),
            ("HOOKSWITCH_LOG__", "info"),
            ("HOOKSWITCH_AGENTS", "nothing of ours"),
        ];
        check_error(
            text,
            &variables,
            &[
                "HOOKSWITCH_AGENTS__A_B__VOICE: it could mean `a-b` or `a_b`",
                "HOOKSWITCH_LOG__: a name between `__` is empty",
                "HOOKSWITCH_RTP__PORT: [rtp] there is no key `port`; did you mean `ports`? Keys: advertise, inactivity_s, \
                 ports",
                "HOOKSWITCH_SIP_LISTEN: write HOOKSWITCH_SIP__LISTEN, with two underscores, to set [sip] listen",
                "HOOKSWITCH_SIP__LISTEN__X: [sip] listen = a table: expected a list of text in quotes",
                "HOOKSWITCH_SIP__MAX_CALLS: [sip] max_calls = \"-1\": expected a whole number from 1 to 100000",
            ],
        );
    }

    #[test]
    fn an_open_listener_needs_to_know_who_answers() {
        let agents = "[agents.a]\npathway = 'builtin:demo'\n[agents.b]\npathway = 'builtin:demo'\n";
        let open = format!("[sip]\nopen = true\n{agents}");
        check_error(
            &open,
            &[],
            &["hookswitch.toml:2: [sip] open = true: `open_agent` must say which agent answers there: a, b"],
        );
        let named = format!("[sip]\nopen = true\nopen_agent = 'b'\n{agents}");
        assert_eq!(parse(&named, &[]).unwrap().sip.open_agent.as_deref(), Some("b"));
        let wrong = format!("[sip]\nopen_agent = 'c'\n{agents}");
        check_error(
            &wrong,
            &[],
            &["hookswitch.toml:2: [sip] open_agent = \"c\": there is no such agent; did you mean \"a\"? Agents: a, b"],
        );
        check_error(
            "[sip]\nopen = 'yes'",
            &[],
            &["hookswitch.toml:2: [sip] open = \"yes\": expected true, false, \"loopback\" or a list of listeners"],
        );
    }

    #[test]
    fn what_is_advertised_depends_on_the_local_address() {
        let text = r#"
[sip]
advertise = ["10.0.0.1=203.0.113.1:5070", "203.0.113.9", "2001:db8::9"]
"#;
        let config = parse(text, &[]).unwrap();
        let of = |local: &str| config.sip.advertise.of(local.parse().unwrap()).to_string();
        assert_eq!(of("10.0.0.1:5060"), "203.0.113.1:5070");
        assert_eq!(of("10.0.0.2:5060"), "203.0.113.9:5060");
        assert_eq!(of("127.0.0.1:5060"), "127.0.0.1:5060");
        assert_eq!(of("[fd00::1]:5060"), "[2001:db8::9]:5060");
        let media = config.rtp.advertise.of("10.0.0.1:16384".parse().unwrap());
        assert_eq!(media.to_string(), "203.0.113.1:16384");
    }

    #[test]
    fn the_example_is_valid_and_says_what_applies_without_it() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("hookswitch.example.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        // Every key is there; those that are comments say the default.
        let without_comments: String =
            text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        for text in [text, without_comments] {
            let variables = Environment::from([("MODEL_API_KEY".to_owned(), "hunter2".to_owned())]);
            Config::parse(&text, &file, &variables).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn a_room_has_digits_to_press_and_somebody_to_wait_for() {
        let text = "[users.100]\npassword = 'x'\n[rooms.den]\npin = '4711'\nmoderator_pin_env = 'THEIRS'\n\
                    moderators = ['100']\nwait_for_moderator = true\nmusic = 'none'\n[numbers.700]\nroom = 'den'";
        let config = parse(text, &[("THEIRS", "998877")]).unwrap();
        assert_eq!(config.numbers["700"], Number::Room("den".to_owned()));
        let rules = &config.rooms["den"].rules;
        assert_eq!(rules.moderator_pin.as_ref().map(Secret::reveal), Some("998877"));
        assert_eq!((rules.members_max, rules.moderators.len(), &config.rooms["den"].music), (32, 1, &None));
        let shown = format!("{config:?} {config}");
        assert!(!shown.contains("4711") && !shown.contains("998877"), "{shown}");
        check_error(
            "[rooms.a]\npin = '12'\n[rooms.b]\nend_with_moderator = true\nmax_members = 1\n[rooms.'c c']\n\
             moderators = ['x']\npin = '1234'\nmoderator_pin = '1234'\n[numbers.1]\nroom = 'd'",
            &[],
            &[
                "hookswitch.toml:2: [rooms.a] pin: expected 4 to 16 digits in quotes",
                "hookswitch.toml:3: [rooms.b] nobody can be its moderator: `moderator_pin` or `moderators` is missing",
                "hookswitch.toml:5: [rooms.b] max_members = 1: expected a whole number from 2 to 200",
                "hookswitch.toml:6: [rooms.\"c c\"] the name of a room is 1 to 64 letters, digits, `-` and `_`",
                "hookswitch.toml:7: [rooms.\"c c\"] moderators = \"x\": there is no such user: add it as [users.NAME]",
                "hookswitch.toml:9: [rooms.\"c c\"] moderator_pin: it is the same as `pin`",
                "hookswitch.toml:11: [numbers.1] room = \"d\": there is no such room: add it as [rooms.NAME]",
            ],
        );
    }

    #[test]
    fn what_is_shown_is_a_configuration_that_says_the_same() {
        for config in [
            parse("", &[]).unwrap(),
            parse("[rooms.a]\nmusic = 'none'\ntones = false\n[numbers.7]\nroom = 'a'", &[]).unwrap(),
            parse(
                "[sip]\nopen = true\nadvertise = '192.0.2.1:5070'\nuser_agent = 'a \"b\" \\ c'\n[speech]\ndecoders = 3",
                &[],
            )
            .unwrap(),
        ] {
            assert_eq!(parse(&config.to_string(), &[]).unwrap(), config, "{config}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let error = Config::load(Path::new("nowhere/hookswitch.toml"), &Environment::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nowhere/hookswitch.toml: it cannot be read: No such file or directory (os error 2)"
        );
    }
}
