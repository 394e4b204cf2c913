//! [`Stream`]: what the peer says about the one stream that we take, of an offer or of an answer (RFC 3264 §5.1, §6.1).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::browser::{TheirTransport, is_browser};
use super::encoding::{Encoding, Numbers};
use super::security::TheirLine;
use super::{Capabilities, MediaDescription, Preference, TelephoneEvents, Unusable};
use crate::codec::{AudioCodec, OpusSettings};
use crate::sdp::{Connection, Media, SessionDescription};
use crate::srtp::Keys;
use crate::webrtc::{IceCredentials, Identity, Parameters};

/// What the peer says about the stream we take.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    /// Whether RTP and RTCP may share a port.
    pub(super) is_muxed: bool,
    /// Its key, if it is secured.
    pub(super) line: Option<TheirLine>,
    /// Its transport, if the peer is a browser.
    pub(super) browser: Option<TheirTransport>,
    codec: AudioCodec,
    payload_type: u8,
    opus: OpusSettings,
    comfort_noise: Option<u8>,
    /// Payload type and clock.
    telephone_event: Option<(u8, u32)>,
    ptime_ms: u16,
    maxptime_ms: Option<u16>,
    sends: bool,
    receives: bool,
}

impl Stream {
    /// Reads `media` and chooses the codec. `line` is what it says about its security.
    pub(super) fn read(
        description: &SessionDescription,
        media: &Media,
        capabilities: &Capabilities,
        preference: Preference,
        local: IpAddr,
        line: impl FnOnce(&Media) -> Result<Option<TheirLine>, Unusable>,
    ) -> Result<Self, Unusable> {
        if !media.kind.eq_ignore_ascii_case("audio") || media.port == 0 {
            return Err(Unusable::NoAudio);
        }
        let is_known = is_browser(media) && capabilities.browsers.is_some();
        let browser = if is_known { TheirTransport::read(description, media) } else { None };
        let line = if browser.is_some() { None } else { line(media)? };
        let (payload_type, codec) = choose(media, capabilities, preference).ok_or(Unusable::Codec)?;
        let is_muxed = media.attributes.rtcp_mux() || browser.is_some();
        let rtp = if browser.is_some() {
            // Where a browser is comes out when it is there; this address is none.
            SocketAddr::new(local, DISCARD_PORT)
        } else {
            let connection = description.connection_of(media).ok_or(Unusable::Address)?;
            SocketAddr::new(media_ip(connection, local)?, media.port)
        };
        let ip = rtp.ip();
        let direction = description.direction_of(media);
        Ok(Self {
            rtp,
            rtcp: if is_muxed { rtp } else { rtcp(media, ip, local) },
            is_muxed,
            line,
            browser,
            codec,
            payload_type,
            opus: opus(media, payload_type, capabilities),
            comfort_noise: comfort_noise(media, codec).filter(|_| capabilities.comfort_noise),
            telephone_event: telephone_event(media, codec).filter(|_| capabilities.keys == super::Keys::Events),
            ptime_ms: ptime_ms(media, codec),
            maxptime_ms: media.attributes.maxptime_ms().map(|it| it.max(PTIME_MS_MIN)),
            sends: direction.sends(),
            receives: direction.receives() && !ip.is_unspecified(),
        })
    }

    /// What is agreed on, if we hold the peer or not and receive by `numbers` (RFC 3264 §6.1).
    pub(super) fn agreed(
        &self,
        holds: bool,
        numbers: &Numbers,
        keys: Option<Keys>,
        webrtc: Option<Parameters>,
    ) -> MediaDescription {
        MediaDescription {
            rtp: self.rtp,
            rtcp: self.rtcp,
            codec: self.codec,
            payload_type: self.payload_type,
            received_payload_type: numbers.number(Encoding::Audio(self.codec)),
            opus: self.opus,
            comfort_noise: self.comfort_noise,
            telephone_event: self.telephone_event.map(|(payload_type, clock_hz)| TelephoneEvents {
                payload_type,
                received_payload_type: numbers.number(Encoding::Event { clock_hz }),
                clock_hz,
            }),
            ptime_ms: self.ptime_ms,
            maxptime_ms: self.maxptime_ms,
            keys: keys.map(Box::new),
            webrtc: webrtc.map(Box::new),
            send: self.receives,
            receive: self.sends && !holds,
        }
    }

    /// The transport of a browser, that knows us by `ours`.
    pub(super) fn webrtc(&self, identity: &Arc<Identity>, ours: &IceCredentials) -> Option<Parameters> {
        let TheirTransport { credentials, fingerprint } = self.browser.clone()?;
        Some(Parameters {
            identity: Arc::clone(identity),
            ours: ours.clone(),
            theirs: credentials,
            their_fingerprint: fingerprint,
        })
    }

    /// What our answer names, by the numbers of the offer.
    pub(super) fn answered(&self) -> Vec<(u8, Encoding)> {
        let audio = (self.payload_type, Encoding::Audio(self.codec));
        let noise = self.comfort_noise.map(|it| (it, Encoding::ComfortNoise));
        let event = self.telephone_event.map(|(it, clock_hz)| (it, Encoding::Event { clock_hz }));
        [audio].into_iter().chain(noise).chain(event).collect()
    }
}

/// The codec, and the first payload type it has.
fn choose(media: &Media, capabilities: &Capabilities, preference: Preference) -> Option<(u8, AudioCodec)> {
    let audio = |it| match Encoding::of(media, it) {
        Some(Encoding::Audio(codec)) => Some((it, codec)),
        Some(Encoding::ComfortNoise | Encoding::Event { .. }) | None => None,
    };
    let mut theirs = media.payload_types().filter_map(audio);
    match preference {
        Preference::Theirs => theirs.find(|(_, codec)| capabilities.codecs.contains(codec)),
        Preference::Ours => {
            let theirs: Vec<_> = theirs.collect();
            capabilities.codecs.iter().find_map(|ours| theirs.iter().find(|(_, codec)| codec == ours).copied())
        }
    }
}

/// Where RTCP goes that has its own port (RFC 3605).
fn rtcp(media: &Media, ip: IpAddr, local: IpAddr) -> SocketAddr {
    let rtcp = media.attributes.rtcp();
    let own_ip = rtcp.as_ref().and_then(|it| it.connection.as_ref()).and_then(|it| media_ip(it, local).ok());
    let port = rtcp.map_or_else(|| media.port.saturating_add(1), |it| it.port);
    SocketAddr::new(own_ip.unwrap_or(ip), port)
}

/// How the peer wants Opus. Without parameters it has the defaults of RFC 7587 §6.1.
fn opus(media: &Media, payload_type: u8, capabilities: &Capabilities) -> OpusSettings {
    let mut settings = OpusSettings::from_fmtp(media.attributes.fmtp(payload_type).unwrap_or_default());
    settings.discontinuous &= capabilities.comfort_noise;
    settings
}

/// RFC 3389 §4: comfort noise belongs to codecs that leave no silence out themselves, at its own clock.
fn comfort_noise(media: &Media, codec: AudioCodec) -> Option<u8> {
    let is_for_it = codec.clock_hz() == 8_000;
    media.payload_types().find(|it| is_for_it && Encoding::of(media, *it) == Some(Encoding::ComfortNoise))
}

/// RFC 4733 §2.1: events at the clock of the audio; else those at 8 kHz, which many peers name whatever the codec.
fn telephone_event(media: &Media, codec: AudioCodec) -> Option<(u8, u32)> {
    [codec.clock_hz(), 8_000].into_iter().find_map(|clock_hz| {
        let is_event = |it: &u8| Encoding::of(media, *it) == Some(Encoding::Event { clock_hz });
        Some((media.payload_types().find(is_event)?, clock_hz))
    })
}

/// The packet length that the peer asks for, as far as the codec has it.
fn ptime_ms(media: &Media, codec: AudioCodec) -> u16 {
    let wanted = media.attributes.ptime_ms().unwrap_or(PTIME_MS);
    let most = media.attributes.maxptime_ms().unwrap_or(PTIME_MS_MAX);
    codec.ptime_ms(wanted.min(most).clamp(PTIME_MS_MIN, PTIME_MS_MAX))
}

/// Where media may be sent: one address, of the family of `local`.
fn media_ip(connection: &Connection, local: IpAddr) -> Result<IpAddr, Unusable> {
    let ip = connection.ip().ok_or(Unusable::Address)?.to_canonical();
    let is_many = ip.is_multicast() || matches!(ip, IpAddr::V4(it) if it.is_broadcast());
    let is_other_family = ip.is_ipv4() != local.to_canonical().is_ipv4();
    if is_many || (is_other_family && !ip.is_unspecified()) {
        return Err(Unusable::Address);
    }
    Ok(ip)
}

/// Of RFC 863, as descriptions without an address name it.
const DISCARD_PORT: u16 = 9;
/// What peers that ask for nothing get.
const PTIME_MS: u16 = 20;
/// The shortest packets we send.
const PTIME_MS_MIN: u16 = 10;
/// The longest packets we send.
const PTIME_MS_MAX: u16 = 60;
