//! What is kept of signalling: the SIP ladder of a call over HTTP, in all its forms and without its secrets, after a crash
//! too, and live at a collector.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::http_client::{self, Answer};
use crate::server_process::Server;
use crate::sip_phone::Phone;

const KEY: &str = "hsk_of_this_test_and_no_other";
const LIMIT: Duration = Duration::from_secs(20);
/// What a caller may send that nobody may read.
const SECRETS: [&str; 4] = ["c0ffee0000c0ffee", "d0nttell", "bWVkaWEga2V5IG1lZGlhIGtleSBtZWRpYSBrZXkh", "icesecret"];

fn server(keys: &[(&str, &str)]) -> Server {
    Server::start(&[&[("HTTP__API_KEY", KEY)], keys].concat())
}

fn ask(server: &Server, path: &str, headers: &str) -> Answer {
    let headers = format!("Authorization: Bearer {KEY}\r\n{headers}");
    http_client::get_with(server.http, path, &headers).expect("an answer")
}

fn json(server: &Server, path: &str) -> Value {
    let answer = ask(server, path, "");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// A call that is answered and hung up, with secrets in its INVITE.
fn call(server: &Server) {
    let mut phone = Phone::udp(server);
    let [digest, password, media, ice] = SECRETS;
    let authorization = format!(
        "Proxy-Authorization: Digest username=\"bob\", realm=\"far\", nonce=\"n0nce\", uri=\"sip:x\", response=\"{digest}\""
    );
    let headers = [&*authorization, &format!("X-Ref: <sip:bob:{password}@192.0.2.9>")];
    let offer = phone.sdp("sendrecv");
    let offer = format!("{offer}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{media}\r\na=ice-pwd:{ice}\r\n");
    let answer = phone.invite_with(&headers, &offer);
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    phone.hang_up();
}

/// The one call that there is, once its ladder has its last message.
#[track_caller]
fn ladder(server: &Server) -> (String, Value) {
    let mut found = None;
    let complete = server.wait(LIMIT, || {
        let calls = json(server, "/v1/calls");
        let Some(call) = calls["calls"][0]["call"].as_str() else { return false };
        let ladder = json(server, &format!("/v1/calls/{call}/sip"));
        let is_complete = ladder["messages"].as_array().unwrap().iter().any(|it| it["summary"] == "200 OK (BYE)");
        found = Some((call.to_owned(), ladder));
        is_complete
    });
    assert!(complete, "{found:?}\n{}", server.log());
    found.unwrap()
}

#[track_caller]
fn assert_no_secret(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("n0nce") && text.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"), "{text}");
}

#[test]
fn a_call_is_read_in_every_form_and_without_its_secrets() {
    let server = server(&[]);
    call(&server);
    let (id, ladder) = ladder(&server);
    let path = format!("/v1/calls/{id}/sip");
    let summaries: Vec<_> = ladder["messages"].as_array().unwrap().iter().map(|it| it["summary"].clone()).collect();
    let first = summaries[0].as_str().unwrap();
    assert!(first.starts_with("INVITE sip:"), "{summaries:?}");
    for summary in ["180 Ringing (INVITE)", "200 OK (INVITE)", "200 OK (BYE)"] {
        assert!(summaries.iter().any(|it| it == summary), "no {summary}: {summaries:?}");
    }
    assert_eq!(ladder["not_kept"], 0);
    assert_eq!(ladder["messages"][0]["direction"], "received");
    assert_eq!(ladder["messages"][0]["local"], server.sip.to_string());
    assert_no_secret(&ask(&server, &path, "").bytes);

    let text = ask(&server, &path, "Accept: text/plain\r\n");
    assert!(text.head.contains("content-type: text/plain"), "{}", text.head);
    assert!(text.body.contains("- INVITE sip:") && text.body.contains("200 OK (BYE) -"), "{}", text.body);
    assert_no_secret(&text.bytes);

    let pcap = ask(&server, &format!("{path}?format=pcap"), "");
    assert!(pcap.head.contains("content-type: application/vnd.tcpdump.pcap"), "{}", pcap.head);
    assert_eq!(pcap.bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    assert_no_secret(&pcap.bytes);

    let record = json(&server, &format!("/v1/calls/{id}"));
    assert_eq!((record["call"].as_str(), record["status"].as_str()), (Some(id.as_str()), Some("answered")));
    let events = json(&server, &format!("/v1/calls/{id}/events"));
    assert_eq!(events["events"][0]["type"], "offered");
    assert!(json(&server, &format!("/v1/calls/{id}/transcript"))["turns"].is_array());
    let metrics = ask(&server, "/metrics", "").body;
    assert!(metrics.contains("hookswitch_call_results_total{class=\"2xx\",direction=\"inbound\"} 1"), "{metrics}");
}

#[test]
fn a_stranger_reads_nothing() {
    let server = Server::start(&[]);
    call(&server);
    let log = server.log();
    let key = log.split("API key, made now and not shown again: ").nth(1).unwrap().split_whitespace().next().unwrap();
    for path in ["/v1/calls", "/v1/calls/call_0", "/v1/calls/call_0/sip", "/v1/calls/call_0/events"] {
        for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic YTpi\r\n", "Authorization: x\r\n"]
        {
            let answer = http_client::get_with(server.http, path, headers).unwrap();
            assert!([401, 429].contains(&answer.status), "{path} {headers}: {}", answer.body);
            assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        }
    }
    let shown = format!("authorization: bearer {key}\r\n");
    let answer = |path: &str| http_client::get_with(server.http, path, &shown).unwrap();
    assert_eq!(answer("/v1/calls").status, 200);
    for (path, status, code) in [
        ("/v1/calls/call_0", 404, "not_found"),
        ("/v1/calls/call_00000000000000000000000000000000/sip", 404, "not_found"),
        ("/v1/calls?limit=0", 400, "invalid_parameter"),
        ("/v1/calls?limit=x", 400, "invalid_parameter"),
        ("/v1/calls?cursor=x", 400, "invalid_parameter"),
        ("/v1/calls/call_0/sip?format=png", 404, "not_found"),
    ] {
        let answer = answer(path);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{path}");
        assert_eq!(problem["status"], status);
    }
}

#[test]
fn ladders_survive_a_crash() {
    let mut first = server(&[]);
    call(&first);
    let (id, before) = ladder(&first);
    first.kill();
    let second = Server::start_in(&first.home, &[("HTTP__API_KEY", KEY)]);
    assert_eq!(json(&second, &format!("/v1/calls/{id}/sip")), before);
}

#[test]
fn a_ladder_has_a_bound_and_says_what_is_missing() {
    let server = server(&[("CAPTURE__BYTES_PER_CALL", "1500")]);
    call(&server);
    let mut found = Value::Null;
    let is_told = server.wait(LIMIT + Duration::from_secs(40), || {
        let calls = json(&server, "/v1/calls");
        let Some(call) = calls["calls"][0]["call"].as_str() else { return false };
        found = json(&server, &format!("/v1/calls/{call}/sip"));
        found["not_kept"].as_u64().unwrap() > 0
    });
    assert!(is_told, "{found}");
    assert!(found["messages"][0]["summary"].as_str().unwrap().starts_with("INVITE"), "{found}");
}

#[test]
fn what_is_not_captured_is_nowhere() {
    let server = server(&[("CAPTURE__ENABLED", "false")]);
    call(&server);
    let mut calls = Value::Null;
    let is_over = server.wait(LIMIT, || {
        calls = json(&server, "/v1/calls");
        calls["calls"][0]["status"] == "answered"
    });
    assert!(is_over, "{calls}");
    let id = calls["calls"][0]["call"].as_str().unwrap();
    assert_eq!(json(&server, &format!("/v1/calls/{id}/sip"))["messages"], Value::Array(vec![]));
}

#[test]
fn a_collector_may_be_connected_to() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let homer = format!("tcp://{}", collector.local_addr().unwrap());
    let server = server(&[("CAPTURE__HOMER", &homer)]);
    call(&server);
    let (mut stream, _) = collector.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut seen = vec![];
    while !seen.iter().any(|it: &String| it.contains("200 OK") && it.contains(" BYE")) {
        let mut head = [0; 6];
        stream.read_exact(&mut head).expect("a packet");
        assert_eq!(&head[..4], b"HEP3");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - head.len()];
        stream.read_exact(&mut rest).expect("a whole packet");
        seen.push(String::from_utf8_lossy(&rest).into_owned());
    }
    assert!(seen[0].contains("INVITE sip:"), "{seen:?}");
}

#[test]
fn a_collector_gets_every_message_as_it_goes() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(LIMIT)).unwrap();
    let homer = format!("udp://{}", collector.local_addr().unwrap());
    let server = server(&[("CAPTURE__HOMER", &homer), ("CAPTURE__AUTH_KEY", "letmein")]);
    call(&server);
    let mut seen = vec![];
    let mut packet = [0; 65_536];
    while !seen.iter().any(|it: &String| it.contains("200 OK") && it.contains(" BYE")) {
        let (length, _) = collector.recv_from(&mut packet).expect("a packet");
        assert_eq!(&packet[..4], b"HEP3");
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])), length);
        seen.push(String::from_utf8_lossy(&packet[..length]).into_owned());
    }
    let all = seen.concat();
    assert!(all.contains("INVITE sip:") && all.contains("letmein") && all.contains("180 Ringing"), "{all}");
    assert_no_secret(all.as_bytes());
    let (id, _) = ladder(&server);
    assert!(seen.iter().all(|it| it.contains(&id)), "a packet without {id}");
}
