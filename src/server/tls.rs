//! TLS for SIP (RFC 3261 §26.2, RFC 5922): who we are to those who connect, and whom we expect where we connect to.
//!
//! TLS 1.2 and 1.3. The files are read again when they change, so that a renewed certificate is taken without a restart;
//! if the new ones cannot be used, the old ones stay and the log says why. Deviation: a wildcard in a server's certificate
//! is taken for its host names, which RFC 5922 §7.2 forbids and carriers need.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::limits::TLS_RELOAD_S;
use crate::server::sip_worker::Input;
use crate::server::{certificate, clock, task};
use crate::transport::{PeerIdentity, TransportKind};

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// The certificate, then those between it and the root.
    pub(crate) chain: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Who we are to those who connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsServerFiles {
    /// Our certificate.
    pub(crate) certificate: CertificateFiles,
    /// Whether clients show theirs.
    pub(crate) clients: ClientCertificates,
    /// Whether we name the protocol `sip` (ALPN); clients that name none are served all the same.
    pub(crate) alpn: bool,
}

/// Whether clients show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may; one that is not from these authorities ends the connection.
    Optional(PathBuf),
    /// Without one there is no connection.
    Required(PathBuf),
}

/// Whom to trust, and who we are, where we connect to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsClientFiles {
    /// The authorities in this file; those of the system if `None`.
    pub(crate) roots: Option<PathBuf>,
    /// Shown to servers that ask.
    pub(crate) certificate: Option<CertificateFiles>,
    /// Whether we name the protocol `sip` (ALPN). Some servers refuse clients that do.
    pub(crate) alpn: bool,
}

/// Why TLS is not possible.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}; it must be a PEM file that this user may read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rustls::pki_types::pem::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what}; expected a PEM file with `-----BEGIN {label}-----`")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
        /// How it would begin.
        label: &'static str,
    },
    /// The key is that of another certificate.
    #[error("the key in {key} does not belong to the certificate in {chain}; write both from the same renewal")]
    Mismatch {
        /// The certificate.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate or the key is of no use.
    #[error("{path} cannot be used: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// The authorities are of no use.
    #[error("the authorities in {path} cannot be used: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The system has no authorities.
    #[error("the system has no certificate authorities; install ca-certificates, or name a file of authorities")]
    NoSystemRoots,
    /// Our settings and the library do not go together.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
    /// That is no host name.
    #[error("`{0}` is neither a host name nor an address")]
    Name(String),
}

/// Our side of the connections that others open.
pub(crate) struct TlsServer {
    files: TlsServerFiles,
    state: RwLock<State>,
}

/// What was read, and of which files.
struct State {
    sip: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    expiry: Option<Duration>,
    stamps: Vec<Option<SystemTime>>,
}

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub(crate) fn load(files: TlsServerFiles) -> Result<Self, TlsError> {
        let state = State::read(&files)?;
        warn_of_expiry(&files.certificate.chain, state.expiry);
        Ok(Self { files, state: RwLock::new(state) })
    }

    /// Reads the files again if one of them has changed. Connections that are open stay as they are.
    pub(crate) fn reload_if_changed(&self) {
        let stamps = stamps(&self.files);
        if stamps == self.state.read().unwrap_or_else(PoisonError::into_inner).stamps {
            return;
        }
        match State::read(&self.files) {
            Ok(state) => {
                warn_of_expiry(&self.files.certificate.chain, state.expiry);
                tracing::info!(certificate = %self.files.certificate.chain.display(), "renewed TLS files are in use");
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
            }
            Err(error) => {
                tracing::error!(%error, "changed TLS files cannot be used; those from before stay in use");
                // Said once for each change.
                self.state.write().unwrap_or_else(PoisonError::into_inner).stamps = stamps;
            }
        }
    }

    /// Whole days until our certificate ends, negative once it has; `None` if it does not say.
    pub(crate) fn days_left(&self) -> Option<i64> {
        days_left(self.state.read().unwrap_or_else(PoisonError::into_inner).expiry)
    }

    /// Our side of the handshake.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        kind: TransportKind,
    ) -> std::io::Result<(server::TlsStream<TcpStream>, PeerIdentity)> {
        let config = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(if kind.is_websocket() { &state.web } else { &state.sip })
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let identity = identity_of(stream.get_ref().1.peer_certificates());
        Ok((stream, identity))
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("files", &self.files).finish_non_exhaustive()
    }
}

impl State {
    fn read(files: &TlsServerFiles) -> Result<Self, TlsError> {
        // Before the files, so that a change in between is seen as one later.
        let stamps = stamps(files);
        let (chain, key) = read_certificate(&files.certificate)?;
        let expiry = chain.first().and_then(certificate::expiry);
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
        let (authorities, is_required) = match &files.clients {
            ClientCertificates::None => (None, false),
            ClientCertificates::Optional(path) => (Some(path), false),
            ClientCertificates::Required(path) => (Some(path), true),
        };
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = if is_required { verifier } else { verifier.allow_unauthenticated() };
                let unusable = |error: rustls::server::VerifierBuilderError| TlsError::Authorities {
                    path: path.clone(),
                    reason: error.to_string(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let web = builder.with_single_cert(chain, key).map_err(|it| unusable(&files.certificate, it))?;
        let mut sip = web.clone();
        if files.alpn {
            sip.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        }
        Ok(Self { sip: Arc::new(sip), web: Arc::new(web), expiry, stamps })
    }
}

/// Whom to trust, and who we are, where we connect to. Reading the files takes a while: one for each set of files.
#[derive(Clone, Debug)]
pub(crate) struct TlsClient {
    config: Arc<ClientConfig>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl TlsClient {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or used, or the system has no authorities.
    pub(crate) fn load(files: &TlsClientFiles) -> Result<Self, TlsError> {
        let (roots, named) = match &files.roots {
            Some(path) => (read_roots(path)?, path.clone()),
            None => (system_roots()?, PathBuf::from("the system")),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| TlsError::Authorities { path: named, reason: error.to_string() })?;
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
        let builder = builder.with_webpki_verifier(Arc::clone(&verifier));
        let mut config = match &files.certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = read_certificate(files)?;
                warn_of_expiry(&files.chain, chain.first().and_then(certificate::expiry));
                builder.with_client_auth_cert(chain, key).map_err(|it| unusable(files, it))?
            }
        };
        if files.alpn {
            config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        }
        Ok(Self { config: Arc::new(config), verifier })
    }

    /// A server that is to show a certificate for `name`: the host name that was asked for, before it was looked up
    /// (RFC 5922 §4), or an address.
    ///
    /// # Errors
    /// When that can be no certificate's name.
    pub(crate) fn peer(&self, name: &str) -> Result<TlsPeer, TlsError> {
        let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
        let parsed = ServerName::try_from(bare.to_owned()).map_err(|_invalid| TlsError::Name(name.to_owned()))?;
        Ok(TlsPeer { name: parsed, client: self.clone() })
    }
}

/// A server that we expect somewhere.
#[derive(Clone, Debug)]
pub(crate) struct TlsPeer {
    name: ServerName<'static>,
    client: TlsClient,
}

impl TlsPeer {
    /// The name that it is to have a certificate for.
    pub(crate) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }

    /// Whether it is `other`: the same name, trust and certificate of ours.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.client.config, &other.client.config)
    }

    /// Whether a server that shows `chain` is this one.
    fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (own, between) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let now = UnixTime::since_unix_epoch(clock::now().unix);
        self.client.verifier.verify_server_cert(own, between, &self.name, &[], now).map(|_verified| ())
    }
}

/// Our side of the handshake of a connection that we open: with the server `peer`, which has to be all of `others`, too.
pub(crate) async fn connect(
    stream: TcpStream,
    peer: &TlsPeer,
    others: &[TlsPeer],
) -> std::io::Result<(client::TlsStream<TcpStream>, PeerIdentity)> {
    let connector = TlsConnector::from(Arc::clone(&peer.client.config));
    let stream = connector.connect(peer.name.clone(), stream).await?;
    let chain = stream.get_ref().1.peer_certificates();
    for other in others {
        let verified = other.verify(chain.unwrap_or_default());
        verified
            .map_err(|error| std::io::Error::other(format!("it is expected to be {}, too: {error}", other.name())))?;
    }
    let identity = identity_of(chain);
    Ok((stream, identity))
}

/// Looks at the files every [`TLS_RELOAD_S`], and at SIGHUP, until the worker is gone.
pub(crate) async fn reload(server: Arc<TlsServer>, worker: mpsc::Sender<Input>) {
    let Ok(mut hang_up) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = worker.closed() => return,
            _ = hang_up.recv() => (),
            () = task::deadline(clock::now().instant + Duration::from_secs(TLS_RELOAD_S)) => (),
        }
        server.reload_if_changed();
    }
}

fn identity_of(chain: Option<&[CertificateDer<'_>]>) -> PeerIdentity {
    chain.and_then(<[_]>::first).map(certificate::identity).unwrap_or_default()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read_certificate(
    files: &CertificateFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates(&files.chain)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| {
        let path = files.key.clone();
        if matches!(source, rustls::pki_types::pem::Error::NoItemsFound) {
            return TlsError::Empty { path, what: "private key", label: "PRIVATE KEY" };
        }
        TlsError::Unreadable { path, source }
    })?;
    Ok((chain, key))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    let items = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let chain = items.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate", label: "CERTIFICATE" });
    }
    Ok(chain)
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsError::Unusable { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// The authorities of the system. Some that the library does not know are usual, and left out.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

fn unusable(files: &CertificateFiles, error: rustls::Error) -> TlsError {
    let (chain, key) = (files.chain.clone(), files.key.clone());
    if matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        return TlsError::Mismatch { chain, key };
    }
    TlsError::Unusable { path: chain, source: error }
}

/// When each file was changed last.
fn stamps(files: &TlsServerFiles) -> Vec<Option<SystemTime>> {
    let authorities = match &files.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => Some(path),
    };
    let paths = [&files.certificate.chain, &files.certificate.key].into_iter().chain(authorities);
    paths.map(|it| std::fs::metadata(it).and_then(|it| it.modified()).ok()).collect()
}

fn days_left(expiry: Option<Duration>) -> Option<i64> {
    let seconds = |it: Duration| i64::try_from(it.as_secs()).unwrap_or(i64::MAX);
    Some((seconds(expiry?) - seconds(clock::now().unix)).div_euclid(86_400))
}

fn warn_of_expiry(chain: &Path, expiry: Option<Duration>) {
    let certificate = chain.display();
    match days_left(expiry) {
        Some(days) if days < 0 => {
            tracing::warn!(%certificate, days_ago = -days, "the TLS certificate has expired: peers refuse it; renew it");
        }
        Some(days) if days < EXPIRY_WARNING_DAYS => {
            tracing::warn!(%certificate, days_left = days, "the TLS certificate ends soon; renew it");
        }
        Some(_) | None => (),
    }
}

/// The names of SIP in ALPN: the registered one, and the one that is in use.
const ALPN: [&[u8]; 2] = [b"sip/2", b"sip"];
/// The log warns of a certificate that ends earlier.
const EXPIRY_WARNING_DAYS: i64 = 14;
