//! Packets that are passed on to another leg as they come, and overheard on the way if somebody listens: what is recorded
//! or watched of them is decoded beside the path.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Heard, Kind, RemoteMedia, Session, TICK, Transmit, TransmitKind};
use crate::codec::AudioCodec;
use crate::media::relay::Relayed;
use crate::rtp::Packet;
use crate::timer::Now;

impl Session {
    /// As [`Session::handle_rtp`] while packets are passed on: what comes back is for [`Session::forward`] of the other.
    pub fn handle_relayed<'a>(&mut self, from: SocketAddr, datagram: &'a [u8], now: Now) -> Option<Relayed<'a>> {
        let (kind, Packet { header, payload }, remote) = self.check(from, datagram, now)?;
        self.count(payload, now);
        let mut units = 0;
        match kind {
            Kind::Audio => {
                self.count_arrival(header.timestamp, &remote, now);
                units = remote.codec.duration(payload);
                self.note_length(units, remote.codec);
            }
            Kind::Event { clock_hz } => {
                self.take_event(&header, payload, clock_hz, now);
                self.count_passed_digits(now);
            }
            Kind::ComfortNoise => (),
        }
        if self.is_overheard {
            self.listen_to(kind, &header, payload, remote.codec, now);
        }
        Some(Relayed { kind, header, payload, units, stream: self.streams })
    }

    /// Writes a packet of the other leg's peer to `buffer`, to be sent to this one at once.
    pub fn forward(&mut self, packet: &Relayed<'_>, buffer: &mut [u8], now: Now) -> Option<Transmit> {
        let payload_type = self.remote.as_ref()?.payload_type_of(packet.kind)?;
        let len = self.outgoing.forward(packet, payload_type, buffer, now.instant)?;
        Some(Transmit { to: self.latch?.destination(), kind: TransmitKind::Rtp, len })
    }

    /// Hears a packet that is not to be passed on, as if none were.
    pub fn keep(&mut self, packet: &Relayed<'_>, now: Now) {
        if let Some(remote) = self.remote.filter(|_| !self.is_overheard) {
            self.listen_to(packet.kind, &packet.header, packet.payload, remote.codec, now);
        }
    }

    /// Whether the other leg's peer takes packets as long as those that come here.
    pub fn fits(&self, other: &Self) -> bool {
        let most = other.remote.as_ref().and_then(|it| it.maxptime_ms);
        most.is_none_or(|it| self.longest_ms <= it.into())
    }

    /// Whether packets can be passed on between two legs: both may send, agreed on the same, and have no digits to send.
    /// That does not begin in the middle of a digit that the other side may have been told of already.
    pub fn can_relay_with(&self, other: &Self, now: Now) -> bool {
        let is_between_digits = |it: &Self| it.relaying_since.is_some() || !it.is_pressed(now);
        let is_open = |it: &Self| it.format().is_some() && !it.outgoing.has_digits() && is_between_digits(it);
        let agreed = |a: RemoteMedia, b: RemoteMedia| a.is_both_ways() && b.is_both_ways() && a.is_coded_like(&b);
        let is_short = self.fits(other) && other.fits(self);
        is_short && is_open(self) && is_open(other) && self.remote.zip(other.remote).is_some_and(|(a, b)| agreed(a, b))
    }

    /// From now on packets are passed on, with the two above and, about once a second, [`Session::handle_relay_round`].
    pub fn begin_relay(&mut self, now: Now) {
        self.relaying_since = Some(now.instant);
        self.digit_was_relayed = false;
        self.incoming.rest();
        self.listen_for_tones(self.tones.as_ref().and(self.remote).map(|it| it.codec.rate()));
        if let Some(format) = self.format() {
            self.outgoing.begin_relay(format, self.next_tick - TICK);
        }
    }

    /// Ends that: what is said and heard goes through the session again, and its ticks are one [`TICK`] apart again.
    pub fn end_relay(&mut self, now: Now) {
        self.number = self.ticks(now);
        self.relaying_since = None;
        self.next_tick = now.instant + TICK;
        self.is_overheard = false;
        self.outgoing.end_relay(now.instant);
        // What has been passed on is not to be told once more; of what is still held down, the end.
        self.count_passed_digits(now);
        self.digit_was_relayed = self.dtmf.is_active();
    }

    /// Takes note of how long packets of audio are.
    pub(super) fn note_length(&mut self, units: u32, codec: AudioCodec) {
        self.longest_ms = self.longest_ms.max(units.div_ceil(codec.clock_hz() / 1_000));
    }

    /// Looks after reports and digits while packets are passed on; returns since when none has come, as
    /// [`super::Tick::inactive_for`].
    pub fn handle_relay_round(&mut self, now: Now) -> Duration {
        self.dtmf.handle_timeout(now);
        self.count_passed_digits(now);
        self.report_if_due(now);
        self.inactive_for(now)
    }

    /// How many ticks there have been, or would have been if no packets had been passed on.
    pub fn ticks(&self, now: Now) -> u64 {
        let passed = self.relaying_since.map_or(Duration::ZERO, |it| now.instant.saturating_duration_since(it));
        self.number + u64::try_from(passed.as_millis() / TICK.as_millis()).unwrap_or(0)
    }

    /// Whether [`Session::overheard`] is to say what is passed on. Passing it on is not changed by that.
    pub fn overhear(&mut self, is_overheard: bool) {
        if !is_overheard && self.is_overheard {
            self.incoming.rest();
        }
        self.is_overheard = is_overheard;
    }

    /// What was said in 20 ms in which packets were passed on.
    pub fn overheard(&mut self, now: Now) -> Heard {
        if self.is_overheard { self.incoming.tick(self.dtmf.is_active(), now) } else { Heard::Nothing }
    }
}
