//! RTCP of one leg: when to report and what, and what the peer's reports say (RFC 3550 §6.2, §6.4, RFC 7022).
//!
//! There are two participants, so reports go out every five seconds, randomised by half either way, without the timer
//! reconsideration that large groups need.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::report::Remote;
use crate::rtp::rtcp::{Compound, InvalidRtcp, ReportBlock, Rtcp};
use crate::timer::Now;
use crate::webrtc::Feedback;

/// What a datagram of the peer's says of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is there.
    Report,
    /// It leaves.
    Bye,
}

/// The state of RTCP.
#[derive(Debug)]
pub(super) struct Control {
    rng: ChaCha12Rng,
    /// Maps the monotonic clock to NTP time, so that a wall clock that is set does not disturb round-trip times.
    start: Now,
    cname: [u8; 16],
    next: Instant,
    /// The last sender report of the peer: whose, the middle of its NTP time, and when it came.
    sender_report: Option<(u32, u32, Now)>,
    /// Of the last report on our stream, until it is taken.
    fraction_lost: Option<u8>,
    remote: Remote,
}

impl Control {
    pub(super) fn new(mut rng: ChaCha12Rng, now: Now) -> Self {
        // RFC 7022 §4.2: 96 random bits in base64 name neither host nor user.
        let cname = std::array::from_fn(|_| BASE64.get(rng.random_range(0..64)).copied().unwrap_or(b'A'));
        let first = INTERVAL_MS / 2;
        let next = now.instant + Duration::from_millis(rng.random_range(first / 2..first * 3 / 2));
        Self { rng, start: now, cname, next, sender_report: None, fraction_lost: None, remote: Remote::default() }
    }

    /// Whether a report is due; then the next one is set.
    pub(super) fn take_due(&mut self, now: Now) -> bool {
        let is_due = now.instant >= self.next;
        if is_due {
            let interval = self.rng.random_range(INTERVAL_MS / 2..INTERVAL_MS * 3 / 2);
            self.next = now.instant + Duration::from_millis(interval);
        }
        is_due
    }

    /// Reads the peer's RTCP; reports on `ours` at `clock_hz` are kept, sender reports only from `theirs`.
    pub(super) fn handle(
        &mut self,
        datagram: &[u8],
        ours: u32,
        theirs: Option<u32>,
        clock_hz: u32,
        now: Now,
    ) -> Result<Said, InvalidRtcp> {
        let compound = Compound::parse(datagram)?;
        let is_report = |it: Rtcp<'_>| matches!(it, Rtcp::SenderReport { .. } | Rtcp::ReceiverReport { .. });
        let is_bye = compound.packets().any(|it| matches!(it, Rtcp::Bye { .. }));
        self.remote.reports += u64::from(compound.packets().any(is_report));
        for packet in compound.packets() {
            let blocks = match packet {
                Rtcp::SenderReport { ssrc, info, blocks } => {
                    if theirs == Some(ssrc) {
                        self.sender_report = Some((ssrc, middle(info.ntp), now));
                    }
                    blocks
                }
                Rtcp::ReceiverReport { blocks, .. } => blocks,
                Rtcp::Bye { .. } => {
                    self.remote.byes += 1;
                    continue;
                }
                Rtcp::Voip(metrics) => {
                    if metrics.ssrc == ours {
                        self.remote.voip = Some(metrics);
                    }
                    continue;
                }
                Rtcp::Other(_) => continue,
            };
            for block in blocks.iter().filter(|it| it.ssrc == ours) {
                self.handle_block(&block, clock_hz, now);
            }
        }
        Ok(if is_bye { Said::Bye } else { Said::Report })
    }

    fn handle_block(&mut self, block: &ReportBlock, clock_hz: u32, now: Now) {
        self.remote.fraction_lost = block.fraction_lost;
        self.fraction_lost = Some(block.fraction_lost);
        self.remote.lost = block.lost;
        self.remote.jitter_us = unit_us(block.jitter, clock_hz);
        if block.last_report == 0 {
            return;
        }
        let elapsed = middle(self.ntp(now)).wrapping_sub(block.last_report);
        let round_trip = elapsed.wrapping_sub(block.delay_since_last_report);
        if round_trip < ROUND_TRIP_MAX {
            self.remote.round_trip_us = u32::try_from(u64::from(round_trip) * 1_000_000 / 65_536).ok();
        }
    }

    /// Takes what a transport with RTCP of its own was told.
    pub(super) fn handle_feedback(&mut self, feedback: &Feedback, clock_hz: u32) {
        self.remote.reports += 1;
        let round_trip_us = feedback.round_trip.filter(|it| *it < Duration::from_secs(10)).map(|it| it.as_micros());
        self.remote.round_trip_us = round_trip_us.and_then(|it| u32::try_from(it).ok()).or(self.remote.round_trip_us);
        if let Some(fraction_lost) = feedback.fraction_lost {
            self.remote.fraction_lost = fraction_lost;
            self.fraction_lost = Some(fraction_lost);
        }
        self.remote.lost = feedback.lost;
        self.remote.jitter_us = unit_us(feedback.jitter, clock_hz);
    }

    /// What was last reported lost of our packets, in 1/256, once.
    pub(super) const fn take_fraction_lost(&mut self) -> Option<u8> {
        self.fraction_lost.take()
    }

    /// When the last sender report of `theirs` was sent, and for how long it has been here, as a report block says it.
    pub(super) fn last_report(&self, theirs: u32, now: Now) -> (u32, u32) {
        let Some((_, ntp, at)) = self.sender_report.filter(|(ssrc, ..)| *ssrc == theirs) else {
            return (0, 0);
        };
        let delay = (now - at).as_micros() * 65_536 / 1_000_000;
        (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
    }

    /// NTP time (RFC 3550 §4).
    pub(super) fn ntp(&self, now: Now) -> u64 {
        let since_1900 = self.start.unix + (now - self.start) + Duration::from_secs(UNIX_EPOCH_IN_NTP_S);
        let fraction = u64::from(since_1900.subsec_nanos()) * (1 << 32) / 1_000_000_000;
        (since_1900.as_secs() & u64::from(u32::MAX)) << 32 | fraction
    }

    pub(super) const fn cname(&self) -> &[u8; 16] {
        &self.cname
    }

    pub(super) const fn remote(&self) -> Remote {
        self.remote
    }
}

fn unit_us(units: u32, clock_hz: u32) -> u32 {
    u32::try_from(u64::from(units) * 1_000_000 / u64::from(clock_hz.max(1))).unwrap_or(u32::MAX)
}

fn middle(ntp: u64) -> u32 {
    u32::try_from(ntp >> 16 & u64::from(u32::MAX)).unwrap_or(0)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const INTERVAL_MS: u64 = 5_000;
const UNIX_EPOCH_IN_NTP_S: u64 = 2_208_988_800;
/// Ten seconds, in 1/65536 s: what is longer is a mistake.
const ROUND_TRIP_MAX: u32 = 10 << 16;
