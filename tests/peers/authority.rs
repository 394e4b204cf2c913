//! An authority whose certificates say 127.0.0.1, for a server on TLS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::server_process::{Home, Server, free_port};

/// A server that listens on TLS, too.
pub(crate) struct Secured {
    pub(crate) server: Server,
    /// UDP and TCP, as [`Server::sip`].
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) certificate: PathBuf,
    /// The authority of it.
    pub(crate) authority: PathBuf,
}

impl Secured {
    pub(crate) fn start(keys: &[(&str, &str)]) -> Self {
        Self::start_with("", keys)
    }

    /// With more listeners, separated by commas.
    pub(crate) fn start_with(listeners: &str, keys: &[(&str, &str)]) -> Self {
        let home = Home::new();
        let authority = home.path().join("ca.pem");
        let (certificate, key) = issue(&home, &authority);
        let (sip, port) = (free_port(), free_port());
        let listen = format!("udp://127.0.0.1:{sip},tcp://127.0.0.1:{sip},tls://127.0.0.1:{port}");
        let listen = if listeners.is_empty() { listen } else { format!("{listen},{listeners}") };
        let mut all = vec![
            ("SIP__LISTEN", listen.as_str()),
            ("SIP__TLS__CERTIFICATE", certificate.to_str().unwrap()),
            ("SIP__TLS__KEY", key.to_str().unwrap()),
        ];
        all.extend(keys);
        let server = Server::start_at(&home, sip, free_port(), &all);
        let plain = server.sip;
        Self { server, plain, tls: SocketAddr::from(([127, 0, 0, 1], port)), certificate, authority }
    }

    /// Where telephones on this transport reach it.
    pub(crate) const fn at(&self, transport: &str) -> SocketAddr {
        if matches!(transport.as_bytes(), b"tls") { self.tls } else { self.plain }
    }
}

fn issue(home: &Arc<Home>, authority: &Path) -> (PathBuf, PathBuf) {
    let issuer = new_authority(authority);
    let pair = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (home.path().join("server.pem"), home.path().join("server.key"));
    std::fs::write(&certificate, params.signed_by(&pair, &issuer).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    (certificate, key)
}

/// An authority whose certificate is written to `file`.
fn new_authority(file: &Path) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    std::fs::write(file, params.self_signed(&key).unwrap().pem()).unwrap();
    Issuer::new(params, key)
}
