//! `POST /v1/calls`: a call of an agent's own, over a trunk, to a user or to a SIP URI.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};

use crate::call::{CallerId, Order};
use crate::config::Config;
use crate::identity::{AccountId, CallId};
use crate::limits::{NUMBER_BYTES_MAX, PATHWAY_VARIABLE_CHARS_MAX, PATHWAY_VARIABLES_MAX};
use crate::platform::problem::Problem;
use crate::route::{AgentName, TrunkName};
use crate::server::endpoint::EndpointHandle;
use crate::sip::Uri;

/// Who may talk, and over what.
pub(crate) struct Originator {
    pub(crate) endpoint: EndpointHandle,
    pub(crate) agents: BTreeSet<String>,
    pub(crate) reach: Reach,
}

/// What calls go out to by name.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    pub(crate) trunks: BTreeSet<String>,
    pub(crate) users: BTreeSet<String>,
}

/// The route.
pub(crate) fn routes(originator: Originator) -> Router {
    Router::new().route("/v1/calls", post(originate)).with_state(Arc::new(originator))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// A number, with a trunk; a user; or a SIP URI.
    to: String,
    agent: String,
    trunk: Option<String>,
    /// The number that is shown; over a trunk, its own if there is none.
    from: Option<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Placed {
    call: CallId,
}

async fn originate(
    State(originator): State<Arc<Originator>>,
    Extension(account): Extension<AccountId>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wanted) = wanted.map_err(|rejection| Problem::invalid_parameter("body", &rejection.body_text()))?;
    let (order, variables) = read(wanted, account, &originator.agents, &originator.reach)?;
    let call = originator.endpoint.order_for(order, variables).await.ok_or_else(Problem::internal)?;
    let place = [(header::LOCATION, format!("/v1/calls/{call}"))];
    Ok((StatusCode::CREATED, place, Json(Placed { call })).into_response())
}

fn read(
    wanted: Wanted,
    account: AccountId,
    agents: &BTreeSet<String>,
    reach: &Reach,
) -> Result<(Order, BTreeMap<String, String>), Problem> {
    let Wanted { to, agent, trunk, from, variables } = wanted;
    if !agents.contains(&agent) {
        return Err(Problem::invalid_parameter("agent", "the name of an agent"));
    }
    let fits = variables.len() <= PATHWAY_VARIABLES_MAX
        && variables.values().all(|it| it.chars().count() <= PATHWAY_VARIABLE_CHARS_MAX);
    if !fits {
        let expected = format!("at most {PATHWAY_VARIABLES_MAX}, of {PATHWAY_VARIABLE_CHARS_MAX} characters each");
        return Err(Problem::invalid_parameter("variables", &expected));
    }
    let order = reach.order(account, to, trunk, from, &agent)?;
    Ok((Order { agent: Some(AgentName(agent)), ..order }, variables))
}

impl Reach {
    /// All that the configuration names.
    pub(crate) fn of(config: &Config) -> Self {
        Self { trunks: config.trunks.keys().cloned().collect(), users: config.users.keys().cloned().collect() }
    }

    /// A call to a number over a trunk, to a user, or to a SIP URI. Who is called sees `from`, or else the trunk's number, or
    /// `shown` where there is no trunk.
    ///
    /// # Errors
    ///
    /// What cannot be used of it.
    pub(crate) fn order(
        &self,
        account: AccountId,
        to: String,
        trunk: Option<String>,
        from: Option<String>,
        shown: &str,
    ) -> Result<Order, Problem> {
        if trunk.as_ref().is_some_and(|it| !self.trunks.contains(it)) {
            return Err(Problem::invalid_parameter("trunk", "the name of a trunk"));
        }
        let user = Some(to.clone()).filter(|it| trunk.is_none() && self.users.contains(it));
        let written = match &user {
            Some(_) => "sip:user.invalid".to_owned(),
            None if trunk.is_some() && is_number(&to) => format!("sip:{to}@trunk.invalid"),
            None => to,
        };
        let to = Uri::parse(&written).ok().filter(|it| it.is_sip() && !it.has_headers());
        let to = to.ok_or_else(|| Problem::invalid_parameter("to", "a number, with a trunk, a user, or a SIP URI"))?;
        let to = user.as_deref().map_or(Ok(to.clone()), |it| to.with_user(it)).map_err(|_error| Problem::internal())?;
        let from = match (from, &trunk) {
            (Some(user), _) if is_number(&user) => CallerId::User(user),
            (Some(_), _) => return Err(Problem::invalid_parameter("from", "a number or the name of a user")),
            (None, Some(_)) => CallerId::OfTrunk,
            (None, None) => CallerId::User(shown.to_owned()),
        };
        let trunk = trunk.map(TrunkName);
        let (display_name, headers, credentials) = (None, vec![], None);
        Ok(Order { account, to, user, from, display_name, headers, credentials, trunk, agent: None })
    }
}

/// What is the user part of a URI as it stands.
pub(crate) fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    !rest.is_empty()
        && rest.len() <= NUMBER_BYTES_MAX
        && rest.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.' | b'*' | b'#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_checked_before_anybody_is_called() {
        for (body, expected) in [
            (r#"{"to": "+4930123", "agent": "desk", "trunk": "acme"}"#, "sip:+4930123@trunk.invalid"),
            (r#"{"to": "sip:bob@example.com", "agent": "desk", "from": "100"}"#, "sip:bob@example.com"),
            (r#"{"to": "100", "agent": "desk"}"#, "sip:100@user.invalid"),
            (r#"{"to": "101", "agent": "desk"}"#, "to"),
            (r#"{"to": "100", "agent": "desk", "trunk": "acme"}"#, "sip:100@trunk.invalid"),
            (r#"{"to": "+4930123", "agent": "desk"}"#, "to"),
            (r#"{"to": "sip:bob@example.com?Subject=x", "agent": "desk"}"#, "to"),
            (r#"{"to": "tel:+1", "agent": "desk"}"#, "to"),
            (r#"{"to": "+4930123", "agent": "nobody", "trunk": "acme"}"#, "agent"),
            (r#"{"to": "+4930123", "agent": "desk", "trunk": "other"}"#, "trunk"),
            (r#"{"to": "+4930123", "agent": "desk", "trunk": "acme", "from": "a@b\r\nc"}"#, "from"),
        ] {
            let reach = Reach { trunks: ["acme".to_owned()].into(), users: ["100".to_owned()].into() };
            let wanted = serde_json::from_str(body).unwrap();
            let read = match read(wanted, AccountId::default(), &["desk".to_owned()].into(), &reach) {
                Ok((order, _)) => order.to.to_string(),
                Err(problem) => {
                    let text = serde_json::to_value(&problem).unwrap()["detail"].to_string();
                    assert!(text.starts_with(&format!("\"{expected}: ")), "{body}: {text}");
                    continue;
                }
            };
            assert_eq!(read, expected, "{body}");
        }
    }
}
