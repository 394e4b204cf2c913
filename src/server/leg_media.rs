//! What offer and answer agreed on, in the words of the media session.

use std::net::IpAddr;

use crate::dialog::offer_answer::MediaDescription;
use crate::media::{RemoteMedia, TelephoneEventFormat, host_behind_nat};

/// The peer's side of a leg's media. `signalling` is the host its SIP messages come from, where it may turn out to be if
/// it is behind a NAT.
pub(crate) fn remote(description: &MediaDescription, signalling: IpAddr) -> RemoteMedia {
    RemoteMedia {
        rtp: description.rtp,
        rtcp: description.rtcp,
        latching: host_behind_nat(description.rtp.ip(), signalling),
        codec: description.codec,
        payload_type: description.payload_type,
        received_payload_type: description.received_payload_type,
        ptime_ms: description.ptime_ms,
        opus: description.opus,
        comfort_noise: description.comfort_noise,
        telephone_event: description.telephone_event.map(|it| TelephoneEventFormat {
            payload_type: it.payload_type,
            received_payload_type: it.received_payload_type,
            clock_hz: it.clock_hz,
        }),
        send: description.send,
        receive: description.receive,
    }
}
