//! How a leg sounds, as a mean opinion score estimated by the E-model (ITU-T G.107), reduced to what is measured here.
//!
//! `R = 93.2 - Id - Ie,eff`, all other parameters at their defaults:
//! - `Id = 0.024 d + 0.11 (d - 177.3)` (the second term only above 177.3 ms), the usual approximation of the delay
//!   impairment of §7.3 without echo, for a mouth-to-ear delay `d` in milliseconds;
//! - `Ie,eff = Ie + (95 - Ie) Ppl / (Ppl + Bpl)` (§7.4) with losses taken to be random, `Ppl` in percent. `Ie` and `Bpl`
//!   are those of ITU-T G.113 Appendix I for G.711 with concealment (0 and 25.1). Codecs without values there are
//!   placed on the same narrow-band scale: G.722 and L16 conceal alike; Opus at 24 kbit/s conceals as well, and is taken
//!   to cost as much as a good low-rate codec;
//! - the score by Annex B.
//!
//! The scale ends at 4.41: wide band sounds better than that, and this does not say so.

use crate::codec::AudioCodec;

/// An estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// The rating factor R, 0 to 93.
    pub rating: u8,
    /// The mean opinion score in hundredths, 100 to 441; 0 if there is nothing to judge.
    pub mos_hundredths: u16,
}

impl Quality {
    /// Of audio of which `missing` packets of `expected` were not there when they were needed, `delay_ms` after it was
    /// said.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "brought into range first")]
    pub fn estimate(codec: AudioCodec, missing: u64, expected: u64, delay_ms: u32) -> Self {
        if expected == 0 {
            return Self::default();
        }
        let (impairment, robustness) = match codec {
            AudioCodec::Pcmu | AudioCodec::Pcma | AudioCodec::L16(_) | AudioCodec::G722 => (0.0, 25.1),
            AudioCodec::Opus => (5.0, 25.1),
        };
        let per_myriad = missing.min(expected).saturating_mul(10_000) / expected;
        let lost_percent = f64::from(u16::try_from(per_myriad).unwrap_or(10_000)) / 100.0;
        let delay = f64::from(delay_ms);
        let by_delay = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
        let by_loss = impairment + (95.0 - impairment) * lost_percent / (lost_percent + robustness);
        let rating = (93.2 - by_delay - by_loss).clamp(0.0, 93.2);
        let mos = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
        Self { rating: rating.round() as u8, mos_hundredths: (mos.max(1.0) * 100.0).round() as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_recommendation() {
        for (codec, missing, delay_ms, rating, mos) in [
            (AudioCodec::Pcmu, 0, 0, 93, 441),
            (AudioCodec::Pcmu, 0, 100, 91, 436),
            (AudioCodec::Pcmu, 0, 300, 73, 371),
            (AudioCodec::Pcmu, 10, 50, 88, 430),
            (AudioCodec::Pcmu, 50, 50, 76, 387),
            (AudioCodec::Pcmu, 200, 50, 50, 257),
            (AudioCodec::Opus, 0, 50, 87, 426),
            (AudioCodec::Pcmu, 5_000, 5_000, 0, 100),
        ] {
            let expected = Quality { rating, mos_hundredths: mos };
            assert_eq!(Quality::estimate(codec, missing, 1_000, delay_ms), expected, "{codec:?} {missing} {delay_ms}");
        }
        assert_eq!(Quality::estimate(AudioCodec::Pcmu, 5, 0, 0), Quality::default());
        let _: Quality = Quality::estimate(AudioCodec::G722, u64::MAX, u64::MAX, u32::MAX);
    }
}
