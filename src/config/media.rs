//! `[media]`: which codecs calls may have, how audio is packed (RFC 3264 §5.1, §6.1), and whether it is secured
//! (RFC 4568).

use super::network::PortRange;
use super::reading::Section;
use crate::codec::AudioCodec;
use crate::srtp::SrtpPolicy;

/// `[media]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// `codecs`: those that calls may have, in order of preference.
    pub codecs: Vec<AudioCodec>,
    /// `prefer`: whether our order decides when we answer an offer, and not the peer's.
    pub prefers_ours: bool,
    /// `comfort_noise`: whether silence may be left out both ways.
    pub comfort_noise: bool,
    /// `ptime_ms`: how much audio we want packets to hold.
    pub ptime_ms: u16,
    /// `srtp`: whether media are secured.
    pub srtp: SrtpPolicy,
    /// `srtp_keys_in_clear`: whether keys are told over signalling that others can read.
    pub srtp_keys_in_clear: bool,
    /// `shared_port`: the RTP port that the legs of the first media thread share, if their trunks allow it; the next
    /// threads have the next pairs of ports.
    pub shared_port: Option<u16>,
}

impl Default for Media {
    fn default() -> Self {
        let codecs = vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcma, AudioCodec::Pcmu];
        Self {
            codecs,
            prefers_ours: false,
            comfort_noise: false,
            ptime_ms: 20,
            srtp: SrtpPolicy::default(),
            srtp_keys_in_clear: true,
            shared_port: None,
        }
    }
}

/// What `[trunks.NAME]` says otherwise than `[media]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkMedia {
    /// `codecs`
    pub codecs: Option<Vec<AudioCodec>>,
    /// `ptime_ms`
    pub ptime_ms: Option<u16>,
    /// `dtmf`: how keys are told.
    pub keys: Option<Keys>,
    /// `srtp`
    pub srtp: Option<SrtpPolicy>,
}

/// `dtmf`: how keys are told to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// As telephone events.
    Events,
    /// As tones in the audio.
    Tones,
    /// By INFO.
    Info,
}

impl Keys {
    const ALL: [Self; 3] = [Self::Events, Self::Tones, Self::Info];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Tones => "tones",
            Self::Info => "info",
        }
    }
}

impl TrunkMedia {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let keys = section.parsed("dtmf", |text| {
            let known = Keys::ALL.into_iter().find(|it| it.name() == text);
            known.ok_or_else(|| "expected events, tones or info".to_owned())
        });
        Self { codecs: read_codecs(section), ptime_ms: read_ptime(section), keys, srtp: read_srtp(section) }
    }
}

fn read_codecs(section: &Section<'_>) -> Option<Vec<AudioCodec>> {
    let codecs = section.list("codecs", |key| AudioCodec::from_key(key).ok_or_else(expected_codec)).map(distinct);
    if codecs.as_ref().is_some_and(Vec::is_empty) {
        section.complain("codecs", "a call needs at least one codec");
    }
    codecs
}

fn read_ptime(section: &Section<'_>) -> Option<u16> {
    let ptime_ms = section.number("ptime_ms", 10..=60).and_then(|it| u16::try_from(it).ok());
    if ptime_ms.is_some_and(|it| it % 10 != 0) {
        section.complain("ptime_ms", "expected 10, 20, 30, 40, 50 or 60");
    }
    ptime_ms
}

fn read_srtp(section: &Section<'_>) -> Option<SrtpPolicy> {
    section.parsed("srtp", |text| {
        let policy = SrtpPolicy::ALL.into_iter().find(|it| it.as_str() == text);
        policy.ok_or_else(|| "expected off, accepted, preferred or required".to_owned())
    })
}

impl Media {
    pub(super) fn read(section: &Section<'_>, ports: &PortRange) -> Self {
        let defaults = Self::default();
        let codecs = read_codecs(section);
        let prefers_ours = section.parsed("prefer", |text| match text {
            "theirs" => Ok(false),
            "ours" => Ok(true),
            _ => Err("expected theirs or ours".to_owned()),
        });
        let ptime_ms = read_ptime(section);
        let srtp = read_srtp(section);
        let srtp_keys_in_clear = section.boolean("srtp_keys_in_clear");
        let shared_port = section.number("shared_port", 1_024..=65_534).and_then(|it| u16::try_from(it).ok());
        if let Some(port) = shared_port
            && (port % 2 != 0 || (ports.first..=ports.last).contains(&port))
        {
            section.complain("shared_port", "expected an even port outside of `ports` of [rtp]");
        }
        Self {
            shared_port,
            srtp: srtp.unwrap_or_default(),
            srtp_keys_in_clear: srtp_keys_in_clear.unwrap_or(defaults.srtp_keys_in_clear),
            codecs: codecs.unwrap_or(defaults.codecs),
            prefers_ours: prefers_ours.unwrap_or(defaults.prefers_ours),
            comfort_noise: section.boolean("comfort_noise").unwrap_or(defaults.comfort_noise),
            ptime_ms: ptime_ms.unwrap_or(defaults.ptime_ms),
        }
    }
}

/// A codec named twice counts where it is named first.
fn distinct(codecs: Vec<AudioCodec>) -> Vec<AudioCodec> {
    let mut distinct = vec![];
    for codec in codecs {
        if !distinct.contains(&codec) {
            distinct.push(codec);
        }
    }
    distinct
}

fn expected_codec() -> String {
    let known: Vec<_> = AudioCodec::ALL.iter().map(|it| it.key()).collect();
    format!("expected one of {}", known.join(", "))
}
