//! The voice of a [`TonePeer`](crate::tone_peer::TonePeer) that speaks another codec than µ-law, or under keys that are told
//! in session descriptions (RFC 4568).

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hookswitch::codec::{AudioCodec, Decoder, Encoder, OpusSettings};
use hookswitch::srtp::{Inbound, MasterKey, Outbound, Suite};

use crate::sip_phone::Message;
use crate::tone_peer::{Heard, encode};

/// A codec, and keys.
pub(crate) struct Voice {
    codec: AudioCodec,
    payload_type: u8,
    encoder: Encoder,
    decoder: Decoder,
    /// Samples said.
    said: u32,
    /// Everything heard, at the rate of the codec.
    wide: Vec<f64>,
    /// Its own key, and under whose keys it speaks and hears once that is agreed on.
    key: Option<MasterKey>,
    secured: Option<(Outbound, Inbound)>,
}

impl Voice {
    pub(crate) fn new(codec: AudioCodec, is_secured: bool) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let bytes = [NEXT.fetch_add(1, Ordering::Relaxed); 30];
        let key = is_secured.then(|| MasterKey::new(SUITE, &bytes).unwrap());
        Self {
            codec,
            payload_type: codec.offered_payload_type(),
            encoder: Encoder::new(codec, OpusSettings::default()),
            decoder: Decoder::new(codec),
            said: 0,
            wide: vec![],
            key,
            secured: None,
        }
    }

    /// What it has heard since this packet, and its rate.
    pub(crate) fn heard_since(&self, packet: usize) -> (&[f64], u32) {
        (&self.wide[packet * self.codec.rate().frame_len()..], self.codec.rate().hz())
    }

    /// Its payload type, and what stands for that in SDP.
    pub(crate) fn format(&self) -> (u8, String) {
        let channels = if self.codec.channels() > 1 { "/2" } else { "" };
        (self.payload_type, format!("{}/{}{channels}", self.codec.name(), self.codec.clock_hz()))
    }

    /// The line of its key.
    pub(crate) fn crypto(&self) -> String {
        let encoded = |key: &MasterKey| BASE64_STANDARD.encode(key.key_and_salt());
        let line = |key| format!("a=crypto:1 {} inline:{}\r\n", SUITE.name(), encoded(key));
        self.key.as_ref().map(line).unwrap_or_default()
    }

    /// Takes the key of the other side.
    #[track_caller]
    pub(crate) fn agree(&mut self, message: &Message) {
        let Some(ours) = self.key.clone() else { return };
        let is_ours = |it: &&str| it.starts_with("a=crypto:") && it.contains(SUITE.name());
        let line = message.body.lines().find(is_ours).unwrap_or_else(|| panic!("no key in {message:?}"));
        let key = line.split("inline:").nth(1).unwrap().split('|').next().unwrap().trim();
        let theirs = MasterKey::new(SUITE, &BASE64_STANDARD.decode(key).unwrap()).unwrap();
        self.secured = Some((Outbound::new(ours), Inbound::new(theirs, &[])));
    }

    /// A packet with the next of a tone.
    #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
    pub(crate) fn say(&mut self, hz: f64, milliseconds: u32, sequence: u16) -> Vec<u8> {
        let rate = self.codec.rate().hz();
        let timestamp = self.said / (rate / 1_000) * (self.codec.clock_hz() / 1_000);
        let tone = |at| (6_000.0 * (TAU * hz * f64::from(at) / f64::from(rate)).sin()) as i16;
        let until = self.said + milliseconds * rate / 1_000;
        let samples: Vec<i16> = (self.said..until).map(tone).collect();
        self.said = until;
        let mut packet = vec![0x80, self.payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0x7E, 0, 0, 1]);
        packet.resize(2_000, 0);
        let mut length = 12 + self.encoder.encode(&samples, &mut packet[12..1_900]);
        if let Some((outbound, _)) = &mut self.secured {
            length = outbound.protect_rtp(&mut packet, length).unwrap();
        }
        packet.truncate(length);
        packet
    }

    /// What a packet says, as µ-law; nothing if it is not of this codec, or not authentic.
    pub(crate) fn hear(&mut self, packet: &mut [u8]) -> Option<Heard> {
        let at = Instant::now();
        if packet.len() <= 12 || packet[1] & 0x7F != self.payload_type {
            return None;
        }
        let length = match &mut self.secured {
            Some((_, inbound)) => inbound.unprotect_rtp(packet, at).ok()?,
            None => packet.len(),
        };
        let packet = &packet[..length];
        let mut samples = vec![0; self.codec.rate().frame_len()];
        let decoded = self.decoder.decode(&packet[12..], &mut samples);
        assert_eq!(decoded, samples.len());
        self.wide.extend(samples.iter().map(|it| f64::from(*it)));
        Some(Heard {
            sequence: u16::from_be_bytes(packet[2..4].try_into().unwrap()),
            ssrc: u32::from_be_bytes(packet[8..12].try_into().unwrap()),
            payload: samples.iter().step_by(samples.len() / 160).map(|it| encode(f64::from(*it))).collect(),
            at,
        })
    }
}

const SUITE: Suite = Suite::AesCm128HmacSha1Tag80;
