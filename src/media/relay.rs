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
    /// It is the first of its stream.
    pub(super) is_first: bool,
    /// No packet before it was of a higher number.
    pub(super) is_newest: bool,
}

impl Numbering {
    /// The next packet begins a stream.
    pub(super) const fn restart(&mut self) {
        self.stream = None;
    }

    /// Where a packet goes; one that begins a stream gets the numbers `next`. `None` if it is of before that: its number
    /// has been used.
    pub(super) fn place(&mut self, packet: &Relayed<'_>, next: (u16, u32)) -> Option<Place> {
        let Header { sequence, timestamp, ssrc, .. } = packet.header;
        let id = (packet.stream, ssrc);
        let Some(stream) = self.stream.as_mut().filter(|it| it.id == id) else {
            self.stream = Some(Stream {
                id,
                sequence_offset: next.0.wrapping_sub(sequence),
                timestamp_offset: next.1.wrapping_sub(timestamp),
                highest: sequence,
                since_first: 0,
            });
            return Some(Place { sequence: next.0, timestamp: next.1, is_first: true, is_newest: true });
        };
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
            is_first: false,
            is_newest,
        })
    }
}
