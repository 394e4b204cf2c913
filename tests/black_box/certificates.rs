//! Certificates of an authority of our own, as PEM files, and TLS clients that trust it or not.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::sip_phone::{ANSWER_MAX, Wire};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    directory: PathBuf,
}

/// A certificate of an authority.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    chain: rcgen::Certificate,
    secret: Vec<u8>,
}

impl Authority {
    /// One that keeps its files, of which the first is [`Self::file`], in `directory`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let directory = directory.join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, directory }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A certificate for these names, in files named after the first.
    pub(crate) fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()).unwrap();
        change(&mut params);
        let pair = KeyPair::generate().unwrap();
        let chain = params.signed_by(&pair, &self.issuer).unwrap();
        let (certificate, key) =
            (self.directory.join(format!("{}.pem", names[0])), self.directory.join(format!("{}.key", names[0])));
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        std::fs::write(&certificate, chain.pem()).unwrap();
        Issued { certificate, key, chain, secret: pair.serialize_der() }
    }

    /// A connection to `server`, which has to show a certificate for `name` of this authority; the reason if there is none.
    pub(crate) fn connect(&self, server: SocketAddr, name: &str, own: Option<&Issued>) -> Result<Wire, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.secret.clone()).unwrap();
                builder.with_client_auth_cert(vec![own.chain.der().clone()], key).unwrap()
            }
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect_timeout(&server, ANSWER_MAX).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
        }
        let socket = stream.try_clone().unwrap();
        Ok(Wire::Tls { stream: Box::new(StreamOwned::new(connection, stream)), socket, received: vec![] })
    }

    /// The other side of a connection that was accepted, as `own`.
    pub(crate) fn accept(mut stream: TcpStream, own: &Issued) -> Wire {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(own.secret.clone()).unwrap();
        let config = builder.with_no_client_auth().with_single_cert(vec![own.chain.der().clone()], key).unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        let socket = stream.try_clone().unwrap();
        Wire::Tls { stream: Box::new(StreamOwned::new(connection, stream)), socket, received: vec![] }
    }
}
