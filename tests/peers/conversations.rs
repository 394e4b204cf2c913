//! Two and three telephones over the server: what each of them hears while they hold, resume and transfer each other.
//! Every telephone speaks a tone of its own, and what it hears is looked at in pieces of 20 ms.

use std::time::Duration;

use crate::authority::Secured;
use crate::baresip::{Account, Baresip, gaps, shape};
use crate::telephones::USERS;

#[test]
fn telephones_on_udp_tcp_and_tls_hold_and_transfer() {
    Telephones::start(["udp", "tcp", "tls"]).converse();
}

#[test]
fn telephones_on_tls_udp_and_tcp_hold_and_transfer() {
    Telephones::start(["tls", "udp", "tcp"]).converse();
}

#[test]
fn telephones_on_tcp_tls_and_udp_hold_and_transfer() {
    Telephones::start(["tcp", "tls", "udp"]).converse();
}

/// Alice speaks `a`, Bob `b` and Carol `c`.
struct Telephones {
    secured: Secured,
    alice: Baresip,
    bob: Baresip,
    carol: Baresip,
}

impl Telephones {
    fn start(transports: [&str; 3]) -> Self {
        let mut keys = USERS.to_vec();
        keys.extend([("USERS__CAROL__PASSWORD", crate::baresip::PASSWORD), ("SIP__TRANSFERS", "users")]);
        let secured = Secured::start(&keys);
        let mut telephones =
            ["alice", "bob", "carol"].into_iter().zip(transports).zip(TONES_HZ).map(|((user, on), hz)| {
                let account = Account::new(user, secured.at(on), on);
                // A telephone on TLS has SRTP, too, and the others have not.
                let parameters = if on == "tls" { ";mediaenc=srtp-mand" } else { "" };
                Baresip::start(&Account { tone_hz: hz, parameters, authority: Some(&secured.authority), ..account })
            });
        let [alice, bob, carol] = [(); 3].map(|()| telephones.next().unwrap());
        drop(telephones);
        for telephone in [&alice, &bob, &carol] {
            telephone.is_registered();
        }
        Self { secured, alice, bob, carol }
    }

    fn converse(mut self) {
        let before = self.secured.server.metrics();
        self.hold_and_move_by_the_caller();
        self.secured.server.settles(&before, Duration::from_secs(20));
        self.move_by_the_called_one();
        self.secured.server.settles(&before, Duration::from_secs(20));
        self.ask_first_and_move();
        self.secured.server.settles(&before, Duration::from_secs(20));
    }

    /// Alice calls Bob, each holds the other, and Alice has Bob call Carol.
    fn hold_and_move_by_the_caller(&mut self) {
        let [a, b, c] = TONES_HZ;
        let Self { alice, bob, carol, .. } = self;
        dial(alice, bob, "bob");
        both_hear(alice, b, bob, a);
        alice.order("hold", "");
        bob.hears_nothing(PHASE);
        alice.order("resume", "");
        both_hear(alice, b, bob, a);
        bob.order("hold", "");
        alice.hears_nothing(PHASE);
        bob.order("resume", "");
        both_hear(alice, b, bob, a);

        let seen = alice.log().len();
        alice.order("transfer", &carol.address());
        carol.event("CALL_INCOMING");
        carol.order("accept", "");
        alice.event("CALL_CLOSED");
        both_hear(bob, c, carol, b);
        let told = alice.log().split_off(seen);
        assert!(told.contains("SIP/2.0 202 Accepted") && told.contains("\r\nSIP/2.0 200 OK\r\n"), "{told}");
        bob.order("hangup", "");
        carol.event("CALL_CLOSED");

        let shape = |telephone: &Baresip| shape(&telephone.heard(), &TONES_HZ);
        assert_eq!((shape(alice), shape(carol)), ("b".to_owned(), "b".to_owned()), "of {}", shape(bob));
        assert_eq!(shape(bob), "ac");
        without_gaps(carol, b);
    }

    /// Alice calls Bob, who has her call Carol.
    fn move_by_the_called_one(&mut self) {
        let [a, b, c] = TONES_HZ;
        let Self { alice, bob, carol, .. } = self;
        dial(alice, bob, "bob");
        both_hear(alice, b, bob, a);
        bob.order("transfer", &carol.address());
        carol.event("CALL_INCOMING");
        carol.order("accept", "");
        bob.event("CALL_CLOSED");
        both_hear(alice, c, carol, a);
        carol.order("hangup", "");
        alice.event("CALL_CLOSED");
        without_gaps(bob, a);
        without_gaps(carol, a);
    }

    /// Alice calls Bob, holds him, calls Carol, and leaves the two to each other.
    fn ask_first_and_move(&mut self) {
        let [a, b, c] = TONES_HZ;
        let Self { alice, bob, carol, .. } = self;
        let seen = alice.log().len();
        dial(alice, bob, "bob");
        both_hear(alice, b, bob, a);
        alice.order("hold", "");
        bob.hears_nothing(PHASE);
        dial(alice, carol, "carol");
        carol.hears(a, PHASE);
        let replaces = alice.replaces_since(seen, "bob");
        alice.order("transfer", &format!("<{}?Replaces={replaces}>", bob.address()));
        both_hear(bob, c, carol, b);
        alice.event("CALL_CLOSED");
        bob.order("hangup", "");
        carol.event("CALL_CLOSED");
        assert_eq!(shape(&carol.heard(), &TONES_HZ), "ab");
    }
}

#[track_caller]
fn dial(caller: &mut Baresip, called: &mut Baresip, user: &str) {
    let address = called.address();
    assert!(address.starts_with(&format!("sip:{user}@")), "{address}");
    caller.order("dial", &address);
    called.event("CALL_INCOMING");
    called.order("accept", "");
    called.event("CALL_ESTABLISHED");
    caller.event("CALL_ESTABLISHED");
}

#[track_caller]
fn both_hear(one: &Baresip, by_one: f64, other: &Baresip, by_other: f64) {
    one.hears(by_one, PHASE);
    other.hears(by_other, PHASE);
}

/// From the first to the last of what it heard in its last call there was nothing but `tone_hz`.
#[track_caller]
fn without_gaps(telephone: &Baresip, tone_hz: f64) {
    let (gaps, windows) = gaps(&telephone.heard(), tone_hz);
    assert!(windows > 50 && gaps * 50 <= windows, "{gaps} of {windows} pieces are not {tone_hz} Hz");
}

const TONES_HZ: [f64; 3] = [450.0, 1_000.0, 1_800.0];
const PHASE: Duration = Duration::from_millis(1_000);
