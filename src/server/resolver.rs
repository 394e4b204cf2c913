//! Asks the name server, and the routing table, what the locator wants to know (RFC 1035, RFC 2782, RFC 3403).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};

use crate::limits::{DNS_ANSWER_S_MAX, DNS_QUESTIONS_MAX, DNS_TRY_S_MAX};
use crate::locate::{
    Answer, Hop, Locator, Naptr, NotLocated, Question, Reach, RecordKind, Records, Srv, Target, Unanswered,
};
use crate::server::sip_worker::Input;
use crate::server::{clock, entropy, task};

/// Answers questions of the SIP worker.
///
/// At most `DNS_QUESTIONS_MAX` are under way; further ones wait for their turn, but not longer than an answer may take:
/// then they count as not answered. Their number is bounded by the locator, which asks each only once.
#[derive(Clone)]
pub(crate) struct Resolver {
    /// `None` if the system names no server.
    names: Option<TokioResolver>,
    turns: Arc<Semaphore>,
}

impl Resolver {
    /// Asks these name servers, or those of the system if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        let turns = Arc::new(Semaphore::new(DNS_QUESTIONS_MAX));
        let provider = TokioRuntimeProvider::default();
        let builder = if servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let server = |it: &SocketAddr| {
                let at_port = |mut connection: ConnectionConfig| {
                    connection.port = it.port();
                    connection
                };
                NameServerConfig::new(
                    it.ip(),
                    true,
                    vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())],
                )
            };
            let config = ResolverConfig::from_parts(None, vec![], servers.iter().map(server).collect());
            Ok(TokioResolver::builder_with_config(config, provider))
        };
        let names = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            // The locator remembers, within bounds of its own.
            options.cache_size = 0;
            options.timeout = Duration::from_secs(DNS_TRY_S_MAX);
            options.attempts = 1;
            builder.build()
        });
        let names = names.inspect_err(|error| tracing::error!("names cannot be looked up: {error}")).ok();
        Self { names, turns }
    }

    /// Asks, and hands the answer to `worker`.
    pub(crate) fn ask(&self, question: Question, worker: mpsc::Sender<Input>) {
        let this = self.clone();
        task::spawn("dns", async move {
            let answer = this.answer(&question).await;
            // A worker that is gone waits for nothing.
            drop(worker.send(Input::Answer(question, answer)).await);
        });
    }

    /// Asks.
    pub(crate) async fn answer(&self, question: &Question) -> Answer {
        let ask = async {
            let _turn = self.turns.acquire().await.or(Err(Unanswered::Failed))?;
            match question.kind {
                RecordKind::Route => route(&question.name).await,
                RecordKind::Naptr => self.look_up(question, RecordType::NAPTR).await,
                RecordKind::Srv => self.look_up(question, RecordType::SRV).await,
                RecordKind::A => self.look_up(question, RecordType::A).await,
                RecordKind::Aaaa => self.look_up(question, RecordType::AAAA).await,
            }
        };
        tokio::time::timeout(Duration::from_secs(DNS_ANSWER_S_MAX), ask).await.unwrap_or(Err(Unanswered::Failed))
    }

    async fn look_up(&self, question: &Question, kind: RecordType) -> Answer {
        let names = self.names.as_ref().ok_or(Unanswered::Failed)?;
        // What cannot be a name has no records.
        let mut name = Name::from_ascii(&*question.name).or(Err(Unanswered::None(None)))?;
        // Domains of SIP URIs are whole; a name of one label may be one of the local domain.
        name.set_fqdn(question.name.contains('.'));
        let found = names.lookup(name, kind).await.map_err(|error| unanswered(&error))?;
        let ttl = found.answers().iter().map(|it| it.ttl).min().unwrap_or(0);
        let data = found.answers().iter().map(|it| &it.data);
        let records = match question.kind {
            RecordKind::Naptr => Records::Naptr(data.filter_map(naptr).collect()),
            RecordKind::Srv => Records::Srv(data.filter_map(srv).collect()),
            RecordKind::A | RecordKind::Aaaa | RecordKind::Route => {
                Records::Addresses(data.filter_map(RData::ip_addr).collect())
            }
        };
        Ok((records, Duration::from_secs(ttl.into())))
    }
}

fn unanswered(error: &NetError) -> Unanswered {
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = error {
        return Unanswered::None(none.negative_ttl.map(|it| Duration::from_secs(it.into())));
    }
    Unanswered::Failed
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an alias on the way, or what was not asked for")]
fn naptr(data: &RData) -> Option<Naptr> {
    match data {
        RData::NAPTR(it) => Some(Naptr {
            order: it.order,
            preference: it.preference,
            flags: String::from_utf8_lossy(&it.flags).into(),
            services: String::from_utf8_lossy(&it.services).into(),
            replacement: it.replacement.to_ascii().into(),
        }),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an alias on the way, or what was not asked for")]
fn srv(data: &RData) -> Option<Srv> {
    match data {
        RData::SRV(it) => {
            Some(Srv { priority: it.priority, weight: it.weight, port: it.port, target: it.target.to_ascii().into() })
        }
        _ => None,
    }
}

/// The address from which this machine reaches another; connecting a UDP socket sends nothing.
async fn route(remote: &str) -> Answer {
    let remote: IpAddr = remote.parse().or(Err(Unanswered::None(None)))?;
    let any = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let found = async {
        let socket = UdpSocket::bind(any).await?;
        // Any port will do.
        socket.connect((remote, 9)).await?;
        socket.local_addr()
    };
    let local = found.await.or(Err(Unanswered::None(None)))?;
    Ok((Records::Addresses(vec![local.ip()]), Duration::ZERO))
}

/// The servers of `target`, for whoever has no SIP worker yet.
pub(crate) async fn locate(resolver: &Resolver, target: Target, reach: Reach) -> Result<Vec<Hop>, NotLocated> {
    let mut locator = Locator::new(reach, entropy::generator());
    locator.locate(target, clock::now());
    loop {
        if let Some((_, found)) = locator.poll_located() {
            return found;
        }
        let Some(question) = locator.poll_query() else {
            return Err(NotLocated::NoAnswer);
        };
        let answer = resolver.answer(&question).await;
        locator.handle_answer(&question, answer, clock::now());
    }
}
