//! Offer and answer: RFC 3264 and 6337, for one audio stream with RFC 4733 events and RFC 3389 comfort noise.
//!
//! An answer has the streams of the offer, in their order; those we do not take have port 0. It names one codec, so that
//! nobody changes payload type in mid-stream, by the payload types of the offer. An offer names every codec that we take.
//! What a payload type means does not change within a session. The session identifier stays, and the version grows by one
//! when the description changes.
//!
//! Deviations: a stream at port 0 in every line refuses the offer instead of leaving a session without media (§8.2);
//! host names in `c=` are not resolved, but refused; events at 8 kHz are taken beside a codec of another clock, if there
//! are no others.

mod browser;
mod capabilities;
mod encoding;
mod media_description;
mod security;
mod stream;
mod unusable;

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;

pub use self::capabilities::{Capabilities, Keys, Preference};
use self::encoding::{Encoding, Numbers};
pub use self::media_description::{MediaDescription, TelephoneEvents};
use self::security::OurLines;
pub(crate) use self::security::SrtpTerms;
use self::stream::Stream;
pub(crate) use self::unusable::Unusable;
use crate::codec::AudioCodec;
use crate::sdp::{Direction, Media, SessionDescription};
use crate::srtp::{Keys as SrtpKeys, MasterKey};
use crate::webrtc::{IceCredentials, Identity, Parameters};

/// An offer of the peer that can be answered.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    description: SessionDescription,
    /// Which stream we take.
    index: usize,
    stream: Stream,
    /// Our key, if the stream is secured: used unless we have one for its suite already.
    fresh_key: Option<MasterKey>,
    /// Our ICE credentials, if the peer is a browser: used unless it has been given some already.
    fresh_credentials: Option<IceCredentials>,
    identity: Option<Arc<Identity>>,
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
    numbers: Numbers,
    /// The codec of our last answer: our offers name it first, so that a hold does not change it.
    codec: Option<AudioCodec>,
    terms: SrtpTerms,
    ours: OurLines,
    /// What a browser knows us by.
    credentials: Option<IceCredentials>,
    /// What we know it by.
    theirs: Option<IceCredentials>,
    /// The last description of ours, its version left out, as its hash: there are keys in the text.
    written: Option<u64>,
}

impl Offer {
    /// Reads an offer that is to be answered from a media session at `local`. Of several streams, the first one that is
    /// secured is taken, else the first.
    pub(crate) fn read(
        body: &[u8],
        capabilities: &Capabilities,
        terms: SrtpTerms,
        local: IpAddr,
        rng: &mut ChaCha12Rng,
    ) -> Result<Self, Unusable> {
        let description = SessionDescription::parse(body).or(Err(Unusable::Malformed))?;
        let mut problem = Unusable::NoAudio;
        let mut found: Option<(usize, Stream)> = None;
        for (index, media) in description.media.iter().enumerate() {
            match Stream::read(&description, media, capabilities, capabilities.preference, local, |it| terms.choose(it))
            {
                Ok(stream) => {
                    let is_better = found.as_ref().is_none_or(|(_, it)| it.line.is_none() && stream.line.is_some());
                    if is_better {
                        found = Some((index, stream));
                    }
                }
                // The reason of the stream that came closest is the one to tell.
                Err(reason) if reason != Unusable::NoAudio => problem = reason,
                Err(_no_audio) => (),
            }
        }
        let (index, stream) = found.ok_or(problem)?;
        let fresh_key = stream.line.as_ref().map(|it| MasterKey::random(it.suite(), rng));
        let fresh_credentials = stream.browser.as_ref().map(|_| IceCredentials::random(rng));
        Ok(Self { description, index, stream, fresh_key, fresh_credentials, identity: capabilities.browsers.clone() })
    }

    /// What our answer will agree to, if nobody holds the peer.
    pub(crate) fn media(&self) -> MediaDescription {
        let (keys, webrtc) = (self.keys(&OurLines::default()), self.webrtc(None));
        self.stream.agreed(false, &self.numbers(&Numbers::default()), keys, webrtc)
    }

    /// The transport of a browser: what it knows us by stays.
    fn webrtc(&self, ours: Option<&IceCredentials>) -> Option<Parameters> {
        self.stream.webrtc(self.identity.as_ref()?, ours.or(self.fresh_credentials.as_ref())?)
    }

    /// The keys of the stream, if it is secured: a suite that we have a key for keeps it.
    fn keys(&self, ours: &OurLines) -> Option<SrtpKeys> {
        let line = self.stream.line.as_ref()?;
        let key = ours.of_suite(line.suite()).or(self.fresh_key.as_ref())?;
        Some(line.with(key.clone()))
    }

    fn numbers(&self, before: &Numbers) -> Numbers {
        let mut numbers = before.clone();
        if let Some(media) = self.description.media.get(self.index) {
            numbers.learn(media);
        }
        numbers
    }
}

impl Negotiation {
    /// Nothing is offered yet. `session_id` is random; a peer that `is_browser` is offered what those take, if we can.
    pub(crate) fn new(
        capabilities: Capabilities,
        terms: SrtpTerms,
        session_id: u64,
        local: SocketAddr,
        is_browser: bool,
        rng: &mut ChaCha12Rng,
    ) -> Self {
        let is_browser = is_browser && capabilities.browsers.is_some();
        Self {
            capabilities,
            terms,
            ours: if is_browser { OurLines::default() } else { OurLines::new(terms, rng) },
            credentials: is_browser.then(|| IceCredentials::random(rng)),
            theirs: None,
            session_id,
            version: 0,
            local,
            holds: false,
            streams: vec![],
            index: 0,
            numbers: Numbers::default(),
            codec: None,
            written: None,
        }
    }

    /// Offers `codec` before the others, if it is one of ours: what the other leg of a call has needs no transcoding.
    pub(crate) fn prefer(&mut self, codec: AudioCodec) {
        self.codec = Some(codec).filter(|it| self.capabilities.codecs.contains(it));
    }

    /// The address of our media session, without its port.
    pub(crate) const fn local_ip(&self) -> IpAddr {
        self.local.ip()
    }

    /// What our media session can do.
    pub(crate) const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether peers are told this already: that they are held or not, and where our media session is.
    pub(crate) fn tells(&self, holds: Option<bool>, local: Option<SocketAddr>) -> bool {
        holds.is_none_or(|it| it == self.holds) && local.is_none_or(|it| it == self.local)
    }

    /// What holds for securing our media.
    pub(crate) const fn srtp_terms(&self) -> SrtpTerms {
        self.terms
    }

    /// Takes note that `refused` was the last description sent: another one has a new version, the same one has not.
    pub(crate) fn remember(&mut self, refused: &Self) {
        self.version = refused.version;
        self.written = refused.written;
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
        self.numbers = offer.numbers(&self.numbers);
        // Before our first description nothing has been said, and the media session may run on the offer's keys already.
        let before = if self.written.is_some() { std::mem::take(&mut self.ours) } else { OurLines::default() };
        let keys = offer.keys(&before);
        let line = offer.stream.line.as_ref().zip(keys.as_ref());
        self.ours = line.map_or_else(OurLines::default, |(line, keys)| OurLines::answer(line.tag(), keys.ours.clone()));
        let webrtc = offer.webrtc(self.credentials_before(offer));
        self.credentials = webrtc.as_ref().map(|it| it.ours.clone());
        self.theirs = webrtc.as_ref().map(|it| it.theirs.clone());
        let agreed = offer.stream.agreed(self.holds, &self.numbers, keys, webrtc);
        self.codec = Some(agreed.codec);
        self.index = offer.index;
        self.streams = offer.description.media.iter().map(Media::refused).collect();
        let offered = offer.description.media.get(offer.index).map(|it| &it.attributes);
        let mid = offered.and_then(|it| it.get("mid"));
        let direction = Direction::new(agreed.send, agreed.receive);
        self.write_stream(&offer.stream.answered(), direction, offer.stream.is_muxed, mid, false);
        (self.publish(&offer.description.timing), agreed)
    }

    /// What the browser that makes `offer` knows us by already. One that has new credentials restarts ICE, and gets new ones
    /// (RFC 8839 §4.4.1.1.1).
    fn credentials_before(&self, offer: &Offer) -> Option<&IceCredentials> {
        let theirs = offer.stream.browser.as_ref().map(|it| &it.credentials);
        self.credentials.as_ref().filter(|_| self.written.is_some() && self.theirs.as_ref() == theirs)
    }

    /// An offer: everything we can do.
    pub(crate) fn offer(&mut self) -> String {
        if self.streams.is_empty() {
            let is_browser = self.credentials.is_some();
            let protocol = if is_browser { browser::PROTOCOL } else { self.terms.protocol() };
            let mut stream = Media::new("audio", 0, protocol, String::new());
            if is_browser {
                stream.attributes.push("mid", browser::MID);
            }
            self.streams.push(stream);
        }
        let encodings = self.capabilities.encodings(self.codec);
        let formats: Vec<_> = encodings.into_iter().map(|it| (self.numbers.assign(it), it)).collect();
        let mid = self.streams.get(self.index).and_then(|it| it.attributes.get("mid")).map(str::to_owned);
        self.write_stream(&formats, Direction::new(true, !self.holds), true, mid.as_deref(), true);
        self.publish("0 0")
    }

    /// Takes the answer to our last offer. It may name more than was offered, of which nothing counts (RFC 3264 §6.1), and
    /// by other payload types.
    pub(crate) fn accept(&mut self, body: &[u8]) -> Result<MediaDescription, Unusable> {
        let description = SessionDescription::parse(body).or(Err(Unusable::Malformed))?;
        if description.media.len() != self.streams.len() {
            return Err(Unusable::Mismatch);
        }
        let media = description.media.get(self.index).ok_or(Unusable::Mismatch)?;
        let line = |it: &Media| self.terms.match_answer(it, &self.ours);
        let stream = Stream::read(&description, media, &self.capabilities, Preference::Theirs, self.local.ip(), line)?;
        let keys = stream.line.as_ref().and_then(|it| Some(it.with(self.ours.key(it.tag(), it.suite())?.clone())));
        let offered = self.streams.get(self.index).ok_or(Unusable::Mismatch)?;
        // RFC 4568 §5.1.3: what was offered with RTP/SAVP is not to be had without keys.
        if keys.is_none() && offered.protocol.starts_with("RTP/S") {
            return Err(Unusable::NoKey);
        }
        if stream.browser.is_some() != self.credentials.is_some() {
            return Err(Unusable::Transport);
        }
        let webrtc = self.credentials.as_ref().zip(self.capabilities.browsers.as_ref());
        let webrtc = webrtc.and_then(|(ours, identity)| stream.webrtc(identity, ours));
        self.theirs = webrtc.as_ref().map(|it| it.theirs.clone());
        Ok(stream.agreed(self.holds, &self.numbers, keys, webrtc))
    }

    /// Writes the stream we take into its place.
    fn write_stream(
        &mut self,
        formats: &[(u8, Encoding)],
        direction: Direction,
        is_muxed: bool,
        mid: Option<&str>,
        is_offer: bool,
    ) {
        let Some(media) = self.streams.get_mut(self.index) else {
            return;
        };
        let mut payload_types = String::new();
        for (payload_type, _) in formats {
            let separator = if payload_types.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _written = write!(payload_types, "{separator}{payload_type}");
        }
        let protocol = std::mem::take(&mut media.protocol);
        *media = Media::new("audio", self.local.port(), &protocol, payload_types);
        for (payload_type, encoding) in formats {
            media.attributes.push("rtpmap", format_args!("{payload_type} {}", encoding.rtpmap()));
            if let Some(fmtp) = encoding.fmtp(self.capabilities.comfort_noise) {
                media.attributes.push("fmtp", format_args!("{payload_type} {fmtp}"));
            }
        }
        self.ours.write(media);
        if let (Some(identity), Some(credentials)) = (&self.capabilities.browsers, &self.credentials) {
            browser::write(media, identity, credentials, self.local, is_offer);
        }
        media.attributes.push("ptime", self.capabilities.ptime_ms);
        media.attributes.set_direction(direction);
        if is_muxed {
            media.attributes.flag("rtcp-mux");
        }
        if let Some(mid) = mid {
            media.attributes.push("mid", mid);
        }
    }

    /// The whole description, with a new version if it is not the last one again (RFC 3264 §8).
    fn publish(&mut self, timing: &str) -> String {
        let mut description = SessionDescription::new(self.session_id, 0, self.local.ip());
        timing.clone_into(&mut description.timing);
        description.media = std::mem::take(&mut self.streams);
        if self.credentials.is_some() {
            browser::write_session(&mut description, self.index);
        }
        let mut hashed = Hashed(foldhash::fast::FixedState::default().build_hasher());
        // Hashing does not fail, nor does writing to a string.
        let _hashed = write!(hashed, "{description}");
        let written = hashed.0.finish();
        if self.written != Some(written) {
            self.version += 1;
            self.written = Some(written);
        }
        description.origin.version = self.version.to_string();
        let mut text = String::with_capacity(DESCRIPTION_BYTES);
        let _written = write!(text, "{description}");
        self.streams = description.media;
        text
    }
}

/// What is written, hashed.
struct Hashed<H>(H);

impl<H: Hasher> fmt::Write for Hashed<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// What a description of ours takes, most of the time.
const DESCRIPTION_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::codec::{OpusSettings, SampleRate};
    use crate::srtp::SrtpPolicy;

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
            "192.0.2.9:49170 PCMA/8000 8 events 97/8000 30 ms send receive",
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
            "192.0.2.9:5004 PCMU/8000 96 rtcp 192.0.2.10:6005 send receive",
        );
    }

    /// The stream of an offer, lines separated by bars, and that of the answer to it from its formats on: without the
    /// static rtpmaps, the range of the events and the usual ptime and direction; then what is agreed.
    const ANSWERS: &[(&str, &str, &str)] = &[
        // The codecs one by one.
        ("0", "0", "PCMU/8000 0"),
        ("8", "8", "PCMA/8000 8"),
        ("9", "9", "G722/16000 9"),
        ("9|rtpmap:9 G722/8000/1", "9", "G722/16000 9"),
        ("9|rtpmap:9 G722/16000", "9", "G722/16000 9"),
        ("96|rtpmap:96 G722/8000", "96|rtpmap:96 G722/8000", "G722/16000 96"),
        ("111|rtpmap:111 opus/48000/2", "111|rtpmap:111 opus/48000/2|OPUS 111", "opus 111"),
        ("111|rtpmap:111 OPUS/48000", "111|rtpmap:111 opus/48000/2|OPUS 111", "opus 111"),
        ("111|rtpmap:111 opus/48000/1", "111|rtpmap:111 opus/48000/2|OPUS 111", "opus 111"),
        ("97|rtpmap:97 L16/16000", "97|rtpmap:97 L16/16000", "L16/16000 97"),
        ("98|rtpmap:98 l16/8000/1", "98|rtpmap:98 L16/8000", "L16/8000 98"),
        // What the peer puts first is taken, whatever comes before that we do not know.
        ("18 3 4 8 0", "8", "PCMA/8000 8"),
        ("0 9 111|rtpmap:111 opus/48000/2", "0", "PCMU/8000 0"),
        ("98 0|rtpmap:98 AMR-WB/16000", "0", "PCMU/8000 0"),
        // Odd ways of writing it.
        ("0 8|rtpmap:0 pcmu/8000", "0", "PCMU/8000 0"),
        ("0|rtpmap:0 PCMU", "0", "PCMU/8000 0"),
        ("0|rtpmap: 0  PCMU/8000 ", "0", "PCMU/8000 0"),
        ("96 0|rtpmap:96 opus/48000/3", "0", "PCMU/8000 0"),
        ("96 0|rtpmap:96 PCMU/16000", "0", "PCMU/8000 0"),
        ("0 0 0", "0", "PCMU/8000 0"),
        ("300 0", "0", "PCMU/8000 0"),
        ("128 -1 x 0", "0", "PCMU/8000 0"),
        ("8 96|rtpmap:8 PCMU/8000", "8|rtpmap:8 PCMU/8000", "PCMU/8000 8"),
        // Opus and its parameters.
        ("96|rtpmap:96 opus/48000/2|fmtp:96 useinbandfec=1", "96|rtpmap:96 opus/48000/2|OPUS 96", "opus+fec 96"),
        (
            "96|rtpmap:96 opus/48000/2|fmtp:96 minptime=10; useinbandfec=1;usedtx=1;cbr=1;maxplaybackrate=8000;stereo=1",
            "96|rtpmap:96 opus/48000/2|OPUS 96",
            "opus+fec+cbr+narrow 96",
        ),
        ("96|rtpmap:96 opus/48000/2|ptime:30", "96|rtpmap:96 opus/48000/2|OPUS 96", "opus 96"),
        ("96|rtpmap:96 opus/48000/2|ptime:60", "96|rtpmap:96 opus/48000/2|OPUS 96", "opus 96 60 ms"),
        // Events.
        ("0 101|rtpmap:101 telephone-event/8000", "0 101|EVENT 101 8000", "PCMU/8000 0 events 101/8000"),
        (
            "0 101|rtpmap:101 Telephone-Event/8000/1|fmtp:101 0-11,16",
            "0 101|EVENT 101 8000",
            "PCMU/8000 0 events 101/8000",
        ),
        ("0 101", "0", "PCMU/8000 0"),
        ("0 101|rtpmap:101 telephone-event/48000", "0", "PCMU/8000 0"),
        (
            "96 101 102|rtpmap:96 opus/48000/2|rtpmap:101 telephone-event/8000|rtpmap:102 telephone-event/48000",
            "96 102|rtpmap:96 opus/48000/2|OPUS 96|EVENT 102 48000",
            "opus 96 events 102/48000",
        ),
        (
            "96 101|rtpmap:96 opus/48000/2|rtpmap:101 telephone-event/8000",
            "96 101|rtpmap:96 opus/48000/2|OPUS 96|EVENT 101 8000",
            "opus 96 events 101/8000",
        ),
        ("9 110|rtpmap:110 telephone-event/8000", "9 110|EVENT 110 8000", "G722/16000 9 events 110/8000"),
        // Comfort noise is not agreed on unless it is wanted.
        ("0 13", "0", "PCMU/8000 0"),
        // Packets and ports.
        ("0|ptime:10", "0", "PCMU/8000 0 10 ms"),
        ("0|ptime:50", "0", "PCMU/8000 0 50 ms"),
        ("0|maxptime:20|ptime:40", "0", "PCMU/8000 0"),
        ("97|rtpmap:97 L16/16000|ptime:60", "97|rtpmap:97 L16/16000", "L16/16000 97 40 ms"),
        ("0|rtcp:4010", "0", "PCMU/8000 0 rtcp 192.0.2.9:4010"),
        ("0|rtcp-mux", "0|rtcp-mux", "PCMU/8000 0 rtcp 192.0.2.9:4000"),
        ("0|rtcp:4001|rtcp-mux|mid:0", "0|rtcp-mux|mid:0", "PCMU/8000 0 rtcp 192.0.2.9:4000"),
        ("0|crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", "0", "PCMU/8000 0"),
        ("0|setup:actpass|candidate:1 1 udp 1 192.0.2.7 4 typ host", "0", "PCMU/8000 0"),
    ];

    #[test]
    fn offers_have_their_answers() {
        let all = Capabilities { codecs: AudioCodec::ALL.to_vec(), srtp: SrtpPolicy::Off, ..Capabilities::default() };
        for (offered, answered, agreed) in ANSWERS {
            let offered = format!("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP {}", offered.replace('|', "\na="));
            let offer = read(&sdp(1, &offered), &all).expect(&offered);
            let (answer, media) = our_side(all.clone()).answer(&offer);
            assert_eq!(short(&answer), *answered, "{offered}");
            let agreed = format!("192.0.2.9:4000 {agreed}");
            let found = show(&media).replace(" send receive", "");
            assert_eq!(words(&found), words(&agreed), "{offered}");
        }
    }

    #[test]
    fn our_preference_can_go_before_theirs() {
        let ours = Capabilities { preference: Preference::Ours, ..Capabilities::default() };
        let check = |capabilities: &Capabilities, formats: &str, expected: &str| {
            let body = sdp(1, &format!("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP {formats}"));
            let offer = read(&body, capabilities).expect(formats);
            let (answer, _) = our_side(capabilities.clone()).answer(&offer);
            assert_eq!(short(&answer), expected);
        };
        check(&ours, "0 8 9", "9");
        check(&ours, "0 8", "8");
        let silent = Capabilities { comfort_noise: true, ..ours };
        check(&silent, "0 13", "0 13|rtpmap:13 CN/8000");
        check(&silent, "0 97\na=rtpmap:97 CN/16000", "0");
        let opus = "96 13\na=rtpmap:96 opus/48000/2\na=fmtp:96 usedtx=1";
        check(&silent, opus, "96|rtpmap:96 opus/48000/2|OPUS 96;usedtx=1");
        let only_ulaw = Capabilities { codecs: vec![AudioCodec::Pcmu], keys: Keys::Tones, ..silent };
        check(&only_ulaw, "9 8 0 101\na=rtpmap:101 telephone-event/8000", "0");
        let mut offering = our_side(only_ulaw);
        assert_eq!(short(&offering.offer()), "0 13|rtpmap:13 CN/8000|rtcp-mux");
        let linear = vec![AudioCodec::L16(SampleRate::Hz16000)];
        let mut offering = our_side(Capabilities { codecs: linear, ..Capabilities::default() });
        assert_eq!(short(&offering.offer()), "97 103|rtpmap:97 L16/16000|EVENT 103 16000|rtcp-mux");
    }

    /// The stream of a description as [`ANSWERS`] have it.
    fn short(body: &str) -> String {
        let stream = body.split("m=audio 20000 RTP/AVP ").nth(1).expect("a stream").replace("\r\na=", "|");
        let mut short = stream.trim_end().replace("|ptime:20|sendrecv", "");
        for map in ["0 PCMU", "8 PCMA", "9 G722"] {
            // As the only rtpmap of that number.
            short = short.replace(&format!("|rtpmap:{map}/8000"), "");
        }
        for clock_hz in [8_000, 16_000, 48_000] {
            for number in 96..=127 {
                let event = format!("rtpmap:{number} telephone-event/{clock_hz}|fmtp:{number} 0-15");
                short = short.replace(&event, &format!("EVENT {number} {clock_hz}"));
            }
        }
        for number in 96..=127 {
            let fmtp = AudioCodec::Opus.fmtp().expect("Opus has parameters");
            short = short.replace(&format!("fmtp:{number} {fmtp}"), &format!("OPUS {number}"));
        }
        short
    }

    /// Sorted, as `rtcp` stands before the events.
    fn words(text: &str) -> Vec<&str> {
        let mut words: Vec<_> = text.split(' ').collect();
        words.sort_unstable();
        words
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
                format!("192.0.2.9:4000 PCMU/8000 0 {agreed}").trim_end(),
            );
        }
        check(
            "c=IN IP4 0.0.0.0\nt=0 0\nm=audio 4000 RTP/AVP 0",
            "c=IN IP4 192.0.2.1\nt=0 0\nm=audio 20000 RTP/AVP 0\na=rtpmap:0 PCMU/8000\na=ptime:20\na=recvonly",
            "0.0.0.0:4000 PCMU/8000 0 receive",
        );
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let check = |body: &str, expected: Unusable| {
            let found = read(&sdp(1, body), &Capabilities::default()).expect_err(body);
            assert_eq!(found, expected, "{body}");
        };
        check("c=IN IP4 192.0.2.9\nt=0 0", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=video 4000 RTP/AVP 31", Unusable::NoAudio);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/SAVP 0\nm=video 1 RTP/AVP 31", Unusable::NoKey);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 UDP/TLS/RTP/SAVPF 0", Unusable::Transport);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 18", Unusable::Codec);
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0\na=rtpmap:0 iLBC/8000", Unusable::Codec);
        check("c=IN IP4 host.example\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP4 224.0.0.1/127\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP4 255.255.255.255\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("c=IN IP6 2001:db8::9\nt=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        check("t=0 0\nm=audio 4000 RTP/AVP 0", Unusable::Address);
        let garbage = read(b"hello", &Capabilities::default());
        assert_eq!(garbage.err(), Some(Unusable::Malformed));
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        let offer = sdp(1, "c=IN IP6 ::ffff:192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0");
        let offer = read(&offer, &Capabilities::default()).expect("usable");
        assert_eq!(offer.media().rtp.to_string(), "192.0.2.9:4000");
    }

    #[test]
    fn the_version_grows_with_changes_only() {
        let mut ours = our_side(Capabilities::default());
        let sendrecv = sdp(1, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0");
        let sendonly = sdp(2, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0\na=sendonly");
        let mut versions = vec![];
        for body in [&sendrecv, &sendrecv, &sendonly, &sendonly, &sendrecv] {
            let offer = read(body, &Capabilities::default()).expect("usable");
            let (answer, _) = ours.answer(&offer);
            let origin = answer.lines().nth(1).expect("o=").to_owned();
            versions.push(origin);
        }
        let origin = |version| format!("o=- 7 {version} IN IP4 192.0.2.1");
        assert_eq!(versions, [origin(1), origin(1), origin(2), origin(2), origin(3)]);
    }

    #[test]
    fn our_offer_names_everything_and_keeps_refused_streams() {
        let mut ours = our_side(Capabilities::default());
        let expected = "v=0
            o=- 7 1 IN IP4 192.0.2.1
            s=-
            c=IN IP4 192.0.2.1
            t=0 0
            m=audio 20000 RTP/AVP 96 9 8 0 101 102
            a=rtpmap:96 opus/48000/2
            a=fmtp:96 minptime=10;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000
            a=rtpmap:9 G722/8000
            a=rtpmap:8 PCMA/8000
            a=rtpmap:0 PCMU/8000
            a=rtpmap:101 telephone-event/8000
            a=fmtp:101 0-15
            a=rtpmap:102 telephone-event/48000
            a=fmtp:102 0-15
            a=ptime:20
            a=sendrecv
            a=rtcp-mux";
        assert_eq!(lines(&ours.offer()), lines(expected));
        let body = sdp(1, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0\nm=audio 4000 RTP/AVP 0");
        let offer = read(&body, &Capabilities::default()).expect("usable");
        ours.answer(&offer);
        let (_, again) = ours.changed(Some(true), None);
        let media: Vec<_> = again.lines().filter(|it| it.starts_with("m=") || it.starts_with("a=send")).collect();
        assert_eq!(media, ["m=audio 0 RTP/AVP 0", "m=audio 20000 RTP/AVP 0 96 9 8 101 102", "a=sendonly"]);
    }

    #[test]
    fn a_payload_type_keeps_its_meaning() {
        let mut ours = our_side(Capabilities::default());
        let body = sdp(
            1,
            "c=IN IP4 192.0.2.9
             t=0 0
             m=audio 4000 RTP/AVP 96 102 101
             a=rtpmap:96 telephone-event/8000
             a=rtpmap:102 iLBC/8000
             a=rtpmap:101 PCMA/8000
             a=mid:voice",
        );
        let offer = read(&body, &Capabilities::default()).expect("usable");
        let (_, agreed) = ours.answer(&offer);
        assert_eq!(show(&agreed), "192.0.2.9:4000 PCMA/8000 101 events 96/8000 send receive");
        let (mut again, offer) = ours.changed(Some(true), None);
        let named: Vec<_> = offer.lines().filter(|it| !it.contains("fmtp")).skip(5).collect();
        let expected = [
            "m=audio 20000 RTP/AVP 101 97 9 0 96 98",
            "a=rtpmap:101 PCMA/8000",
            "a=rtpmap:97 opus/48000/2",
            "a=rtpmap:9 G722/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:96 telephone-event/8000",
            "a=rtpmap:98 telephone-event/48000",
            "a=ptime:20",
            "a=sendonly",
            "a=rtcp-mux",
            "a=mid:voice",
        ];
        assert_eq!(named, expected);
        // The peer numbers what it receives as it likes, and now has another number for what it offered before.
        let answer = "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4002 RTP/AVP 111 112\na=rtpmap:111 opus/48000/2
            a=rtpmap:112 telephone-event/48000\na=recvonly";
        let agreed = again.accept(&sdp(2, answer)).expect("usable");
        assert_eq!(show(&agreed), "192.0.2.9:4002 opus 111<97 events 112<98/48000 send");
        let body = sdp(3, "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4002 RTP/AVP 111\na=rtpmap:111 opus/48000/2");
        let offer = read(&body, &Capabilities::default()).expect("usable");
        let (_, agreed) = again.answer(&offer);
        assert_eq!(show(&agreed), "192.0.2.9:4002 opus 111 send");
    }

    #[test]
    fn an_answer_must_fit_its_offer() {
        let mut ours = our_side(Capabilities::default());
        ours.offer();
        let mut check = |body: &str, expected: Result<&str, Unusable>| {
            let found = ours.accept(&sdp(1, body)).map(|it| show(&it));
            assert_eq!(found, expected.map(str::to_owned), "{body}");
        };
        let audio = "c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP";
        check(&format!("{audio} 8"), Ok("192.0.2.9:4000 PCMA/8000 8 send receive"));
        check(
            &format!("{audio} 96 0 105\na=rtpmap:96 PCMA/8000\na=rtpmap:105 telephone-event/8000\na=ptime:60"),
            Ok("192.0.2.9:4000 PCMA/8000 96<8 events 105<101/8000 60 ms send receive"),
        );
        check(
            &format!("{audio} 96 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=rtcp-mux"),
            Ok("192.0.2.9:4000 opus 96 rtcp 192.0.2.9:4000 events 101/8000 send receive"),
        );
        check(&format!("{audio} 18 0"), Ok("192.0.2.9:4000 PCMU/8000 0 send receive"));
        check(&format!("{audio} 0\na=sendonly"), Ok("192.0.2.9:4000 PCMU/8000 0 receive"));
        check(&format!("{audio} 18"), Err(Unusable::Codec));
        check(&format!("{audio} 97\na=rtpmap:97 L16/16000"), Err(Unusable::Codec));
        check(&format!("{audio} 0\nm=video 0 RTP/AVP 31"), Err(Unusable::Mismatch));
        check("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 0 RTP/AVP 0", Err(Unusable::NoAudio));
        check("c=IN IP4 192.0.2.9\nt=0 0", Err(Unusable::Mismatch));
    }

    #[test]
    fn odd_packet_lengths_become_those_there_are() {
        for (lines, expected) in [
            ("", 20),
            ("\na=ptime:0", 20),
            ("\na=ptime:-20", 20),
            ("\na=ptime:2147483648", 20),
            ("\na=ptime:10", 10),
            ("\na=ptime:30", 30),
            ("\na=ptime:20.0", 20),
            ("\na=ptime:40", 40),
            ("\na=ptime:200", 60),
            ("\na=ptime:60\na=maxptime:40", 40),
            ("\na=ptime:60\na=maxptime:1", 10),
        ] {
            let body = sdp(1, &format!("c=IN IP4 192.0.2.9\nt=0 0\nm=audio 4000 RTP/AVP 0{lines}"));
            let offer = read(&body, &Capabilities::default()).expect("usable");
            assert_eq!(offer.media().ptime_ms, expected, "{lines}");
        }
    }

    /// Answers an offer and compares the answer, from its `c=` on, and what is agreed.
    #[track_caller]
    fn check(offer: &str, answer: &str, agreed: &str) {
        let offer = read(&sdp(1, offer), &Capabilities::default()).expect("usable");
        let mut ours = our_side(Capabilities::default());
        let (body, media) = ours.answer(&offer);
        let found: Vec<_> = body.lines().skip(3).collect();
        assert_eq!(found, lines(answer));
        assert_eq!(show(&media), agreed);
    }

    fn show(it: &MediaDescription) -> String {
        let number = |sent: u8, received: u8| {
            if sent == received { sent.to_string() } else { format!("{sent}<{received}") }
        };
        let codec = if it.codec == AudioCodec::Opus {
            show_opus(it.opus)
        } else {
            format!("{}/{}", it.codec.name(), it.codec.rate().hz())
        };
        let mut text = format!("{} {codec} {}", it.rtp, number(it.payload_type, it.received_payload_type));
        if it.rtcp.port() != it.rtp.port() + 1 || it.rtcp.ip() != it.rtp.ip() {
            text.push_str(&format!(" rtcp {}", it.rtcp));
        }
        if let Some(event) = it.telephone_event {
            let number = number(event.payload_type, event.received_payload_type);
            text.push_str(&format!(" events {number}/{}", event.clock_hz));
        }
        if let Some(number) = it.comfort_noise {
            text.push_str(&format!(" noise {number}"));
        }
        if it.ptime_ms != 20 {
            text.push_str(&format!(" {} ms", it.ptime_ms));
        }
        for (flag, name) in [(it.send, " send"), (it.receive, " receive")] {
            text.push_str(if flag { name } else { "" });
        }
        text
    }

    fn show_opus(it: OpusSettings) -> String {
        let flags = [
            (it.forward_error_correction, "+fec"),
            (it.discontinuous, "+dtx"),
            (it.constant_bit_rate, "+cbr"),
            (it.narrow_band, "+narrow"),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name);
        format!("opus{}", flags.collect::<String>())
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).collect()
    }

    fn sdp(version: u32, lines: &str) -> Vec<u8> {
        let lines: Vec<_> = lines.lines().map(str::trim).collect();
        format!("v=0\r\no=peer 1 {version} IN IP4 192.0.2.9\r\ns=-\r\n{}\r\n", lines.join("\r\n")).into_bytes()
    }

    fn read(body: &[u8], capabilities: &Capabilities) -> Result<Offer, Unusable> {
        Offer::read(body, capabilities, capabilities.srtp_terms(false), local().ip(), &mut rng())
    }

    fn our_side(capabilities: Capabilities) -> Negotiation {
        let terms = capabilities.srtp_terms(false);
        Negotiation::new(capabilities, terms, 7, local(), false, &mut rng())
    }

    fn rng() -> ChaCha12Rng {
        ChaCha12Rng::seed_from_u64(4568)
    }

    fn local() -> SocketAddr {
        "192.0.2.1:20000".parse().expect("an address")
    }
}
