//! Who is at the far end of a leg: what it may ask for, and as whom others see it (RFC 3325 §9, RFC 3323 §4.2).

use crate::identity::Pii;
use crate::route::Caller;
use crate::sip::{HeaderName, NameAddr, Request, Uri};
use crate::transport::Flow;

/// Who is at the far end of a leg.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// What it may ask for.
    pub(super) caller: Caller,
    /// Its number or name; `None` if it told none.
    pub(super) user: Option<String>,
    /// The same out of the house, if that differs.
    pub(super) outside: Option<String>,
    /// Its name, as phones show it.
    pub(super) display: Option<String>,
    /// Whether it does not want others to see who it is.
    pub(super) is_private: bool,
    /// How its SIP messages come and go.
    pub(super) flow: Flow,
}

impl Party {
    /// Who sent `request`. A user is who it has shown to be, whatever its From says. The identity that a known source
    /// asserts counts more than the From; what others assert is theirs to believe.
    pub(super) fn of(request: &Request, caller: &Caller, flow: Flow) -> Self {
        let headers = request.headers();
        let asserted = match caller {
            Caller::Known | Caller::Trunk(_) => {
                headers.addresses(HeaderName::PAssertedIdentity).unwrap_or_default().into_iter().next()
            }
            Caller::Stranger | Caller::User(..) => None,
        };
        let shown = asserted.as_ref().unwrap_or_else(|| headers.from());
        let user = match caller {
            Caller::User(_, name) => Some(name.clone()),
            Caller::Known | Caller::Trunk(_) | Caller::Stranger => user_of(shown.uri()),
        };
        let display = shown.display_name().or_else(|| headers.from().display_name());
        let display = display.map(|it| it.chars().filter(|it| !it.is_control()).collect::<String>());
        let is_anonymous = is_anonymous(headers.from());
        let display = display.filter(|it| !it.is_empty() && !is_anonymous);
        Self {
            caller: caller.clone(),
            user,
            outside: None,
            display,
            is_private: is_anonymous || headers.privacy().of_caller,
            flow,
        }
    }

    /// The same, who may call out of the house as one of `allowed`: as whom it prefers, else as the first.
    pub(super) fn with_caller_ids(mut self, allowed: &[String], request: &Request) -> Self {
        let headers = request.headers();
        let preferred = headers.addresses(HeaderName::PPreferredIdentity).unwrap_or_default();
        let named = preferred.first().into_iter().chain([headers.from()]).filter_map(|it| user_of(it.uri()));
        self.outside = named.into_iter().find(|it| allowed.contains(it)).or_else(|| allowed.first().cloned());
        self
    }

    /// As others out of the house see it.
    pub(super) fn seen_outside(&self) -> Self {
        let mut seen = self.clone();
        if let Some(outside) = &self.outside {
            seen.user = Some(outside.clone());
        }
        seen
    }

    /// A stranger of whom nothing is known.
    pub(super) const fn unknown(flow: Flow) -> Self {
        Self { caller: Caller::Stranger, user: None, outside: None, display: None, is_private: false, flow }
    }

    /// As whom it calls through `contact`, our URI there: host and port are ours, so that nothing tells where it is.
    /// `None` if its name cannot stand in a URI.
    pub(super) fn shown_through(&self, contact: &Uri) -> Option<(Uri, Option<String>)> {
        if self.is_private {
            let uri = Uri::sip(Some("anonymous"), "anonymous.invalid", None).ok()?;
            return Some((uri, Some("Anonymous".to_owned())));
        }
        Some((self.at(contact)?, self.display.clone()))
    }

    /// The URI that it calls as, for agents and the journal: a user cannot call as somebody else.
    pub(super) fn caller_uri(&self, request: &Request) -> Pii<String> {
        let from = request.headers().from().uri();
        let said = user_of(from);
        let own = match (&self.caller, from.host()) {
            (Caller::User(..), Some(host)) if said != self.user && said != self.outside => {
                Uri::sip(self.user.as_deref(), &host.to_string(), from.port()).ok()
            }
            _ => None,
        };
        Pii::new(own.as_ref().unwrap_or(from).to_string())
    }

    /// Its name at our host, as `contact` writes that.
    pub(super) fn at(&self, contact: &Uri) -> Option<Uri> {
        Uri::sip(self.user.as_deref(), &contact.host()?.to_string(), contact.port()).ok()
    }
}

/// The number or name in a SIP or `tel` URI.
pub(super) fn user_of(uri: &Uri) -> Option<String> {
    let mut user = uri.user_decoded()?.into_owned();
    user.retain(|it| !it.is_control());
    (!user.is_empty()).then_some(user)
}

fn is_anonymous(from: &NameAddr) -> bool {
    from.uri().host().is_some_and(|it| it.to_string().eq_ignore_ascii_case("anonymous.invalid"))
}
