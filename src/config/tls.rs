//! `[sip.tls]` and `[trunks.NAME.tls]`

use std::path::PathBuf;

use super::Places;
use super::reading::Section;

/// `[sip.tls]`: who we are to peers that connect over TLS or a secure websocket, and whom we trust where we connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipTls {
    /// `certificate` and `key`: the chain and its private key, in PEM. Given whenever a listener is `tls://` or `wss://`.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// `client_certificates`, with `client_ca`.
    pub clients: TlsClients,
    /// `ca`: the authorities whose servers we connect to; those of the system if `None`.
    pub ca: Option<PathBuf>,
    /// `alpn`: whether we name the protocol `sip`.
    pub alpn: bool,
}

/// `client_certificates`: whether those who connect show a certificate, and whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsClients {
    /// They are not asked.
    #[default]
    None,
    /// They may.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// `[trunks.NAME.tls]`: what differs from `[sip.tls]` where a trunk's servers are connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkTls {
    /// `ca`: the authorities that their certificates are from; those of `[sip.tls]` if `None`.
    pub ca: Option<PathBuf>,
    /// `certificate` and `key`: what they are shown; that of `[sip.tls]` if `None`.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl TrunkTls {
    pub(super) fn read(trunk: &Section<'_>, places: &Places<'_>) -> Self {
        let section = trunk.section("tls");
        let ca = section.text("ca").map(|it| places.path(&it, section.origin("ca")));
        let tls = Self { ca, certificate: read_certificate(&section, places) };
        section.finish();
        tls
    }
}

impl SipTls {
    pub(super) fn read(sip: &Section<'_>, places: &Places<'_>, is_needed: bool) -> Self {
        let section = sip.section("tls");
        let path = |key| section.text(key).map(|it| places.path(&it, section.origin(key)));
        let certificate = read_certificate(&section, places);
        if is_needed && section.origin("certificate").is_none() && section.origin("key").is_none() {
            sip.complain(
                "listen",
                "tls:// and wss:// need [sip.tls] certificate and key: the PEM files for the host name that peers connect \
                 to",
            );
        }
        let tls = Self {
            certificate,
            clients: read_clients(&section, path("client_ca")),
            ca: path("ca"),
            alpn: section.boolean("alpn").unwrap_or(true),
        };
        section.finish();
        tls
    }
}

/// `certificate` and `key`, which come together.
fn read_certificate(section: &Section<'_>, places: &Places<'_>) -> Option<(PathBuf, PathBuf)> {
    let path = |key| section.text(key).map(|it| places.path(&it, section.origin(key)));
    match (path("certificate"), path("key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => {
            section.complain_of_section("`key` is missing: the PEM file of the certificate's private key");
            None
        }
        (None, Some(_)) => {
            section.complain_of_section("`certificate` is missing: the PEM file that `key` belongs to");
            None
        }
        (None, None) => None,
    }
}

fn read_clients(section: &Section<'_>, ca: Option<PathBuf>) -> TlsClients {
    let kind = section.text("client_certificates");
    match (kind.as_deref(), ca) {
        (None | Some("none"), None) => TlsClients::None,
        (None | Some("required"), Some(ca)) => TlsClients::Required(ca),
        (Some("optional"), Some(ca)) => TlsClients::Optional(ca),
        (Some("optional" | "required"), None) => {
            section.complain("client_certificates", "`client_ca` must say whose: a PEM file of authorities");
            TlsClients::None
        }
        (Some("none"), Some(_)) => {
            section.complain("client_certificates", "then there is no use for `client_ca`");
            TlsClients::None
        }
        (Some(_), _) => {
            section.complain("client_certificates", "expected \"none\", \"optional\" or \"required\"");
            TlsClients::None
        }
    }
}
