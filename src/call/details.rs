//! What an INVITE tells of its call besides who calls whom: for the agent, whose texts can name it, and for the record.
//!
//! | name                  | from                                                        | told by        |
//! |-----------------------|-------------------------------------------------------------|----------------|
//! | `caller_name`         | P-Asserted-Identity, else From                              | everyone       |
//! | `asserted_identity`   | P-Asserted-Identity, else a screened Remote-Party-ID        | known sources  |
//! | `privacy`             | Privacy                                                     | everyone       |
//! | `diverted_from`       | Diversion, else History-Info: who sent the call on last     | known sources  |
//! | `diversion_reason`    | Diversion, else the Reason in History-Info                  | known sources  |
//! | `originally_called`   | the same: who was called first                              | known sources  |
//! | `attestation`         | Identity: `A`, `B` or `C`; its signature is not verified    | known sources  |
//! | `verification_status` | `verstat`: what the carrier found of the signature          | known sources  |
//! | `user_to_user`        | User-to-User: its text, else in hexadecimal digits          | everyone       |
//! | `subject`             | Subject                                                     | everyone       |
//! | `header_NAME`         | the header fields that the configuration names              | everyone       |

use super::party::{Party, user_of};
use crate::identity::Pii;
use crate::limits::{CALL_HEADER_BYTES_MAX, CALL_HEADERS_MAX};
use crate::route::Caller;
use crate::sip::{HeaderName, Headers};

/// What the `headers` of an INVITE from `party` tell, by the names of variables. `exposed` are fields that are told as they
/// are.
pub(super) fn details(headers: &Headers, party: &Party, exposed: &[HeaderName]) -> Vec<(String, Pii<String>)> {
    let mut all: Vec<(String, String)> = vec![];
    let mut tell = |name: &str, value: Option<String>| {
        let value = value.map(|it| it.chars().filter(|it| !it.is_control()).collect::<String>());
        if let Some(value) = value.filter(|it| !it.is_empty() && it.len() <= CALL_HEADER_BYTES_MAX) {
            all.push((name.to_owned(), value));
        }
    };
    tell("caller_name", party.display.clone());
    if matches!(party.caller, Caller::Known | Caller::Trunk(_)) {
        tell("asserted_identity", asserted(headers));
        for (name, value) in diverted(headers) {
            tell(name, value);
        }
        let passport = headers.signed_identities().find_map(|it| it.passport());
        tell("attestation", passport.and_then(|it| it.attestation).map(|it| it.letter().to_owned()));
        tell("verification_status", headers.verification_status());
    }
    tell("privacy", party.is_private.then(|| "id".to_owned()));
    let user_to_user = headers.user_to_user().next();
    tell("user_to_user", user_to_user.map(|it| it.text().map_or_else(|| it.hex(), str::to_owned)));
    tell("subject", headers.get(&HeaderName::Subject).map(str::to_owned));
    for name in exposed {
        tell(&variable(name), headers.get(name).map(str::to_owned));
    }
    all.truncate(CALL_HEADERS_MAX);
    all.into_iter().map(|(name, value)| (name, Pii::new(value))).collect()
}

/// The variable that holds a header field: `X-Tenant` is `header_x_tenant`.
pub fn variable(name: &HeaderName) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' };
    format!("header_{}", name.as_str().chars().map(plain).collect::<String>())
}

fn asserted(headers: &Headers) -> Option<String> {
    let asserted = headers.asserted_identities().next();
    let screened = || headers.remote_parties().find(|it| it.is_caller() && it.is_screened());
    let address = asserted.or_else(|| screened().map(|it| it.address().clone()))?;
    user_of(address.uri())
}

/// Who sent the call on last, why, and who was called first.
fn diverted(headers: &Headers) -> [(&'static str, Option<String>); 3] {
    let diversions: Vec<_> = headers.diversions().filter(|it| !it.is_private()).collect();
    let (last, reason, first) = match (diversions.first(), diversions.last()) {
        (Some(last), Some(first)) => (user_of(last.uri()), last.reason(), user_of(first.uri())),
        _ => {
            let history: Vec<_> = headers.history().filter(|it| !it.is_private()).collect();
            let last = history.iter().rfind(|it| it.status().is_some());
            let first = history.first().filter(|_| history.len() > 1);
            let reason = last.and_then(|it| it.status()).map(|it| it.to_string());
            (last.and_then(|it| user_of(&it.uri())), reason, first.and_then(|it| user_of(&it.uri())))
        }
    };
    [("diverted_from", last), ("diversion_reason", reason), ("originally_called", first)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, Request};
    use crate::transport::{Flow, TransportKind};

    #[test]
    fn known_sources_are_believed_and_others_are_not() {
        let lines = "P-Asserted-Identity: \"Real\" <sip:+4930@h>|Diversion: <sip:7@h>;reason=user-busy, <sip:8@h>|\
                     Identity: a.eyJhdHRlc3QiOiJCIn0.b;info=<https://c>|User-to-User: 48656c6c6f;encoding=hex|X-Tenant: 7";
        check(
            lines,
            &Caller::Known,
            "caller_name=Real asserted_identity=+4930 diverted_from=7 diversion_reason=user-busy originally_called=8 \
             attestation=B user_to_user=Hello header_x_tenant=7",
        );
        check(lines, &Caller::Stranger, "caller_name=Alice user_to_user=Hello header_x_tenant=7");
    }

    #[test]
    fn a_history_tells_what_diversions_do_not() {
        let lines = "History-Info: <sip:1@h?Reason=SIP%3Bcause%3D302>;index=1,<sip:2@h>;index=1.1;mp=1|\
                     Remote-Party-ID: <sip:5@h>;screen=yes|Privacy: id";
        check(
            lines,
            &Caller::Known,
            "caller_name=Alice asserted_identity=5 diverted_from=1 diversion_reason=302 originally_called=1 privacy=id",
        );
        check("Diversion: <sip:7@h>;privacy=full|Remote-Party-ID: <sip:5@h>", &Caller::Known, "caller_name=Alice");
    }

    #[track_caller]
    fn check(lines: &str, caller: &Caller, expected: &str) {
        let request = invite(lines);
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|it| it.parse().expect("an address"));
        let party = Party::of(&request, caller, Flow { kind: TransportKind::Udp, local, remote });
        let found = details(request.headers(), &party, &[HeaderName::Other("X-Tenant".into())]);
        let found: Vec<_> = found.iter().map(|(name, value)| format!("{name}={}", value.reveal())).collect();
        assert_eq!(found.join(" "), expected);
    }

    fn invite(lines: &str) -> Request {
        let lines: String = lines.split('|').map(|it| format!("{it}\r\n")).collect();
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: \"Alice\" <sip:a@b>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        );
        match Message::parse(bytes::Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }
}
