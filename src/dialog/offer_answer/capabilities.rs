//! [`Capabilities`]: what our media sessions can do, and what we prefer.

use std::sync::Arc;

use super::encoding::Encoding;
use super::security::SrtpTerms;
use crate::codec::{AudioCodec, SampleRate};
use crate::srtp::SrtpPolicy;
use crate::webrtc::Identity;

/// What our media sessions can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// In order of preference.
    pub codecs: Vec<AudioCodec>,
    /// Whose order decides on the codec of our answers.
    pub preference: Preference,
    /// How the keys that are pressed on our side are told.
    pub keys: Keys,
    /// Whether silence is left out both ways, with comfort noise in its place or with the means of Opus. What peers leave
    /// out unasked is understood in any case.
    pub comfort_noise: bool,
    /// How much audio we want packets to hold, in milliseconds.
    pub ptime_ms: u16,
    /// Whether media are secured.
    pub srtp: SrtpPolicy,
    /// Whether keys are told over signalling that others can read.
    pub srtp_keys_in_clear: bool,
    /// As whom browsers know us; without it, they are refused.
    pub browsers: Option<Arc<Identity>>,
}

/// Whose order decides on the codec of our answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The peer's, as RFC 3264 §6.1 recommends.
    #[default]
    Theirs,
    /// That of [`Capabilities::codecs`].
    Ours,
}

/// How the keys that are pressed on our side are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// As telephone events (RFC 4733) where the peer agrees on them, else as tones.
    #[default]
    Events,
    /// As tones in the audio.
    Tones,
    /// By INFO (`application/dtmf-relay`).
    Info,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            codecs: vec![AudioCodec::Opus, AudioCodec::G722, AudioCodec::Pcma, AudioCodec::Pcmu],
            preference: Preference::Theirs,
            keys: Keys::Events,
            comfort_noise: false,
            ptime_ms: 20,
            srtp: SrtpPolicy::default(),
            srtp_keys_in_clear: true,
            browsers: None,
        }
    }
}

impl Capabilities {
    /// The highest rate of the audio of these codecs.
    pub fn rate(&self) -> SampleRate {
        self.codecs.iter().map(|it| it.rate()).max().unwrap_or(SampleRate::Hz8000)
    }

    /// What holds for a session whose signalling is confidential or not.
    pub(crate) const fn srtp_terms(&self, is_confidential: bool) -> SrtpTerms {
        SrtpTerms { policy: self.srtp, may_tell_keys: is_confidential || self.srtp_keys_in_clear }
    }

    /// Everything that an offer of ours names: `first`, the other codecs, comfort noise for those at 8 kHz (RFC 3389 §4),
    /// and events at the clocks of all of them, those of most peers first (RFC 4733 §2.1).
    pub(super) fn encodings(&self, first: Option<AudioCodec>) -> Vec<Encoding> {
        let first = first.filter(|it| self.codecs.contains(it));
        let others = self.codecs.iter().copied().filter(|it| Some(*it) != first);
        let codecs: Vec<_> = first.into_iter().chain(others).collect();
        let mut clocks: Vec<_> = codecs.iter().map(|it| it.clock_hz()).collect();
        clocks.sort_unstable();
        clocks.dedup();
        let mut encodings: Vec<_> = codecs.into_iter().map(Encoding::Audio).collect();
        if self.comfort_noise && clocks.contains(&8_000) {
            encodings.push(Encoding::ComfortNoise);
        }
        if self.keys == Keys::Events {
            encodings.extend(clocks.into_iter().map(|clock_hz| Encoding::Event { clock_hz }));
        }
        encodings
    }
}
