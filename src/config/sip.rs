//! `[sip]`

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Places;
use super::agents::Agent;
use super::network::{Advertise, Listener, SignallingTransport, parse_advertised, parse_listener};
use super::reading::Section;
use super::sip_limits::SipLimits;
use super::tls::SipTls;
use super::written::Origin;
use crate::limits;
use crate::sip::{DigestAlgorithm, HeaderName};

/// `[sip]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    /// `listen`, with what `open` says about each.
    pub listeners: Vec<Listener>,
    /// `open_agent`: who answers at an open listener if the number called is not configured. Given whenever a listener
    /// is open.
    pub open_agent: Option<String>,
    /// `advertise`
    pub advertise: Advertise,
    /// `realm`: what telephones are told that their password is for.
    pub realm: String,
    /// `digest`: how telephones may prove that they know it, the first being preferred. Not empty.
    pub digest: Vec<DigestAlgorithm>,
    /// `authentication_info`: whether telephones that register get the proof that we know their password, too, and the next
    /// nonce in time (RFC 7616 §3.5).
    pub authentication_info: bool,
    /// `auth_int`: whether they may protect the bodies of their requests, too (`qop=auth-int`).
    pub auth_int: bool,
    /// `nonce_s`: for how long a nonce may be used.
    pub nonce_lifetime: Duration,
    /// `max_calls`: further ones are refused with 503.
    pub calls_max: u32,
    /// `next_hop_ms`: after so long without an answer a call goes to the next server as well, if there is one.
    pub next_hop_after: Duration,
    /// `user_agent`: what the headers User-Agent and Server say.
    pub user_agent: String,
    /// `[sip.tls]`
    pub tls: SipTls,
    /// `origins`: the web pages that may open websockets, such as `https://phone.example.com`; `*` is any.
    pub origins: Vec<String>,
    /// `[sip.limits]`
    pub limits: SipLimits,
    /// `transfers`: who may have calls transferred by REFER.
    pub transfers: TransfersFor,
    /// `pass_headers`: header fields of a call that comes in that whoever is called for it gets, too.
    pub pass_headers: Vec<HeaderName>,
    /// `expose_headers`: header fields of a call that comes in that agents and the record are told as they are.
    pub expose_headers: Vec<HeaderName>,
    /// `redirects`: whether users and SIP URIs that point elsewhere (3xx) are followed.
    pub follows_redirects: bool,
    /// `ring_ms`: how long a caller hears ringing before the agent answers, at least.
    pub ring: Duration,
}

/// Who may have calls transferred by REFER, always to those only whom they could call themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransfersFor {
    /// `refused`: nobody.
    #[default]
    Nobody,
    /// `users`: those who have shown their password.
    Users,
    /// `known`: they and known sources.
    Known,
}

impl TransfersFor {
    const ALL: [Self; 3] = [Self::Nobody, Self::Users, Self::Known];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "refused",
            Self::Users => "users",
            Self::Known => "known",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| "expected \"refused\", \"users\" or \"known\"".to_owned())
    }
}

impl Sip {
    pub(super) fn read(section: &Section<'_>, agents: &BTreeMap<String, Agent>, places: &Places<'_>) -> Self {
        let listeners = read_listeners(section);
        let is_secure = listeners.iter().any(|it| it.transport.is_secure());
        let next_hop_ms = section.number("next_hop_ms", 500..=32_000);
        let next_hop_ms = next_hop_ms.map_or(limits::NEXT_HOP_AFTER_MS, u64::from);
        let milliseconds = section.number("ring_ms", 0..=limits::RING_CONFIGURED_S_MAX * 1000).unwrap_or(0);
        Self {
            open_agent: read_open_agent(section, &listeners, agents),
            listeners,
            tls: SipTls::read(section, places, is_secure),
            origins: section.list("origins", parse_origin).unwrap_or_default(),
            limits: SipLimits::read(section),
            advertise: Advertise::read(section, true).unwrap_or_default(),
            realm: section.parsed("realm", parse_realm).unwrap_or_else(|| "hookswitch".to_owned()),
            digest: read_digest(section),
            authentication_info: section.boolean("authentication_info").unwrap_or(false),
            auth_int: section.boolean("auth_int").unwrap_or(false),
            nonce_lifetime: Duration::from_secs(
                section.number("nonce_s", 2..=86_400).map_or(limits::NONCE_S_MAX, u64::from),
            ),
            calls_max: section.number("max_calls", 1..=limits::CALLS_CONFIGURED_MAX).unwrap_or(1000),
            next_hop_after: Duration::from_millis(next_hop_ms),
            user_agent: section.parsed("user_agent", parse_user_agent).unwrap_or_else(|| USER_AGENT.to_owned()),
            transfers: section.parsed("transfers", TransfersFor::parse).unwrap_or_default(),
            pass_headers: section.list("pass_headers", parse_passed).unwrap_or_default(),
            expose_headers: section.list("expose_headers", parse_exposed).unwrap_or_default(),
            follows_redirects: read_redirects(section),
            ring: Duration::from_millis(milliseconds.into()),
        }
    }
}

/// A header field that means the same in another dialog: not what names or routes this one.
fn parse_passed(text: &str) -> Result<HeaderName, String> {
    const PASSABLE: [HeaderName; 5] = [
        HeaderName::AlertInfo,
        HeaderName::CallInfo,
        HeaderName::Priority,
        HeaderName::Subject,
        HeaderName::UserToUser,
    ];
    let name = HeaderName::parse(text).ok_or("expected the name of a header field")?;
    let is_own = text.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("x-"));
    if is_own || PASSABLE.contains(&name) {
        return Ok(name);
    }
    Err("only X-… fields, Alert-Info, Call-Info, Priority, Subject and User-to-User can be passed on".to_owned())
}

/// Any header field but those that say who may do what.
fn parse_exposed(text: &str) -> Result<HeaderName, String> {
    const SECRET: [HeaderName; 2] = [HeaderName::Authorization, HeaderName::ProxyAuthorization];
    let name = HeaderName::parse(text).ok_or("expected the name of a header field")?;
    if SECRET.contains(&name) { Err("credentials are not told".to_owned()) } else { Ok(name) }
}

/// `redirects`: whether those who point elsewhere are followed.
pub(super) fn read_redirects(section: &Section<'_>) -> bool {
    let follows = section.parsed("redirects", |text| match text {
        "refuse" => Ok(false),
        "follow" => Ok(true),
        _ => Err("expected \"refuse\" or \"follow\"".to_owned()),
    });
    follows.unwrap_or(false)
}

/// What can stand in quotes as it is.
fn parse_realm(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > limits::REALM_BYTES_MAX || !crate::sip::is_quotable(text) {
        return Err(format!(
            "expected 1 to {} bytes without quotes, backslashes and control characters",
            limits::REALM_BYTES_MAX
        ));
    }
    Ok(text.to_owned())
}

/// A scheme, a host and perhaps a port, as browsers send it.
fn parse_origin(text: &str) -> Result<String, String> {
    let is_origin = |rest: &str| !rest.is_empty() && !rest.contains(['/', ' ', '?', '#']);
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if text == "*" || rest.is_some_and(is_origin) {
        return Ok(text.to_owned());
    }
    Err("expected an origin such as https://phone.example.com, without a path, or *".to_owned())
}

fn read_digest(section: &Section<'_>) -> Vec<DigestAlgorithm> {
    let written = section.list("digest", |text| {
        let known = || DigestAlgorithm::ALL.map(DigestAlgorithm::as_str).join(", ");
        DigestAlgorithm::parse(text).ok_or_else(|| format!("expected some of {}", known()))
    });
    let Some(algorithms) = written else { return vec![DigestAlgorithm::Md5] };
    if algorithms.is_empty() {
        section.complain("digest", "expected at least one algorithm");
    }
    algorithms
}

fn read_listeners(section: &Section<'_>) -> Vec<Listener> {
    let required = !matches!(section.origin("listen"), Some(Origin::BuiltIn));
    let listener = |(transport, address)| Listener { transport, address, advertise: None, open: false, required };
    let text = |text: &str| parse_listener(text).map(listener);
    let written = section.items("listen", text, |table| read_listener(table, listener));
    let mut read = written.unwrap_or_else(|| {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060));
        [SignallingTransport::Udp, SignallingTransport::Tcp].map(|it| listener((it, everywhere))).to_vec()
    });
    if read.is_empty() {
        section.complain("listen", "expected at least one listener");
    }
    for (index, listener) in read.iter().enumerate() {
        let is_same = |it: &&Listener| it.transport == listener.transport && it.address == listener.address;
        // Port 0 is a different port each time.
        if listener.address.port() != 0 && read.iter().take(index).any(|it| is_same(&it)) {
            section.complain("listen", &format!("{listener} is there twice"));
        }
    }
    // A listener that says for itself is not asked again.
    let own: Vec<_> = read.iter().map(|it| it.open).collect();
    read_open(section, &mut read);
    for (listener, is_open) in read.iter_mut().zip(own) {
        listener.open |= is_open;
    }
    read
}

/// `{ url = "tls://10.0.0.5", advertise = "203.0.113.7", open = true }`
fn read_listener(
    table: &Section<'_>,
    listener: impl Fn((SignallingTransport, SocketAddr)) -> Listener,
) -> Option<Listener> {
    let advertise = table.parsed("advertise", parse_advertised);
    let open = table.boolean("open").unwrap_or(false);
    let url = table.parsed("url", parse_listener);
    if table.origin("url").is_none() {
        table.complain_of_section("`url` is missing, such as udp://0.0.0.0:5060");
    }
    let listener = Listener { advertise, open, ..listener(url?) };
    if let Some((ip, _)) = advertise.filter(|(ip, _)| ip.is_ipv4() != listener.address.is_ipv4()) {
        table.complain("advertise", &format!("{ip} and {listener} are of different families"));
    }
    Some(listener)
}

/// `open` is `true`, `false`, `"loopback"` or a list of some of the listeners.
fn read_open(section: &Section<'_>, listeners: &mut [Listener]) {
    let text = section.text_if_any("open").map(str::to_ascii_lowercase);
    if text.as_deref() == Some("loopback") {
        for listener in listeners {
            listener.open = listener.address.ip().is_loopback();
        }
    } else if section.is_list("open") || text.is_some_and(|text| text.contains("://")) {
        for open in section.list("open", parse_listener).unwrap_or_default() {
            let mut found = false;
            for listener in listeners.iter_mut().filter(|it| (it.transport, it.address) == open) {
                listener.open = true;
                found = true;
            }
            if !found {
                section.complain("open", &format!("{}://{} is not in `listen`", open.0, open.1));
            }
        }
    } else if let Some(open) = section.boolean_or("open", "true, false, \"loopback\" or a list of listeners") {
        for listener in listeners {
            listener.open = open;
        }
    }
}

fn read_open_agent(section: &Section<'_>, listeners: &[Listener], agents: &BTreeMap<String, Agent>) -> Option<String> {
    if let Some(name) = section.text("open_agent") {
        if agents.contains_key(&name) {
            return Some(name);
        }
        section.complain("open_agent", &super::agents::no_such_agent(&name, agents));
        return None;
    }
    let mut names = agents.keys();
    match (listeners.iter().any(|it| it.open), names.next(), names.next()) {
        (_, Some(only), None) => Some(only.clone()),
        (true, Some(_), Some(_)) => {
            let names: Vec<_> = agents.keys().map(String::as_str).collect();
            let names = names.join(", ");
            section.complain("open", &format!("`open_agent` must say which agent answers there: {names}"));
            None
        }
        (false, Some(_), Some(_)) | (_, None, _) => None,
    }
}

fn parse_user_agent(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= limits::USER_AGENT_BYTES_MAX;
    if fits && text.bytes().all(|it| it.is_ascii_graphic() || it == b' ') {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {} ASCII characters", limits::USER_AGENT_BYTES_MAX))
}

const USER_AGENT: &str = concat!("hookswitch/", env!("CARGO_PKG_VERSION"));
