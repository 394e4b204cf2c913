//! Locating SIP servers: RFC 3263 with the selection of RFC 2782, from a URI to an ordered list of [`Hop`]s.
//!
//! [`Locator`] knows the rules and remembers answers; whoever drives it asks the name server. A server that failed rests
//! for a time and comes last, but it comes: if all rest, the one whose rest ends first is tried.
//!
//! Deviations: all services of a NAPTR set are used, one after the other, not only the first; `maddr` is not followed; IPv4
//! comes before IPv6 (RFC 7984 leaves that to the client).

mod cache;
mod order;
mod rest;
mod target;
#[cfg(test)]
mod timelines;
mod walk;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;

use self::cache::Cache;
use self::rest::Rests;
pub use self::target::Target;
use self::walk::Walk;
use crate::limits::LOCATES_MAX;
use crate::timer::Now;
use crate::transport::TransportKind;

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// How it is spoken to.
    pub kind: TransportKind,
    /// Where it is.
    pub remote: SocketAddr,
    /// The address from which this machine reaches it, as far as is known.
    pub local_ip: Option<IpAddr>,
    /// The name that its certificate has to hold, if it is spoken to over TLS: that of the URI, whatever its records
    /// say (RFC 5922 §4).
    pub server_name: Option<Box<str>>,
}

/// What is to be asked for. Answer each by [`Locator::handle_answer`], at the latest after a time-out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// A domain name in lower case, or for a route an address.
    pub name: Box<str>,
    /// What is asked for.
    pub kind: RecordKind,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// Which services a domain has.
    Naptr,
    /// Which servers a service has.
    Srv,
    /// The IPv4 addresses of a name.
    A,
    /// The IPv6 addresses of a name.
    Aaaa,
    /// Not the name server's to say: the address from which this machine reaches another.
    Route,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// The services of a domain.
    Naptr(Vec<Naptr>),
    /// The servers of a service.
    Srv(Vec<Srv>),
    /// Addresses.
    Addresses(Vec<IpAddr>),
}

/// A service of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower comes first.
    pub order: u16,
    /// Among equals, lower comes first.
    pub preference: u16,
    /// What kind of name follows: `s` for one with servers.
    pub flags: Box<str>,
    /// The service, as in `SIP+D2U`.
    pub services: Box<str>,
    /// The name to go on with.
    pub replacement: Box<str>,
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower comes first.
    pub priority: u16,
    /// Its share of the load among those of its priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The name of the server.
    pub target: Box<str>,
}

/// What came of a question: the records and how long they hold, or why there are none.
pub type Answer = Result<(Records, Duration), Unanswered>;

/// Why there are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The name server says that there are none, and how long that holds.
    None(Option<Duration>),
    /// The name server does not answer, or says that it cannot.
    Failed,
}

/// Names a search until it is over; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocateId(u64);

/// Why no server is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLocated {
    /// The URI has no host.
    #[error("the address has no host")]
    NoHost,
    /// It asks for a transport that is not there.
    #[error("the address asks for a transport that is not listened on")]
    NoTransport,
    /// The name server says that there is nothing of that name.
    #[error("the name has no address")]
    NoAddress,
    /// The name server does not answer.
    #[error("the name server does not answer")]
    NoAnswer,
    /// Too many searches are under way.
    #[error("too many names are being looked up")]
    TooMany,
}

/// What can be reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The transports there are. A name without NAPTR records is asked for its servers in this order.
    pub kinds: Vec<TransportKind>,
    /// Whether IPv4 is spoken.
    pub v4: bool,
    /// Whether IPv6 is spoken.
    pub v6: bool,
}

/// Finds servers.
///
/// At most `LOCATES_MAX` searches are under way; one more ends at once with [`NotLocated::TooMany`]. At most
/// `DNS_CACHE_ENTRIES_MAX` answers are remembered; beyond it the one that expires first is forgotten. At most
/// `RESTING_HOPS_MAX` servers rest; beyond it the one whose rest ends first may be tried again.
#[derive(Debug)]
pub struct Locator {
    reach: Reach,
    rng: ChaCha12Rng,
    cache: Cache,
    rests: Rests,
    searches: BTreeMap<LocateId, Search>,
    /// Who waits for which answer.
    asked: BTreeMap<Question, BTreeSet<LocateId>>,
    next_id: u64,
    questions: VecDeque<Question>,
    located: VecDeque<(LocateId, Result<Vec<Hop>, NotLocated>)>,
}

/// A search that is under way. It keeps what it has learnt, so that what expires meanwhile does not send it back.
#[derive(Debug)]
struct Search {
    target: Target,
    known: BTreeMap<Question, Known>,
    waits_for: usize,
}

/// An answer as it is remembered.
type Known = Result<Arc<Records>, NoRecords>;

/// Why nothing is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoRecords {
    None,
    Failed,
}

impl Locator {
    /// A locator that knows nothing yet. Shares of the load are drawn from `rng`.
    pub const fn new(reach: Reach, rng: ChaCha12Rng) -> Self {
        Self {
            reach,
            rng,
            cache: Cache::new(),
            rests: Rests::new(),
            searches: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            questions: VecDeque::new(),
            located: VecDeque::new(),
        }
    }

    /// Looks for the servers of `target`. [`Self::poll_located`] tells the outcome, maybe at once.
    pub fn locate(&mut self, target: Target, now: Now) -> LocateId {
        self.next_id += 1;
        let id = LocateId(self.next_id);
        if self.searches.len() >= LOCATES_MAX {
            self.located.push_back((id, Err(NotLocated::TooMany)));
            return id;
        }
        self.searches.insert(id, Search { target, known: BTreeMap::new(), waits_for: 0 });
        self.pursue(id, now);
        id
    }

    /// The next question to ask, or `None` once drained.
    pub fn poll_query(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// What came of a question. Without effect if nobody waits for it.
    pub fn handle_answer(&mut self, question: &Question, answer: Answer, now: Now) {
        let Some(waiting) = self.asked.remove(question) else {
            return;
        };
        let known = self.cache.insert(question, answer, now.instant);
        for id in waiting {
            if let Some(search) = self.searches.get_mut(&id) {
                search.known.insert(question.clone(), known.clone());
                search.waits_for = search.waits_for.saturating_sub(1);
                if search.waits_for == 0 {
                    self.pursue(id, now);
                }
            }
        }
    }

    /// The outcome of the next search that is over, or `None` once drained. A list of hops is never empty.
    pub fn poll_located(&mut self) -> Option<(LocateId, Result<Vec<Hop>, NotLocated>)> {
        self.located.pop_front()
    }

    /// A server failed: it did not answer, could not be connected to, or asked to be left alone for a time.
    pub fn handle_failed(&mut self, kind: TransportKind, remote: SocketAddr, retry_after: Option<Duration>, now: Now) {
        self.rests.begin((kind, remote), retry_after, now.instant);
    }

    /// A server answered.
    pub fn handle_reached(&mut self, kind: TransportKind, remote: SocketAddr) {
        self.rests.end((kind, remote));
    }

    /// Until when a server rests.
    pub fn rests_until(&self, kind: TransportKind, remote: SocketAddr, now: Now) -> Option<Instant> {
        self.rests.until((kind, remote), now.instant)
    }

    /// Puts servers that rest last, the one whose rest ends first before the others. Otherwise the order stays.
    pub fn sort(&self, hops: &mut [Hop], now: Now) {
        hops.sort_by_key(|it| self.rests_until(it.kind, it.remote, now));
    }

    /// Searches under way and answers remembered.
    pub fn counts(&self) -> (usize, usize) {
        (self.searches.len(), self.cache.len())
    }

    /// Takes a search as far as what is known carries it.
    fn pursue(&mut self, id: LocateId, now: Now) {
        let Some(search) = self.searches.get_mut(&id) else {
            return;
        };
        let outcome = loop {
            let mut walk = Walk::new(&search.target, &self.reach, &search.known);
            let found = walk.hops(&mut self.rng);
            if walk.missing.is_empty() {
                break found;
            }
            let mut is_remembered = true;
            for question in walk.missing {
                if let Some(known) = self.cache.get(&question, now.instant) {
                    search.known.insert(question, known);
                    continue;
                }
                is_remembered = false;
                search.waits_for += 1;
                let waiting = self.asked.entry(question.clone()).or_default();
                if waiting.is_empty() {
                    self.questions.push_back(question);
                }
                waiting.insert(id);
            }
            if !is_remembered {
                return;
            }
        };
        self.searches.remove(&id);
        let outcome = outcome.map(|mut hops| {
            self.sort(&mut hops, now);
            hops
        });
        self.located.push_back((id, outcome));
    }
}
