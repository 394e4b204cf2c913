//! The resolved configuration as a file that says the same, every default included and every secret left out.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::rooms::NO_MUSIC;
use super::{
    Advertise, Agent, Brain, Capture, Config, Listener, LogFormat, Model, Number, OnFax, OnMachine, Pathway, Recording,
    RecordingPlace, Recordings, Room, Secret, Sip, SipTls, Sounds, TlsClients, Trunk, TrunkInbound,
};
use crate::sip::Uri;

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Shown(String::new());
        shown.sip(&self.sip);
        shown.section("rtp");
        shown.text("ports", &self.rtp.ports.to_string());
        shown.plain("inactivity_s", self.rtp.inactivity.as_secs());
        shown.advertise(&self.rtp.advertise);
        shown.section("media");
        let codecs: Vec<_> = self.media.codecs.iter().map(|it| quoted(it.key())).collect();
        shown.plain("codecs", format_args!("[{}]", codecs.join(", ")));
        shown.text("prefer", if self.media.prefers_ours { "ours" } else { "theirs" });
        shown.plain("comfort_noise", self.media.comfort_noise);
        shown.plain("ptime_ms", self.media.ptime_ms);
        shown.text("srtp", self.media.srtp.as_str());
        shown.plain("srtp_keys_in_clear", self.media.srtp_keys_in_clear);
        if let Some(port) = self.media.shared_port {
            shown.plain("shared_port", port);
        }
        shown.section("http");
        shown.text("listen", &self.http.listen.to_string());
        shown.secret("api_key", self.http.api_key.as_ref());
        let hashes = self.http.api_key_hashes.iter();
        shown.list(
            "api_keys",
            hashes.map(|it| it.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))),
        );
        for (name, agent) in &self.agents {
            shown.agent(name, agent);
        }
        shown.inside(self);
        for (name, trunk) in &self.trunks {
            shown.trunk(name, trunk);
        }
        if !self.dns.servers.is_empty() {
            shown.section("dns");
            shown.list("servers", self.dns.servers.iter());
        }
        shown.section("speech");
        shown.plain("enabled", self.speech.enabled);
        if let Some(decoders) = self.speech.decoders {
            shown.plain("decoders", decoders);
        }
        shown.milliseconds("wait_ms", self.speech.wait);
        shown.section("data");
        shown.text("directory", &self.data.directory.display().to_string());
        shown.recordings(&self.recordings);
        shown.sounds(&self.sounds);
        shown.section("log");
        shown.text("level", &self.log.level);
        shown.text(
            "format",
            match self.log.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
        );
        shown.plain("reveal_numbers", self.log.reveal_numbers);
        shown.section("drain");
        shown.plain("limit_s", self.drain.limit.as_secs());
        shown.capture(&self.capture);
        f.write_str(shown.0.trim_start())
    }
}

const fn redirects(follows: bool) -> &'static str {
    if follows { "follow" } else { "refuse" }
}

struct Shown(String);

impl Shown {
    fn number(&mut self, to: &Number) {
        match to {
            Number::Agent(agent) => self.text("agent", agent),
            Number::User(user) => self.text("user", user),
            Number::Room(room) => self.text("room", room),
            Number::Uri(uri) => self.text("uri", uri.as_str()),
            Number::Trunk(trunk, dial) => {
                self.text("trunk", trunk);
                self.text("dial", dial);
            }
        }
    }

    /// Numbers, and whom they lead to in the house.
    fn inside(&mut self, config: &Config) {
        for (number, to) in &config.numbers {
            self.section(&format!("numbers.{}", quoted(number)));
            self.number(to);
            if let Some(recording) = config.number_recordings.get(number) {
                self.recording(&format!("numbers.{}", quoted(number)), recording);
            }
        }
        for (name, user) in &config.users {
            self.section(&format!("users.{}", quoted(name)));
            self.secret("password", Some(&user.password));
            self.text("media", if user.takes_webrtc { "webrtc" } else { "plain" });
            if let Some(recording) = &user.recording {
                self.recording(&format!("users.{}", quoted(name)), recording);
            }
        }
        for (name, room) in &config.rooms {
            self.room(name, room);
        }
    }

    fn room(&mut self, name: &str, room: &Room) {
        let rules = &room.rules;
        self.section(&format!("rooms.{}", quoted(name)));
        self.plain("max_members", rules.members_max);
        self.secret("pin", rules.pin.as_ref());
        self.secret("moderator_pin", rules.moderator_pin.as_ref());
        self.list("moderators", rules.moderators.iter());
        self.plain("muted_on_entry", rules.mutes_on_entry);
        self.plain("wait_for_moderator", rules.waits_for_moderator);
        self.plain("end_with_moderator", rules.ends_with_moderator);
        self.plain("tones", room.tones);
        self.text("music", room.music.as_deref().unwrap_or(NO_MUSIC));
        self.text("prompt", &room.prompt);
        self.plain("record", room.record);
        for (key, value) in [("announcement", &room.announcement), ("announcement_file", &room.announcement_file)] {
            if let Some(value) = value {
                self.text(key, value);
            }
        }
    }

    fn sip(&mut self, sip: &Sip) {
        self.section("sip");
        self.listeners(&sip.listeners);
        self.list("open", sip.listeners.iter().filter(|it| it.open));
        if let Some(agent) = &sip.open_agent {
            self.text("open_agent", agent);
        }
        self.advertise(&sip.advertise);
        self.text("realm", &sip.realm);
        self.list("digest", sip.digest.iter().map(|it| it.as_str()));
        self.plain("authentication_info", sip.authentication_info);
        self.plain("auth_int", sip.auth_int);
        self.plain("nonce_s", sip.nonce_lifetime.as_secs());
        self.plain("max_calls", sip.calls_max);
        self.milliseconds("next_hop_ms", sip.next_hop_after);
        self.text("user_agent", &sip.user_agent);
        self.milliseconds("ring_ms", sip.ring);
        self.text("transfers", sip.transfers.as_str());
        self.list("pass_headers", sip.pass_headers.iter());
        self.list("expose_headers", sip.expose_headers.iter());
        self.text("redirects", redirects(sip.follows_redirects));
        self.list("origins", sip.origins.iter());
        self.tls(&sip.tls);
        let limits = &sip.limits;
        self.section("sip.limits");
        self.plain("messages_per_s", limits.messages_per_s);
        self.plain("unknown_requests_per_s", limits.unknown_requests_per_s);
        self.plain("connections_per_s", limits.connections_per_s);
        self.plain("connections", limits.connections);
        self.plain("connections_per_source", limits.connections_per_source);
        self.list("exempt", limits.exempt.iter());
    }

    fn listeners(&mut self, listeners: &[Listener]) {
        let listeners = listeners.iter().map(|listener| {
            let url = quoted(&listener.to_string());
            match listener.advertise {
                None => url,
                Some((ip, None)) => format!("{{ url = {url}, advertise = \"{ip}\" }}"),
                Some((ip, Some(port))) => {
                    format!("{{ url = {url}, advertise = \"{}\" }}", std::net::SocketAddr::new(ip, port))
                }
            }
        });
        self.line(format_args!("listen = [{}]", listeners.collect::<Vec<_>>().join(", ")));
    }

    fn tls(&mut self, tls: &SipTls) {
        self.section("sip.tls");
        let mut path = |key, path: &std::path::Path| self.text(key, &path.display().to_string());
        if let Some((certificate, key)) = &tls.certificate {
            path("certificate", certificate);
            path("key", key);
        }
        match &tls.clients {
            TlsClients::None => {}
            TlsClients::Optional(ca) | TlsClients::Required(ca) => path("client_ca", ca),
        }
        if let Some(ca) = &tls.ca {
            path("ca", ca);
        }
        let clients = match tls.clients {
            TlsClients::None => "none",
            TlsClients::Optional(_) => "optional",
            TlsClients::Required(_) => "required",
        };
        self.text("client_certificates", clients);
        self.plain("alpn", tls.alpn);
    }

    fn capture(&mut self, capture: &Capture) {
        self.section("capture");
        self.plain("enabled", capture.enabled);
        self.plain("bytes_per_call", capture.bytes_per_call);
        self.plain("keep_days", capture.keep.as_secs() / 86_400);
        if let Some(homer) = &capture.homer {
            let host = if homer.host.contains(':') { format!("[{}]", homer.host) } else { homer.host.clone() };
            let scheme = if homer.is_stream { "tcp" } else { "udp" };
            self.text("homer", &format!("{scheme}://{host}:{}", homer.port));
            self.plain("capture_id", homer.id);
            self.secret("auth_key", homer.key.as_ref());
        }
    }

    fn trunk(&mut self, name: &str, trunk: &Trunk) {
        self.section(&format!("trunks.{}", quoted(name)));
        if let Some(domain) = &trunk.domain {
            self.text("uri", domain.as_str());
            self.list("gateways", trunk.gateways.iter());
        }
        let texts = [
            ("outbound_proxy", trunk.outbound_proxy.as_ref().map(Uri::as_str)),
            ("transport", trunk.transport.as_deref()),
            ("username", trunk.username.as_deref()),
            ("caller_id", trunk.caller_id.as_deref()),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                self.text(key, value);
            }
        }
        self.secret("password", trunk.password.as_ref());
        self.list("realm", trunk.realms.iter());
        self.plain("register", trunk.register);
        self.plain("expires_s", trunk.expires.as_secs());
        self.list("sources", trunk.sources.iter());
        let media = &trunk.media;
        if let Some(codecs) = &media.codecs {
            self.list("codecs", codecs.iter().map(|it| it.key()));
        }
        if let Some(ptime_ms) = media.ptime_ms {
            self.plain("ptime_ms", ptime_ms);
        }
        if let Some(keys) = media.keys {
            self.text("dtmf", keys.name());
        }
        if let Some(srtp) = media.srtp {
            self.text("srtp", srtp.as_str());
        }
        self.text("redirects", redirects(trunk.follows_redirects));
        self.text("media_addresses", trunk.media_addresses.name());
        self.plain("options_s", trunk.options_every.map_or(0, |it| it.as_secs()));
        let inbound = &trunk.inbound;
        if *inbound != TrunkInbound::default() {
            self.section(&format!("trunks.{}.inbound", quoted(name)));
            self.plain("address", inbound.address);
            self.plain("registration", inbound.registration);
            self.list("certificate_names", inbound.certificate_names.iter());
            if let Some((username, password)) = &inbound.account {
                self.text("username", username);
                self.secret("password", Some(password));
            }
        }
        let tls = &trunk.tls;
        let (certificate, key) = tls.certificate.as_ref().map_or((None, None), |(it, key)| (Some(it), Some(key)));
        let paths = [("ca", tls.ca.as_ref()), ("certificate", certificate), ("key", key)];
        if paths.iter().any(|(_, path)| path.is_some()) {
            self.section(&format!("trunks.{}.tls", quoted(name)));
        }
        for (key, path) in paths {
            if let Some(path) = path {
                self.text(key, &path.display().to_string());
            }
        }
    }

    fn agent(&mut self, name: &str, agent: &Agent) {
        self.section(&format!("agents.{name}"));
        match &agent.brain {
            Brain::Pathway(Pathway::Demo) => self.text("pathway", "builtin:demo"),
            Brain::Pathway(Pathway::File(path)) => self.text("pathway", &path.display().to_string()),
            Brain::Model(_) => {}
        }
        if !agent.transfers.is_empty() {
            self.list("transfers", agent.transfers.iter().map(|(name, to)| format!("{name}={to}")));
        }
        self.text("transfer_by", agent.transfer_by.as_str());
        let has_own_words = matches!(agent.brain, Brain::Model(_));
        if has_own_words {
            if let Some(greeting) = &agent.greeting {
                self.text("greeting", greeting);
            }
            self.text("apology", &agent.apology);
            self.text("goodbye", &agent.goodbye);
        }
        if let Some(voice) = &agent.voice {
            self.text("voice", voice);
        }
        self.milliseconds("end_of_turn_ms", agent.turns.end_of_turn);
        self.milliseconds("barge_in_ms", agent.turns.barge_in);
        self.plain("idle_prompt_s", agent.turns.idle_prompt_after.as_secs());
        if has_own_words {
            self.text("idle_prompt", &agent.turns.idle_prompt);
        }
        self.plain("idle_prompts_max", agent.turns.idle_prompts_max);
        self.plain("max_duration_s", agent.turns.duration_max.as_secs());
        self.text(
            "on_machine",
            match &agent.on_machine {
                OnMachine::GoOn => "go_on",
                OnMachine::HangUp => "hang_up",
                OnMachine::Message(_) => "message",
            },
        );
        if let OnMachine::Message(message) = &agent.on_machine {
            self.text("machine_message", message);
        }
        self.text(
            "on_fax",
            match &agent.on_fax {
                OnFax::GoOn => "go_on",
                OnFax::HangUp => "hang_up",
                OnFax::Transfer(name) => name,
            },
        );
        self.text("transfer_sound", &agent.transfer_sound);
        self.plain("noise_suppression", agent.sound.noise_suppression);
        self.plain("echo_cancellation", agent.sound.echo_cancellation);
        self.plain("gain_control", agent.sound.gain_control);
        if let Brain::Model(model) = &agent.brain {
            self.model(name, model);
        }
        self.recording(&format!("agents.{name}"), &agent.recording);
        if let Some(speech) = &agent.speech {
            self.section(&format!("agents.{name}.speech"));
            self.text("url", &speech.url);
            self.secret("token", speech.token.as_ref());
        }
    }

    fn model(&mut self, agent: &str, model: &Model) {
        self.section(&format!("agents.{agent}.model"));
        self.text("url", &model.url);
        self.text("model", &model.model);
        self.secret("api_key", model.api_key.as_ref());
        self.text("system_prompt", &model.system_prompt);
        self.text("fallback", &model.fallback);
        self.milliseconds("timeout_ms", model.timeout);
    }

    fn advertise(&mut self, advertise: &Advertise) {
        let pairs = advertise.pairs().map(|(local, ip, port)| match (port, ip) {
            (None, ip) => format!("{local}={ip}"),
            (Some(port), ip) => format!("{local}={}", std::net::SocketAddr::new(ip, port)),
        });
        self.list("advertise", pairs);
    }

    fn recordings(&mut self, recordings: &Recordings) {
        self.section("recordings");
        match &recordings.place {
            None => {}
            Some(RecordingPlace::Directory(path)) => self.text("url", &path.display().to_string()),
            Some(RecordingPlace::Bucket(url)) => self.text("url", url),
        }
        if let Some(keep) = recordings.keep {
            self.plain("keep_days", keep.as_secs() / 86_400);
        }
    }

    fn sounds(&mut self, sounds: &Sounds) {
        self.section("sounds");
        if let Some(directory) = &sounds.directory {
            self.text("directory", &directory.display().to_string());
        }
        self.list("allow", sounds.allow.iter());
        self.plain("http", sounds.http);
        self.plain("fetch_s", sounds.fetch.as_secs());
        self.plain("ringback", sounds.ringback);
        if let Some(music) = &sounds.hold_music {
            self.text("hold_music", music);
        }
        // Without it other tones are listened for than with that of the default.
        if let Some(country) = &sounds.country {
            self.text("country", country);
        }
    }

    fn recording(&mut self, of: &str, recording: &Recording) {
        self.section(&format!("{of}.recording"));
        self.plain("enabled", recording.enabled);
        self.text("format", recording.format.name());
        self.text("consent", recording.consent.name());
        self.text("announcement", &recording.announcement);
        self.text("question", &recording.question);
        for (key, file) in
            [("announcement_file", &recording.announcement_file), ("question_file", &recording.question_file)]
        {
            if let Some(file) = file {
                self.text(key, file);
            }
        }
    }

    fn section(&mut self, path: &str) {
        self.line(format_args!("\n[{path}]"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(format_args!("{key} = {}", quoted(value)));
    }

    fn plain(&mut self, key: &str, value: impl Display) {
        self.line(format_args!("{key} = {value}"));
    }

    fn milliseconds(&mut self, key: &str, value: Duration) {
        self.plain(key, value.as_millis());
    }

    fn secret(&mut self, key: &str, secret: Option<&Secret>) {
        if secret.is_some() {
            self.text(key, "<secret>");
        }
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = impl Display>) {
        let items: Vec<_> = items.map(|item| quoted(&item.to_string())).collect();
        self.line(format_args!("{key} = [{}]", items.join(", ")));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
