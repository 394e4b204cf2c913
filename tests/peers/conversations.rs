//! Two and three telephones over the server: what each of them hears while they hold, resume and transfer each other.
//! Every telephone speaks a tone of its own, and what it hears is looked at in pieces of 20 ms. baresip stops to record what
//! it hears at the first hold, so that what is heard after one is seen at a third telephone.

use std::time::{Duration, Instant};

use crate::authority::Secured;
use crate::baresip::{Account, Baresip, gaps, shape};
use crate::server_process::Server;
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
    on: [&'static str; 3],
    alice: Baresip,
    bob: Baresip,
    carol: Baresip,
}

impl Telephones {
    fn start(on: [&'static str; 3]) -> Self {
        let mut keys = USERS.to_vec();
        keys.extend([
            ("USERS__CAROL__PASSWORD", crate::baresip::PASSWORD),
            ("SIP__TRANSFERS", "users"),
            ("MEDIA__SRTP", "preferred"),
            ("MEDIA__SRTP_KEYS_IN_CLEAR", "false"),
        ]);
        let secured = Secured::start(&keys);
        let mut telephones = ["alice", "bob", "carol"].into_iter().zip(on).zip(TONES_HZ).map(|((user, on), hz)| {
            let account = Account::new(user, secured.at(on), on);
            // A telephone on TLS has SRTP, too, and the others have not.
            let parameters = if on == "tls" { ";mediaenc=srtp" } else { "" };
            Baresip::start(&Account { tone_hz: hz, parameters, authority: Some(&secured.authority), ..account })
        });
        let [alice, bob, carol] = [(); 3].map(|()| telephones.next().unwrap());
        drop(telephones);
        for telephone in [&alice, &bob, &carol] {
            telephone.is_registered();
        }
        Self { secured, on, alice, bob, carol }
    }

    fn converse(mut self) {
        let before = self.secured.server.metrics();
        for conversation in [Self::hold_and_move_by_the_caller, Self::move_by_the_called_one, Self::ask_first_and_move]
        {
            conversation(&mut self);
            let mut more = vec![];
            let is_over = self.secured.server.wait(Duration::from_secs(10), || {
                more = self.secured.server.metrics().beyond(&before);
                // A dialog in which an INVITE went out is kept for 32 seconds.
                more.retain(|it| !it.starts_with("hookswitch_sip_dialogs"));
                more.is_empty()
            });
            assert!(is_over, "still held: {more:?}");
        }
        // Keys are told where nobody else reads them, and nowhere else.
        for (telephone, on) in [&self.alice, &self.bob, &self.carol].into_iter().zip(self.on) {
            let keys = telephone.log().matches("a=crypto:").count();
            assert!(if on == "tls" { keys >= 2 } else { keys == 0 }, "{keys} keys over {on}\n{}", telephone.log());
        }
    }

    /// Alice calls Bob, each holds the other, and Alice has Bob call Carol.
    fn hold_and_move_by_the_caller(&mut self) {
        let [a, b, _] = TONES_HZ;
        let Self { secured, alice, bob, carol, .. } = self;
        dial(alice, bob, "bob");
        alice.hears(b, PHASE);
        bob.hears(a, PHASE);
        for holder in [&mut *alice, &mut *bob] {
            holder.order("hold", "");
            is_quiet(&secured.server);
            holder.order("resume", "");
            is_loud(&secured.server);
        }
        let seen = alice.log().len();
        alice.order("transfer", &alice.address_of("carol"));
        carol.event("CALL_INCOMING");
        carol.order("accept", "");
        alice.event("CALL_CLOSED");
        carol.hears(b, PHASE);
        is_loud(&secured.server);
        let told = alice.log().split_off(seen);
        assert!(told.contains("SIP/2.0 202 Accepted") && told.contains("\r\nSIP/2.0 200 OK\r\n"), "{told}");
        bob.order("hangup", "");
        carol.event("CALL_CLOSED");
        without_gaps(alice, b);
        without_gaps(bob, a);
        without_gaps(carol, b);
    }

    /// Alice calls Bob, holds him and goes on, and he has her call Carol.
    fn move_by_the_called_one(&mut self) {
        let [a, b, c] = TONES_HZ;
        let Self { secured, alice, bob, carol, .. } = self;
        dial(alice, bob, "bob");
        bob.order("transfer", &bob.address_of("carol"));
        carol.event("CALL_INCOMING");
        carol.order("accept", "");
        bob.event("CALL_CLOSED");
        carol.hears(a, PHASE);
        alice.hears(c, PHASE);
        alice.order("hold", "");
        is_quiet(&secured.server);
        alice.order("resume", "");
        is_loud(&secured.server);
        carol.order("hangup", "");
        alice.event("CALL_CLOSED");
        assert!(shape(&alice.heard(), &TONES_HZ).ends_with('c'), "{b} Hz and then {c} Hz");
        without_gaps(carol, a);
    }

    /// Alice calls Bob, holds him, calls Carol, and leaves the two to each other.
    fn ask_first_and_move(&mut self) {
        let [a, b, _] = TONES_HZ;
        let Self { secured, alice, bob, carol, .. } = self;
        let seen = alice.log().len();
        dial(alice, bob, "bob");
        bob.hears(a, PHASE);
        alice.order("hold", "");
        is_quiet(&secured.server);
        dial(alice, carol, "carol");
        carol.hears(a, PHASE);
        let replaces = alice.replaces_since(seen, "bob");
        alice.order("transfer", &format!("<{}?Replaces={replaces}>", alice.address_of("bob")));
        carol.hears(b, PHASE);
        is_loud(&secured.server);
        alice.event("CALL_CLOSED");
        bob.order("hangup", "");
        carol.event("CALL_CLOSED");
        assert_eq!(shape(&carol.heard(), &TONES_HZ), "ab");
    }
}

#[track_caller]
fn dial(caller: &mut Baresip, called: &mut Baresip, user: &str) {
    caller.order("dial", &caller.address_of(user));
    called.event("CALL_INCOMING");
    called.order("accept", "");
    called.event("CALL_ESTABLISHED");
    caller.event("CALL_ESTABLISHED");
}

/// No telephone sends anything for half a second.
#[track_caller]
fn is_quiet(server: &Server) {
    let (mut last, mut since) = (0.0, Instant::now());
    let is_so = server.wait(Duration::from_secs(10), || {
        let now = packets_in(server);
        if now > last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(500)
    });
    assert!(is_so, "packets still come");
}

/// Two telephones send, and the server does, too: a second of it.
#[track_caller]
fn is_loud(server: &Server) {
    let (before, start) = (packets_in(server), Instant::now());
    let is_so = server.wait(Duration::from_secs(10), || packets_in(server) >= before + 100.0);
    assert!(is_so && start.elapsed() < Duration::from_secs(5), "100 packets took {:?}", start.elapsed());
}

fn packets_in(server: &Server) -> f64 {
    server.metrics().value("hookswitch_rtp_packets_total{what=\"in\"}").unwrap()
}

/// From the first to the last of what it heard in its last call there was nothing but `tone_hz`.
#[track_caller]
fn without_gaps(telephone: &Baresip, tone_hz: f64) {
    let (gaps, windows) = gaps(&telephone.heard(), tone_hz);
    assert!(windows > 50 && gaps * 50 <= windows, "{gaps} of {windows} pieces are not {tone_hz} Hz");
}

const TONES_HZ: [f64; 3] = [450.0, 1_000.0, 1_800.0];
const PHASE: Duration = Duration::from_millis(1_000);
