//! `/openapi.json` as the running server has it: what it describes is there, and asks for a key where it says so.

use serde_json::Value;

use crate::http_client;
use crate::server_process::Server;

const KEY: &str = "hsk_of_this_test_and_no_other";

#[test]
fn every_request_that_is_described_is_understood() {
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let answer = http_client::get(server.http, "/openapi.json").unwrap();
    assert!(answer.status == 200 && answer.head.contains("content-type: application/json"), "{}", answer.head);
    assert!(!answer.body.contains(KEY));
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    let key = format!("Authorization: Bearer {KEY}\r\n");
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let real = path.replace("{call}", "call_018bcfe56800000000000000000000aa").replace("{room}", "none");
        let needs_key = path.starts_with("/v1/");
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let ask = |headers: &str| http_client::send(server.http, &method, &real, headers, "{}").unwrap();
            let answer = ask(&key);
            assert!(operation["responses"][answer.status.to_string()].is_object(), "{method} {path}: {}", answer.body);
            if answer.status >= 400 && needs_key {
                assert!(answer.head.contains("application/problem+json"), "{method} {path}: {}", answer.head);
            }
            // So many requests without a key are too many in the end.
            assert_eq!(matches!(ask("").status, 401 | 429), needs_key, "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    assert_eq!(http_client::get_with(server.http, "/v1/nothing", &key).unwrap().status, 404);
}
