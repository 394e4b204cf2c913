//! What crosses from one leg of a call to the other (RFC 7092 §3.1): nothing that is not named here or in the
//! configuration. Hosts, routes and identifiers of one side never reach the other.

use super::history::History;
use super::party::{Party, user_of};
use crate::limits::{CALL_HEADER_BYTES_MAX, CALL_HEADERS_MAX, HISTORY_ENTRIES_MAX};
use crate::route::{Caller, Destination};
use crate::sip::{HeaderName, Headers, Request, Uri};
use crate::transaction::MAX_FORWARDS;
use crate::transport::refusal::Refusal;

/// What goes with the INVITE of a leg that is called for another.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// Through how many more hops it may go, so that calls in a circle end.
    pub(super) max_forwards: u8,
    /// Header fields as they are.
    pub(super) headers: Vec<(HeaderName, String)>,
    /// The number that was called, if the call is sent on from it.
    pub(super) diverted_from: Option<String>,
    /// Who sent it on before, and why, the last one first.
    pub(super) diversions: Vec<(String, String)>,
    /// Whom the call was sent to before.
    pub(super) history: History,
}

impl Carried {
    /// What crosses of an INVITE that came in. `allowed` names the fields that the configuration lets through.
    pub(super) fn of(
        request: &Request,
        allowed: &[HeaderName],
        caller: &Caller,
        to: &Destination,
        history: History,
    ) -> Result<Self, Refusal> {
        let headers = request.headers();
        let max_forwards = headers.max_forwards().unwrap_or(MAX_FORWARDS);
        let max_forwards = max_forwards.checked_sub(1).filter(|it| *it > 0).ok_or(Refusal::TooManyHops)?;
        let called = request.uri().user_decoded().map(|it| it.into_owned());
        let diverted_from = called.filter(|called| match to {
            Destination::User(name) => name != called,
            Destination::Uri(_) | Destination::Trunk(..) => true,
            Destination::Agent(_) | Destination::Room(_) => false,
        });
        let is_believed = matches!(caller, Caller::Known | Caller::Trunk(_));
        let before = headers.diversions().filter(|it| is_believed && !it.is_private());
        let before = before.filter_map(|it| Some((user_of(it.uri())?, plain(it.reason()))));
        let diversions = before.take(HISTORY_ENTRIES_MAX).collect();
        Ok(Self {
            max_forwards,
            headers: fields(headers, |it| allowed.contains(it)),
            diverted_from,
            diversions,
            history,
        })
    }

    /// What goes with a call that no INVITE asked for.
    pub(super) fn nothing() -> Self {
        Self {
            max_forwards: MAX_FORWARDS,
            headers: vec![],
            diverted_from: None,
            diversions: vec![],
            history: History::default(),
        }
    }

    /// All header fields for a leg to `to`, on which `contact` is our URI and `from` the caller. Who leads us to whom, and
    /// who a caller really is, is told to those who connect the call, not to telephones.
    pub(super) fn headers(self, from: &Party, to: &Destination, contact: &Uri) -> Vec<(HeaderName, String)> {
        let mut headers = self.headers;
        let is_outside = matches!(to, Destination::Uri(_) | Destination::Trunk(..));
        let is_known = !matches!(from.caller, Caller::Stranger);
        if is_outside
            && is_known
            && let Some(identity) = from.at(contact).filter(|_| from.user.is_some())
        {
            headers.push((HeaderName::PAssertedIdentity, format!("<{identity}>")));
        }
        if from.is_private {
            headers.push((HeaderName::Privacy, "id".to_owned()));
        }
        let host = contact.host().map(|it| it.to_string()).unwrap_or_default();
        let diverted = self.diverted_from.filter(|_| is_outside);
        if let Some(uri) = diverted.and_then(|it| Uri::sip(Some(&it), &host, contact.port()).ok()) {
            headers.push((HeaderName::Diversion, format!("<{uri}>;reason=unconditional;counter=1")));
        }
        for (user, reason) in self.diversions.into_iter().filter(|_| is_outside) {
            if let Ok(uri) = Uri::sip(Some(&user), &host, contact.port()) {
                headers.push((HeaderName::Diversion, format!("<{uri}>;reason={reason}")));
            }
        }
        headers
    }
}

/// A reason that can stand without quotes, or that it is not known (RFC 5806 §4).
fn plain(reason: Option<String>) -> String {
    let is_plain = |it: &String| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    reason.filter(is_plain).unwrap_or_else(|| "unknown".to_owned())
}

/// The header fields that `is_wanted` takes, as far as they are of a size that can be passed on.
fn fields(headers: &Headers, is_wanted: impl Fn(&HeaderName) -> bool) -> Vec<(HeaderName, String)> {
    let all = headers.iter().map(|it| (it.name(), it.value()));
    let wanted = all.filter(|(name, value)| is_wanted(name) && value.len() <= CALL_HEADER_BYTES_MAX);
    wanted.map(|(name, value)| (name, value.to_owned())).take(CALL_HEADERS_MAX).collect()
}
