//! [`Unusable`]: why an offer or an answer cannot be used, as the peer is told (RFC 3261 §13.3.1.3, §20.43).

use crate::transport::refusal::Refusal;

/// Why an offer or an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// It is not a session description.
    #[error("Malformed Session Description")]
    Malformed,
    /// An answer does not fit its offer.
    #[error("Answer Does Not Match")]
    Mismatch,
    /// There is no audio stream in it.
    #[error("No audio stream")]
    NoAudio,
    /// Audio is carried in another way than plain RTP.
    #[error("Only RTP/AVP")]
    Transport,
    /// There is no codec in it that we take.
    #[error("No common codec")]
    Codec,
    /// Media are to be secured, and there is no key in it that we can use.
    #[error("No usable key for SRTP")]
    NoKey,
    /// Media are to be secured, and whoever reads the signalling would read the keys.
    #[error("Keys for SRTP over secure transports only")]
    KeysInTheClear,
    /// Its address is a name, of another family than ours, or one of many receivers.
    #[error("Unusable media address")]
    Address,
}

impl Unusable {
    /// The answer to a request with such a body.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => Refusal::BadRequest("Malformed Session Description"),
            Self::Mismatch => Refusal::BadRequest("Answer Does Not Match"),
            Self::NoAudio => Refusal::NotAcceptable(304, "No audio stream"),
            Self::Transport => Refusal::NotAcceptable(302, "Only RTP/AVP"),
            Self::NoKey => Refusal::NotAcceptable(302, "No usable key for SRTP"),
            Self::KeysInTheClear => Refusal::NotAcceptable(302, "Keys for SRTP over secure transports only"),
            Self::Codec => Refusal::NotAcceptable(305, "No common codec"),
            Self::Address => Refusal::NotAcceptable(301, "Unusable media address"),
        }
    }
}
