//! What the outside of an Opus packet (RFC 6716 §3) and the parameters of a peer's SDP (RFC 7587 §6.1) say.

/// How long a packet lasts, in samples at 48 kHz; 0 for an empty one, `u32::MAX` for one that cannot be.
pub(super) fn duration(packet: &[u8]) -> u32 {
    let Some((toc, rest)) = packet.split_first() else {
        return 0;
    };
    let config = toc >> 3;
    // Table 2: SILK frames of 10 to 60 ms, hybrid ones of 10 and 20, CELT ones of 2.5 to 20.
    let frame = match (config, config & 3) {
        (0..=11, 3) => 2_880,
        (0..=11, lengths) => 480 << lengths,
        (12..=15, lengths) => 480 << (lengths & 1),
        (_, lengths) => 120 << lengths,
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => match rest.first().map(|it| u32::from(it & 0x3f)) {
            None | Some(0) => return u32::MAX,
            Some(count) => count,
        },
    };
    let duration = frame * frames;
    // §3.2.5: no packet is longer than 120 ms.
    if duration > 5_760 { u32::MAX } else { duration }
}

/// How Opus is sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// Whether each packet repeats the one before it in few bits.
    pub forward_error_correction: bool,
    /// Whether packets of silence are left out.
    pub discontinuous: bool,
    /// Whether all packets are of one size.
    pub constant_bit_rate: bool,
    /// Whether the peer plays no more than 4 kHz of audio.
    pub narrow_band: bool,
    /// In bits a second.
    pub bit_rate: u32,
}

impl Default for OpusSettings {
    fn default() -> Self {
        Self {
            forward_error_correction: true,
            discontinuous: false,
            constant_bit_rate: false,
            narrow_band: false,
            bit_rate: 24_000,
        }
    }
}

impl OpusSettings {
    /// What the peer's format parameters ask for. What they leave out keeps the default of RFC 7587, what makes no sense
    /// is ignored.
    pub fn from_fmtp(fmtp: &str) -> Self {
        let mut settings = Self { forward_error_correction: false, ..Self::default() };
        for (name, value) in fmtp.split(';').filter_map(|it| it.split_once('=')) {
            let (name, value) = (name.trim(), value.trim());
            let number = value.parse::<u32>().ok();
            if name.eq_ignore_ascii_case("useinbandfec") {
                settings.forward_error_correction = number == Some(1);
            } else if name.eq_ignore_ascii_case("usedtx") {
                settings.discontinuous = number == Some(1);
            } else if name.eq_ignore_ascii_case("cbr") {
                settings.constant_bit_rate = number == Some(1);
            } else if name.eq_ignore_ascii_case("maxplaybackrate") {
                settings.narrow_band = number.is_some_and(|it| it < 12_000);
            } else if name.eq_ignore_ascii_case("maxaveragebitrate") {
                settings.bit_rate = number.map_or(settings.bit_rate, |it| it.clamp(6_000, settings.bit_rate));
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_table() {
        for (toc, expected) in [
            (0, 480),
            (1 << 3, 960),
            (2 << 3, 1_920),
            (3 << 3, 2_880),
            (9 << 3, 960),
            (12 << 3, 480),
            (15 << 3, 960),
            (16 << 3, 120),
            (31 << 3, 960),
            (31 << 3 | 1, 1_920),
            (3 << 3 | 2, 5_760),
        ] {
            assert_eq!(duration(&[toc]), expected, "{toc:#x}");
        }
        assert_eq!(duration(&[]), 0);
        assert_eq!(duration(&[9 << 3 | 3, 0x43]), 2_880);
        assert_eq!([&[3][..], &[3, 0], &[27, 63]].map(duration), [u32::MAX; 3]);
    }

    #[test]
    fn format_parameters_are_read_tolerantly() {
        let plain = OpusSettings { forward_error_correction: false, ..OpusSettings::default() };
        assert_eq!(OpusSettings::from_fmtp(""), plain);
        assert_eq!(OpusSettings::from_fmtp("stereo; usedtx=yes;=;;maxaveragebitrate=-1"), plain);
        let all = OpusSettings::from_fmtp("useInBandFec=1; usedtx=1;cbr=1 ;maxplaybackrate=8000;maxaveragebitrate=1");
        let expected = OpusSettings {
            forward_error_correction: true,
            discontinuous: true,
            constant_bit_rate: true,
            narrow_band: true,
            bit_rate: 6_000,
        };
        assert_eq!(all, expected);
        assert_eq!(OpusSettings::from_fmtp("maxaveragebitrate=510000").bit_rate, 24_000);
    }
}
