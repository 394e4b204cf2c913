//! [`AudioCodec`]: which codecs there are, and what SDP and RTP need to know of each (RFC 3551 §4.5 and §6, RFC 7587).

use super::SampleRate;
use super::opus_packet;

/// How a leg's audio is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AudioCodec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s: wide band, though its RTP clock counts at 8,000 Hz (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 6716), coded and decoded in one channel at 16 kHz; its RTP clock counts at 48,000 Hz.
    Opus,
    /// Linear samples of 16 bits in network byte order (RFC 3551 §4.5.11), one channel.
    L16(SampleRate),
}

impl AudioCodec {
    /// All of them, in the order in which they are preferred where nothing else is said.
    pub const ALL: [Self; 6] =
        [Self::Opus, Self::G722, Self::Pcmu, Self::Pcma, Self::L16(SampleRate::Hz16000), Self::L16(SampleRate::Hz8000)];

    /// Its name in configurations: in lower case, with the rate where there are several.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Pcmu => "pcmu",
            Self::Pcma => "pcma",
            Self::G722 => "g722",
            Self::Opus => "opus",
            Self::L16(SampleRate::Hz16000) => "l16",
            Self::L16(SampleRate::Hz8000) => "l16/8000",
        }
    }

    /// The codec of this [`Self::key`], in any case.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.key().eq_ignore_ascii_case(key))
    }

    /// Its encoding name in an rtpmap.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
            Self::L16(_) => "L16",
        }
    }

    /// The rate of the RTP timestamp, in hertz; also what the rtpmap says.
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
            Self::L16(rate) => rate.hz(),
        }
    }

    /// The channels that the rtpmap names: RFC 7587 §7 wants two for Opus, however many are coded.
    pub const fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::L16(_) => 1,
            Self::Opus => 2,
        }
    }

    /// Its static payload type (RFC 3551 §6). Those of L16 are for 44,100 Hz.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::Opus | Self::L16(_) => None,
        }
    }

    /// The payload type to offer it with: the static one, or one of the dynamic range.
    pub const fn offered_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 96,
            Self::L16(SampleRate::Hz16000) => 97,
            Self::L16(SampleRate::Hz8000) => 98,
        }
    }

    /// What our format parameters say of what we take (RFC 7587 §7.1): nothing above 8 kHz of audio is kept.
    pub const fn fmtp(self) -> Option<&'static str> {
        match self {
            Self::Opus => Some("minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000"),
            Self::Pcmu | Self::Pcma | Self::G722 | Self::L16(_) => None,
        }
    }

    /// The codec that an rtpmap names; one channel where none is told. Names are the same in any case.
    pub fn from_rtpmap(name: &str, clock_hz: u32, channels: Option<u8>) -> Option<Self> {
        Self::ALL.into_iter().find(|it| {
            // Peers that send plain `opus/48000` mean the same.
            let fits = it.channels() == channels.unwrap_or(1) || (*it == Self::Opus && channels.is_none());
            it.name().eq_ignore_ascii_case(name) && it.clock_hz() == clock_hz && fits
        })
    }

    /// The codec of a payload type without an rtpmap.
    pub fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.static_payload_type() == Some(payload_type))
    }

    /// The rate of the decoded audio, and of what is encoded.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Pcmu | Self::Pcma => SampleRate::Hz8000,
            Self::G722 | Self::Opus => SampleRate::Hz16000,
            Self::L16(rate) => rate,
        }
    }

    /// How much audio a payload holds, in units of the RTP timestamp; more than any limit if it makes no sense.
    pub fn duration(self, payload: &[u8]) -> u32 {
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => len,
            Self::L16(_) => len / 2,
            Self::Opus => opus_packet::duration(payload),
        }
    }

    /// The packet length nearest below that one packet can carry, in milliseconds: Opus has frames of 10, 20, 40 and
    /// 60 ms, and L16 at 16 kHz must fit a datagram.
    pub const fn ptime_ms(self, wanted: u16) -> u16 {
        let tens = if wanted < 10 { 10 } else { wanted / 10 * 10 };
        match (self, tens) {
            (Self::Opus, 30) => 20,
            (Self::Opus, 50) => 40,
            (Self::L16(SampleRate::Hz16000), 41..) => 40,
            (_, 61..) => 60,
            (_, tens) => tens,
        }
    }

    /// How many samples of decoded audio last as long as `units` of the RTP timestamp, rounded down.
    pub fn samples_of(self, units: u32) -> usize {
        let samples = u64::from(units) * u64::from(self.rate().hz()) / u64::from(self.clock_hz());
        usize::try_from(samples).unwrap_or(usize::MAX)
    }

    /// How many units of the RTP timestamp last as long as `samples` of decoded audio, rounded down.
    pub fn units_of(self, samples: usize) -> u32 {
        let samples = u64::try_from(samples).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        u32::try_from(samples * u64::from(self.clock_hz()) / u64::from(self.rate().hz())).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtpmaps_and_static_payload_types_name_codecs() {
        for codec in AudioCodec::ALL {
            let channels = Some(codec.channels());
            assert_eq!(AudioCodec::from_rtpmap(codec.name(), codec.clock_hz(), channels), Some(codec));
            assert_eq!(AudioCodec::from_key(&codec.key().to_uppercase()), Some(codec));
            if let Some(payload_type) = codec.static_payload_type() {
                assert_eq!(AudioCodec::from_static_payload_type(payload_type), Some(codec));
                assert_eq!(codec.offered_payload_type(), payload_type);
            }
        }
        assert_eq!(AudioCodec::from_rtpmap("OPUS", 48_000, None), Some(AudioCodec::Opus));
        assert_eq!(AudioCodec::from_rtpmap("pcmu", 8_000, None), Some(AudioCodec::Pcmu));
        for (name, clock_hz, channels) in
            [("L16", 44_100, Some(1)), ("PCMU", 8_000, Some(2)), ("G722", 16_000, None), ("G729", 8_000, None)]
        {
            assert_eq!(AudioCodec::from_rtpmap(name, clock_hz, channels), None, "{name}/{clock_hz}");
        }
        assert_eq!(AudioCodec::from_static_payload_type(11), None);
    }

    #[test]
    fn durations_and_samples_agree() {
        for codec in AudioCodec::ALL {
            let samples = codec.rate().frame_len();
            let units = codec.units_of(samples);
            assert_eq!((units, codec.samples_of(units)), (codec.clock_hz() / 50, samples), "{codec:?}");
        }
        assert_eq!(AudioCodec::G722.duration(&[0; 160]), 160);
        assert_eq!(AudioCodec::L16(SampleRate::Hz8000).duration(&[0; 321]), 160);
    }

    #[test]
    fn packet_lengths_are_those_a_codec_has() {
        let lengths = |codec: AudioCodec| [0, 10, 25, 30, 50, 60, 200].map(|it| codec.ptime_ms(it));
        assert_eq!(lengths(AudioCodec::Pcmu), [10, 10, 20, 30, 50, 60, 60]);
        assert_eq!(lengths(AudioCodec::Opus), [10, 10, 20, 20, 40, 60, 60]);
        assert_eq!(lengths(AudioCodec::L16(SampleRate::Hz16000)), [10, 10, 20, 30, 40, 40, 40]);
    }
}
