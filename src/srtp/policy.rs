//! [`SrtpPolicy`]: whether media are secured.

use std::fmt;

/// Whether media are secured by SRTP, with keys in session descriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SrtpPolicy {
    /// Never: offers of RTP/SAVP are refused.
    Off,
    /// If the peer offers it.
    #[default]
    Accepted,
    /// Offered as well, in a way that lets the peer leave it out.
    Preferred,
    /// Always: a peer that does not secure its media is refused.
    Required,
}

impl SrtpPolicy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Off, Self::Accepted, Self::Preferred, Self::Required];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Accepted => "accepted",
            Self::Preferred => "preferred",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for SrtpPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
