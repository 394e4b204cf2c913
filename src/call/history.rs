//! Whom a call was sent to before it came to where it is: RFC 7044, as far as the next side is told. Of each place only the
//! user part crosses, at a host of ours; places that are private, or all of them if the caller wants that, are anonymous.

use crate::limits::HISTORY_ENTRIES_MAX;
use crate::route::Caller;
use crate::sip::{HeaderName, HistoryIndex, Request, Retargeting, Uri};

use super::party::user_of;

/// Whom a call was sent to so far.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    places: Vec<Place>,
    is_private: bool,
    /// How many branches have gone out from the last of them already.
    branches: u32,
}

/// One of them.
#[derive(Clone, Debug)]
struct Place {
    user: Option<String>,
    index: HistoryIndex,
    from: Option<(Retargeting, HistoryIndex)>,
    /// The SIP status with which it gave the call away.
    status: Option<u16>,
    is_private: bool,
}

impl History {
    /// That of an INVITE that came in. Only those whom we know are believed what was before us.
    pub(super) fn of(request: &Request, caller: &Caller) -> Self {
        let headers = request.headers();
        let mut history = Self { places: vec![], is_private: headers.privacy().of_history, branches: 0 };
        if matches!(caller, Caller::Known | Caller::Trunk(_)) {
            let places = headers.history().map(|it| Place {
                user: user_of(&it.uri()),
                status: it.status(),
                is_private: it.is_private(),
                index: it.index,
                from: it.from,
            });
            history.places = places.take(HISTORY_ENTRIES_MAX).collect();
        }
        let called = user_of(request.uri());
        if history.places.last().is_none_or(|it| it.user != called) {
            history.push(called);
        }
        history
    }

    /// The call goes elsewhere: `user`, whom it was sent to, gave it away with `status`.
    pub(super) fn gave_away(&mut self, user: Option<String>, status: u16) {
        if self.places.last().is_none_or(|it| it.user != user) {
            self.push(user);
        }
        if let Some(last) = self.places.last_mut() {
            last.status = Some(status);
        }
    }

    /// So many branches have gone out from the last place already.
    pub(super) const fn note_branches(&mut self, branches: u32) {
        self.branches = branches;
    }

    fn push(&mut self, user: Option<String>) {
        let Some((index, from)) = self.next(0, user.as_deref()) else {
            return;
        };
        if self.places.len() < HISTORY_ENTRIES_MAX {
            self.places.push(Place { user, index, from, status: None, is_private: false });
            self.branches = 0;
        }
    }

    /// The index of branch number `branch` from here, and how it came to be.
    fn next(&self, branch: u32, user: Option<&str>) -> Option<(HistoryIndex, Option<(Retargeting, HistoryIndex)>)> {
        let Some(last) = self.places.last() else {
            return Some((HistoryIndex::first(), None));
        };
        let how = if last.user.as_deref() == user { Retargeting::Contact } else { Retargeting::Mapped };
        Some((last.index.below(self.branches.checked_add(branch)?.checked_add(1)?)?, Some((how, last.index.clone()))))
    }

    /// What a leg to `target`, one of several branches, is told. `contact` is our URI there.
    pub(super) fn headers(&self, target: &Uri, branch: u32, contact: &Uri) -> Vec<(HeaderName, String)> {
        if self.places.is_empty() {
            return vec![];
        }
        let host = contact.host().map(|it| it.to_string()).unwrap_or_default();
        let mut written: Vec<_> = self.places.iter().filter_map(|it| self.write(it, &host, contact.port())).collect();
        if let Some((index, Some((how, from)))) = self.next(branch, user_of(target).as_deref()) {
            written.push(format!("<{}>;index={index};{}={from}", target.without_headers(), how.name()));
        }
        written.into_iter().map(|it| (HeaderName::HistoryInfo, it)).collect()
    }

    fn write(&self, place: &Place, host: &str, port: Option<u16>) -> Option<String> {
        let uri = if self.is_private || place.is_private {
            Uri::sip(Some("anonymous"), "anonymous.invalid", None)
        } else {
            Uri::sip(place.user.as_deref(), host, port)
        };
        let status = place.status.map_or_else(String::new, |it| format!("?Reason=SIP%3Bcause%3D{it}"));
        let from = place.from.as_ref().map_or_else(String::new, |(how, from)| format!(";{}={from}", how.name()));
        Some(format!("<{}{status}>;index={}{from}", uri.ok()?, place.index))
    }
}
