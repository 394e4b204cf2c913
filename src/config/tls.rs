//! `[sip.tls]`

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

impl SipTls {
    pub(super) fn read(sip: &Section<'_>, places: &Places<'_>, is_needed: bool) -> Self {
        let section = sip.section("tls");
        let path = |key| section.text(key).map(|it| places.path(&it, section.origin(key)));
        let certificate = match (path("certificate"), path("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => {
                section.complain_of_section("`key` is missing: the PEM file of the certificate's private key");
                None
            }
            (None, Some(_)) => {
                section.complain_of_section("`certificate` is missing: the PEM file that `key` belongs to");
                None
            }
            (None, None) => {
                if is_needed {
                    sip.complain(
                        "listen",
                        "tls:// and wss:// need [sip.tls] certificate and key: the PEM files for the host name that peers \
                         connect to",
                    );
                }
                None
            }
        };
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
