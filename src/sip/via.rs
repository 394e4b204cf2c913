//! Via: RFC 3261 §20.42, with `rport` of RFC 3581.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::host::{Host, HostPort};
use super::params::Params;
use super::text::{Span, Text, cut, is_blank, is_blank_byte, is_token, trim};

/// One hop of a message, as written: displayed byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    text: Text,
    transport: ViaTransport,
    host: HostPort,
    port: Option<u16>,
    params: Span,
}

/// The transport that a Via names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ViaTransport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// RFC 4168.
    Sctp,
    /// RFC 7118.
    Ws,
    /// RFC 7118.
    Wss,
    /// Any other token, see [`Via::transport_str`].
    Other,
}

/// The text is not a Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Via")]
pub struct ViaError;

/// What RFC 3261 §8.1.1.7 has every branch start with.
pub const BRANCH_COOKIE: &str = "z9hG4bK";

impl Via {
    /// Reads one Via.
    pub fn parse(text: &str) -> Result<Self, ViaError> {
        let text = Text::copy(text);
        Self::read(&text, text.as_str()).ok_or(ViaError)
    }

    /// `SIP/2.0/transport sent-by;branch=branch;rport`, as a client writes it; `rport` asks for the reflected port
    /// (RFC 3581 §3).
    pub fn new(transport: &str, sent_by: &str, branch: &str, rport: bool) -> Result<Self, ViaError> {
        let rport = if rport { ";rport" } else { "" };
        if !is_token(transport) || !is_token(branch) {
            return Err(ViaError);
        }
        HostPort::parse_in(sent_by, sent_by, false).ok_or(ViaError)?;
        Self::parse(&format!("SIP/2.0/{transport} {sent_by};branch={branch}{rport}"))
    }

    /// Reads `part`, which was cut from `text`.
    pub(crate) fn read(text: &Text, part: &str) -> Option<Self> {
        let whole = trim(part);
        let rest = match whole.strip_prefix("SIP/2.0/").map(str::as_bytes) {
            // As nearly everyone writes it.
            Some([first, ..]) if !is_blank_byte(*first) => whole.split_at_checked("SIP/2.0/".len())?.1,
            _ => protocol(whole)?,
        };
        let (transport, rest) = rest.split_at_checked(rest.bytes().position(is_blank_byte)?)?;
        let (sent_by, params) = match cut(rest, b';') {
            Some((sent_by, params)) => (sent_by, Some(trim(params))),
            None => (rest, None),
        };
        if !is_token(transport) || params.is_some_and(|it| !Params::new(it).is_well_formed()) {
            return None;
        }
        let (host, port) = HostPort::parse_in(whole, trim(sent_by), true)?;
        let params = Span::of_part(whole, params.unwrap_or_default());
        Some(Self { transport: ViaTransport::of(transport), host, port, params, text: text.share(whole) })
    }

    /// The transport.
    pub const fn transport(&self) -> ViaTransport {
        self.transport
    }

    /// The transport as written.
    pub fn transport_str(&self) -> &str {
        self.as_str().splitn(3, '/').nth(2).and_then(|it| it.split_ascii_whitespace().next()).unwrap_or_default()
    }

    /// Where the sender says it is.
    pub fn host(&self) -> Host<'_> {
        self.host.of(&self.text)
    }

    /// The port of [`Self::host`], if one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.text.at(self.params))
    }

    /// The name of the transaction (RFC 3261 §17.1.3).
    pub fn branch(&self) -> Option<&str> {
        self.params().value("branch")
    }

    /// Where the message came from, as its receiver saw it. IPv6 stands without or with brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let value = self.params().value("received")?;
        value.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(value).parse().ok()
    }

    /// RFC 3581: `None` without the parameter, `Some(None)` if it asks, `Some(Some(port))` if it was answered.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params().get("rport").map(|it| it.and_then(super::text::number))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// As the receiver from `source` writes it before anyone reads it: `received` if the host is not that address or
    /// `rport` is asked for, and `rport` filled in (RFC 3261 §18.2.1, RFC 3581 §4). What the sender put there itself
    /// is taken out first.
    #[must_use]
    pub fn stamped(&self, source: SocketAddr) -> Self {
        let asks = self.params().contains("rport");
        let is_forged = self.params().contains("received");
        let ip = source.ip().to_canonical();
        let differs = self.host().ip().map(|it| it.to_canonical()) != Some(ip);
        if !asks && !differs && !is_forged {
            return self.clone();
        }
        let params = self.params().as_str().len();
        let bare = self.as_str().len() - if params == 0 { 0 } else { self.params_length() };
        let mut text = self.as_str().get(..bare).unwrap_or_default().trim_end_matches([' ', '\t', ';']).to_owned();
        for (name, value) in self.params().iter() {
            if name.eq_ignore_ascii_case("rport") || name.eq_ignore_ascii_case("received") {
                continue;
            }
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
        if asks || differs {
            text.push_str(&format!(";received={ip}"));
        }
        if asks {
            text.push_str(&format!(";rport={}", source.port()));
        }
        Self::parse(&text).expect("a Via with received and rport is a Via")
    }

    /// Bytes from the first parameter to the end.
    fn params_length(&self) -> usize {
        self.as_str().len() - (self.params().as_str().as_ptr() as usize - self.as_str().as_ptr() as usize)
    }
}

/// What follows the name and version of the protocol; blanks may stand between all parts.
fn protocol(text: &str) -> Option<&str> {
    let (name, rest) = cut(text, b'/')?;
    let (version, rest) = cut(rest, b'/')?;
    let is_sip = trim(name).eq_ignore_ascii_case("SIP") && is_token(trim(version));
    is_sip.then(|| rest.trim_start_matches(is_blank))
}

impl ViaTransport {
    fn of(text: &str) -> Self {
        const KNOWN: [(&str, ViaTransport); 6] = [
            ("UDP", ViaTransport::Udp),
            ("TCP", ViaTransport::Tcp),
            ("TLS", ViaTransport::Tls),
            ("WS", ViaTransport::Ws),
            ("WSS", ViaTransport::Wss),
            ("SCTP", ViaTransport::Sctp),
        ];
        KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map_or(Self::Other, |(_, it)| *it)
    }
}

impl std::str::FromStr for Via {
    type Err = ViaError;

    fn from_str(text: &str) -> Result<Self, ViaError> {
        Self::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({:?} {} {})", self.transport, self.host(), self.branch().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vias_are_read_whatever_their_dress() {
        let via = Via::parse("SIP / 2.0\t/ tls  Host.example : 5061 ; branch = z9hG4bK1;ttl=1;maddr=x").expect("valid");
        assert_eq!((via.transport(), via.transport_str(), via.port()), (ViaTransport::Tls, "tls", Some(5061)));
        assert_eq!((via.host(), via.branch(), via.rport()), (Host::Name("Host.example"), Some("z9hG4bK1"), None));
        let via = Via::parse("sip/2.0/WSS [2001:db8::1];rport;received=[2001:db8::2]").expect("valid");
        assert_eq!((via.transport(), via.rport(), via.branch()), (ViaTransport::Wss, Some(None), None));
        assert_eq!(via.received(), "2001:db8::2".parse().ok());
        assert_eq!(Via::parse("SIP/2.0/UDP a;rport=70000").map(|it| it.rport()), Ok(Some(None)));
        for bad in ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ", "HTTP/2.0/UDP a", "SIP/2.0/U(P a", "SIP/2.0/UDP a b"]
        {
            assert_eq!(Via::parse(bad), Err(ViaError), "{bad}");
        }
        for bad in ["SIP/2.0/UDP a;", "SIP/2.0/UDP a;;b", "SIP/2.0/UDP a:0", "SIP/2.0/UDP a@b", "SIP/2.0/UDP a,b"] {
            assert_eq!(Via::parse(bad), Err(ViaError), "{bad}");
        }
    }

    #[track_caller]
    fn check(via: &str, source: &str, expect: &str) {
        let stamped = Via::parse(via).expect("valid").stamped(source.parse().expect("an address"));
        assert_eq!(stamped.as_str(), expect);
    }

    #[test]
    fn vias_are_stamped_with_the_source() {
        check("SIP/2.0/UDP 192.0.2.1;branch=1", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1;branch=1");
        check("SIP/2.0/UDP 192.0.2.1;branch=1", "192.0.2.2:9", "SIP/2.0/UDP 192.0.2.1;branch=1;received=192.0.2.2");
        check("SIP/2.0/UDP a", "192.0.2.2:9", "SIP/2.0/UDP a;received=192.0.2.2");
        check(
            "SIP/2.0/UDP 192.0.2.1;rport;branch=1",
            "192.0.2.1:9",
            "SIP/2.0/UDP 192.0.2.1;branch=1;received=192.0.2.1;rport=9",
        );
        check("SIP/2.0/UDP [2001:db8::1];branch=1", "[2001:db8:0::1]:9", "SIP/2.0/UDP [2001:db8::1];branch=1");
        check("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:9", "SIP/2.0/UDP 192.0.2.1");
        check("SIP/2.0/TCP h ; rport ", "[2001:db8::9]:9", "SIP/2.0/TCP h;received=2001:db8::9;rport=9");
    }

    #[test]
    fn vias_are_written() {
        let via = Via::new("UDP", "[2001:db8::1]:5060", "z9hG4bK1", true).map(|it| it.to_string());
        assert_eq!(via.as_deref(), Ok("SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK1;rport"));
        for (transport, sent_by, branch) in
            [("U P", "a", "b"), ("UDP", "a;x", "b"), ("UDP", "a", "b;x"), ("UDP", "", "b")]
        {
            assert_eq!(Via::new(transport, sent_by, branch, false), Err(ViaError));
        }
    }

    #[test]
    fn what_the_sender_says_of_its_source_is_not_believed() {
        check("SIP/2.0/UDP 192.0.2.1;received=10.0.0.1", "192.0.2.1:9", "SIP/2.0/UDP 192.0.2.1");
        check(
            "SIP/2.0/UDP 192.0.2.1;received=10.0.0.1;rport=1;branch=2;received=10.0.0.3",
            "192.0.2.5:9",
            "SIP/2.0/UDP 192.0.2.1;branch=2;received=192.0.2.5;rport=9",
        );
    }
}
