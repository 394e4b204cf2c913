//! RTCP: sender and receiver reports, source descriptions, BYE (RFC 3550 §6) and the VoIP metrics of extended reports
//! (RFC 3611), read as compound packets.
//!
//! Reading follows the validity checks of RFC 3550 §A.2 except for two: a compound packet may lack the source
//! description, as those of many telephones do, and may begin with an application's packet or with BYE instead of a
//! report: libre (baresip) opens its way through translators with the one and leaves with the other. Other reduced-size
//! packets (RFC 5506) are never negotiated and are refused.

use super::extended_report::VoipMetrics;
use crate::limits::RTP_DATAGRAM_BYTES_MAX;

/// A datagram that holds a valid compound packet.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp<'a> {
    /// A sender report (§6.4.1).
    SenderReport {
        /// Who reports.
        ssrc: u32,
        /// What it has sent.
        info: SenderInfo,
        /// What it has received.
        blocks: Blocks<'a>,
    },
    /// A receiver report (§6.4.2).
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// What it has received.
        blocks: Blocks<'a>,
    },
    /// Sources that leave (§6.6): the first one named, if any is.
    Bye {
        /// Who leaves.
        ssrc: Option<u32>,
    },
    /// An extended report (RFC 3611) with VoIP metrics.
    Voip(VoipMetrics),
    /// Anything else, by its packet type.
    Other(u8),
}

/// What a sender reports of its own stream (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall clock at the moment of the report: seconds since 1900 in the upper half, fractions in the lower.
    pub ntp: u64,
    /// The same moment on the stream's clock.
    pub timestamp: u32,
    /// Packets sent; wraps.
    pub packets: u32,
    /// Payload octets sent; wraps.
    pub octets: u32,
}

/// What a receiver reports of one stream (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// Whose stream.
    pub ssrc: u32,
    /// Packets lost since the report before, in 1/256 of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative if duplicates outweigh losses. 24 bits on the wire.
    pub lost: i32,
    /// The highest sequence number received, its wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter, in units of the stream's clock.
    pub jitter: u32,
    /// The middle half of the NTP time of the last sender report; 0 if there was none.
    pub last_report: u32,
    /// Time between that report's arrival and this one's sending, in 1/65536 s.
    pub delay_since_last_report: u32,
}

/// The report blocks of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a> {
    bytes: &'a [u8],
}

/// A report to be written: [`Rtcp::SenderReport`] with, [`Rtcp::ReceiverReport`] without `info`.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Our stream.
    pub ssrc: u32,
    /// What we sent, if anything since the report before.
    pub info: Option<SenderInfo>,
    /// What we received, if anything.
    pub block: Option<ReportBlock>,
    /// The canonical name (§6.5.1, RFC 7022): at most 255 bytes are used.
    pub cname: &'a [u8],
    /// Whether the stream ends with this report (§6.6).
    pub bye: bool,
}

/// The datagram is not a valid compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compound RTCP packet")]
pub struct InvalidRtcp;

impl<'a> Compound<'a> {
    /// Checks a datagram (§A.2): versions, the lengths of all packets, what comes first, padding on the last only.
    ///
    /// # Errors
    ///
    /// [`InvalidRtcp`], if any of them fails.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, InvalidRtcp> {
        if bytes.len() > RTP_DATAGRAM_BYTES_MAX {
            return Err(InvalidRtcp);
        }
        let mut rest = bytes;
        let mut first = true;
        while !rest.is_empty() {
            let packet = Raw::take(&mut rest).ok_or(InvalidRtcp)?;
            let may_begin = matches!(packet.packet_type, SENDER_REPORT | RECEIVER_REPORT | BYE | APPLICATION);
            if (first && !may_begin) || (packet.padded && !rest.is_empty()) || packet.read().is_none() {
                return Err(InvalidRtcp);
            }
            first = false;
        }
        if first { Err(InvalidRtcp) } else { Ok(Self { bytes }) }
    }

    /// Its packets, in order.
    pub fn packets(self) -> impl Iterator<Item = Rtcp<'a>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || Raw::take(&mut rest)?.read())
    }
}

impl Blocks<'_> {
    /// Each block; at most 31.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        self.bytes.as_chunks().0.iter().map(ReportBlock::read)
    }
}

impl ReportBlock {
    fn read(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let word = |index: usize| bytes.as_chunks().0.get(index).copied().map_or(0, u32::from_be_bytes);
        let [fraction_lost, ..] = word(1).to_be_bytes();
        Self {
            ssrc: word(0),
            fraction_lost,
            lost: (word(1) << 8).cast_signed() >> 8,
            highest_sequence: word(2),
            jitter: word(3),
            last_report: word(4),
            delay_since_last_report: word(5),
        }
    }

    fn write(&self, to: &mut Writer<'_>) -> Option<()> {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        to.word(self.ssrc)?;
        to.word(u32::from(self.fraction_lost) << 24 | lost)?;
        to.word(self.highest_sequence)?;
        to.word(self.jitter)?;
        to.word(self.last_report)?;
        to.word(self.delay_since_last_report)
    }
}

impl Report<'_> {
    /// Writes the compound packet (report, source description, BYE if asked for) to the beginning of `buffer` and
    /// returns its length, or `None` if it does not fit.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut to = Writer { buffer, at: 0 };
        let packet_type = if self.info.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        let blocks = u8::from(self.block.is_some());
        to.packet(packet_type, blocks, |to| {
            to.word(self.ssrc)?;
            if let Some(info) = &self.info {
                let [a, b, c, d, e, f, g, h] = info.ntp.to_be_bytes();
                to.bytes(&[a, b, c, d])?;
                to.bytes(&[e, f, g, h])?;
                to.word(info.timestamp)?;
                to.word(info.packets)?;
                to.word(info.octets)?;
            }
            match &self.block {
                Some(block) => block.write(to),
                None => Some(()),
            }
        })?;
        let cname = self.cname.get(..255).unwrap_or(self.cname);
        to.packet(SOURCE_DESCRIPTION, 1, |to| {
            to.word(self.ssrc)?;
            to.bytes(&[CNAME, u8::try_from(cname.len()).ok()?])?;
            to.bytes(cname)?;
            // The list of items ends with a zero byte and is then filled to a word: one to four zeros.
            to.bytes([0; 4].get(..4 - (cname.len() + 2) % 4)?)
        })?;
        if self.bye {
            to.packet(BYE, 1, |to| to.word(self.ssrc))?;
        }
        Some(to.at)
    }
}

/// One packet of a compound, its header read.
#[derive(Clone, Copy, Debug)]
struct Raw<'a> {
    packet_type: u8,
    count: u8,
    padded: bool,
    /// After the header, without padding.
    body: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Cuts the first packet off `rest`.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let [first, packet_type, high, low] = *rest.first_chunk()?;
        if first >> 6 != 2 {
            return None;
        }
        let len = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let (packet, after) = rest.split_at_checked(len)?;
        let mut body = packet.get(4..)?;
        let padded = first & 0x20 != 0;
        if padded {
            let padding = usize::from(*body.last()?);
            if padding == 0 || padding % 4 != 0 {
                return None;
            }
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        *rest = after;
        Some(Self { packet_type, count: first & 0x1f, padded, body })
    }

    /// `None` if the body is shorter than what its header announces.
    fn read(self) -> Option<Rtcp<'a>> {
        let (words, _) = self.body.as_chunks();
        let word = |index: usize| words.get(index).copied().map(u32::from_be_bytes);
        let blocks = |from: usize| {
            let len = BLOCK_BYTES * usize::from(self.count);
            self.body.get(from..from + len).map(|bytes| Blocks { bytes })
        };
        Some(match self.packet_type {
            SENDER_REPORT => Rtcp::SenderReport {
                ssrc: word(0)?,
                info: SenderInfo {
                    ntp: u64::from(word(1)?) << 32 | u64::from(word(2)?),
                    timestamp: word(3)?,
                    packets: word(4)?,
                    octets: word(5)?,
                },
                blocks: blocks(24)?,
            },
            RECEIVER_REPORT => Rtcp::ReceiverReport { ssrc: word(0)?, blocks: blocks(4)? },
            BYE => {
                let sources = usize::from(self.count);
                self.body.get(..4 * sources)?;
                Rtcp::Bye { ssrc: word(0).filter(|_| sources > 0) }
            }
            EXTENDED_REPORT => match self.body.get(4..).and_then(VoipMetrics::find) {
                Some(metrics) => Rtcp::Voip(metrics),
                None => Rtcp::Other(EXTENDED_REPORT),
            },
            other => Rtcp::Other(other),
        })
    }
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.buffer.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    fn word(&mut self, word: u32) -> Option<()> {
        self.bytes(&word.to_be_bytes())
    }

    /// Writes a header, what `body` writes, and then the length into the header.
    fn packet(&mut self, packet_type: u8, count: u8, body: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let start = self.at;
        self.bytes(&[0x80 | count & 0x1f, packet_type, 0, 0])?;
        body(self)?;
        let words = u16::try_from((self.at - start) / 4 - 1).ok()?;
        self.buffer.get_mut(start + 2..start + 4)?.copy_from_slice(&words.to_be_bytes());
        Some(())
    }
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const APPLICATION: u8 = 204;
const EXTENDED_REPORT: u8 = 207;
const CNAME: u8 = 1;
const BLOCK_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    const INFO: SenderInfo = SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 9, packets: 10, octets: 1_600 };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 77,
        fraction_lost: 128,
        lost: -3,
        highest_sequence: 0x1_0002,
        jitter: 16,
        last_report: 0x0304_0506,
        delay_since_last_report: 65_536,
    };

    #[test]
    fn a_report_survives_writing_and_reading() {
        for cname in [&b""[..], b"a", b"ab", b"abc", b"abcd", &[b'x'; 300]] {
            let report = Report { ssrc: 5, info: Some(INFO), block: Some(BLOCK), cname, bye: true };
            let mut buffer = [0xff; 400];
            let len = report.write(&mut buffer).unwrap();
            let compound = Compound::parse(&buffer[..len]).unwrap();
            let packets: Vec<_> = compound.packets().collect();
            let [Rtcp::SenderReport { ssrc: 5, info: INFO, blocks }, Rtcp::Other(202), Rtcp::Bye { ssrc: Some(5) }] =
                packets[..]
            else {
                panic!("{packets:?}");
            };
            assert_eq!(blocks.iter().collect::<Vec<_>>(), [BLOCK]);
        }
    }

    #[test]
    fn without_sending_it_is_a_receiver_report() {
        let report = Report { ssrc: 5, info: None, block: None, cname: b"abc", bye: false };
        let mut buffer = [0; 400];
        let len = report.write(&mut buffer).unwrap();
        assert_eq!(buffer[..len], *b"\x80\xc9\0\x01\0\0\0\x05\x81\xca\0\x03\0\0\0\x05\x01\x03abc\0\0\0");
        assert_eq!(report.write(&mut buffer[..len - 1]), None);
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        check(b"");
        check(b"\x80\xc9\0"); // cut in the header
        check(b"\x80\xc9\0\x02\0\0\0\x05"); // longer than the datagram
        check(b"\x40\xc9\0\x01\0\0\0\x05"); // version 1
        check(b"\x81\xca\0\x01\0\0\0\x05"); // a source description first
        check(b"\x81\xc9\0\x01\0\0\0\x05"); // a block is announced, but missing
        check(b"\x80\xc9\0\x01\0\0\0\x05\x82\xcb\0\x01\0\0\0\x05"); // two sources leave, one is named
        check(b"\xa0\xc9\0\x02\0\0\0\x05\0\0\0\x04\x80\xc9\0\x01\0\0\0\x05"); // padding before the end
        check(b"\xa0\xc9\0\x02\0\0\0\x05\0\0\0\x0c"); // padding beyond the packet
        check(b"\xa0\xc9\0\x02\0\0\0\x05\0\0\0\0"); // padding of no bytes
        check(&[0x80; 2_000]);
        assert!(Compound::parse(b"\xa0\xc9\0\x02\0\0\0\x05\0\0\0\x04").is_ok());
    }

    #[test]
    fn what_libre_sends_is_read() {
        let read = |bytes| Compound::parse(bytes).map(|it| it.packets().collect::<Vec<_>>());
        assert_eq!(read(b"\x80\xcc\0\x03\0\0\0\x05PINGPONG"), Ok(vec![Rtcp::Other(204)]));
        let leaves = b"\x81\xcb\0\x03\0\0\0\x05\x04Adjo\0\0\0\x81\xca\0\x03\0\0\0\x05\x01\x03abc\0\0\0";
        assert_eq!(read(leaves), Ok(vec![Rtcp::Bye { ssrc: Some(5) }, Rtcp::Other(202)]));
    }

    #[test]
    fn mutated_compounds_never_panic() {
        let mut rng = ChaCha12Rng::seed_from_u64(6);
        let mut valid = [0; 128];
        let report = Report { ssrc: 5, info: Some(INFO), block: Some(BLOCK), cname: b"0123456789ab", bye: true };
        let len = report.write(&mut valid).unwrap();
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut bytes = valid[..rng.random_range(0..=len)].to_vec();
            for _ in 0..rng.random_range(0..6) {
                if let Some(at) = bytes.len().checked_sub(1).map(|last| rng.random_range(0..=last)) {
                    bytes[at] = rng.random();
                }
            }
            if let Ok(compound) = Compound::parse(&bytes) {
                accepted += 1;
                let blocks = compound.packets().map(|packet| match packet {
                    Rtcp::SenderReport { blocks, .. } | Rtcp::ReceiverReport { blocks, .. } => blocks.iter().count(),
                    Rtcp::Bye { .. } | Rtcp::Voip(_) | Rtcp::Other(_) => 0,
                });
                assert!(blocks.sum::<usize>() * BLOCK_BYTES <= bytes.len());
            }
        }
        assert!(accepted > 1_000, "{accepted}");
    }

    #[track_caller]
    fn check(bytes: &[u8]) {
        assert!(Compound::parse(bytes).is_err());
    }
}
