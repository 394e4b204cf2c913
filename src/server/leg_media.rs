//! What offer and answer agreed on, in the words of the media session.

use std::net::IpAddr;

use crate::codec::{AudioCodec, OpusSettings};
use crate::dialog::offer_answer::{Codec, MediaDescription};
use crate::media::{Latching, RemoteMedia, TelephoneEventFormat, host_behind_nat};

/// The peer's side of a leg's media. `signalling` is the host its SIP messages come from, where it may turn out to be if
/// it is behind a NAT.
pub(crate) fn remote(description: &MediaDescription, signalling: Option<IpAddr>) -> RemoteMedia {
    RemoteMedia {
        rtp: description.rtp,
        rtcp: description.rtcp,
        latching: signalling.map_or(Latching::Exact, |it| host_behind_nat(description.rtp.ip(), it)),
        codec: match description.codec {
            Codec::Pcmu => AudioCodec::Pcmu,
            Codec::Pcma => AudioCodec::Pcma,
        },
        payload_type: description.payload_type,
        received_payload_type: description.payload_type,
        ptime_ms: description.ptime_ms,
        opus: OpusSettings::default(),
        comfort_noise: None,
        telephone_event: description.telephone_event.map(|(payload_type, clock_hz)| TelephoneEventFormat {
            payload_type,
            received_payload_type: payload_type,
            clock_hz,
        }),
        send: description.send,
        receive: description.receive,
    }
}
