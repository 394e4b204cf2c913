//! Offer and answer: RFC 3264, for one audio stream of G.711 with RFC 4733 events.
//!
//! An answer has the streams of the offer, in their order; those we do not take have port 0. It names one codec, the
//! offerer's first that we know, so that nobody changes payload type in mid-stream, and only payload types of the offer.
//! The session identifier stays, and the version grows by one when the description changes.
//!
//! Deviations: a stream at port 0 in every line refuses the offer instead of leaving a session without media (§8.2);
//! host names in `c=` are not resolved, but refused.

use std::net::{IpAddr, SocketAddr};

use crate::sdp::{Connection, Direction, Media, SessionDescription};
use crate::transport::refusal::Refusal;

/// An audio codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// What our media sessions can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// In order of preference, for our own offers.
    pub codecs: Vec<Codec>,
    /// The payload type of telephone events in our own offers; none are exchanged if `None`.
    pub telephone_event: Option<u8>,
}

/// What offer and answer agreed on, as our media session needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaDescription {
    /// Where RTP goes. Unspecified while the peer holds us in the way of RFC 2543.
    pub rtp: SocketAddr,
    /// Where RTCP goes.
    pub rtcp: SocketAddr,
    /// The codec, both ways.
    pub codec: Codec,
    /// Its payload type, both ways.
    pub payload_type: u8,
    /// Payload type and clock of telephone events, both ways.
    pub telephone_event: Option<(u8, u32)>,
    /// How much audio a packet of ours holds: 20, 40 or 60 milliseconds.
    pub ptime_ms: u16,
    /// Whether we send.
    pub send: bool,
    /// Whether the peer sends.
    pub receive: bool,
}

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
    /// There is no codec in it that we know.
    #[error("Only PCMU and PCMA")]
    Codec,
    /// Its address is a name, of another family than ours, or one of many receivers.
    #[error("Unusable media address")]
    Address,
}

/// An offer of the peer that can be answered.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    description: SessionDescription,
    /// Which stream we take.
    index: usize,
    stream: Stream,
}

/// What the peer says about the stream we take.
#[derive(Clone, Copy, Debug)]
struct Stream {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    codec: Codec,
    payload_type: u8,
    telephone_event: Option<u8>,
    ptime_ms: u16,
    sends: bool,
    receives: bool,
}

/// Our side of the offers and answers of one dialog.
#[derive(Clone, Debug)]
pub(crate) struct Negotiation {
    capabilities: Capabilities,
    session_id: u64,
    version: u64,
    /// The address of our media session, as peers are told.
    local: SocketAddr,
    /// Whether we put the peer on hold.
    holds: bool,
    /// The streams of the last description, those we do not take at port 0, and which one we take.
    streams: Vec<Media>,
    index: usize,
    /// The last description of ours, its version left out.
    written: Option<String>,
}

impl Codec {
    /// The encoding name of RFC 3551 §6.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The static payload type of RFC 3551 §6.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { codecs: Codec::ALL.to_vec(), telephone_event: Some(101) }
    }
}

impl Unusable {
    /// The answer to a request with such a body.
    pub(crate) const fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => Refusal::BadRequest("Malformed Session Description"),
            Self::Mismatch => Refusal::BadRequest("Answer Does Not Match"),
            Self::NoAudio => Refusal::NotAcceptable(304, "No audio stream"),
            Self::Transport => Refusal::NotAcceptable(302, "Only RTP/AVP"),
            Self::Codec => Refusal::NotAcceptable(305, "Only PCMU and PCMA"),
            Self::Address => Refusal::NotAcceptable(301, "Unusable media address"),
        }
    }
}

impl Offer {
    /// Reads an offer that is to be answered from a media session at `local`.
    pub(crate) fn read(body: &[u8], capabilities: &Capabilities, local: IpAddr) -> Result<Self, Unusable> {
        let description = SessionDescription::parse(body).or(Err(Unusable::Malformed))?;
        let mut problem = Unusable::NoAudio;
        let mut found = None;
        for (index, media) in description.media.iter().enumerate() {
            match Stream::read(&description, media, capabilities, local) {
                Ok(stream) => {
                    found = Some((index, stream));
                    break;
                }
                // The reason of the stream that came closest is the one to tell.
                Err(reason) if reason != Unusable::NoAudio => problem = reason,
                Err(_no_audio) => (),
            }
        }
        let (index, stream) = found.ok_or(problem)?;
        Ok(Self { description, index, stream })
    }

    /// What our answer will agree to, if nobody holds the peer.
    pub(crate) fn media(&self) -> MediaDescription {
        self.stream.agreed(false)
    }
}

impl Negotiation {
    /// Nothing is offered yet. `session_id` is random.
    pub(crate) fn new(capabilities: Capabilities, session_id: u64, local: SocketAddr) -> Self {
        Self { capabilities, session_id, version: 0, local, holds: false, streams: vec![], index: 0, written: None }
    }

    /// Offers `codec` before the others, if it is one of ours: what the other leg of a call has needs no transcoding.
    pub(crate) fn prefer(&mut self, codec: Codec) {
        self.capabilities.codecs.sort_by_key(|it| *it != codec);
    }

    /// The address of our media session, without its port.
    pub(crate) const fn local_ip(&self) -> IpAddr {
        self.local.ip()
    }

    /// Takes note that `refused` was the last description sent: another one has a new version, the same one has not.
    pub(crate) fn remember(&mut self, refused: &Self) {
        self.version = refused.version;
        self.written.clone_from(&refused.written);
    }

    /// An offer that changes what is given, and our side if the peer agrees: whether we hold the peer, and where our media
    /// session is.
    pub(crate) fn changed(&self, holds: Option<bool>, local: Option<SocketAddr>) -> (Self, String) {
        let mut changed =
            Self { holds: holds.unwrap_or(self.holds), local: local.unwrap_or(self.local), ..self.clone() };
        let offer = changed.offer();
        (changed, offer)
    }

    /// The answer to `offer`, and what is agreed by it.
    pub(crate) fn answer(&mut self, offer: &Offer) -> (String, MediaDescription) {
        let agreed = offer.stream.agreed(self.holds);
        self.index = offer.index;
        self.streams = offer.description.media.iter().map(Media::refused).collect();
        let stream = &offer.stream;
        let codecs = [(stream.payload_type, stream.codec)];
        let direction = Direction::new(agreed.send, agreed.receive);
        self.write_stream(&codecs, stream.telephone_event, direction);
        (self.publish(&offer.description.timing), agreed)
    }

    /// An offer: everything we can do.
    pub(crate) fn offer(&mut self) -> String {
        if self.streams.is_empty() {
            self.streams.push(Media::new("audio", 0, "RTP/AVP", vec![]));
        }
        let codecs: Vec<_> = self.capabilities.codecs.iter().map(|it| (it.payload_type(), *it)).collect();
        self.write_stream(&codecs, self.capabilities.telephone_event, Direction::new(true, !self.holds));
        self.publish("0 0")
    }

    /// Takes the answer to our last offer.
    pub(crate) fn accept(&self, body: &[u8]) -> Result<MediaDescription, Unusable> {
        let description = SessionDescription::parse(body).or(Err(Unusable::Malformed))?;
        if description.media.len() != self.streams.len() {
            return Err(Unusable::Mismatch);
        }
        let (Some(media), Some(offered)) = (description.media.get(self.index), self.streams.get(self.index)) else {
            return Err(Unusable::Mismatch);
        };
        // An answer may name more than was offered; only what was offered counts (RFC 3264 §6.1).
        let mut media = media.clone();
        media.formats.retain(|it| offered.formats.contains(it));
        let stream = Stream::read(&description, &media, &self.capabilities, self.local.ip())?;
        Ok(stream.agreed(self.holds))
    }

    /// Writes the stream we take into its place.
    fn write_stream(&mut self, codecs: &[(u8, Codec)], telephone_event: Option<u8>, direction: Direction) {
        let Some(media) = self.streams.get_mut(self.index) else {
            return;
        };
        let payload_types = codecs.iter().map(|(it, _)| *it).chain(telephone_event);
        let protocol = media.protocol.clone();
        *media = Media::new("audio", self.local.port(), &protocol, payload_types.map(|it| it.to_string()).collect());
        for (payload_type, codec) in codecs {
            media.attributes.push("rtpmap", format_args!("{payload_type} {}/{CLOCK_HZ}", codec.name()));
        }
        if let Some(payload_type) = telephone_event {
            media.attributes.push("rtpmap", format_args!("{payload_type} telephone-event/{CLOCK_HZ}"));
            media.attributes.push("fmtp", format_args!("{payload_type} 0-15"));
        }
        media.attributes.push("ptime", PTIME_MS);
        media.attributes.set_direction(direction);
    }

    /// The whole description, with a new version if it is not the last one again (RFC 3264 §8).
    fn publish(&mut self, timing: &str) -> String {
        let mut description = SessionDescription::new(self.session_id, 0, self.local.ip());
        timing.clone_into(&mut description.timing);
        description.media.clone_from(&self.streams);
        let body = description.to_string();
        if self.written.as_ref() != Some(&body) {
            self.version += 1;
            self.written = Some(body);
        }
        description.origin.version = self.version.to_string();
        description.to_string()
    }
}

impl Stream {
    fn read(
        description: &SessionDescription,
        media: &Media,
        capabilities: &Capabilities,
        local: IpAddr,
    ) -> Result<Self, Unusable> {
        if !media.kind.eq_ignore_ascii_case("audio") || media.port == 0 {
            return Err(Unusable::NoAudio);
        }
        if !["RTP/AVP", "RTP/AVPF"].iter().any(|it| media.protocol.eq_ignore_ascii_case(it)) {
            return Err(Unusable::Transport);
        }
        let mut codecs = media.payload_types().filter_map(|it| Some((it, codec_of(media, it)?)));
        let codec = codecs.find(|(_, codec)| capabilities.codecs.contains(codec));
        let (payload_type, codec) = codec.ok_or(Unusable::Codec)?;
        let connection = description.connection_of(media).ok_or(Unusable::Address)?;
        let ip = media_ip(connection, local)?;
        let direction = description.direction_of(media);
        let rtcp = media.attributes.rtcp();
        let rtcp_ip = rtcp.as_ref().and_then(|it| it.connection.as_ref()).and_then(|it| media_ip(it, local).ok());
        let rtcp_port = rtcp.map_or_else(|| media.port.saturating_add(1), |it| it.port);
        Ok(Self {
            rtp: SocketAddr::new(ip, media.port),
            rtcp: SocketAddr::new(rtcp_ip.unwrap_or(ip), rtcp_port),
            codec,
            payload_type,
            telephone_event: capabilities.telephone_event.and_then(|_| telephone_event_of(media)),
            ptime_ms: ptime_ms(media),
            sends: direction.sends(),
            receives: direction.receives() && !ip.is_unspecified(),
        })
    }

    /// What we do on the stream, if we hold the peer or not (RFC 3264 §6.1).
    const fn agreed(&self, holds: bool) -> MediaDescription {
        MediaDescription {
            rtp: self.rtp,
            rtcp: self.rtcp,
            codec: self.codec,
            payload_type: self.payload_type,
            telephone_event: match self.telephone_event {
                Some(payload_type) => Some((payload_type, CLOCK_HZ)),
                None => None,
            },
            ptime_ms: self.ptime_ms,
            send: self.receives,
            receive: self.sends && !holds,
        }
    }
}

/// What a payload type stands for: by its rtpmap, else by the static table of RFC 3551 §6.
fn codec_of(media: &Media, payload_type: u8) -> Option<Codec> {
    match media.attributes.rtpmap(payload_type) {
        Some(map) => Codec::ALL.into_iter().find(|it| map.is(it.name(), CLOCK_HZ)),
        None => Codec::ALL.into_iter().find(|it| it.payload_type() == payload_type),
    }
}

/// RFC 4733 §2.5.1.2: events at the clock of the audio, if they are among the formats.
fn telephone_event_of(media: &Media) -> Option<u8> {
    media.payload_types().find(|it| media.attributes.rtpmap(*it).is_some_and(|it| it.is("telephone-event", CLOCK_HZ)))
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

/// The packet length the peer asks for, in whole frames of 20 ms.
fn ptime_ms(media: &Media) -> u16 {
    let wanted = media.attributes.ptime_ms().unwrap_or(PTIME_MS);
    let most = media.attributes.maxptime_ms().unwrap_or(PTIME_MS_MAX).min(PTIME_MS_MAX);
    (wanted.min(most) / PTIME_MS * PTIME_MS).max(PTIME_MS)
}

/// The clock of G.711 and of the events sent with it.
const CLOCK_HZ: u32 = 8_000;

/// The packet length we ask for.
const PTIME_MS: u16 = 20;

/// The longest packets we send.
const PTIME_MS_MAX: u16 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_the_first_codec_it_knows_and_the_events() {
        check(
            "c=IN IP4 192.0.2.9
             t=3034423619 3042462419
             m=audio 49170 RTP/AVP 18 8 0 97
             a=rtpmap:18 G729/8000
             a=rtpmap:97 telephone-event/8000
             a=ptime:30",
            "c=IN IP4 192.0.2.1
             t=3034423619 3042462419
             m=audio 20000 RTP/AVP 8 97
             a=rtpmap:8 PCMA/8000
             a=rtpmap:97 telephone-event/8000
             a=fmtp:97 0-15
             a=ptime:20
             a=sendrecv",
            "192.0.2.9:49170 192.0.2.9:49171 Pcma 8 Some((97, 8000)) 20 send receive",
        );
    }

    #[test]
    fn an_answer_has_every_stream_of_the_offer_in_its_place() {
        check(
            "c=IN IP4 192.0.2.9
             t=0 0
             m=video 5000 RTP/AVP 31
             m=audio 5002 RTP/SAVP 0
             m=audio 5004 RTP/AVPF 96 101
             a=rtpmap:96 pcmu/8000/1
             a=rtpmap:101 telephone-event/48000
             a=rtcp:6005 IN IP4 192.0.2.10
             m=audio 5006 RTP/AVP 0
             m=image 5008 udptl t38",
            "c=IN IP4 192.0.2.1
             t=0 0
             m=video 0 RTP/AVP 31
             m=audio 0 RTP/SAVP 0
             m=audio 20000 RTP/AVPF 96
             a=rtpmap:96 PCMU/8000
             a=ptime:20
             a=sendrecv
             m=audio 0 RTP/AVP 0
             m=image 0 udptl t38",
            "192.0.2.9:5004 192.0.2.10:6005 Pcmu 96 None 20 send receive",
        );
    }

    #[test]
    fn hold_is_answered_in_kind() {
        for (offered, answered, agreed) in [
            ("a=sendonly", "recvonly", "receive"),
            ("a=inactive", "inactive", ""),
            ("a=recvonly", "sendonly", "send"),
            ("a=sendrecv", "sendrecv", "send receive"),
        ] {
            check(
                &format!("c=IN IP4 192.0.2.9\nt=0 0\n{offered}\nm=audio 4000 RTP/AVP 0"),
                &format!(
                    "c=IN IP4 192.0.2.1\nt=0 0\nm=audio 20000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\na=ptime:20\na={answered}"
                ),
                format!("192.0.2.9:4000 192.0.2.9:4001 Pcmu 0 None 20 {agreed}").trim_end(),
            );
        }
        check(
            "c=IN IP4 0.0.0.0\nt=0 0\nm=audio 4000 RTP/AVP 0",
            "c=IN IP4 192.0.2.1\nt=0 0\nm=audio 20000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\na=ptime:20\na=recvonly",
            "0.0.0.0:4000 0.0.0.0:4001 Pcmu 0 None 20 receive",
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let check = |body: &str, expected: Unusable| {
            let found = Offer::read(&sdp(1, body), &Capabilities::default(), local().ip()).expect_err(body);
            assert_eq!(found, expected, "{body}");
        };
        check("c=IN IP4 192.0.2.9\nt=0 0", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=video 4000 RTP/AVP 31", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/SAVP 0\nm=video 1 RTP/AVP 31", Unusable::Transport);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 18", Unusable::Codec);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0\na=rtpmap:0 opus/48000/2", Unusable::Codec);
        check("c=IN IP4 host.example\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP4 224.0.0.1/127\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP4 255.255.255.255\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP6 2001:db8::9\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("t=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        let garbage = Offer::read(b"hello", &Capabilities::default(), local().ip());
        assert_eq!(garbage.err(), Some(Unusable::Malformed));
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        let offer = sdp(1, "c=IN IP6 ::ffff:192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0");
        let offer = Offer::read(&offer, &Capabilities::default(), local().ip()).expect("usable");
        assert_eq!(offer.media().rtp.to_string(), "192.0.2.9:4000");
    }

    #[test]
    fn the_version_grows_with_changes_only() {
        let mut ours = Negotiation::new(Capabilities::default(), 7, local());
        let sendrecv = sdp(1, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0");
        let sendonly = sdp(2, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0\na=sendonly");
        let mut versions = vec![];
        for body in [&sendrecv, &sendrecv, &sendonly, &sendonly, &sendrecv] {
            let offer = Offer::read(body, &Capabilities::default(), local().ip()).expect("usable");
            let (answer, _) = ours.answer(&offer);
            let origin = answer.lines().nth(1).expect("o=").to_owned();
            versions.push(origin);
        }
        let origin = |version| format!("o=- 7 {version} IN IP4 192.0.2.1");
        assert_eq!(versions, [origin(1), origin(1), origin(2), origin(2), origin(3)]);
    }

    #[test]
    fn our_offer_names_everything_and_keeps_refused_streams() {
        let mut ours = Negotiation::new(Capabilities::default(), 7, local());
        let offer = "v=0\no=- 7 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 20000 RTP/AVP 0 8 101\n\
            a=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\n\
            a=sendrecv\n";
        assert_eq!(ours.offer().replace("\r\n", "\n"), offer);
        let body = sdp(1, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0\nm=audio 4000 RTP/AVP 0");
        let offer = Offer::read(&body, &Capabilities::default(), local().ip()).expect("usable");
        ours.answer(&offer);
        let (_, again) = ours.changed(Some(true), None);
        let media: Vec<_> = again.lines().filter(|it| it.starts_with("m=") || it.starts_with("a=send")).collect();
        assert_eq!(media, ["m=audio 0 RTP/AVP 0", "m=audio 20000 RTP/AVP 0 8 101", "a=sendonly"]);
    }

    #[test]
    fn an_answer_must_fit_its_offer() {
        let mut ours = Negotiation::new(Capabilities::default(), 7, local());
        ours.offer();
        let check = |body: &str, expected: Result<&str, Unusable>| {
            let found = ours.accept(&sdp(1, body)).map(|it| show(&it));
            assert_eq!(found, expected.map(str::to_owned), "{body}");
        };
        let audio = "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP";
        check(&format!("{audio} 8"), Ok("192.0.2.9:4000 192.0.2.9:4001 Pcma 8 None 20 send receive"));
        check(
            &format!("{audio} 96 0 101\na=rtpmap:96 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=ptime:60"),
            Ok("192.0.2.9:4000 192.0.2.9:4001 Pcmu 0 Some((101, 8000)) 60 send receive"),
        );
        check(&format!("{audio} 0\na=sendonly"), Ok("192.0.2.9:4000 192.0.2.9:4001 Pcmu 0 None 20 receive"));
        check(&format!("{audio} 18"), Err(Unusable::Codec));
        check(&format!("{audio} 0\nm=video 0 RTP/AVP 31"), Err(Unusable::Mismatch));
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0", Err(Unusable::NoAudio));
        check("c=IN IP4 192.0.2.9\nt=0 0", Err(Unusable::Mismatch));
    }

    #[test]
    fn odd_packet_lengths_become_whole_frames() {
        for (lines, expected) in [
            ("", 20),
            ("\na=ptime:0", 20),
            ("\na=ptime:-20", 20),
            ("\na=ptime:2147483648", 20),
            ("\na=ptime:10", 20),
            ("\na=ptime:30", 20),
            ("\na=ptime:40", 40),
            ("\na=ptime:200", 60),
            ("\na=ptime:60\na=maxptime:40", 40),
            ("\na=ptime:60\na=maxptime:1", 20),
        ] {
            let body = sdp(1, &format!("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0{lines}"));
            let offer = Offer::read(&body, &Capabilities::default(), local().ip()).expect("usable");
            assert_eq!(offer.media().ptime_ms, expected, "{lines}");
        }
    }

    /// Answers an offer and compares the answer, from its `c=` on, and what is agreed.
    #[track_caller]
    fn check(offer: &str, answer: &str, agreed: &str) {
        let offer = Offer::read(&sdp(1, offer), &Capabilities::default(), local().ip()).expect("usable");
        let mut ours = Negotiation::new(Capabilities::default(), 7, local());
        let (body, media) = ours.answer(&offer);
        let found: Vec<_> = body.lines().skip(3).collect();
        let expected: Vec<_> = answer.lines().map(str::trim).collect();
        assert_eq!(found, expected);
        assert_eq!(show(&media), agreed);
    }

    fn show(it: &MediaDescription) -> String {
        let mut text = format!(
            "{} {} {:?} {} {:?} {}",
            it.rtp, it.rtcp, it.codec, it.payload_type, it.telephone_event, it.ptime_ms
        );
        for (flag, name) in [(it.send, " send"), (it.receive, " receive")] {
            text.push_str(if flag { name } else { "" });
        }
        text
    }

    fn sdp(version: u32, lines: &str) -> Vec<u8> {
        let lines: Vec<_> = lines.lines().map(str::trim).collect();
        format!("v=0\r\no=peer 1 {version} IN IP4 192.0.2.9\r\ns=-\r\n{}\r\n", lines.join("\r\n")).into_bytes()
    }

    fn local() -> SocketAddr {
        "192.0.2.1:20000".parse().expect("an address")
    }
}
