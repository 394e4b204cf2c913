//! `[trunks.NAME]` and `[dns]`: the carriers and PBXs that are called through and registered with, and who knows their
//! addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Places;
use super::agents::check_number;
use super::media::TrunkMedia;
use super::network::parse_address;
use super::reading::Section;
use super::sip::read_redirects;
use super::tls::TrunkTls;
use super::trunk_inbound::TrunkInbound;
use super::users::User;
use crate::identity::Secret;
use crate::limits;
use crate::route::Network;
use crate::sip::{Uri, is_quotable};

/// Where the media of a trunk come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaAddresses {
    /// From where its SDP says; if that is a private address, from where its signalling comes from.
    #[default]
    Learned,
    /// From where its SDP says, and from nowhere else.
    Exact,
    /// As learned, or from another port of the host that its SDP names, which is that of a NAT.
    Host,
}

/// `[trunks.NAME]`: a carrier or PBX.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// `uri`, or the first of `gateways`: what is called and registered with. `None` only if it registers with us.
    pub domain: Option<Uri>,
    /// `gateways`: where its servers are looked for, the preferred ones first; `uri`, if there is one, if none are written.
    pub gateways: Vec<Uri>,
    /// `outbound_proxy`: where everything goes instead, with a Route through it.
    pub outbound_proxy: Option<Uri>,
    /// `transport`: `udp`, `tcp` or `tls`, whatever its records say.
    pub transport: Option<String>,
    /// `username`
    pub username: Option<String>,
    /// `password`, or what the variable named by `password_env` holds.
    pub password: Option<Secret>,
    /// `realm`: who may ask for the password. Unless written, the hosts of the domain, gateways and proxy.
    pub realms: Vec<String>,
    /// `register`
    pub register: bool,
    /// `expires_s`: for how long a registration is asked for.
    pub expires: Duration,
    /// `sources`: from where it calls, besides the addresses of its servers.
    pub sources: Vec<Network>,
    /// `media_addresses`: whether its media come from where its SDP says.
    pub media_addresses: MediaAddresses,
    /// `caller_id`: as whom it is called through.
    pub caller_id: Option<String>,
    /// `codecs`, `ptime_ms`, `dtmf` and `srtp`: what is otherwise than in `[media]`.
    pub media: TrunkMedia,
    /// `[trunks.NAME.inbound]`
    pub inbound: TrunkInbound,
    /// `[trunks.NAME.tls]`
    pub tls: TrunkTls,
    /// `redirects`: whether it is followed where it points elsewhere (3xx).
    pub follows_redirects: bool,
    /// `options_s`: how often its servers are asked whether they live; `None` never.
    pub options_every: Option<Duration>,
}

/// `[dns]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// `servers`: the name servers to ask; those of the system if there are none.
    pub servers: Vec<SocketAddr>,
}

impl Dns {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let server = |text: &str| {
            let (ip, port) = parse_address(text)?;
            Ok(SocketAddr::new(ip, port.unwrap_or(DNS_PORT)))
        };
        Self { servers: section.list("servers", server).unwrap_or_default() }
    }
}

pub(super) fn read_trunks(
    root: &Section<'_>,
    users: &BTreeMap<String, User>,
    places: &Places<'_>,
) -> BTreeMap<String, Trunk> {
    let mut trunks = BTreeMap::new();
    for (name, section) in root.sections("trunks") {
        if check_number(&name).is_err() {
            section.complain_of_section("a trunk has a name such as \"acme\"");
        }
        if let Some(trunk) = read_trunk(&section, places) {
            let name_of = |it: &Trunk| it.inbound.account.as_ref().map(|(name, _)| name.clone());
            let own = name_of(&trunk);
            let is_taken = |it: &String| users.contains_key(it) || trunks.values().any(|it| name_of(it) == own);
            if own.as_ref().is_some_and(is_taken) {
                section.complain_of_section("`username` of `inbound` is that of a user or of another trunk");
            }
            trunks.insert(name, trunk);
        }
        section.finish();
    }
    trunks
}

fn read_trunk(section: &Section<'_>, places: &Places<'_>) -> Option<Trunk> {
    let uri = section.parsed("uri", parse_uri);
    let mut gateways = section.list("gateways", parse_uri).unwrap_or_default();
    if gateways.len() > limits::TRUNK_GATEWAYS_MAX {
        section.complain("gateways", &format!("at most {} are used", limits::TRUNK_GATEWAYS_MAX));
    }
    let inbound = TrunkInbound::read(section, places);
    let comes_to_us = inbound.registration && inbound.account.is_some();
    let has_place = section.origin("uri").is_some() || section.origin("gateways").is_some();
    if !has_place && !comes_to_us {
        section.complain_of_section(
            "`uri` or `gateways` is missing; without them it has to register with us (`registration`, `username` and \
             `password` of `inbound`)",
        );
    }
    let outbound_proxy = section.parsed("outbound_proxy", parse_uri);
    let (username, password) = read_credentials(section, places);
    let realms = section.list("realm", parse_quotable);
    let register = section.boolean("register").unwrap_or(false);
    if register && section.origin("username").is_none() {
        section.complain("register", "`username` says who is registered; it is missing");
    }
    if register && !has_place {
        section.complain("register", "`uri` or `gateways` says where; both are missing");
    }
    let expires_s = section.number("expires_s", 30..=86_400).unwrap_or(3_600);
    let transport = section.parsed("transport", |text| match text {
        "udp" | "tcp" | "tls" => Ok(text.to_owned()),
        _ => Err("expected udp, tcp or tls".to_owned()),
    });
    let sources = section.list("sources", |text| {
        let expected = || "expected an address or a network such as 203.0.113.0/24".to_owned();
        text.parse().ok().ok_or_else(expected)
    });
    let caller_id = section.parsed("caller_id", |text| check_number(text).map(|()| text.to_owned()));
    let options_s = section.number("options_s", 0..=3_600).unwrap_or(0);
    let domain = uri.or_else(|| gateways.first().cloned());
    if domain.is_none() && (has_place || !comes_to_us) {
        return None;
    }
    if gateways.is_empty() {
        gateways.extend(domain.clone());
    }
    let realms = realms.unwrap_or_else(|| {
        let hosts = gateways.iter().chain(&domain).chain(&outbound_proxy).filter_map(Uri::host);
        let mut hosts: Vec<_> = hosts.map(|it| it.to_string()).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    });
    Some(Trunk {
        domain,
        gateways,
        outbound_proxy,
        transport,
        username,
        password,
        realms,
        register,
        expires: Duration::from_secs(expires_s.into()),
        sources: sources.unwrap_or_default(),
        media_addresses: read_media_addresses(section).unwrap_or_default(),
        caller_id,
        media: TrunkMedia::read(section),
        inbound,
        tls: TrunkTls::read(section, places),
        follows_redirects: read_redirects(section),
        options_every: (options_s > 0).then(|| Duration::from_secs(options_s.into())),
    })
}

/// As whom it is called and registered with.
fn read_credentials(section: &Section<'_>, places: &Places<'_>) -> (Option<String>, Option<Secret>) {
    let username = section.parsed("username", parse_quotable);
    let password = places.secret(section, "password", "password_env");
    if username.is_none() && section.origin("username").is_none() {
        for key in ["password", "password_env"] {
            if section.origin(key).is_some() {
                section.complain_of_section(&format!("`{key}` is given, but no `username`"));
            }
        }
    }
    (username, password)
}

impl MediaAddresses {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Learned, Self::Exact, Self::Host];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Exact => "exact",
            Self::Host => "host",
        }
    }
}

/// Whether media come from where their descriptions say.
fn read_media_addresses(section: &Section<'_>) -> Option<MediaAddresses> {
    section.parsed("media_addresses", |text| {
        let known = MediaAddresses::ALL.into_iter().find(|it| it.name() == text);
        known.ok_or_else(|| "expected learned, exact or host".to_owned())
    })
}

/// A SIP URI of a host, without a user.
fn parse_uri(text: &str) -> Result<Uri, String> {
    let expected = "expected sip: or sips: and a host, such as sip:sip.example.com or sip:192.0.2.1:5060;transport=tcp";
    let uri = Uri::parse(text).ok().ok_or_else(|| expected.to_owned())?;
    let is_known =
        uri.transport().is_none_or(|it| ["udp", "tcp", "tls"].iter().any(|known| it.eq_ignore_ascii_case(known)));
    match uri.host() {
        Some(_) if uri.user().is_none() && !uri.has_headers() && is_known => Ok(uri),
        Some(_) | None => Err(expected.to_owned()),
    }
}

/// What can stand in quotes as it is.
pub(super) fn parse_quotable(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > limits::REALM_BYTES_MAX || !is_quotable(text) {
        let max = limits::REALM_BYTES_MAX;
        return Err(format!("expected 1 to {max} bytes without quotes, backslashes and control characters"));
    }
    Ok(text.to_owned())
}

const DNS_PORT: u16 = 53;
