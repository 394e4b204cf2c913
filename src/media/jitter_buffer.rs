//! [`JitterBuffer`]: puts packets in order and holds each for as long as the network's jitter demands.
//!
//! It is asked for audio, it does not push any: [`JitterBuffer::pop`] gives the packet whose time has come, or says how
//! much is missing. Places in the stream follow the RTP timestamp where that makes sense beside the sequence number and
//! the clock, and the sequence number where it does not (timestamps that stand still or jump).
//!
//! The delay grows when audio is wanted that is not there yet, and in quiet moments if the target has grown; it shrinks
//! when the owner shortens audio on [`JitterBuffer::wants_less`]. Beyond [`JITTER_DELAY_MS_MAX`] the buffer skips to its
//! target at once. When [`JITTER_PACKETS_MAX`] packets wait, the oldest gives way. Both are counted as `skipped`.

use std::collections::VecDeque;
use std::time::Instant;

use super::arrival::Arrival;
use super::report::Aim;
use crate::codec::AudioCodec;
use crate::limits::{JITTER_DELAY_MS_MAX, JITTER_PACKETS_MAX};
use crate::rtp::{sequence_distance, timestamp_distance};
use crate::timer::Now;

/// Packets of one leg on their way to be heard.
#[derive(Debug)]
pub struct JitterBuffer {
    clock_hz: u32,
    /// The origin of times in microseconds.
    origin: Instant,
    /// In order of position.
    waiting: VecDeque<Waiting>,
    /// The packet last popped; its memory and that of earlier ones is used again.
    popped: Vec<u8>,
    spare: Vec<Vec<u8>>,
    newest: Option<Newest>,
    playing: Option<Playing>,
    /// What is before this has been heard or has been given up.
    played_until: i64,
    arrival: Arrival,
    ticks_too_long: u32,
    /// What was missing last is directly before the first packet that waits.
    is_before_next: bool,
    counts: Counts,
}

/// A packet of audio to be ordered.
#[derive(Clone, Copy, Debug)]
pub struct AudioPacket<'a> {
    /// Its RTP sequence number.
    pub sequence: u16,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// How its payload is coded.
    pub coding: Coding,
    /// Its payload.
    pub payload: &'a [u8],
}

/// How a payload is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As audio.
    Audio(AudioCodec),
    /// As what silence sounds like until the next packet (RFC 3389); counts as 10 ms.
    ComfortNoise,
}

/// What there is to be heard next. Lengths are in units of the RTP timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped<'a> {
    /// The next packet, of which the first `skip` units have been heard already.
    Packet {
        /// How it is coded.
        coding: Coding,
        /// Its payload.
        payload: &'a [u8],
        /// Units at its beginning to leave out.
        skip: u32,
    },
    /// This much is lost, late, or held back: conceal it.
    Missing(u32),
    /// Nobody speaks: no packet came for a while, or the first is still held.
    Nothing,
}

/// What happened to packets since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Arrived after the moment they were needed; still heard if nothing after them had been.
    pub late: u64,
    /// Already there.
    pub duplicates: u64,
    /// Dropped so as to shorten the delay at once.
    pub skipped: u64,
}

#[derive(Debug)]
struct Waiting {
    position: i64,
    duration: u32,
    /// Nothing was sent between this packet and the one before it.
    follows: bool,
    coding: Coding,
    payload: Vec<u8>,
}

/// The packet furthest ahead.
#[derive(Clone, Copy, Debug)]
struct Newest {
    sequence: u16,
    timestamp: u32,
    position: i64,
    duration: u32,
    arrived_us: i64,
    /// The next packet counts from anew: sequence and timestamp say nothing about its place.
    spliced: bool,
}

#[derive(Clone, Copy, Debug)]
struct Playing {
    /// What is to be heard next.
    position: i64,
    /// Units concealed since the last packet without moving on in the stream.
    ahead: u32,
    /// The same, for how long nothing has come.
    dry: u32,
}

impl JitterBuffer {
    /// An empty buffer for a stream whose timestamps count at `clock_hz`.
    pub fn new(clock_hz: u32, now: Now) -> Self {
        Self {
            clock_hz: clock_hz.max(1),
            origin: now.instant,
            waiting: VecDeque::with_capacity(8),
            popped: vec![],
            spare: vec![],
            newest: None,
            playing: None,
            played_until: i64::MIN,
            arrival: Arrival::new(),
            ticks_too_long: 0,
            is_before_next: false,
            counts: Counts::default(),
        }
    }

    /// Takes a packet in. Packets without audio are ignored.
    pub fn push(&mut self, packet: AudioPacket<'_>, now: Now) {
        let now_us = self.microseconds(now);
        let duration = match packet.coding {
            Coding::Audio(codec) => codec.duration(packet.payload),
            Coding::ComfortNoise => self.clock_hz / 100,
        };
        if duration == 0 {
            return;
        }
        let (position, ahead) = self.place(&packet, now_us);
        if ahead > 0 {
            let AudioPacket { sequence, timestamp, .. } = packet;
            self.newest = Some(Newest { sequence, timestamp, position, duration, arrived_us: now_us, spliced: false });
        }
        let transit_us = now_us - self.unit_us(position);
        if self.arrival.observe(transit_us, now_us) > LATENESS_US_MAX {
            self.arrival.restart();
            self.arrival.observe(transit_us, now_us);
        }
        if position + i64::from(duration) <= self.played_until {
            self.counts.late += 1;
            return;
        }
        if self.playing.is_some_and(|it| it.ahead > 0 && position <= it.position) {
            self.counts.late += 1;
        }
        let at = self.waiting.partition_point(|it| it.position < position);
        if self.waiting.get(at).is_some_and(|it| it.position == position) {
            self.counts.duplicates += 1;
            return;
        }
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(packet.payload);
        self.waiting.insert(at, Waiting { position, duration, follows: ahead == 1, coding: packet.coding, payload });
        if self.waiting.len() > JITTER_PACKETS_MAX {
            self.skip();
        }
    }

    /// Says that a packet without audio (an event, comfort noise) took this sequence number, so that it is not missed.
    pub fn pass_over(&mut self, sequence: u16) {
        if let Some(newest) = &mut self.newest
            && (1..=SEQUENCE_JUMP).contains(&sequence_distance(newest.sequence, sequence))
        {
            newest.sequence = sequence;
        }
    }

    /// Says that the next packet begins a new numbering (another source, or one that has restarted). It is heard after
    /// what is already here.
    pub const fn splice(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.spliced = true;
        }
    }

    /// What is to be heard next. `wanted` units are needed now, `held` units popped earlier are yet to be heard, and
    /// `quiet` says that what was heard last was, so that a pause would not be noticed.
    pub fn pop(&mut self, wanted: u32, held: u32, quiet: bool, now: Now) -> Popped<'_> {
        let now_us = self.microseconds(now);
        self.is_before_next = false;
        self.catch_up(held, now_us);
        let Some(front) = self.waiting.front() else {
            return self.run_dry(wanted, held, now_us);
        };
        let (position, follows) = (front.position, front.follows);
        let margin_us = self.arrival.margin_us();
        let is_due = self.slack_us(position, held, now_us) >= margin_us;
        let slack_us = self.playing.map(|it| self.slack_us(it.position, held, now_us));
        let Some(playing) = &mut self.playing else {
            if !is_due {
                return Popped::Nothing;
            }
            self.playing = Some(Playing { position: position.max(self.played_until), ahead: 0, dry: 0 });
            return self.take();
        };
        let gap = u32::try_from(position - playing.position).unwrap_or(0);
        let concealed = gap.min(playing.ahead);
        playing.position += i64::from(concealed);
        playing.ahead -= concealed;
        let gap = gap - concealed;
        if gap > 0 && follows {
            // The sender paused: its silence may be longer or shorter than it was.
            if !is_due {
                return Popped::Missing(wanted);
            }
            playing.position = position;
        } else if gap > 0 {
            let missing = gap.min(wanted);
            playing.position += i64::from(missing);
            self.played_until = playing.position;
            self.is_before_next = missing == gap;
            return Popped::Missing(missing);
        } else if quiet && slack_us.is_some_and(|it| it < margin_us) {
            return Popped::Missing(wanted);
        }
        self.take()
    }

    /// The packet that directly follows what [`JitterBuffer::pop`] has just said is missing, if it waits: it may hold a
    /// copy of what is lost.
    pub fn after_missing(&self) -> Option<(Coding, &[u8])> {
        let front = self.waiting.front().filter(|_| self.is_before_next)?;
        Some((front.coding, &front.payload))
    }

    /// Goes on with a stream whose timestamps count at another rate. What waits is dropped.
    pub fn change_clock(&mut self, clock_hz: u32) {
        self.clock_hz = clock_hz.max(1);
        while !self.waiting.is_empty() {
            self.skip();
        }
        self.newest = None;
        self.playing = None;
        self.played_until = i64::MIN;
        self.is_before_next = false;
        self.arrival.restart();
    }

    /// Whether a packet can be popped that directly follows the last one.
    pub fn has_next(&self) -> bool {
        let next = self.playing.map(|it| it.position);
        self.waiting.front().is_some_and(|front| next.is_some_and(|it| front.position <= it))
    }

    /// Whether the delay has been longer than it need be for some time, so that some audio should be taken out: sooner
    /// if it is `quiet` or the delay is much too long. To be asked once a tick; arguments as in [`JitterBuffer::pop`].
    pub fn wants_less(&mut self, held: u32, quiet: bool, now: Now) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let now_us = self.microseconds(now);
        let slack_us = self.playing.map(|it| self.slack_us(it.position, held, now_us));
        let excess_us = slack_us.map_or(0, |it| it - self.arrival.margin_us() - TICK_US);
        if excess_us <= TICK_US / 2 {
            self.ticks_too_long = 0;
            return false;
        }
        self.ticks_too_long += 1;
        let patience = match (excess_us > 5 * TICK_US, quiet) {
            (true, _) => 4,
            (false, true) => 3,
            (false, false) => 25,
        };
        if self.ticks_too_long < patience {
            return false;
        }
        self.ticks_too_long = 0;
        true
    }

    /// Aims at so many milliseconds more than the network demands.
    pub const fn reserve(&mut self, ms: u32) {
        self.arrival.reserve(ms);
    }

    /// The delay aimed at, in milliseconds.
    pub fn target_ms(&self) -> u32 {
        self.arrival.target_ms()
    }

    /// What that is made of.
    pub fn aim(&self) -> Aim {
        self.arrival.aim()
    }

    /// By how much audio heard now is later than it could be on a network without jitter, in microseconds; 0 while
    /// nothing is heard.
    pub fn delay_now_us(&self, held: u32, now: Now) -> u64 {
        let Some(playing) = self.playing else {
            return 0;
        };
        let heard_us = self.unit_us(playing.position - i64::from(held));
        u64::try_from(self.microseconds(now) - self.arrival.fastest_us() - heard_us).unwrap_or(0)
    }

    /// Packets waiting.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What happened to packets since the beginning.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The packet's place in the stream, and by how many packets it is ahead of the newest.
    fn place(&mut self, packet: &AudioPacket<'_>, now_us: i64) -> (i64, i64) {
        let Some(newest) = self.newest else {
            return (0, 1);
        };
        let ahead = sequence_distance(newest.sequence, packet.sequence);
        let end = newest.position + i64::from(newest.duration);
        if newest.spliced || ahead.unsigned_abs() > SEQUENCE_JUMP.unsigned_abs() {
            self.arrival.restart();
            return (end, 1);
        }
        let ahead = i64::from(ahead);
        let by_sequence = newest.position + ahead * i64::from(newest.duration);
        let by_timestamp = newest.position + i64::from(timestamp_distance(newest.timestamp, packet.timestamp));
        let plausible = if ahead > 0 {
            // Nobody sends the future: a gap in the timestamps has passed on the clock as well, but for jitter.
            end..=end + self.units(now_us - newest.arrived_us + LATENESS_US_MAX)
        } else {
            newest.position - self.units(2 * LATENESS_US_MAX)..=newest.position - 1
        };
        (if plausible.contains(&by_timestamp) { by_timestamp } else { by_sequence }, ahead)
    }

    fn take(&mut self) -> Popped<'_> {
        let (Some(front), Some(playing)) = (self.waiting.pop_front(), &mut self.playing) else {
            return Popped::Nothing;
        };
        let skip = u32::try_from(playing.position - front.position).unwrap_or(0).min(front.duration);
        playing.position = playing.position.max(front.position + i64::from(front.duration));
        playing.ahead = 0;
        playing.dry = 0;
        self.played_until = playing.position;
        let used = std::mem::replace(&mut self.popped, front.payload);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(used);
        }
        Popped::Packet { coding: front.coding, payload: &self.popped, skip }
    }

    fn run_dry(&mut self, wanted: u32, held: u32, now_us: i64) -> Popped<'_> {
        let pause = self.clock_hz / 1_000 * PAUSE_MS;
        // With a reserve wanted and not yet had, what is invented now is the reserve, and fills no gap.
        let slack_us = self.playing.map_or(0, |it| self.slack_us(it.position, held, now_us));
        let fills_gap = !self.arrival.has_reserve() || slack_us >= self.arrival.margin_us();
        let Some(playing) = &mut self.playing else {
            return Popped::Nothing;
        };
        playing.ahead += if fills_gap { wanted } else { 0 };
        playing.dry += wanted;
        if playing.dry > pause {
            self.playing = None;
            return Popped::Nothing;
        }
        Popped::Missing(wanted)
    }

    /// Skips to the target if the delay has come to exceed [`JITTER_DELAY_MS_MAX`].
    fn catch_up(&mut self, held: u32, now_us: i64) {
        let slack_us = |buffer: &Self| buffer.playing.map_or(0, |it| buffer.slack_us(it.position, held, now_us));
        if slack_us(self) <= i64::from(JITTER_DELAY_MS_MAX) * 1_000 {
            return;
        }
        let enough_us = self.arrival.margin_us() + TICK_US;
        while self.waiting.len() > 1 && slack_us(self) > enough_us {
            self.skip();
        }
    }

    /// Drops the oldest packet and moves on to the next.
    fn skip(&mut self) {
        let Some(dropped) = self.waiting.pop_front() else {
            return;
        };
        self.counts.skipped += 1;
        if self.spare.len() < SPARE_MAX {
            self.spare.push(dropped.payload);
        }
        let end = dropped.position + i64::from(dropped.duration);
        let next = self.waiting.front().map_or(end, |it| it.position);
        self.played_until = self.played_until.max(next);
        if let Some(playing) = &mut self.playing {
            playing.position = playing.position.max(next);
            playing.ahead = 0;
        }
    }

    /// If the packet at `position` comes after the `held` units: how long before they are needed packets come from the
    /// network at its fastest, in the worst case. Frames and packets of other lengths than theirs meet at changing
    /// places, so a packet is needed up to a frame before its own first sample is heard.
    fn slack_us(&self, position: i64, held: u32, now_us: i64) -> i64 {
        let frame = self.clock_hz / 50;
        let step = self.newest.map_or(frame, |it| greatest_common_divisor(it.duration, frame)).max(1);
        let earlier = frame.saturating_sub(step) + held % step;
        now_us - self.arrival.fastest_us() - self.unit_us(position - i64::from(held) + i64::from(earlier))
    }

    fn microseconds(&self, now: Now) -> i64 {
        let since = now.instant.saturating_duration_since(self.origin);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn unit_us(&self, units: i64) -> i64 {
        units * 1_000_000 / i64::from(self.clock_hz)
    }

    fn units(&self, us: i64) -> i64 {
        us * i64::from(self.clock_hz) / 1_000_000
    }
}

const fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Memory kept for packets to come: more than that wait after a burst only.
const SPARE_MAX: usize = 4;
const TICK_US: i64 = 20_000;
/// After nothing has come for as long, the sender is taken to have paused.
const PAUSE_MS: u32 = 100;
/// A packet that is later means that timestamps have lost their meaning.
const LATENESS_US_MAX: i64 = 1_000_000;
/// A sequence number further away belongs to a new numbering.
const SEQUENCE_JUMP: i16 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn packets_in_time_come_out_one_a_tick() {
        check("0:1 20:2 40:3 60:4 80:5", "1 2 3 4 5 - - - - - .");
    }

    #[test]
    fn disorder_and_duplicates_do_not_show() {
        check("0:1 20:3 21:2 22:2 40:4 61:6 62:5 63:6", "1 2 3 4 5 6 - - - - - .");
    }

    #[test]
    fn a_lost_packet_is_missed_once() {
        check("0:1 20:2 60:4 80:5 100:6", "1 2 - 4 5 6 - - - - - .");
        check("0:1 20:2 40:3 120:7 140:8", "1 2 3 - - - 7 8 - - - - - .");
    }

    #[test]
    fn a_late_packet_is_heard_later_rather_than_never() {
        check("0:1 20:2 65:3 66:4 80:5 100:6", "1 2 - 3 4 5 6 - - - - - .");
    }

    #[test]
    fn a_packet_that_comes_after_its_successor_was_heard_is_dropped() {
        check("0:1 20:2 60:4 85:3 86:5 100:6", "1 2 - 4 5 6 - - - - - .");
    }

    #[test]
    fn a_burst_is_heard_whole() {
        check("0:1 1:2 2:3 3:4 4:5", "1 2 3 4 5 - - - - - .");
    }

    #[test]
    fn sequence_numbers_and_timestamps_wrap() {
        check_from(65_534, u32::MAX - 200, "0:1 20:2 60:4 61:3 80:5", "1 2 - 3 4 5 - - - - - .");
    }

    #[test]
    fn a_pause_of_the_sender_is_no_loss() {
        // Packet 3 comes half a second later, with the timestamp that belongs to it.
        let mut bench = Bench::new();
        bench.arrive(0, 1, 160, 1);
        bench.arrive(20, 2, 320, 2);
        bench.arrive(520, 3, 320 + 25 * 160, 3);
        bench.arrive(540, 4, 320 + 26 * 160, 4);
        let log = bench.run(32);
        assert_eq!(log, "1 2 - - - - - . . . . . . . . . . . . . . . . . . . 3 4 - - - -");
    }

    #[test]
    fn timestamps_that_stand_still_or_jump_do_not_matter() {
        for timestamps in [[5; 6], [0, 160, 320, 4_000_000_000, 480, 77]] {
            let mut bench = Bench::new();
            for (index, timestamp) in (0_u16..).zip(timestamps) {
                bench.arrive(u64::from(index) * 20, index, timestamp, u8::try_from(index).unwrap() + 1);
            }
            assert_eq!(bench.run(6), "1 2 3 4 5 6");
        }
    }

    #[test]
    fn a_new_numbering_follows_what_is_here() {
        let mut bench = Bench::new();
        bench.arrive(0, 1, 160, 1);
        bench.arrive(20, 2, 320, 2);
        bench.splice(39);
        bench.arrive(40, 40_000, 99, 3);
        bench.arrive(60, 40_001, 259, 4);
        assert_eq!(bench.run(6), "1 2 3 4 - -");
    }

    #[test]
    fn events_in_between_are_not_missed() {
        let mut bench = Bench::new();
        bench.arrive(0, 1, 160, 1);
        bench.pass_over(20, 2);
        bench.pass_over(40, 3);
        bench.arrive(60, 4, 640, 4);
        bench.arrive(80, 5, 800, 5);
        assert_eq!(bench.run(6), "1 - - 4 5 -");
    }

    #[test]
    fn packets_of_another_length_overlap_without_harm() {
        let start = Now::origin();
        let mut buffer = JitterBuffer::new(8_000, start);
        let payload = [7; 240];
        for (sequence, timestamp, len) in [(1, 0, 160), (2, 80, 240), (3, 320, 80)] {
            let payload = &payload[..len];
            buffer.push(AudioPacket { sequence, timestamp, coding: Coding::Audio(AudioCodec::Pcmu), payload }, start);
        }
        let now = start + Duration::from_millis(30);
        let mut popped = vec![];
        while let Popped::Packet { payload, skip, .. } = buffer.pop(160, 0, false, now) {
            popped.push((payload.len(), skip));
        }
        // The timestamp of the second contradicts the first, so it counts as following it.
        assert_eq!(popped, [(160, 0), (240, 0), (80, 0)]);
    }

    #[test]
    fn it_holds_a_bounded_number_of_packets_and_no_empty_ones() {
        let start = Now::origin();
        let mut buffer = JitterBuffer::new(8_000, start);
        for index in 0..1_000_u16 {
            let payload = &[0; 160][..usize::from(index % 2) * 160];
            let timestamp = u32::from(index) * 160;
            buffer.push(
                AudioPacket { sequence: index, timestamp, coding: Coding::Audio(AudioCodec::Pcmu), payload },
                start,
            );
        }
        assert_eq!(buffer.len(), JITTER_PACKETS_MAX);
        assert_eq!(buffer.counts().skipped, 500 - JITTER_PACKETS_MAX as u64);
    }

    #[test]
    fn a_delay_beyond_the_bound_is_skipped_at_once() {
        let mut bench = Bench::new();
        bench.arrive(0, 0, 0, 1);
        for index in 1..45_u16 {
            bench.arrive(900, index, u32::from(index) * 160, 2); // all that was sent meanwhile, at once
        }
        for index in 45..60_u16 {
            bench.arrive(u64::from(index) * 20, index, u32::from(index) * 160, u8::try_from(index).unwrap());
        }
        let log = bench.run(60);
        assert!(log.ends_with(" 45 46 47 48 49 50"), "{log}"); // the target has grown to 200 ms
        assert!(bench.buffer.counts().skipped > 30);
    }

    #[test]
    fn a_clean_network_costs_about_one_packet() {
        let mut total = 0.0;
        for phase in 0..20 {
            let network = Network { jitter_ms: 0, loss_percent: 0, phase_ms: phase, drift_ppm: 0 };
            let result = network.run(1_000);
            assert_eq!(result.missing, 0, "{network:?}");
            assert!(result.delay_ms <= 25.0, "{network:?}: {result:?}");
            total += result.delay_ms;
        }
        assert!(total / 20.0 <= 20.0, "{}", total / 20.0);
    }

    #[test]
    fn jitter_costs_delay_and_little_audio() {
        let network = Network { jitter_ms: 40, loss_percent: 0, phase_ms: 3, drift_ppm: 0 };
        let result = network.run(3_000);
        assert!(result.missing < 60 && result.delay_ms < 90.0, "{result:?}");
    }

    #[test]
    fn loss_costs_what_was_lost_and_no_delay() {
        let network = Network { jitter_ms: 0, loss_percent: 10, phase_ms: 3, drift_ppm: 0 };
        let result = network.run(3_000);
        assert!((250..350).contains(&result.missing) && result.delay_ms < 26.0, "{result:?}");
    }

    #[test]
    fn clocks_that_drift_apart_are_followed() {
        for drift_ppm in [-200, 200] {
            let network = Network { jitter_ms: 2, loss_percent: 0, phase_ms: 3, drift_ppm };
            let result = network.run(50_000);
            assert!(result.missing < 30 && result.delay_ms < 45.0, "{network:?}: {result:?}");
        }
    }

    #[test]
    fn any_packets_at_any_time_do_no_harm() {
        let mut rng = ChaCha12Rng::seed_from_u64(77);
        let mut now = Now::origin();
        let mut buffer = JitterBuffer::new(8_000, now);
        let payload = [0; 960];
        for _ in 0..100_000 {
            now = now + Duration::from_millis(rng.random_range(0..30));
            let near: bool = rng.random_bool(0.5);
            let (sequence, timestamp) =
                if near { (rng.random_range(0..50), rng.random_range(0..8_000)) } else { (rng.random(), rng.random()) };
            let payload = &payload[..rng.random_range(0..960)];
            buffer.push(AudioPacket { sequence, timestamp, coding: Coding::Audio(AudioCodec::Pcma), payload }, now);
            match rng.random_range(0..6) {
                0 => buffer.splice(),
                1 => buffer.pass_over(rng.random()),
                2 => {
                    buffer.wants_less(0, true, now);
                }
                _ => {}
            }
            if let Popped::Missing(missing) = buffer.pop(160, 0, rng.random_bool(0.1), now) {
                assert!(missing <= 160);
            }
            assert!(buffer.len() <= JITTER_PACKETS_MAX);
        }
    }

    /// As [`check_from`], numbered from small values.
    #[track_caller]
    fn check(arrivals: &str, expected: &str) {
        check_from(1, 0, arrivals, expected);
    }

    /// `arrivals` are `millisecond:packet`; packet 1 has the sequence number `first` and the timestamp `timestamp`, and
    /// each later one is 20 ms further on. `expected` is what each tick brings, the first at 10 ms: a packet, `-` for
    /// audio that is missing, `.` for none.
    #[track_caller]
    fn check_from(first: u16, timestamp: u32, arrivals: &str, expected: &str) {
        let mut bench = Bench::new();
        for arrival in arrivals.split(' ') {
            let (ms, packet) = arrival.split_once(':').unwrap();
            let number: u8 = packet.parse().unwrap();
            let ahead = u16::from(number) - 1;
            let timestamp = timestamp.wrapping_add(u32::from(ahead) * 160);
            bench.arrive(ms.parse().unwrap(), first.wrapping_add(ahead), timestamp, number);
        }
        assert_eq!(bench.run(expected.split(' ').count()), expected);
    }

    enum Arrival {
        Audio { sequence: u16, timestamp: u32, number: u8 },
        Event { sequence: u16 },
        Splice,
    }

    struct Bench {
        buffer: JitterBuffer,
        start: Now,
        arrivals: Vec<(u64, Arrival)>,
    }

    impl Bench {
        fn new() -> Self {
            let start = Now::origin();
            Self { buffer: JitterBuffer::new(8_000, start), start, arrivals: vec![] }
        }

        fn arrive(&mut self, ms: u64, sequence: u16, timestamp: u32, number: u8) {
            self.arrivals.push((ms, Arrival::Audio { sequence, timestamp, number }));
        }

        fn pass_over(&mut self, ms: u64, sequence: u16) {
            self.arrivals.push((ms, Arrival::Event { sequence }));
        }

        fn splice(&mut self, ms: u64) {
            self.arrivals.push((ms, Arrival::Splice));
        }

        fn run(&mut self, ticks: usize) -> String {
            let mut log = vec![];
            let mut arrivals = self.arrivals.drain(..).peekable();
            for tick in 0..ticks as u64 {
                let ms = 10 + tick * 20;
                while let Some((at, arrival)) = arrivals.next_if(|(at, _)| *at <= ms) {
                    let now = self.start + Duration::from_millis(at);
                    match arrival {
                        Arrival::Audio { sequence, timestamp, number } => {
                            let payload = &[number; 160];
                            self.buffer.push(
                                AudioPacket { sequence, timestamp, coding: Coding::Audio(AudioCodec::Pcmu), payload },
                                now,
                            );
                        }
                        Arrival::Event { sequence } => self.buffer.pass_over(sequence),
                        Arrival::Splice => self.buffer.splice(),
                    }
                }
                let now = self.start + Duration::from_millis(ms);
                log.push(match self.buffer.pop(160, 0, false, now) {
                    Popped::Packet { payload, .. } => payload[0].to_string(),
                    Popped::Missing(_) => "-".to_owned(),
                    Popped::Nothing => ".".to_owned(),
                });
            }
            log.join(" ")
        }
    }

    /// A network on which each packet takes between zero and `jitter_ms`, from a sender whose clock is off.
    #[derive(Debug)]
    struct Network {
        jitter_ms: u64,
        loss_percent: u32,
        phase_ms: u64,
        drift_ppm: i64,
    }

    #[derive(Debug)]
    struct Outcome {
        missing: u32,
        delay_ms: f64,
    }

    impl Network {
        fn run(&self, ticks: u64) -> Outcome {
            let mut rng = ChaCha12Rng::seed_from_u64(20);
            let start = Now::origin();
            let mut buffer = JitterBuffer::new(8_000, start);
            let mut in_flight = std::collections::BTreeSet::new();
            let (mut missing, mut delay_ms, mut heard, mut next) = (0, 0.0, 0_u32, 0);
            let sent_us = |index: u64| (index * 20_000).strict_add_signed(index.cast_signed() * self.drift_ppm / 50);
            for tick in 0..ticks {
                let tick_us = tick * 20_000 + self.phase_ms * 1_000;
                while sent_us(next) <= tick_us {
                    if !rng.random_ratio(self.loss_percent, 100) {
                        in_flight.insert((sent_us(next) + rng.random_range(0..=self.jitter_ms * 1_000), next));
                    }
                    next += 1;
                }
                while let Some((at, index)) = in_flight.pop_first() {
                    if at > tick_us {
                        in_flight.insert((at, index));
                        break;
                    }
                    let low = u32::try_from(index).unwrap();
                    let (sequence, timestamp) = (u16::try_from(low & 0xffff).unwrap(), low * 160);
                    let mut payload = [0; 160];
                    payload[..8].copy_from_slice(&index.to_be_bytes());
                    let packet =
                        AudioPacket { sequence, timestamp, coding: Coding::Audio(AudioCodec::Pcmu), payload: &payload };
                    buffer.push(packet, start + Duration::from_micros(at));
                }
                let now = start + Duration::from_micros(tick_us);
                // Every second, speech pauses for a moment.
                let quiet = tick % 50 < 5;
                if buffer.wants_less(0, quiet, now) && buffer.has_next() {
                    buffer.pop(160, 0, quiet, now); // as if it had been blended into the next one
                }
                match buffer.pop(160, 0, quiet, now) {
                    Popped::Packet { payload, .. } => {
                        let index = u64::from_be_bytes(payload[..8].try_into().unwrap());
                        delay_ms += (tick_us as f64 - sent_us(index) as f64) / 1_000.0;
                        heard += 1;
                    }
                    Popped::Missing(_) => missing += 1,
                    Popped::Nothing => {}
                }
            }
            Outcome { missing, delay_ms: delay_ms / f64::from(heard) }
        }
    }
}
