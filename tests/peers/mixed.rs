//! Three telephones whose voices are mixed: in a conference room, and as two who talk and one who supervises them. Each
//! speaks a tone of its own, by another transport, and the one on TLS is secured.

use std::time::Duration;

use serde_json::Value;

use crate::authority::Secured;
use crate::baresip::{Account, Baresip, PASSWORD, share_of_tone};
use crate::http_client;
use crate::telephones::USERS;

#[test]
fn telephones_meet_in_a_room() {
    let mut them = Telephones::start();
    for telephone in &mut them.telephones {
        let room = telephone.address_of("700");
        telephone.order("dial", &room);
        telephone.event("CALL_ESTABLISHED");
    }
    let [a, b, c] = TONES_HZ;
    them.hear([&[b, c], &[a, c], &[a, b]]);
    let call = them.get("/v1/rooms/den")["members"][1]["call"].as_str().unwrap().to_owned();
    assert_eq!(them.ask("PATCH", &format!("/v1/rooms/den/members/{call}"), r#"{"muted": true}"#), 204);
    them.hear([&[c], &[a, c], &[a]]);
    assert_eq!(them.ask("POST", "/v1/rooms/den/end", ""), 204);
    for telephone in &mut them.telephones {
        telephone.event("CALL_CLOSED");
    }
}

#[test]
fn a_telephone_supervises_two_others() {
    let mut them = Telephones::start();
    let [alice, bob, _] = &mut them.telephones;
    alice.order("dial", &alice.address_of("bob"));
    bob.event("CALL_INCOMING");
    bob.order("accept", "");
    alice.event("CALL_ESTABLISHED");
    let call = them.get("/v1/calls?state=live")["calls"][0]["call"].as_str().unwrap().to_owned();
    let path = format!("/v1/calls/{call}/supervise");
    assert_eq!(them.ask("POST", &path, r#"{"to": "carol", "mode": "listen"}"#), 202);
    them.telephones[2].event("CALL_INCOMING");
    them.telephones[2].order("accept", "");
    let [a, b, c] = TONES_HZ;
    them.hear([&[b], &[a], &[a, b]]);
    assert_eq!(them.ask("PATCH", &path, r#"{"mode": "whisper"}"#), 204);
    them.hear([&[b], &[a, c], &[a, b]]);
    assert_eq!(them.ask("PATCH", &path, r#"{"mode": "barge"}"#), 204);
    them.hear([&[b, c], &[a, c], &[a, b]]);
    them.telephones[0].order("hangup", "");
    for telephone in &mut them.telephones[1..] {
        telephone.event("CALL_CLOSED");
    }
}

struct Telephones {
    secured: Secured,
    telephones: [Baresip; 3],
}

impl Telephones {
    fn start() -> Self {
        let mut keys = USERS.to_vec();
        keys.extend([
            ("USERS__CAROL__PASSWORD", PASSWORD),
            ("HTTP__API_KEY", KEY),
            ("NUMBERS__700__ROOM", "den"),
            ("ROOMS__DEN__MAX_MEMBERS", "3"),
            ("MEDIA__SRTP", "preferred"),
            ("MEDIA__SRTP_KEYS_IN_CLEAR", "false"),
        ]);
        let secured = Secured::start(&keys);
        let start = |(user, on, hz)| {
            let account = Account::new(user, secured.at(on), on);
            let parameters = if on == "tls" { ";mediaenc=srtp" } else { "" };
            Baresip::start(&Account { tone_hz: hz, parameters, authority: Some(&secured.authority), ..account })
        };
        let [a, b, c] = TONES_HZ;
        let telephones = [("alice", "udp", a), ("bob", "tls", b), ("carol", "tcp", c)].map(start);
        telephones.iter().for_each(Baresip::is_registered);
        Self { secured, telephones }
    }

    /// Waits until each hears these tones, and none of the others.
    #[track_caller]
    fn hear(&self, expected: [&[f64]; 3]) {
        for (telephone, expected) in self.telephones.iter().zip(expected) {
            let mut shares = vec![];
            let is_so = self.secured.server.wait(LIMIT, || {
                let heard = telephone.latest(SAMPLES);
                shares = TONES_HZ.map(|hz| share_of_tone(&heard, hz)).to_vec();
                let fits = |(hz, share): (&f64, &f64)| if expected.contains(hz) { *share > 0.3 } else { *share < 0.01 };
                heard.len() == SAMPLES && TONES_HZ.iter().zip(&shares).all(fits)
            });
            assert!(is_so, "{expected:?} are not heard, but {shares:?} of {TONES_HZ:?}\n{}", telephone.log());
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> u16 {
        let headers = format!("Authorization: Bearer {KEY}\r\n");
        http_client::send(self.secured.server.http, method, path, &headers, body).unwrap().status
    }

    /// What is at `path`, once the journal has what the telephones know already.
    fn get(&self, path: &str) -> Value {
        let headers = format!("Authorization: Bearer {KEY}\r\n");
        let mut found = Value::Null;
        self.secured.server.wait(LIMIT, || {
            let answer = http_client::get_with(self.secured.server.http, path, &headers).unwrap();
            found = serde_json::from_str(&answer.body).unwrap();
            found["calls"][0].is_object() || found["members"][2].is_object()
        });
        found
    }
}

const KEY: &str = "hsk_of_this_test_and_no_other";
const TONES_HZ: [f64; 3] = [440.0, 700.0, 1_250.0];
const LIMIT: Duration = Duration::from_secs(15);
/// Half a second, in which each tone is a whole number of times.
const SAMPLES: usize = 4_000;
