//! What callers of a country hear while it rings, when the line is busy, and when the network is.
//!
//! Frequencies and cadences are those that administrations have reported in ITU-T E.180 Supplement 2 (2003), those of the
//! United Kingdom from BT's SIN 350; modulated tones are given by their carrier. Where a tone is described by more than
//! one cadence, the first is taken.

use super::generator::Piece;

/// The tones of a country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTones {
    /// ISO 3166-1, two capital letters.
    pub country: &'static str,
    /// It rings at the other end.
    pub ringback: &'static [Piece],
    /// The other end is engaged.
    pub busy: &'static [Piece],
    /// The network has no way to the other end.
    pub congestion: &'static [Piece],
}

impl CallTones {
    /// Those of a country, in any case of its two letters.
    pub fn of(country: &str) -> Option<&'static Self> {
        ALL.iter().find(|it| it.country.eq_ignore_ascii_case(country))
    }
}

/// All countries of the table.
pub const ALL: &[CallTones] = &[
    CallTones {
        country: "AT",
        ringback: &[Piece::tone(420, 1_000), Piece::silence(5_000)],
        busy: &[Piece::tone(420, 400), Piece::silence(400)],
        congestion: &[Piece::tone(420, 200), Piece::silence(200)],
    },
    CallTones {
        country: "AU",
        ringback: &[Piece::pair(413, 438, 400), Piece::silence(200), Piece::pair(413, 438, 400), Piece::silence(2_000)],
        busy: &[Piece::tone(425, 375), Piece::silence(375)],
        congestion: &[Piece::tone(425, 375), Piece::silence(375)],
    },
    CallTones {
        country: "BR",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 250), Piece::silence(250)],
        congestion: &[Piece::tone(425, 250), Piece::silence(250), Piece::tone(425, 750), Piece::silence(250)],
    },
    CallTones {
        country: "CA",
        ringback: &[Piece::pair(440, 480, 2_000), Piece::silence(4_000)],
        busy: &[Piece::pair(480, 620, 500), Piece::silence(500)],
        congestion: &[Piece::pair(480, 620, 250), Piece::silence(250)],
    },
    CallTones {
        country: "CH",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 500), Piece::silence(500)],
        congestion: &[Piece::tone(425, 200), Piece::silence(200)],
    },
    CallTones {
        country: "CN",
        ringback: &[Piece::tone(450, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(450, 350), Piece::silence(350)],
        congestion: &[Piece::tone(450, 700), Piece::silence(700)],
    },
    CallTones {
        country: "DE",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 480), Piece::silence(480)],
        congestion: &[Piece::tone(425, 240), Piece::silence(240)],
    },
    CallTones {
        country: "ES",
        ringback: &[Piece::tone(425, 1_500), Piece::silence(3_000)],
        busy: &[Piece::tone(425, 200), Piece::silence(200)],
        congestion: &[
            Piece::tone(425, 200),
            Piece::silence(200),
            Piece::tone(425, 200),
            Piece::silence(200),
            Piece::tone(425, 200),
            Piece::silence(600),
        ],
    },
    CallTones {
        country: "FR",
        ringback: &[Piece::tone(440, 1_500), Piece::silence(3_500)],
        busy: &[Piece::tone(440, 500), Piece::silence(500)],
        congestion: &[Piece::tone(440, 250), Piece::silence(250)],
    },
    CallTones {
        country: "GB",
        ringback: &[Piece::pair(400, 450, 400), Piece::silence(200), Piece::pair(400, 450, 400), Piece::silence(2_000)],
        busy: &[Piece::tone(400, 375), Piece::silence(375)],
        congestion: &[Piece::tone(400, 400), Piece::silence(350), Piece::tone(400, 225), Piece::silence(525)],
    },
    CallTones {
        country: "IT",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 500), Piece::silence(500)],
        congestion: &[Piece::tone(425, 200), Piece::silence(200)],
    },
    CallTones {
        country: "JP",
        ringback: &[Piece::tone(400, 1_000), Piece::silence(2_000)],
        busy: &[Piece::tone(400, 500), Piece::silence(500)],
        congestion: &[Piece::tone(400, 500), Piece::silence(500)],
    },
    CallTones {
        country: "MX",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 250), Piece::silence(250)],
        congestion: &[Piece::tone(425, 250), Piece::silence(250)],
    },
    CallTones {
        country: "NL",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 500), Piece::silence(500)],
        congestion: &[Piece::tone(425, 250), Piece::silence(250)],
    },
    CallTones {
        country: "PL",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(4_000)],
        busy: &[Piece::tone(425, 500), Piece::silence(500)],
        congestion: &[Piece::tone(425, 500), Piece::silence(500)],
    },
    CallTones {
        country: "SE",
        ringback: &[Piece::tone(425, 1_000), Piece::silence(5_000)],
        busy: &[Piece::tone(425, 250), Piece::silence(250)],
        congestion: &[Piece::tone(425, 250), Piece::silence(750)],
    },
    CallTones {
        country: "US",
        ringback: &[Piece::pair(440, 480, 2_000), Piece::silence(4_000)],
        busy: &[Piece::pair(480, 620, 500), Piece::silence(500)],
        congestion: &[Piece::pair(480, 620, 250), Piece::silence(250)],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_found_and_in_order() {
        assert!(ALL.is_sorted_by_key(|it| it.country));
        assert_eq!(CallTones::of("gb").map(|it| it.ringback.len()), Some(4));
        assert_eq!(CallTones::of("XX"), None);
    }
}
