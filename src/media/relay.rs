//! Passing on what one leg's peer says to the other's without decoding it (a translator, RFC 3550 §7.1).
//!
//! Only the header changes: SSRC, numbers and payload types are those of the leg that sends. A gap or a swap of packets
//! stays what it is, so that the receiver sees what the network did. Numbers run on from what the leg sent before, and
//! what it sends afterwards runs on from them.

use super::session::{Kind, RemoteMedia};
use crate::rtp::{Header, sequence_distance};

/// A valid packet of one leg's peer, on its way to the other's.
#[derive(Clone, Copy, Debug)]
pub struct Relayed<'a> {
    pub(super) kind: Kind,
    pub(super) header: Header,
    pub(super) payload: &'a [u8],
    /// How much audio it holds, in units of its clock.
    pub(super) units: u32,
    /// Which of the peer's streams it belongs to: numbers of one say nothing about those of another.
    pub(super) stream: u32,
}

impl RemoteMedia {
    /// Whether what one of them sends is what the other takes, both ways, but for the numbers in the header.
    pub fn is_coded_like(&self, other: &Self) -> bool {
        let events = |it: &Self| it.telephone_event.map(|it| it.clock_hz);
        self.codec == other.codec
            && events(self) == events(other)
            && self.comfort_noise.is_some() == other.comfort_noise.is_some()
    }

    /// Whether both sides may send.
    pub const fn is_both_ways(&self) -> bool {
        self.send && self.receive
    }

    /// The payload type of such a packet when it is sent there; `None` if that peer does not take it.
    pub(super) fn payload_type_of(&self, kind: Kind) -> Option<u8> {
        match kind {
            Kind::Audio => Some(self.payload_type),
            Kind::Event { .. } => self.telephone_event.map(|it| it.payload_type),
            Kind::ComfortNoise => self.comfort_noise,
        }
    }
}

/// How the numbers of a peer's stream become ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbering {
    stream: Option<Stream>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    id: (u32, u32),
    /// Added to the peer's numbers.
    sequence_offset: u16,
    timestamp_offset: u32,
    /// Of the peer, and how far from the first packet that was passed on.
    highest: u16,
    since_first: u64,
}

/// The numbers that a packet is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    /// No packet before it was of a higher number.
    pub(super) is_newest: bool,
}

impl Numbering {
    /// The next packet begins a stream.
    pub(super) const fn restart(&mut self) {
        self.stream = None;
    }

    /// Whether the packet is of the stream that is passed on.
    pub(super) fn has(&self, packet: &Relayed<'_>) -> bool {
        self.stream.is_some_and(|it| it.id == (packet.stream, packet.header.ssrc))
    }

    /// The packet begins a stream, with the numbers `next`.
    pub(super) const fn begin(&mut self, packet: &Relayed<'_>, next: (u16, u32)) {
        let Header { sequence, timestamp, ssrc, .. } = packet.header;
        self.stream = Some(Stream {
            id: (packet.stream, ssrc),
            sequence_offset: next.0.wrapping_sub(sequence),
            timestamp_offset: next.1.wrapping_sub(timestamp),
            highest: sequence,
            since_first: 0,
        });
    }

    /// Where a packet of the stream goes. `None` if it is of before the stream's first: its number has been used.
    pub(super) fn place(&mut self, packet: &Relayed<'_>) -> Option<Place> {
        let Header { sequence, timestamp, .. } = packet.header;
        let stream = self.stream.as_mut()?;
        let ahead = sequence_distance(stream.highest, sequence);
        let since_first = stream.since_first.checked_add_signed(ahead.into())?;
        let is_newest = ahead > 0;
        if is_newest {
            stream.highest = sequence;
            stream.since_first = since_first;
        }
        Some(Place {
            sequence: sequence.wrapping_add(stream.sequence_offset),
            timestamp: timestamp.wrapping_add(stream.timestamp_offset),
            is_newest,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::codec::{AudioCodec, OpusSettings};
    use crate::media::{Latching, Session, SessionConfig, TICK, TelephoneEventFormat, TransmitKind};
    use crate::rtp::Packet;
    use crate::rtp::rtcp::{Compound, Rtcp};
    use crate::rtp::telephone_event::TelephoneEvent;
    use crate::timer::Now;

    const PEER: &str = "192.0.2.1:4000";

    #[test]
    fn numbers_run_on_and_payloads_are_not_touched() {
        let mut pair = Pair::new();
        let before = pair.say();
        pair.begin();
        let first = pair.pass(audio(65_534, 4_000_000_000)).unwrap();
        assert_eq!(first.0.sequence, before.sequence.wrapping_add(1));
        assert_eq!(first.0.timestamp, before.timestamp.wrapping_add(160));
        assert_eq!((first.0.ssrc, first.0.marker), (before.ssrc, true));
        assert_eq!(first.1, payload(65_534));
        // A packet is lost, two are swapped, numbers wrap, and one comes from before the first.
        for (sequence, ahead) in [(65_535, 1), (1, 3), (0, 2), (3, 5)] {
            let timestamp = 4_000_000_000_u32.wrapping_add(160 * ahead);
            let (header, body) = pair.pass(audio(sequence, timestamp)).unwrap();
            assert_eq!(header.sequence, first.0.sequence.wrapping_add(u16::try_from(ahead).unwrap()));
            assert_eq!(header.timestamp, first.0.timestamp.wrapping_add(160 * ahead));
            assert_eq!((header.ssrc, header.marker, body), (before.ssrc, false, payload(sequence)));
        }
        assert_eq!(pair.pass(audio(3, 4_000_000_800)), None, "a copy");
        let (from, to) = (pair.a.report(pair.now), pair.b.report(pair.now));
        assert_eq!((from.received.packets, from.received.lost, from.received.duplicates), (5, 1, 1));
        // With the one before the relay.
        assert_eq!((to.sent.packets, from.received.delay_us), (6, 0));
        assert_eq!(pair.pass(audio(65_533, 4_000_000_000 - 160)), None, "its number was used before the relay began");
    }

    #[test]
    fn payload_types_are_those_of_each_side() {
        let mut pair = Pair::with(remote(96, 101), remote(0, 110));
        pair.begin();
        let event = TelephoneEvent { code: 5, end: false, volume: 10, duration: 160 }.to_bytes();
        let passed = |pair: &mut Pair, payload_type, sequence| {
            let header = Header { payload_type, marker: false, sequence, timestamp: 160, ssrc: 1 };
            pair.pass((header, event.to_vec())).map(|(header, _)| (header.payload_type, header.marker))
        };
        assert_eq!(passed(&mut pair, 96, 1), Some((0, true)));
        assert_eq!(passed(&mut pair, 101, 2), Some((110, false)));
        assert_eq!(passed(&mut pair, 13, 3), None, "comfort noise that nobody agreed on");
        assert_eq!(passed(&mut pair, 18, 4), None, "a codec that nobody agreed on");
        pair.tick();
        assert_eq!(pair.a.report(pair.now).received.digits, 1);
    }

    #[test]
    fn digits_that_have_been_passed_on_are_not_told_once_more() {
        let mut pair = Pair::new();
        pair.begin();
        let mut sequence = 0;
        let mut press = |pair: &mut Pair, is_relayed, code, timestamp, end| {
            sequence += 1;
            let payload = TelephoneEvent { code, end, volume: 10, duration: 160 }.to_bytes().to_vec();
            let header = Header { payload_type: 101, marker: false, sequence, timestamp, ssrc: 1 };
            if is_relayed {
                pair.pass((header, payload)).unwrap();
            } else {
                pair.a.handle_rtp(PEER.parse().unwrap(), &written(&(header, payload)), pair.now);
            }
        };
        press(&mut pair, true, 5, 160, false);
        press(&mut pair, true, 5, 160, true);
        // This one is still held down.
        press(&mut pair, true, 6, 800, false);
        pair.end();
        let mut told = vec![];
        let mut hear = |pair: &mut Pair| {
            pair.now = pair.now + TICK;
            let tick = pair.a.handle_tick(pair.now);
            told.extend(tick.dtmf_ended.map(|it| it.digit.to_char()));
        };
        hear(&mut pair);
        press(&mut pair, false, 6, 800, true);
        hear(&mut pair);
        press(&mut pair, false, 7, 1_600, true);
        hear(&mut pair);
        assert_eq!(told, ['7']);
        assert_eq!(pair.a.report(pair.now).received.digits, 3);
    }

    #[test]
    fn another_stream_runs_on_from_the_last() {
        let mut pair = Pair::new();
        pair.begin();
        let first = pair.pass(audio(1, 160)).unwrap().0;
        for _ in 0..10 {
            pair.tick();
        }
        let of = |sequence, timestamp| {
            let (header, payload) = audio(sequence, timestamp);
            (Header { ssrc: 99, ..header }, payload)
        };
        assert_eq!(pair.pass(of(20_000, 7)), None, "not before it has proven itself");
        let next = pair.pass(of(20_001, 167)).unwrap().0;
        assert_eq!((next.ssrc, next.marker, next.sequence), (first.ssrc, true, first.sequence.wrapping_add(1)));
        assert_eq!(next.timestamp, first.timestamp.wrapping_add(11 * 160));
    }

    #[test]
    fn what_is_said_afterwards_runs_on_with_a_marker() {
        let mut pair = Pair::new();
        pair.say();
        pair.begin();
        let mut last = None;
        for index in 0..50 {
            last = pair.pass(audio(index, u32::from(index) * 160)).map(|it| it.0);
            pair.tick();
        }
        let last = last.unwrap();
        pair.end();
        let next = pair.say();
        assert_eq!((next.ssrc, next.marker), (last.ssrc, true));
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!(next.timestamp, last.timestamp.wrapping_add(2 * 160), "a tick has passed in between");
        assert!(!pair.say().marker);
        pair.begin();
        let again = pair.pass(audio(50, 50 * 160)).unwrap().0;
        assert_eq!((again.ssrc, again.marker), (last.ssrc, true));
        assert_eq!(again.sequence, last.sequence.wrapping_add(3));
        assert_eq!(again.timestamp, last.timestamp.wrapping_add(4 * 160));
    }

    #[test]
    fn only_what_needs_no_decoding_is_passed_on() {
        let plain = remote(0, 101);
        let check = |other: RemoteMedia, expected: bool| {
            let pair = Pair::with(plain, other);
            assert_eq!(pair.a.can_relay_with(&pair.b, pair.now), expected, "{other:?}");
            assert_eq!(pair.b.can_relay_with(&pair.a, pair.now), expected, "{other:?}");
        };
        check(remote(0, 99), true);
        check(RemoteMedia { ptime_ms: 60, ..plain }, true);
        check(RemoteMedia { codec: AudioCodec::Pcma, payload_type: 8, ..plain }, false);
        check(RemoteMedia { telephone_event: None, ..plain }, false);
        check(RemoteMedia { comfort_noise: Some(13), ..plain }, false);
        check(RemoteMedia { send: false, ..plain }, false);
        check(RemoteMedia { receive: false, ..plain }, false);
        check(RemoteMedia { rtp: "0.0.0.0:4000".parse().unwrap(), ..plain }, false);
        let mut pair = Pair::new();
        pair.b.send_dtmf(crate::rtp::Digit::from_char('5').unwrap(), 100).unwrap();
        assert!(!pair.a.can_relay_with(&pair.b, pair.now));
        for _ in 0..30 {
            pair.say();
        }
        assert!(pair.a.can_relay_with(&pair.b, pair.now), "the digit has been sent");
    }

    #[test]
    fn a_digit_whose_events_were_passed_on_is_not_told_again() {
        let mut pair = Pair::new();
        pair.begin();
        let event = |sequence, end| {
            let event = TelephoneEvent { code: 5, end, volume: 10, duration: 160 * sequence }.to_bytes();
            let header = Header { payload_type: 101, marker: sequence == 1, sequence, timestamp: 160, ssrc: 1 };
            (header, event.to_vec())
        };
        let [five, six] = ['5', '6'].map(|it| crate::rtp::Digit::from_char(it).unwrap());
        assert!(pair.pass(event(1, false)).is_some());
        assert_eq!(pair.a.tell_digit(five, 100, pair.now), None, "while it is held");
        for sequence in 2..42 {
            assert!(pair.pass(event(sequence, false)).is_some());
            pair.tick();
        }
        assert!(pair.pass(event(42, true)).is_some());
        assert_eq!(pair.a.tell_digit(five, 900, pair.now), None, "when it is let go");
        let told = pair.a.tell_digit(six, 100, pair.now);
        assert_eq!(told.map(|it| (it.digit, it.duration_ms)), Some((six, 100)), "only INFO tells of it");
        assert_eq!(pair.a.report(pair.now).received.digits, 2);
        assert!(pair.a.can_relay_with(&pair.b, pair.now));
        pair.end();
        assert!(!pair.a.can_relay_with(&pair.b, pair.now), "copies of its end may be under way");
    }

    #[test]
    fn what_is_too_long_for_the_other_side_is_heard_here() {
        let mut pair = Pair::with(remote(0, 101), RemoteMedia { maxptime_ms: Some(20), ..remote(0, 101) });
        pair.begin();
        let (header, _) = audio(1, 160);
        assert!(pair.pass((header, vec![1; 160])).is_some());
        assert!(pair.a.fits(&pair.b) && pair.a.can_relay_with(&pair.b, pair.now));
        let (header, _) = audio(2, 320);
        pair.pass((header, vec![1; 240]));
        assert!(!pair.a.fits(&pair.b) && pair.b.fits(&pair.a));
        assert!(!pair.a.can_relay_with(&pair.b, pair.now) && !pair.b.can_relay_with(&pair.a, pair.now));
        pair.a.update(remote(0, 101), pair.now);
        assert!(pair.a.fits(&pair.b), "until something else is agreed on");
    }

    #[test]
    fn strangers_are_not_passed_on_and_silence_is_noticed() {
        let mut pair = Pair::new();
        pair.begin();
        let datagram = written(&audio(1, 160));
        let stranger = "198.51.100.66:4000".parse().unwrap();
        assert!(pair.a.handle_relayed(stranger, &datagram, pair.now).is_none());
        assert_eq!(pair.a.report(pair.now).dropped.strangers, 1);
        for _ in 0..9 {
            pair.tick();
        }
        assert_eq!(pair.tick(), 10 * TICK);
        pair.pass(audio(1, 160)).unwrap();
        assert_eq!(pair.tick(), TICK);
    }

    #[test]
    fn each_side_gets_reports_of_its_own_while_packets_are_passed_on() {
        let mut pair = Pair::new();
        pair.begin();
        let (mut passed, mut last, mut told) = (0, 0, [0; 2]);
        for index in 0..2_000 {
            if let Some((header, _)) = pair.pass(audio(index, u32::from(index) * 160)) {
                (passed, last) = (passed + 1, header.timestamp);
            }
            pair.tick();
            let mut buffer = [0; 1_500];
            if let Some(transmit) = pair.b.poll_transmit(&mut buffer) {
                let compound = Compound::parse(&buffer[..transmit.len]).unwrap();
                let Some(Rtcp::SenderReport { ssrc, info, .. }) = compound.packets().next() else { panic!() };
                assert_eq!((ssrc, info.packets, info.octets), (pair.b.ssrc(), passed, passed * 160));
                assert_eq!(info.timestamp, last.wrapping_add(160), "a tick has passed since");
                assert_eq!(transmit.kind, TransmitKind::Rtcp);
                told[0] += 1;
            }
            if let Some(transmit) = pair.a.poll_transmit(&mut buffer) {
                let compound = Compound::parse(&buffer[..transmit.len]).unwrap();
                let Some(Rtcp::ReceiverReport { blocks, .. }) = compound.packets().next() else { panic!() };
                let block = blocks.iter().next().unwrap();
                assert_eq!((block.ssrc, block.lost, block.highest_sequence), (1, 0, u32::from(index)));
                told[1] += 1;
            }
        }
        assert!(told.iter().all(|it| (5..=17).contains(it)), "{told:?}");
    }

    #[test]
    fn what_is_no_packet_of_the_peer_goes_nowhere_and_what_is_around_the_payload_stays_behind() {
        let mut pair = Pair::new();
        pair.begin();
        pair.pass(audio(1, 160)).unwrap();
        let whole = written(&audio(2, 320));
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut datagram = whole.clone();
            change(&mut datagram);
            datagram
        };
        for (what, datagram) in [
            ("nothing", vec![]),
            ("truncated", with(&|it| it.truncate(11))),
            ("wrong version", with(&|it| it[0] = 0x40)),
            ("wrong payload type", with(&|it| it[1] = 18)),
            ("RTCP on the port of RTP", with(&|it| it[1] = 200)),
            ("oversized", with(&|it| it.resize(1_600, 0))),
            ("more than a packet may hold", with(&|it| it.resize(12 + 1_300, 0))),
            (
                "padding into the header",
                with(&|it| {
                    it[0] = 0xa0;
                    it.push(200);
                }),
            ),
            (
                "an extension that is not there",
                with(&|it| {
                    it[0] = 0x90;
                    it.truncate(14);
                }),
            ),
        ] {
            let relayed = pair.a.handle_relayed(PEER.parse().unwrap(), &datagram, pair.now);
            assert!(relayed.is_none(), "{what}");
        }
        let dropped = pair.a.report(pair.now).dropped;
        assert_eq!(dropped.malformed + dropped.payload_type + dropped.rtcp, 9, "{dropped:?}");
        // Two CSRC, a word of extension and four bytes of padding.
        let mut decorated = whole[..12].to_vec();
        decorated[0] = 0xb2;
        decorated.extend([1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
        decorated.extend(&whole[12..]);
        decorated.extend([0, 0, 0, 4]);
        let relayed = pair.a.handle_relayed(PEER.parse().unwrap(), &decorated, pair.now).unwrap();
        let mut buffer = [0; 1_500];
        let transmit = pair.b.forward(&relayed, &mut buffer, pair.now).unwrap();
        assert_eq!((transmit.len, buffer[0], &buffer[12..transmit.len]), (172, 0x80, payload(2).as_slice()));
        assert!(pair.pass(audio(2, 320)).is_none(), "replayed");
    }

    /// Two legs; what the peer of `a` says goes to that of `b`.
    struct Pair {
        a: Session,
        b: Session,
        now: Now,
    }

    impl Pair {
        fn new() -> Self {
            Self::with(remote(0, 101), remote(0, 101))
        }

        fn with(a: RemoteMedia, b: RemoteMedia) -> Self {
            let (mut rng, now) = (ChaCha12Rng::seed_from_u64(7), Now::origin());
            let mut new = |it| Session::new(SessionConfig { remote: Some(it), hears_tones: true }, &mut rng, now);
            Self { a: new(a), b: new(b), now }
        }

        fn begin(&mut self) {
            assert!(self.a.can_relay_with(&self.b, self.now));
            self.a.begin_relay(self.now);
            self.b.begin_relay(self.now);
        }

        fn end(&mut self) {
            self.a.end_relay(self.now);
            self.b.end_relay(self.now);
        }

        fn tick(&mut self) -> std::time::Duration {
            self.now = self.now + TICK;
            self.b.handle_relay_round(self.now);
            self.a.handle_relay_round(self.now)
        }

        /// A tick of `b`, terminated, and the packet that it sends; that of the tick before if it sends none.
        fn say(&mut self) -> Header {
            self.now = self.now + TICK;
            self.b.handle_tick(self.now);
            let mut buffer = [0; 1_500];
            let transmit = self.b.poll_transmit(&mut buffer).unwrap();
            Packet::parse(&buffer[..transmit.len]).unwrap().header
        }

        fn pass(&mut self, packet: (Header, Vec<u8>)) -> Option<(Header, Vec<u8>)> {
            let datagram = written(&packet);
            let relayed = self.a.handle_relayed(PEER.parse().unwrap(), &datagram, self.now)?;
            let mut buffer = [0; 1_500];
            let transmit = self.b.forward(&relayed, &mut buffer, self.now)?;
            assert_eq!(transmit.to, PEER.parse().unwrap());
            let packet = Packet::parse(&buffer[..transmit.len]).unwrap();
            Some((packet.header, packet.payload.to_vec()))
        }
    }

    fn remote(payload_type: u8, event: u8) -> RemoteMedia {
        RemoteMedia {
            rtp: PEER.parse().unwrap(),
            rtcp: "192.0.2.1:4001".parse().unwrap(),
            latching: Latching::Exact,
            codec: AudioCodec::Pcmu,
            payload_type,
            received_payload_type: payload_type,
            ptime_ms: 20,
            maxptime_ms: None,
            opus: OpusSettings::default(),
            comfort_noise: None,
            telephone_event: Some(TelephoneEventFormat {
                payload_type: event,
                received_payload_type: event,
                clock_hz: 8_000,
            }),
            send: true,
            receive: true,
        }
    }

    fn audio(sequence: u16, timestamp: u32) -> (Header, Vec<u8>) {
        (Header { payload_type: 0, marker: false, sequence, timestamp, ssrc: 1 }, payload(sequence))
    }

    fn payload(sequence: u16) -> Vec<u8> {
        (0..160).map(|at| sequence.wrapping_mul(31).wrapping_add(at).to_le_bytes()[0]).collect()
    }

    fn written((header, payload): &(Header, Vec<u8>)) -> Vec<u8> {
        let mut buffer = vec![0; 500];
        let len = Packet { header: *header, payload }.write(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }
}
