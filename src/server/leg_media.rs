//! What offer and answer agreed on, in the words of the media session.

use std::net::IpAddr;

use crate::codec::AudioCodec;
use crate::dialog::offer_answer::MediaDescription;
use crate::media::{Browser, RemoteMedia, TelephoneEventFormat, host_behind_nat};
use crate::server::media_worker::Means;
use crate::webrtc::{Format, FormatKind};

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
        maxptime_ms: description.maxptime_ms,
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

/// How the packets of the leg are carried, and whether keys are left to signalling.
pub(crate) fn means(description: &MediaDescription, tells_keys: bool) -> Means {
    Means { keys: description.keys.clone(), browser: browser(description), tells_keys, is_another: false }
}

/// The browser that the peer is, if it is one. A codec that browsers do not have leaves only the events.
fn browser(description: &MediaDescription) -> Option<Box<Browser>> {
    let parameters = *description.webrtc.clone()?;
    let kind = match description.codec {
        AudioCodec::Opus => Some(FormatKind::Opus),
        AudioCodec::Pcmu => Some(FormatKind::Pcmu),
        AudioCodec::Pcma => Some(FormatKind::Pcma),
        AudioCodec::G722 => Some(FormatKind::G722),
        AudioCodec::L16(_) => None,
    };
    let clock_hz = description.codec.clock_hz();
    let audio = kind.map(|kind| Format { payload_type: description.payload_type, kind, clock_hz });
    let events = description.telephone_event.map(|it| Format {
        payload_type: it.payload_type,
        kind: FormatKind::Events,
        clock_hz: it.clock_hz,
    });
    let noise = description.comfort_noise.map(|payload_type| Format {
        payload_type,
        kind: FormatKind::ComfortNoise,
        clock_hz: 8_000,
    });
    let formats = audio.into_iter().chain(events).chain(noise).collect();
    Some(Box::new(Browser { parameters, formats }))
}
