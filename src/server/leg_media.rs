//! What offer and answer agreed on, in the words of the media session.

use crate::codec::AudioCodec;
use crate::dialog::offer_answer::{Codec, MediaDescription};
use crate::media::{Latching, RemoteMedia, TelephoneEventFormat};

/// The peer's side of a leg's media.
pub(crate) fn remote(description: &MediaDescription) -> RemoteMedia {
    RemoteMedia {
        rtp: description.rtp,
        rtcp: description.rtcp,
        latching: Latching::Exact,
        codec: match description.codec {
            Codec::Pcmu => AudioCodec::Pcmu,
            Codec::Pcma => AudioCodec::Pcma,
        },
        payload_type: description.payload_type,
        telephone_event: description
            .telephone_event
            .map(|(payload_type, clock_hz)| TelephoneEventFormat { payload_type, clock_hz }),
        send: description.send,
        receive: description.receive,
    }
}
