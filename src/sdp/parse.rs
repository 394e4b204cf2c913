//! Reading session descriptions, tolerantly (RFC 8866 §5, §9).
//!
//! Deviations: lines may end in LF alone; the order of lines within a section does not matter; `s=` and `t=` may be
//! missing; session id and version may be any word; what is not UTF-8 is replaced. Refused: no `v=0` first, no or a malformed `o=`, a malformed `m=` or `c=`, a
//! line that is not `letter=`, and what goes over the limits.

use super::attributes::{Attributes, digits};
use super::description::{Connection, Media, Origin, OtherLine, SessionDescription};
use crate::limits::{SDP_ATTRIBUTE_COUNT_MAX, SDP_FORMAT_COUNT_MAX, SDP_MEDIA_COUNT_MAX, SIP_MESSAGE_BYTES_MAX};

/// Why bytes are not a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It does not begin with `v=0`.
    #[error("no v=0")]
    Version,
    /// There is no `o=`.
    #[error("no o=")]
    NoOrigin,
    /// A line that breaks its grammar; the letter says which.
    #[error("malformed {0}=")]
    Malformed(char),
    /// A line that is not a letter and an equals sign.
    #[error("not a line of SDP")]
    Line,
    /// More bytes, media, formats or attributes than there may be.
    #[error("too many {0}")]
    TooMany(&'static str),
}

impl SessionDescription {
    /// Reads a description.
    pub fn parse(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > SIP_MESSAGE_BYTES_MAX {
            return Err(SdpError::TooMany("bytes"));
        }
        let text = String::from_utf8_lossy(bytes);
        if text.contains('\0') {
            return Err(SdpError::Line);
        }
        let mut lines = text.split(['\n', '\r']).filter(|it| !it.is_empty());
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(SdpError::Version);
        }
        let mut reader = Reader::default();
        for line in lines {
            reader.line(line)?;
        }
        reader.finish()
    }
}

impl std::str::FromStr for SessionDescription {
    type Err = SdpError;

    fn from_str(text: &str) -> Result<Self, SdpError> {
        Self::parse(text.as_bytes())
    }
}

#[derive(Default)]
struct Reader {
    origin: Option<Origin>,
    session_name: Option<String>,
    connection: Option<Connection>,
    timing: Option<String>,
    other: Vec<OtherLine>,
    attributes: Attributes,
    media: Vec<Media>,
    attribute_count: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), SdpError> {
        let (kind, value) = line.split_once('=').ok_or(SdpError::Line)?;
        let mut letters = kind.chars();
        let (Some(kind), None) = (letters.next(), letters.next()) else {
            return Err(SdpError::Line);
        };
        if kind == 'm' {
            if self.media.len() == SDP_MEDIA_COUNT_MAX {
                return Err(SdpError::TooMany("media"));
            }
            self.media.push(media(value)?);
            return Ok(());
        }
        match (kind, self.media.last_mut()) {
            ('a', media) => {
                self.attribute_count += 1;
                if self.attribute_count > SDP_ATTRIBUTE_COUNT_MAX {
                    return Err(SdpError::TooMany("attributes"));
                }
                media.map_or(&mut self.attributes, |it| &mut it.attributes).keep(value);
            }
            ('c', media) => {
                let connection = connection(value).ok_or(SdpError::Malformed('c'))?;
                // The first of several: the others are further addresses of a layered multicast (RFC 8866 §5.7).
                media.map_or(&mut self.connection, |it| &mut it.connection).get_or_insert(connection);
            }
            ('o', None) if self.origin.is_none() => {
                self.origin = Some(origin(value).ok_or(SdpError::Malformed('o'))?);
            }
            ('s', None) if self.session_name.is_none() => self.session_name = Some(value.to_owned()),
            ('t', None) if self.timing.is_none() => self.timing = Some(value.trim_end().to_owned()),
            ('i' | 'u' | 'e' | 'p' | 'b' | 't' | 'r' | 'z' | 'k', media) => {
                let line = OtherLine { kind, value: value.to_owned() };
                let others = media.map_or(&mut self.other, |it| &mut it.other);
                if others.len() == SDP_ATTRIBUTE_COUNT_MAX {
                    return Err(SdpError::TooMany("lines"));
                }
                others.push(line);
            }
            // RFC 8866 §5: unknown letters are ignored.
            ('a'..='z' | 'A'..='Z', _) => (),
            _ => return Err(SdpError::Line),
        }
        Ok(())
    }

    fn finish(self) -> Result<SessionDescription, SdpError> {
        Ok(SessionDescription {
            origin: self.origin.ok_or(SdpError::NoOrigin)?,
            session_name: self.session_name.unwrap_or_else(|| "-".to_owned()),
            connection: self.connection,
            timing: self.timing.unwrap_or_else(|| "0 0".to_owned()),
            other: self.other,
            attributes: self.attributes,
            media: self.media,
        })
    }
}

fn origin(text: &str) -> Option<Origin> {
    let mut words = text.split_ascii_whitespace();
    let mut word = || words.next().map(str::to_owned);
    let (username, session_id, version) = (word()?, word()?, word()?);
    let address = Connection::of(words.next()?, words.next()?, words.next()?);
    words.next().is_none().then_some(Origin { username, session_id, version, address })
}

fn connection(text: &str) -> Option<Connection> {
    let mut words = text.split_ascii_whitespace();
    let connection = Connection::of(words.next()?, words.next()?, words.next()?);
    words.next().is_none().then_some(connection)
}

fn media(text: &str) -> Result<Media, SdpError> {
    let malformed = SdpError::Malformed('m');
    let mut words = text.split_ascii_whitespace();
    let kind = words.next().ok_or(malformed)?;
    let port = words.next().ok_or(malformed)?;
    let protocol = words.next().ok_or(malformed)?;
    let (port, port_count) = match port.split_once('/') {
        Some((port, count)) => (port, Some(digits::<u16>(count).filter(|it| *it > 0).ok_or(malformed)?)),
        None => (port, None),
    };
    let port = digits::<u16>(port).ok_or(malformed)?;
    let mut formats = String::new();
    for format in words.by_ref().take(SDP_FORMAT_COUNT_MAX) {
        if !formats.is_empty() {
            formats.push(' ');
        }
        formats.push_str(format);
    }
    if words.next().is_some() {
        return Err(SdpError::TooMany("formats"));
    }
    if formats.is_empty() {
        return Err(malformed);
    }
    Ok(Media { port_count, ..Media::new(kind, port, protocol, formats) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Direction;

    const OFFER: &str = "v=0\r\no=alice 2890844526 2890844527 IN IP4 host.example.com\r\ns=call\r\n\
        i=info\r\nc=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\na=sendonly\r\n\
        m=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:40\r\na=rtcp:53020 IN IP6 2001:db8::1\r\na=rtcp-mux\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20|1:4 KDR=1\r\n\
        m=video 0 RTP/AVP 31\r\nc=IN IP6 ::\r\na=recvonly\r\n";

    fn offer() -> SessionDescription {
        SessionDescription::parse(OFFER.as_bytes()).expect("valid")
    }

    #[test]
    fn a_description_is_read_and_written_back() {
        let sdp = offer();
        assert_eq!(sdp.to_string(), OFFER);
        let [audio, video] = sdp.media.as_slice() else {
            panic!("two media");
        };
        assert_eq!(audio.payload_types().collect::<Vec<_>>(), [0, 8, 97, 101]);
        assert_eq!(audio.attributes.rtpmap(97).map(|it| (it.clock_hz, it.channels)), Some((48_000, 2)));
        assert!(audio.attributes.rtpmap(101).is_some_and(|it| it.is("Telephone-Event", 8_000)));
        assert_eq!((audio.attributes.rtpmap(0), audio.attributes.fmtp(101)), (None, Some("0-16")));
        assert_eq!((audio.attributes.ptime_ms(), audio.attributes.maxptime_ms()), (Some(20), Some(40)));
        assert_eq!(audio.attributes.rtcp().map(|it| (it.port, it.ip().is_some())), Some((53_020, true)));
        assert!(audio.attributes.rtcp_mux() && audio.is_rtp());
        let crypto = audio.attributes.cryptos().next().expect("one");
        assert_eq!((crypto.tag, crypto.suite, crypto.session_params), (1, "AES_CM_128_HMAC_SHA1_80", "KDR=1"));
        assert_eq!((sdp.direction_of(audio), sdp.direction_of(video)), (Direction::SendOnly, Direction::RecvOnly));
        assert_eq!(sdp.connection_of(audio).and_then(Connection::ip), "192.0.2.1".parse().ok());
        assert!(sdp.connection_of(video).is_some_and(Connection::is_unspecified));
        assert!(!format!("{sdp:?}").contains("PS1uQ"));
    }

    #[test]
    fn odd_but_clear_is_read() {
        let sdp =
            SessionDescription::parse(b"v=0\no=- 1 1 IN IP4 0.0.0.0\nx=?\nm=audio 5004/2 RTP/AVP 0\na=ptime:20.0\n");
        let sdp = sdp.expect("valid");
        assert_eq!(sdp.media[0].port_count, Some(2));
        assert_eq!(sdp.media[0].attributes.ptime_ms(), Some(20));
        assert!(sdp.to_string().contains("\r\ns=-\r\nt=0 0\r\nm=audio 5004/2 RTP/AVP 0\r\n"));
        assert_eq!(sdp.media[0].refused().to_string(), "m=audio 0 RTP/AVP 0\r\n");
    }

    #[track_caller]
    fn check(lines: &str, expect: SdpError) {
        assert_eq!(SessionDescription::parse(lines.as_bytes()), Err(expect), "{lines}");
    }

    #[test]
    fn nonsense_is_refused() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";
        check("", SdpError::Version);
        check("v=1\r\n", SdpError::Version);
        check("v=0\r\ns=-\r\n", SdpError::NoOrigin);
        check("v=0\r\no=- 1 1 IN IP4\r\n", SdpError::Malformed('o'));
        for bad in ["", "audio", "audio 5004", "audio -1 RTP/AVP 0", "audio 70000 RTP/AVP 0", "audio 5004 RTP/AVP"] {
            check(&format!("{head}m={bad}\r\n"), SdpError::Malformed('m'));
        }
        check(&format!("{head}c=IN IP4\r\n"), SdpError::Malformed('c'));
        check(&format!("{head}nonsense\r\n"), SdpError::Line);
        check(&format!("{head}{}", "m=audio 0 RTP/AVP 0\r\n".repeat(33)), SdpError::TooMany("media"));
        check(&format!("{head}{}", "a=x\r\n".repeat(1_001)), SdpError::TooMany("attributes"));
        check(&format!("{head}m=audio 1 RTP/AVP{}\r\n", " 0".repeat(65)), SdpError::TooMany("formats"));
        check(&format!("{head}a={}", "x".repeat(70_000)), SdpError::TooMany("bytes"));
    }

    #[test]
    fn nonsense_in_an_attribute_costs_that_attribute() {
        let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 5004 RTP/AVP 0 200 x\r\n";
        for ptime in ["0", "-20", "2147483648", "", "x"] {
            let sdp = SessionDescription::parse(format!("{head}a=ptime:{ptime}\r\n").as_bytes()).expect("valid");
            assert_eq!(sdp.media[0].attributes.ptime_ms(), None, "{ptime}");
        }
        for map in
            ["", "0", "0 PCMU", "128 PCMU/8000", "0 PCMU/0", "0 PCMU/-8000", "0 /8000", "0 PCMU/8000/0", "0 A/1/1/1"]
        {
            let sdp = SessionDescription::parse(format!("{head}a=rtpmap:{map}\r\n").as_bytes()).expect("valid");
            assert_eq!(sdp.media[0].attributes.rtpmaps().count(), 0, "{map}");
            assert_eq!(sdp.media[0].payload_types().collect::<Vec<_>>(), [0]);
        }
    }
}
