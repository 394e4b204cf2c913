//! Digits in and out by RFC 4733 telephone events (§2.5).
//!
//! A digit is taken to begin with the first packet of a new timestamp, whatever its marker says, and to end with the end
//! bit or, if that is lost, when nothing more of it comes. Updates and the three copies of the end are recognised by
//! their timestamp. A segment that continues a long event (§2.5.1.3) is not a new digit.

use std::collections::VecDeque;
use std::time::Duration;

use super::tones::relay::Means;
use crate::limits::{DTMF_DIGIT_MS_MAX, DTMF_DIGIT_MS_MIN, DTMF_DIGITS_MAX};
use crate::rtp::telephone_event::TelephoneEvent;
use crate::rtp::{Digit, Header, timestamp_distance};
use crate::timer::Now;

/// A digit that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtmfEnded {
    /// The digit.
    pub digit: Digit,
    /// How long it lasted, in milliseconds.
    pub duration_ms: u32,
}

/// What happened to a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DtmfEvent {
    Began(Digit, Means),
    Ended(DtmfEnded, Means),
}

/// The digits of the peer. Events that nobody fetches give way to later ones beyond [`DTMF_DIGITS_MAX`] each way.
#[derive(Clone, Debug, Default)]
pub(super) struct DtmfReceiver {
    current: Option<Current>,
    /// The timestamp of the last event, which late copies of it still carry, and when that came.
    last: Option<(u32, Now)>,
    events: VecDeque<DtmfEvent>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    timestamp: u32,
    /// Of the segments before this one, and of this one so far.
    units_before: u32,
    units: u16,
    clock_hz: u32,
    heard: Now,
}

impl DtmfReceiver {
    /// Takes an event packet of the peer's stream.
    pub(super) fn handle(&mut self, header: &Header, payload: &[u8], clock_hz: u32, now: Now) {
        let Some(event) = TelephoneEvent::parse(payload) else {
            return;
        };
        let Some(digit) = Digit::from_code(event.code) else {
            return;
        };
        let is_late = self.is_late(header.timestamp, now);
        match &mut self.current {
            Some(current) if current.timestamp == header.timestamp => {
                current.units = current.units.max(event.duration);
                current.heard = now;
            }
            Some(current) if current.digit == digit && !header.marker && current.continues_at(header.timestamp) => {
                current.units_before += u32::from(current.units);
                current.units = event.duration;
                current.timestamp = header.timestamp;
                current.heard = now;
            }
            _ if is_late => return,
            _ => {
                self.end();
                self.notify(DtmfEvent::Began(digit, Means::Event));
                self.current = Some(Current {
                    digit,
                    timestamp: header.timestamp,
                    units_before: 0,
                    units: event.duration,
                    clock_hz: clock_hz.max(1),
                    heard: now,
                });
            }
        }
        self.last = Some((header.timestamp, now));
        if event.end {
            self.end();
        }
    }

    /// Ends a digit of which nothing has come for [`SILENCE`].
    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.current.is_some_and(|it| now - it.heard >= SILENCE) {
            self.end();
        }
    }

    /// The stream has ended; timestamps begin anew.
    pub(super) fn restart(&mut self) {
        self.end();
        self.last = None;
    }

    /// Whether an event is, or is of before, the last one. Timestamps that have jumped back are only told from late packets by
    /// the time that has passed.
    fn is_late(&self, timestamp: u32, now: Now) -> bool {
        self.last.is_some_and(|(last, heard)| {
            let ahead = timestamp_distance(last, timestamp);
            ahead == 0 || (ahead < 0 && now - heard < LATE_MAX)
        })
    }

    /// Whether a digit is being held down.
    pub(super) const fn is_active(&self) -> bool {
        self.current.is_some()
    }

    /// The next event, if it is one that the caller has room for.
    pub(super) fn poll_event(&mut self, has_room: impl FnOnce(&DtmfEvent) -> bool) -> Option<DtmfEvent> {
        self.events.pop_front_if(|it| has_room(it))
    }

    fn end(&mut self) {
        if let Some(current) = self.current.take() {
            let units = u64::from(current.units_before) + u64::from(current.units);
            let duration_ms = u32::try_from(units * 1_000 / u64::from(current.clock_hz)).unwrap_or(u32::MAX);
            self.notify(DtmfEvent::Ended(DtmfEnded { digit: current.digit, duration_ms }, Means::Event));
        }
    }

    /// Adds an event, which may have been heard elsewhere.
    pub(super) fn notify(&mut self, event: DtmfEvent) {
        if self.events.len() >= 2 * DTMF_DIGITS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

impl Current {
    fn continues_at(&self, timestamp: u32) -> bool {
        self.units > 0 && self.timestamp.wrapping_add(u32::from(self.units)) == timestamp
    }
}

/// An event packet to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventPacket {
    pub(super) marker: bool,
    pub(super) timestamp: u32,
    pub(super) payload: [u8; 4],
}

/// Our digits: each held for its time, its end told three times, with a pause after it. Refuses digits beyond
/// [`DTMF_DIGITS_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct DtmfSender {
    /// Digits and for how many ticks to hold them.
    queue: VecDeque<(Digit, u16)>,
    state: Sending,
    sent: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Sending {
    #[default]
    Idle,
    Held {
        digit: Digit,
        segment: Segment,
        /// Left after this tick.
        ticks_left: u16,
    },
    Ending {
        digit: Digit,
        segment: Segment,
        copies_left: u8,
    },
    Pause {
        ticks_left: u8,
    },
}

/// A part of a digit whose duration fits 16 bits (RFC 4733 §2.5.1.3).
#[derive(Clone, Copy, Debug)]
struct Segment {
    timestamp: u32,
    ticks: u16,
    is_first: bool,
}

impl Segment {
    /// One tick later; in a segment of its own if this one is full.
    fn next(self, tick_units: u32) -> Self {
        let units = (u32::from(self.ticks) + 1) * tick_units;
        if units <= u32::from(u16::MAX) {
            return Self { ticks: self.ticks + 1, ..self };
        }
        let timestamp = self.timestamp.wrapping_add(u32::from(self.ticks) * tick_units);
        Self { timestamp, ticks: 1, is_first: false }
    }

    fn packet(self, digit: Digit, tick_units: u32, end: bool) -> EventPacket {
        let duration = u16::try_from(u32::from(self.ticks) * tick_units).unwrap_or(u16::MAX);
        EventPacket {
            marker: self.is_first && self.ticks == 1 && !end,
            timestamp: self.timestamp,
            payload: TelephoneEvent { code: digit.code(), end, volume: VOLUME, duration }.to_bytes(),
        }
    }
}

impl DtmfSender {
    /// Queues a digit; its time is brought within [`DTMF_DIGIT_MS_MIN`] and [`DTMF_DIGIT_MS_MAX`]. Returns whether there
    /// was room.
    pub(super) fn push(&mut self, digit: Digit, ms: u16) -> bool {
        let has_room = self.queue.len() < DTMF_DIGITS_MAX;
        if has_room {
            self.queue.push_back((digit, ms.clamp(DTMF_DIGIT_MS_MIN, DTMF_DIGIT_MS_MAX).div_ceil(20)));
        }
        has_room
    }

    /// The packet of this tick, which begins at `timestamp`; `None` if there is audio to be sent instead. Durations
    /// count at `clock_hz`.
    pub(super) fn tick(&mut self, timestamp: u32, clock_hz: u32) -> Option<EventPacket> {
        let units = clock_hz / 50;
        match self.state {
            Sending::Idle => {
                let (digit, ticks_total) = self.queue.pop_front()?;
                self.sent += 1;
                let segment = Segment { timestamp, ticks: 1, is_first: true };
                self.state = Sending::Held { digit, segment, ticks_left: ticks_total.saturating_sub(1) };
                Some(segment.packet(digit, units, false))
            }
            Sending::Held { digit, segment, ticks_left } => {
                let segment = segment.next(units);
                let end = ticks_left <= 1;
                self.state = if end {
                    Sending::Ending { digit, segment, copies_left: 2 }
                } else {
                    Sending::Held { digit, segment, ticks_left: ticks_left - 1 }
                };
                Some(segment.packet(digit, units, end))
            }
            Sending::Ending { digit, segment, copies_left } => {
                self.state = match copies_left {
                    0 | 1 => Sending::Pause { ticks_left: PAUSE_TICKS },
                    _ => Sending::Ending { digit, segment, copies_left: copies_left - 1 },
                };
                Some(segment.packet(digit, units, true))
            }
            Sending::Pause { ticks_left } => {
                self.state = match ticks_left {
                    0 | 1 => Sending::Idle,
                    _ => Sending::Pause { ticks_left: ticks_left - 1 },
                };
                None
            }
        }
    }

    /// Nothing can be sent for a while: a digit that is being sent ends with what has gone of it. Those that wait do so.
    pub(super) fn interrupt(&mut self) {
        self.state = Sending::Idle;
    }

    /// Gives back the digits that wait, and for how many milliseconds each was to be held; none is left.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = (Digit, u16)> {
        self.state = Sending::Idle;
        std::mem::take(&mut self.queue).into_iter().map(|(digit, ticks)| (digit, ticks * 20))
    }

    /// Whether a digit is being sent or waits.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !matches!(self.state, Sending::Idle)
    }

    /// Digits sent, or begun.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }
}

/// Longer is no packet on its way.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Senders repeat an event at least every 60 ms.
const SILENCE: Duration = Duration::from_millis(200);
/// -10 dBm0.
const VOLUME: u8 = 10;
/// 60 ms between digits.
const PAUSE_TICKS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_reported_once_however_often_it_is_sent() {
        check(
            "
              0 5 1000 160 M
             20 5 1000 320
             40 5 1000 480
             60 5 1000 640 E
             80 5 1000 640 E
            100 5 1000 640 E",
            "0 began 5, 60 ended 5 after 80",
        );
    }

    #[test]
    fn a_lost_marker_and_a_lost_beginning_do_not_matter() {
        check("0 # 1000 320\n20 # 1000 480 E", "0 began #, 20 ended # after 60");
        check("0 # 1000 480 E\n20 # 1000 480 E", "0 began #, 0 ended # after 60");
    }

    #[test]
    fn a_lost_end_is_made_up_for_by_time_or_by_the_next_digit() {
        check("0 7 1000 160 M\n20 7 1000 320", "0 began 7, 220 ended 7 after 40");
        check(
            "0 7 1000 160 M\n50 7 2000 160 M\n60 7 2000 240 E",
            "0 began 7, 50 ended 7 after 20, 50 began 7, 60 ended 7 after 30",
        );
    }

    #[test]
    fn late_copies_of_an_ended_digit_are_ignored() {
        check(
            "0 1 1000 800 E\n10 2 2000 800 E\n20 1 1000 640\n30 1 1000 800 E",
            "0 began 1, 0 ended 1 after 100, 10 began 2, 10 ended 2 after 100",
        );
        check("0 1 1000 160\n300 1 1000 800 E", "0 began 1, 200 ended 1 after 20");
    }

    #[test]
    fn timestamps_may_jump_back() {
        check(
            "0 1 900000 800 E\n20 1 900000 800 E\n900 2 1000 160\n1500 3 5000 800 E\n1520 3 5000 800 E\n1900 4 9000 800 E",
            "0 began 1, 0 ended 1 after 100, 1500 began 3, 1500 ended 3 after 100, 1900 began 4, 1900 ended 4 after 100",
        );
    }

    #[test]
    fn timestamps_wrap() {
        check("0 1 4294967000 160 E\n90 1 500 160 E", "0 began 1, 0 ended 1 after 20, 90 began 1, 90 ended 1 after 20");
    }

    #[test]
    fn a_long_digit_in_segments_is_one_digit() {
        check("0 9 1000 65535 M\n20 9 66535 160\n40 9 66535 320 E", "0 began 9, 40 ended 9 after 8231");
    }

    #[test]
    fn events_that_are_no_digits_and_short_payloads_are_ignored() {
        let mut receiver = DtmfReceiver::default();
        let header = Header { payload_type: 101, marker: true, sequence: 1, timestamp: 5, ssrc: 1 };
        receiver.handle(&header, &[16, 0, 0, 160], 8_000, Now::origin());
        receiver.handle(&header, &[5, 0, 0], 8_000, Now::origin());
        assert!(receiver.poll_event(|_| true).is_none() && !receiver.is_active());
    }

    #[test]
    fn what_nobody_fetches_is_bounded() {
        let mut receiver = DtmfReceiver::default();
        for timestamp in 0..10_000 {
            let header = Header { payload_type: 101, marker: true, sequence: 1, timestamp, ssrc: 1 };
            receiver.handle(&header, &[1, 0x80, 0, 160], 8_000, Now::origin());
        }
        assert_eq!(std::iter::from_fn(|| receiver.poll_event(|_| true)).count(), 2 * DTMF_DIGITS_MAX);
    }

    #[test]
    fn a_digit_sent_grows_ends_three_times_and_pauses() {
        let mut sender = DtmfSender::default();
        assert!(sender.push(Digit::from_char('5').unwrap(), 80) && sender.push(Digit::from_char('*').unwrap(), 1));
        let mut log = vec![];
        for tick in 0..18 {
            let Some(packet) = sender.tick(1_000 + tick * 160, 8_000) else {
                log.push("audio".to_owned());
                continue;
            };
            let event = TelephoneEvent::parse(&packet.payload).unwrap();
            let marks = format!("{}{}", if packet.marker { "M" } else { "" }, if event.end { "E" } else { "" });
            log.push(format!("{}@{}+{}{marks}", event.code, packet.timestamp, event.duration));
        }
        let expected = "5@1000+160M 5@1000+320 5@1000+480 5@1000+640E 5@1000+640E 5@1000+640E audio audio audio \
                        10@2440+160M 10@2440+320E 10@2440+320E 10@2440+320E audio audio audio audio audio";
        assert_eq!(log.join(" "), expected);
        assert_eq!(sender.sent(), 2);
    }

    #[test]
    fn a_long_digit_at_48_khz_is_sent_in_segments_and_heard_as_one() {
        let mut sender = DtmfSender::default();
        let mut receiver = DtmfReceiver::default();
        assert!(sender.push(Digit::from_char('8').unwrap(), 3_000));
        let mut log = vec![];
        let mut marks = 0;
        for tick in 0..200 {
            let now = Now::origin() + Duration::from_millis(20) * tick;
            if let Some(packet) = sender.tick(tick * 960, 48_000) {
                marks += u32::from(packet.marker);
                let EventPacket { marker, timestamp, payload } = packet;
                let header = Header { payload_type: 101, marker, sequence: 1, timestamp, ssrc: 1 };
                receiver.handle(&header, &payload, 48_000, now);
            }
            receiver.handle_timeout(now);
            log.extend(std::iter::from_fn(|| receiver.poll_event(|_| true)));
        }
        let digit = Digit::from_char('8').unwrap();
        let expected = [
            DtmfEvent::Began(digit, Means::Event),
            DtmfEvent::Ended(DtmfEnded { digit, duration_ms: 3_000 }, Means::Event),
        ];
        assert_eq!((log.as_slice(), marks), (&expected[..], 1));
    }

    #[test]
    fn digits_beyond_the_bound_are_refused() {
        let mut sender = DtmfSender::default();
        let digit = Digit::from_char('0').unwrap();
        assert_eq!((0..100).filter(|_| sender.push(digit, 100)).count(), DTMF_DIGITS_MAX);
    }

    /// Each line of `packets`: millisecond, digit, timestamp, duration, and `M` or `E` for marker and end.
    #[track_caller]
    fn check(packets: &str, expected: &str) {
        let start = Now::origin();
        let mut receiver = DtmfReceiver::default();
        let mut log = vec![];
        let mut packets = packets.lines().map(str::trim).filter(|it| !it.is_empty()).peekable();
        for ms in (0..2_000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            let is_due =
                |line: &&str| line.split(' ').next().and_then(|it| it.parse().ok()).is_some_and(|at: u64| at <= ms);
            while let Some(line) = packets.next_if(is_due) {
                let words: Vec<_> = line.split(' ').collect();
                let header = Header {
                    payload_type: 101,
                    marker: words.contains(&"M"),
                    sequence: 0,
                    timestamp: words[2].parse().unwrap(),
                    ssrc: 1,
                };
                let event = TelephoneEvent {
                    code: Digit::from_char(words[1].chars().next().unwrap()).unwrap().code(),
                    end: words.contains(&"E"),
                    volume: 0,
                    duration: words[3].parse().unwrap(),
                };
                receiver.handle(&header, &event.to_bytes(), 8_000, now);
            }
            receiver.handle_timeout(now);
            while let Some(event) = receiver.poll_event(|_| true) {
                log.push(match event {
                    DtmfEvent::Began(digit, _) => format!("{ms} began {digit}"),
                    DtmfEvent::Ended(it, _) => format!("{ms} ended {} after {}", it.digit, it.duration_ms),
                });
            }
        }
        assert_eq!(log.join(", "), expected);
    }
}
