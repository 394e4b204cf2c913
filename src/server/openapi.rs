//! `/openapi.json`: every route of the HTTP server, described in OpenAPI 3.1 for programs that make clients of it.
//!
//! The document is written by hand, next to this file. Tests compare it with the routes and with what is serialised, so that
//! neither changes without the other.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Tells the document to whoever asks: it is the same for everybody, and nothing of the configuration is in it.
pub(crate) async fn show() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

const DOCUMENT: &str = include_str!("../../docs/openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::identity::{AccountId, CallId, Pii};
    use crate::platform::calls::record::CallRecord;
    use crate::platform::calls::{JitterBufferReport, MediaReport, Recorded, Recording};
    use crate::platform::problem::CODES;
    use crate::platform::rooms::Member;

    const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// `GET /v1/calls` and so on, as documented.
    fn documented() -> BTreeSet<String> {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let of = |(path, item): (&String, &Value)| {
            let methods: Vec<_> = item.as_object().unwrap().keys().map(|it| format!("{it} {path}")).collect();
            methods
        };
        paths.iter().flat_map(of).collect()
    }

    /// The same, as registered: what stands in calls of `.route("/…", …)` anywhere but in tests and in the speech server,
    /// which is another one.
    fn registered(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("server/speech") {
                registered(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let production = text.split("#[cfg(test)]").next().unwrap();
                found.extend(production.split(".route(").skip(1).flat_map(routes_of));
            }
        }
    }

    /// Of what follows `.route(`.
    fn routes_of(rest: &str) -> Vec<String> {
        let Some((path, handlers)) = rest.trim_start().strip_prefix('"').and_then(|it| it.split_once('"')) else {
            return vec![];
        };
        let mut depth = 1;
        let end = handlers.find(|it| {
            depth += i32::from(it == '(') - i32::from(it == ')');
            depth == 0
        });
        let handlers = handlers.get(..end.unwrap()).unwrap();
        let words: BTreeSet<_> = handlers.split(|it: char| !it.is_ascii_alphanumeric() && it != '_').collect();
        let methods = METHODS.iter().filter(|it| words.contains(*it) && handlers.contains(&format!("{it}(")));
        methods.map(|it| format!("{it} {path}")).collect()
    }

    #[test]
    fn every_route_is_documented_and_every_documented_route_is_there() {
        let mut found = BTreeSet::new();
        registered(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 25 && found.contains("delete /v1/rooms/{room}/members/{call}"), "{found:?}");
        assert_eq!(documented(), found);
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_needs_a_key_says_so() {
        let document = document();
        assert_eq!(
            (&document["openapi"], &document["info"]["version"]),
            (&"3.1.0".into(), &env!("CARGO_PKG_VERSION").into())
        );
        let mut references = vec![];
        collect(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                let is_free = operation["security"] == serde_json::json!([]);
                assert_eq!(is_free, !path.starts_with("/v1/"), "{method} {path}");
                assert_eq!(operation["responses"]["401"].is_object(), !is_free, "{method} {path}");
                let in_path = |it: &&Value| it["in"] == "path";
                let given = operation["parameters"].as_array().into_iter().flatten().filter(in_path);
                let given: BTreeSet<_> = given.map(|it| it["name"].as_str().unwrap()).collect();
                let wanted: BTreeSet<_> = path.split('{').skip(1).map(|it| it.split('}').next().unwrap()).collect();
                assert_eq!(given, wanted, "{method} {path}");
            }
        }
    }

    fn collect(value: &Value, references: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                references.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|it| collect(it, references));
            }
            Value::Array(items) => items.iter().for_each(|it| collect(it, references)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn schemas_say_what_is_serialised() {
        let document = document();
        let codes: Vec<_> = CODES.iter().map(|it| Value::from(*it)).collect();
        assert_eq!(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"], Value::from(codes));
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let event = r#"{"type":"offered","direction":"inbound","from":"1","to":"2","source":"x","trunk":"t","details":{"a":"b"}}"#;
        let events: Vec<_> = [event, r#"{"type":"room","room":"den","what":"entered"}"#]
            .map(|it| Recorded { sequence: 1, unix_ms: 1, event: serde_json::from_str(it).unwrap() })
            .into();
        let record = CallRecord::derive(call, AccountId::default(), &events).unwrap();
        check(&document, "CallRecord", &serde_json::to_value(record).unwrap());
        let jitter_buffer = JitterBufferReport { delay_mean_ms: Some(1), ..JitterBufferReport::default() };
        check(&document, "JitterBufferReport", &serde_json::to_value(jitter_buffer).unwrap());
        let report = MediaReport {
            codec: "PCMU".to_owned(),
            packets_duplicate: 1,
            packets_refused: Some(1),
            packets_dropped: [("ssrc".to_owned(), 1)].into(),
            jitter_max_us: 1,
            jitter_buffer: Some(jitter_buffer),
            mos_hundredths: Some(1),
            round_trip_ms: Some(1),
            far_packets_lost: Some(1),
            far_jitter_us: Some(1),
            far_mos_hundredths: Some(1),
            ..MediaReport::default()
        };
        check(&document, "MediaReport", &serde_json::to_value(report).unwrap());
        let recording = Recording { missed_ms: 1, sha256: Some(String::new()), cut_off: true, ..Recording::default() };
        check(&document, "Recording", &serde_json::to_value(recording).unwrap());
        let member = Member { call, party: Pii::default(), moderator: false, muted: false, entered_unix_ms: 0 };
        check(&document, "Member", &serde_json::to_value(member).unwrap());
    }

    /// Everything that can be there is described.
    #[track_caller]
    fn check(document: &Value, schema: &str, value: &Value) {
        let keys = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&document["components"]["schemas"][schema]["properties"]), keys(value), "{schema}");
    }
}
