//! Our side against `str0m` as a browser would use it, on simulated time and a network of two queues.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use str0m::config::Fingerprint as StrFingerprint;
use str0m::ice::IceCreds;
use str0m::media::{MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::*;
use crate::rtp::{Header, Packet};
use crate::timer::Now;

const FORMATS: [Format; 2] = [
    Format { payload_type: 111, kind: FormatKind::Opus, clock_hz: 48_000 },
    Format { payload_type: 0, kind: FormatKind::Pcmu, clock_hz: 8_000 },
];

#[test]
fn packets_travel_both_ways() {
    let mut pair = Pair::new(true);
    for _ in 0..100 {
        pair.step();
    }
    assert!(pair.browser.is_connected() && !pair.ours.is_lost());
    for (sequence, index) in [65_534, 65_535, 0, 1].into_iter().zip(65_533..) {
        pair.ours.send(&packet(sequence), pair.now);
        pair.step();
        pair.browser_sends(index);
        pair.step();
    }
    pair.step();
    assert_eq!(pair.heard_there, [65_534, 65_535, 0, 1]);
    assert_eq!(pair.heard_here, [65_533, 65_534, 65_535, 0]);
}

#[test]
fn a_restart_finds_the_browser_elsewhere_and_loses_nothing_of_what_is_sent() {
    let mut pair = Pair::new(true);
    for _ in 0..100 {
        pair.step();
    }
    pair.ours.send(&packet(1), pair.now);
    pair.browser_sends(1);
    pair.step();
    let before = pair.parameters.clone();
    let mut rng = ChaCha12Rng::seed_from_u64(9);
    pair.parameters.ours = IceCredentials::random(&mut rng);
    pair.parameters.theirs = IceCredentials::random(&mut rng);
    assert!(pair.ours.update(&pair.parameters.clone()));
    // The answer is on its way: the browser is still where it was.
    pair.ours.send(&packet(2), pair.now);
    pair.step();
    pair.restart_browser();
    let mut sequence = 2;
    for _ in 0..100 {
        sequence += 1;
        pair.ours.send(&packet(sequence), pair.now);
        pair.browser_sends(sequence.into());
        pair.step();
    }
    assert!(!pair.ours.is_lost());
    assert_eq!(pair.heard_there.last(), Some(&sequence), "{:?}", pair.heard_there);
    assert_eq!(pair.heard_here.last(), Some(&sequence), "{:?}", pair.heard_here);
    assert_eq!(pair.sent_to, elsewhere(), "media still go to where the browser was");
    // Another certificate is another browser.
    let other = Parameters { their_fingerprint: Identity::generate().unwrap().fingerprint(), ..before };
    assert!(!pair.ours.update(&other));
}

#[test]
fn what_the_browser_reports_of_our_stream_is_told() {
    let mut pair = Pair::new(true);
    for _ in 0..100 {
        pair.step();
    }
    let mut told = vec![];
    for sequence in 0..1_500 {
        // One in ten is lost on the way.
        if sequence % 10 != 9 {
            pair.ours.send(&packet(sequence), pair.now);
        }
        pair.step();
        pair.step();
        told.extend(pair.ours.take_feedback());
    }
    assert!((3..=30).contains(&told.len()), "{told:?}");
    let last = told.last().unwrap();
    assert!(last.round_trip.is_some_and(|it| it <= Duration::from_millis(20)), "{last:?}");
    assert!(last.fraction_lost.is_some_and(|it| (20..32).contains(&it)), "{last:?}");
    assert!((80..=150).contains(&last.lost), "{last:?}");
}

#[test]
fn another_certificate_than_signalled_gets_nothing() {
    let mut pair = Pair::new(false);
    for _ in 0..100 {
        pair.step();
        pair.ours.send(&packet(1), pair.now);
    }
    assert!(pair.heard_there.is_empty() && pair.heard_here.is_empty());
}

#[test]
fn fingerprints_are_read_as_they_are_written() {
    let ours = Identity::generate().unwrap().fingerprint();
    assert_eq!(Fingerprint::parse(&ours.to_string()), Some(ours));
    assert_eq!(Fingerprint::parse(&ours.to_string().to_lowercase()), Some(ours));
    for bad in ["", "sha-256", "sha-1 00:11", "sha-256 00:11", "sha-256 +1:00", &format!("{ours}:00")] {
        assert_eq!(Fingerprint::parse(bad), None, "{bad}");
    }
}

#[test]
fn credentials_have_the_lengths_and_characters_of_rfc_8839() {
    let ours = IceCredentials::random(&mut ChaCha12Rng::seed_from_u64(1));
    assert_eq!(IceCredentials::of_peer(&ours.user, &ours.password).as_ref(), Some(&ours));
    assert!(!format!("{ours:?}").contains(&ours.password));
    assert_eq!(IceCredentials::of_peer("abc", &ours.password), None);
    assert_eq!(IceCredentials::of_peer("abcd", "too short"), None);
    assert_eq!(IceCredentials::of_peer("ab\"cd", &ours.password), None);
    assert_eq!(IceCredentials::of_peer(&"a".repeat(257), &ours.password), None);
}

struct Pair {
    ours: Peer,
    browser: Rtc,
    heard_here: Vec<u16>,
    heard_there: Vec<u16>,
    parameters: Parameters,
    /// Where the browser is.
    address: SocketAddr,
    /// Where media went last.
    sent_to: SocketAddr,
    now: Instant,
}

impl Pair {
    fn new(is_signalled: bool) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(8445);
        let now = Now::origin().instant;
        let identity = Arc::new(Identity::generate().unwrap());
        let (here, there) = (IceCredentials::random(&mut rng), IceCredentials::random(&mut rng));
        let mut browser = Rtc::builder().set_rtp_mode(true).set_local_ice_credentials(creds(&there)).build(now);
        let their_fingerprint = if is_signalled {
            Fingerprint(browser.direct_api().local_dtls_fingerprint().bytes.clone().try_into().unwrap())
        } else {
            Identity::generate().unwrap().fingerprint()
        };
        browser.add_local_candidate(Candidate::host(browser_address(), "udp").unwrap());
        browser.add_remote_candidate(Candidate::host(our_address(), "udp").unwrap());
        let mut direct = browser.direct_api();
        direct.set_ice_controlling(true);
        direct.set_remote_ice_credentials(creds(&here));
        let bytes = identity.fingerprint().0.to_vec();
        direct.set_remote_fingerprint(StrFingerprint { hash_func: "sha-256".to_owned(), bytes });
        direct.start_dtls(true).unwrap();
        direct.declare_media(mid(), MediaKind::Audio);
        direct.declare_stream_tx(Ssrc::from(7), None, mid(), None);
        direct.expect_stream_rx(Ssrc::from(9), None, mid(), None);
        let parameters = Parameters { identity, ours: here, theirs: there, their_fingerprint };
        let ours = Peer::new(&parameters, &FORMATS, our_address(), now).unwrap();
        let address = browser_address();
        Self { ours, browser, heard_here: vec![], heard_there: vec![], parameters, address, sent_to: address, now }
    }

    /// The browser has other credentials and another address.
    fn restart_browser(&mut self) {
        let mut direct = self.browser.direct_api();
        direct.set_local_ice_credentials(creds(&self.parameters.theirs));
        direct.set_remote_ice_credentials(creds(&self.parameters.ours));
        direct.invalidate_candidate(&Candidate::host(browser_address(), "udp").unwrap());
        self.address = elsewhere();
        self.browser.add_local_candidate(Candidate::host(self.address, "udp").unwrap());
    }

    fn browser_sends(&mut self, index: u64) {
        let mut direct = self.browser.direct_api();
        let stream = direct.stream_tx(&Ssrc::from(7)).unwrap();
        let payload: &[u8] = &[3; 40];
        stream.write_rtp(RtpWrite::new(Pt::from(111), index.into(), 960, self.now, payload));
    }

    /// Ten milliseconds.
    fn step(&mut self) {
        self.now += Duration::from_millis(10);
        self.browser.handle_input(Input::Timeout(self.now)).unwrap();
        self.ours.handle_timeout(self.now);
        loop {
            let mut is_idle = true;
            while let Output::Transmit(_) | Output::Event(_) = {
                let output = self.browser.poll_output().unwrap();
                match &output {
                    Output::Transmit(it) => {
                        is_idle = false;
                        // Media from elsewhere than where the browser has proved to be are not looked at.
                        if (128..192).contains(&it.contents[0]) {
                            self.ours.handle_datagram(stranger(), &it.contents, self.now);
                        }
                        self.ours.handle_datagram(it.source, &it.contents, self.now);
                    }
                    Output::Event(Event::RtpPacket(it)) => self.heard_there.push(it.header.sequence_number),
                    Output::Event(_) | Output::Timeout(_) => (),
                }
                output
            } {}
            let mut buffer = [0; 1_500];
            while let Some(len) = self.ours.poll_packet(&mut buffer) {
                self.heard_here.push(Packet::parse(&buffer[..len]).unwrap().header.sequence);
            }
            while let Some((to, len)) = self.ours.poll_transmit(&mut buffer) {
                assert!([browser_address(), elsewhere()].contains(&to));
                is_idle = false;
                if (128..192).contains(&buffer[0]) {
                    self.sent_to = to;
                }
                let receive = Receive::new(Protocol::Udp, our_address(), to, &buffer[..len]).unwrap();
                self.browser.handle_input(Input::Receive(self.now, receive)).unwrap();
            }
            if is_idle {
                return;
            }
        }
    }
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut buffer = vec![0; 52];
    let header = Header { payload_type: 111, marker: false, sequence, timestamp: 960, ssrc: 9 };
    Packet { header, payload: &[5; 40] }.write(&mut buffer).unwrap();
    buffer
}

fn creds(from: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: from.user.clone(), pass: from.password.clone() }
}

fn mid() -> Mid {
    Mid::from("audio")
}

fn our_address() -> SocketAddr {
    "192.0.2.1:20000".parse().unwrap()
}

fn browser_address() -> SocketAddr {
    "192.0.2.9:40000".parse().unwrap()
}

fn elsewhere() -> SocketAddr {
    "192.0.2.9:40002".parse().unwrap()
}

fn stranger() -> SocketAddr {
    "192.0.2.66:40000".parse().unwrap()
}
