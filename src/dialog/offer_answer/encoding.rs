//! [`Encoding`]: what a payload type stands for; [`Numbers`]: which payload types stand for what in one session
//! (RFC 3264 §5.1, §8.3.2, RFC 3551 §6).

use crate::codec::AudioCodec;
use crate::sdp::Media;

/// What a payload type stands for, of what we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Audio.
    Audio(AudioCodec),
    /// RFC 3389, for codecs at 8 kHz.
    ComfortNoise,
    /// RFC 4733.
    Event {
        /// At which durations count.
        clock_hz: u32,
    },
}

/// Which payload types stand for what, in what we are sent. A number keeps its meaning for the whole session.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Vec<(u8, Option<Encoding>)>);

impl Encoding {
    /// By the rtpmap of `media`, else by the static table.
    pub(super) fn of(media: &Media, payload_type: u8) -> Option<Self> {
        let Some(map) = media.attributes.rtpmap(payload_type) else {
            return match payload_type {
                COMFORT_NOISE => Some(Self::ComfortNoise),
                _ => AudioCodec::from_static_payload_type(payload_type).map(Self::Audio),
            };
        };
        if map.channels == 1 && map.encoding.eq_ignore_ascii_case("telephone-event") {
            return Some(Self::Event { clock_hz: map.clock_hz });
        }
        if map.is("CN", 8_000) {
            return Some(Self::ComfortNoise);
        }
        // Peers that take RFC 3551 §4.5.2 for a mistake mean the same.
        let is_g722 = map.is(AudioCodec::G722.name(), 16_000);
        let clock_hz = if is_g722 { AudioCodec::G722.clock_hz() } else { map.clock_hz };
        let channels = Some(map.channels).filter(|it| *it > 1);
        AudioCodec::from_rtpmap(map.encoding, clock_hz, channels).map(Self::Audio)
    }

    /// Its rtpmap.
    pub(super) fn rtpmap(self) -> String {
        match self {
            Self::Audio(codec) if codec.channels() > 1 => {
                format!("{}/{}/{}", codec.name(), codec.clock_hz(), codec.channels())
            }
            Self::Audio(codec) => format!("{}/{}", codec.name(), codec.clock_hz()),
            Self::ComfortNoise => "CN/8000".to_owned(),
            Self::Event { clock_hz } => format!("telephone-event/{clock_hz}"),
        }
    }

    /// Its format parameters: what we take. `leaves_out_silence` lets the peer do so.
    pub(super) fn fmtp(self, leaves_out_silence: bool) -> Option<String> {
        match self {
            Self::Audio(AudioCodec::Opus) => {
                let dtx = if leaves_out_silence { ";usedtx=1" } else { "" };
                AudioCodec::Opus.fmtp().map(|it| format!("{it}{dtx}"))
            }
            Self::Audio(codec) => codec.fmtp().map(str::to_owned),
            Self::ComfortNoise => None,
            // The keys of a telephone.
            Self::Event { .. } => Some("0-15".to_owned()),
        }
    }

    const fn usual_number(self) -> u8 {
        match self {
            Self::Audio(codec) => codec.offered_payload_type(),
            Self::ComfortNoise => COMFORT_NOISE,
            Self::Event { clock_hz: 8_000 } => 101,
            Self::Event { clock_hz: 48_000 } => 102,
            Self::Event { .. } => 103,
        }
    }
}

impl Numbers {
    /// Takes over the numbers of the peer's offer: our answer names what it takes by the same. Of several for one encoding,
    /// the first is used.
    pub(super) fn learn(&mut self, media: &Media) {
        let mut learnt: Vec<_> = media.payload_types().map(|it| (it, Encoding::of(media, it))).collect();
        let is_unused = |it: &&(u8, _)| media.payload_types().all(|number| number != it.0);
        learnt.extend(self.0.iter().filter(is_unused).copied());
        learnt.truncate(NUMBERS_MAX);
        self.0 = learnt;
    }

    /// The number of `encoding`, chosen now if it has none.
    pub(super) fn assign(&mut self, encoding: Encoding) -> u8 {
        let number = self.number(encoding);
        if self.0.iter().all(|(it, _)| *it != number) {
            self.0.push((number, Some(encoding)));
        }
        number
    }

    /// The number of `encoding`: its own, the usual one if that is free, else one of the dynamic range.
    pub(super) fn number(&self, encoding: Encoding) -> u8 {
        if let Some((number, _)) = self.0.iter().find(|(_, it)| *it == Some(encoding)) {
            return *number;
        }
        let usual = encoding.usual_number();
        let is_free = |number: &u8| self.0.iter().all(|(it, _)| it != number);
        std::iter::once(usual).chain(96..=127).find(is_free).unwrap_or(usual)
    }
}

const COMFORT_NOISE: u8 = 13;
/// There are no more payload types; a peer may name one twice.
const NUMBERS_MAX: usize = 128;
