//! What a leg sends: one packet a tick, of an event, of what is to be played, or of silence.

use rand::Rng;

use super::dtmf::DtmfSender;
use super::playout::{Played, Playout, PlayoutFrame, PlayoutFull};
use super::session::TelephoneEventFormat;
use crate::codec::{AudioCodec, Frame, Resampler, SampleRate};
use crate::rtp::{Digit, Header, Packet};

#[derive(Debug)]
pub(super) struct Outgoing {
    ssrc: u32,
    sequence: u16,
    /// Of this tick; runs on whether or not anything is sent.
    timestamp: u32,
    /// Nothing was sent in the tick before.
    was_silent: bool,
    playout: Playout,
    dtmf: DtmfSender,
    downsampler: Option<Box<Resampler>>,
    pending: Option<Pending>,
    /// What the peer was sent in this tick.
    frame: Option<Frame>,
    packets: u64,
    octets: u64,
}

/// A packet that has not been fetched yet.
#[derive(Clone, Copy, Debug)]
struct Pending {
    header: Header,
    payload: [u8; 160],
    len: usize,
}

impl Outgoing {
    /// SSRC, sequence number and timestamp start at random (RFC 3550 §5.1); the sequence number below 2^15, so that the
    /// first wrap is far enough away for SRTP receivers that miss the beginning.
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let [low, high, ..] = rng.next_u32().to_be_bytes();
        Self {
            ssrc: rng.next_u32(),
            sequence: u16::from_be_bytes([low, high]) >> 1,
            timestamp: rng.next_u32(),
            was_silent: true,
            playout: Playout::default(),
            dtmf: DtmfSender::default(),
            downsampler: None,
            pending: None,
            frame: None,
            packets: 0,
            octets: 0,
        }
    }

    pub(super) fn play(&mut self, mut frame: PlayoutFrame) -> Result<(), PlayoutFull> {
        if frame.frame.rate() == SampleRate::Hz16000 {
            let downsampler = self
                .downsampler
                .get_or_insert_with(|| Box::new(Resampler::new(SampleRate::Hz16000, SampleRate::Hz8000)));
            frame.frame = downsampler.process(&frame.frame);
        }
        self.playout.push(frame)
    }

    pub(super) fn clear(&mut self) {
        self.playout.clear();
    }

    pub(super) fn send_dtmf(&mut self, digit: Digit, ms: u16) -> bool {
        self.dtmf.push(digit, ms)
    }

    /// Prepares the packet of the next 20 ms, unless nothing `may` be sent.
    pub(super) fn tick(&mut self, may: Option<Format>) -> Option<Played> {
        self.timestamp = self.timestamp.wrapping_add(TICK_UNITS);
        self.pending = None;
        self.frame = None;
        let Some(format) = may else {
            self.was_silent = true;
            return None;
        };
        let event = format.telephone_event.and_then(|it| {
            let packet = self.dtmf.tick(self.timestamp, it.clock_hz)?;
            Some((it.payload_type, packet))
        });
        let mut header = Header {
            payload_type: format.payload_type,
            marker: std::mem::take(&mut self.was_silent),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut payload = [0; 160];
        let (len, played) = if let Some((payload_type, event)) = event {
            header = Header { payload_type, marker: event.marker, timestamp: event.timestamp, ..header };
            for (to, from) in payload.iter_mut().zip(event.payload) {
                *to = from;
            }
            self.frame = Some(Frame::silence(SampleRate::Hz8000));
            (event.payload.len(), None)
        } else {
            let next = self.playout.next();
            let frame = next.as_ref().map_or(Frame::silence(SampleRate::Hz8000), |(frame, _)| *frame);
            self.frame = Some(frame);
            (format.codec.encode(frame.samples(), &mut payload), next.map(|(_, played)| played))
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.pending = Some(Pending { header, payload, len });
        played
    }

    /// Lets time pass in which nothing is sent.
    pub(super) const fn skip(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks.wrapping_mul(TICK_UNITS));
        self.was_silent = true;
    }

    /// Writes the packet of this tick, once.
    pub(super) fn poll_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let Pending { header, payload, len } = self.pending.take()?;
        let payload = payload.get(..len)?;
        let len = Packet { header, payload }.write(buffer)?;
        self.packets += 1;
        self.octets += u64::try_from(payload.len()).unwrap_or(0);
        Some(len)
    }

    pub(super) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    pub(super) const fn timestamp(&self) -> u32 {
        self.timestamp
    }

    pub(super) const fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    pub(super) const fn playout(&self) -> &Playout {
        &self.playout
    }

    pub(super) const fn digits(&self) -> u64 {
        self.dtmf.sent()
    }
}

/// How to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    pub(super) codec: AudioCodec,
    pub(super) payload_type: u8,
    pub(super) telephone_event: Option<TelephoneEventFormat>,
}

/// 20 ms at 8 kHz.
const TICK_UNITS: u32 = 160;
