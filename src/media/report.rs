//! [`Report`]: what happened on a leg, for the call record, the metrics and RTCP.

use super::quality::Quality;
use crate::codec::AudioCodec;
use crate::rtp::VoipMetrics;

/// Everything counted on a leg since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The codec, once one is agreed on: the last, if it changed.
    pub codec: Option<AudioCodec>,
    /// The peer's stream.
    pub received: Received,
    /// Our stream.
    pub sent: Sent,
    /// Datagrams that were not used.
    pub dropped: Dropped,
    /// What the peer's RTCP said, if it sent any.
    pub remote: Remote,
    /// How the peer's audio sounds here.
    pub quality: Quality,
    /// How ours sounds at the peer, if its RTCP has told of losses.
    pub remote_quality: Option<Quality>,
    /// Frames heard and sent, whether or not there was audio.
    pub ticks: u64,
}

/// The peer's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Valid RTP packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub octets: u64,
    /// Never arrived.
    pub lost: u64,
    /// Arrived after they were needed.
    pub late: u64,
    /// Arrived twice.
    pub duplicates: u64,
    /// Dropped to shorten the delay.
    pub skipped: u64,
    /// Frames of which audio had to be invented.
    pub concealed_frames: u64,
    /// Frames of which lost audio was found in the packet that followed.
    pub recovered_frames: u64,
    /// How often some audio was taken out to shorten the delay.
    pub shortened: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1), in microseconds.
    pub jitter_us: u32,
    /// The highest it has been.
    pub jitter_max_us: u32,
    /// The delay that the jitter buffer aims at, and why; `None` while packets are passed on.
    pub aim: Option<Aim>,
    /// The delay that it adds at present, in microseconds.
    pub delay_us: u64,
    /// That delay on the average of the audio heard, if there was any.
    pub delay_mean_us: Option<u64>,
    /// How often the peer changed its SSRC.
    pub ssrc_changes: u64,
    /// How often its numbering restarted.
    pub restarts: u64,
    /// Digits.
    pub digits: u64,
}

/// What the delay is made of that a jitter buffer aims at, in milliseconds: the sum of the others, within bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// All of it.
    pub target_ms: u32,
    /// What is held on any network: a packet.
    pub least_ms: u32,
    /// By how much all but 2 % of the recent packets were late at the most.
    pub lateness_ms: u32,
    /// For the copy of lost audio in the packet that follows (RFC 7587 §3.3), while packets are lost.
    pub reserve_ms: u32,
}

/// Our stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// RTP packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub octets: u64,
    /// RTP packets that came back as ICMP errors: nobody listens there.
    pub refused: u64,
    /// How often an utterance was interrupted because its next frame had not come in time.
    pub underruns: u64,
    /// Digits.
    pub digits: u64,
}

/// Datagrams that were not used, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// From somewhere else than the peer.
    pub strangers: u64,
    /// Not RTP version 2, cut, too long, or with an impossible payload.
    pub malformed: u64,
    /// Of a payload type that was not agreed on.
    pub payload_type: u64,
    /// Of an SSRC that did not prove to be the peer's new one.
    pub ssrc: u64,
    /// With a sequence number far from all others.
    pub astray: u64,
    /// RTCP that was not valid.
    pub rtcp: u64,
    /// On a secured leg: not protected with the peer's key.
    pub unauthenticated: u64,
    /// On a secured leg: the peer's, but for the second time or far too late.
    pub replayed: u64,
}

impl Dropped {
    /// Those that are not the peer's, or do not fit what was agreed on with it. What the keys of secured legs tell apart is
    /// not among them.
    pub fn strange(&self) -> u64 {
        self.by_reason().iter().take(STRANGE_REASONS).map(|(_, count)| count).sum()
    }

    /// Each reason by its name, those that make a packet strange first.
    pub const fn by_reason(&self) -> [(&'static str, u64); 8] {
        [
            ("stranger", self.strangers),
            ("malformed", self.malformed),
            ("payload_type", self.payload_type),
            ("ssrc", self.ssrc),
            ("astray", self.astray),
            ("rtcp", self.rtcp),
            ("unauthenticated", self.unauthenticated),
            ("replayed", self.replayed),
        ]
    }
}

const STRANGE_REASONS: usize = 6;

/// What the peer's RTCP said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// RTCP datagrams received.
    pub reports: u64,
    /// Round-trip time, in microseconds.
    pub round_trip_us: Option<u32>,
    /// Of our packets, the fraction lost lately, in 1/256.
    pub fraction_lost: u8,
    /// Of our packets, all that were lost.
    pub lost: i32,
    /// The jitter of our packets at the peer, in microseconds.
    pub jitter_us: u32,
    /// The last VoIP metrics of its extended reports, if it sends any.
    pub voip: Option<VoipMetrics>,
    /// BYE packets; they end nothing, since anyone can forge one.
    pub byes: u64,
}
