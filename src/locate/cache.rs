//! Answers that are remembered: as long as they say (RFC 1035 §3.2.1, RFC 2308 for what is not there) within bounds, and
//! longer while the name server does not answer (RFC 8767).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, Known, NoRecords, Question, RecordKind, Unanswered};
use crate::limits::{
    DNS_CACHE_ENTRIES_MAX, DNS_FAILED_S, DNS_NEGATIVE_S_DEFAULT, DNS_NEGATIVE_S_MAX, DNS_ROUTE_S, DNS_STALE_S_MAX,
    DNS_TTL_S_MAX, DNS_TTL_S_MIN,
};
use crate::timer::Deadlines;

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Question, Entry>,
    expiry: Deadlines<Question>,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    until: Instant,
    /// Until when it stands in for an answer that does not come.
    stale_until: Instant,
}

impl Cache {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new(), expiry: Deadlines::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is known and still holds.
    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<Known> {
        self.entries.get(question).filter(|it| now < it.until).map(|it| it.known.clone())
    }

    /// Takes an answer in, and returns what is known now.
    pub(super) fn insert(&mut self, question: &Question, answer: Answer, now: Instant) -> Known {
        let seconds = Duration::from_secs;
        let (known, holds) = match answer {
            Ok((records, _)) if question.kind == RecordKind::Route => (Ok(Arc::new(records)), seconds(DNS_ROUTE_S)),
            Ok((records, ttl)) => (Ok(Arc::new(records)), ttl.clamp(seconds(DNS_TTL_S_MIN), seconds(DNS_TTL_S_MAX))),
            Err(Unanswered::None(ttl)) => {
                let ttl = ttl.unwrap_or_else(|| seconds(DNS_NEGATIVE_S_DEFAULT));
                (Err(NoRecords::None), ttl.clamp(seconds(DNS_TTL_S_MIN), seconds(DNS_NEGATIVE_S_MAX)))
            }
            Err(Unanswered::Failed) => {
                if let Some(stale) =
                    self.entries.get_mut(question).filter(|it| it.known.is_ok() && now < it.stale_until)
                {
                    stale.until = now + seconds(DNS_FAILED_S);
                    return stale.known.clone();
                }
                (Err(NoRecords::Failed), seconds(DNS_FAILED_S))
            }
        };
        let until = now + holds;
        let stale_until = until + seconds(DNS_STALE_S_MAX);
        if !self.entries.contains_key(question) && self.entries.len() >= DNS_CACHE_ENTRIES_MAX {
            let first = self.expiry.next().and_then(|it| self.expiry.pop_due(it));
            first.and_then(|it| self.entries.remove(&it));
        }
        self.entries.insert(question.clone(), Entry { known: known.clone(), until, stale_until });
        self.expiry.set(question.clone(), Some(until));
        known
    }
}
