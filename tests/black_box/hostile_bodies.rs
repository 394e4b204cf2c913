//! Bodies of API requests that are torn, nested, repeated and too long: each is answered, none with a failure of ours, and the
//! call that they are about goes on.

use crate::http_client;
use crate::rtp_peer::Sends;
use crate::server_process::Server;
use crate::sip_phone::Phone;

const KEY: &str = "a key for tests only";

/// Requests as they should be, but for what they name: no call comes of them.
const REQUESTS: [(&str, &str, &str); 8] = [
    ("POST", "/v1/calls", r#"{"to": "+4930123", "agent": "nobody", "trunk": "none", "variables": {"name": "Ann"}}"#),
    ("POST", "/v1/calls/CALL/dtmf", r#"{"digits": "42#", "to": "caller"}"#),
    ("POST", "/v1/calls/CALL/transfer", r#"{"to": "nobody", "trunk": "none"}"#),
    ("POST", "/v1/calls/CALL/recording", r#"{"action": "pause", "consent": "given", "format": "mp3"}"#),
    ("POST", "/v1/calls/CALL/supervise", r#"{"to": "nobody", "mode": "whisper", "whisper_to": "caller"}"#),
    ("PATCH", "/v1/calls/CALL/supervise", r#"{"mode": "barge"}"#),
    ("PATCH", "/v1/rooms/none", r#"{"locked": true}"#),
    ("POST", "/v1/rooms/none/members", r#"{"to": "nobody", "from": "100"}"#),
];
const EACH: u32 = 60;

#[test]
fn bodies_that_make_no_sense_are_refused_and_disturb_nobody() {
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let mut phone = Phone::call(&server, "100");
    phone.hear_sound(5);
    let headers = format!("Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n");
    let live = http_client::get_with(server.http, "/v1/calls?state=live", &headers).unwrap();
    let live: serde_json::Value = serde_json::from_str(&live.body).unwrap();
    let call = live["calls"][0]["call"].as_str().unwrap().to_owned();
    let mut seed = 4711;
    for (method, path, body) in REQUESTS {
        let path = path.replace("CALL", &call);
        for body in (0..EACH).map(|_| mutated(body, &mut seed)).chain(extreme(body)) {
            let answer = http_client::send(server.http, method, &path, &headers, &body);
            let shown = body.chars().take(200).collect::<String>();
            let answer = answer.unwrap_or_else(|| panic!("no answer: {method} {path} {shown}\n{}", server.log()));
            assert!((200..500).contains(&answer.status), "{} to {method} {path} {shown}", answer.status);
        }
    }
    let stay = phone.stay(Sends::Silence, std::time::Duration::from_millis(500));
    assert!(stay.bye.is_none() && stay.heard.packets > 15, "{stay:?}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
    phone.hang_up();
}

/// What is far from what should be there.
fn extreme(body: &str) -> [String; 7] {
    [
        String::new(),
        "[".repeat(100_000),
        r#"{"a":"#.repeat(50_000),
        format!("{{\"to\": \"{}\"}}", "9".repeat(1 << 20)),
        format!("{{\"digits\": \"{}\"}}", "\\u0000".repeat(10_000)),
        body.replacen('{', r#"{"more": 1e999, "#, 1),
        format!("{body}{body}"),
    ]
}

fn mutated(body: &str, seed: &mut u64) -> String {
    let mut below = |limit: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 33).unwrap() % limit.max(1)
    };
    let mut characters: Vec<char> = body.chars().collect();
    for _ in 0..=below(3) {
        let at = below(characters.len());
        let end = (at + below(12)).min(characters.len());
        match below(4) {
            0 => drop(characters.drain(at..end)),
            1 => drop(characters.splice(at..at, "\"\\{}[]:,0-\u{0}\u{fffd}\u{1f600}".chars().skip(below(10)).take(2))),
            2 => characters.truncate(end),
            _ => {
                let again = characters[at..end].to_vec();
                drop(characters.splice(at..at, again));
            }
        }
    }
    characters.into_iter().collect()
}
