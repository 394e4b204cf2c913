//! The RTP packet: RFC 3550 §5.1, read and written in place by `rtp-rs`.
//!
//! CSRC lists, header extensions and padding are skipped on reading and never written.

use rtp_rs::{RtpPacketBuilder, RtpReader, Seq};

use crate::limits::RTP_DATAGRAM_BYTES_MAX;

/// The fixed part of the header, as far as it varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The payload type, below 128.
    pub payload_type: u8,
    /// The marker: for audio, the first packet after silence.
    pub marker: bool,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling instant of the payload's first sample, in units of the payload's clock.
    pub timestamp: u32,
    /// Who sends this stream.
    pub ssrc: u32,
}

/// A packet read from a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// What follows the header, without padding; may be empty.
    pub payload: &'a [u8],
}

/// Why a datagram is not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Its header, extension or padding reaches beyond its end.
    #[error("the packet is shorter than its header says")]
    Truncated,
    /// The version is not 2.
    #[error("not RTP version 2")]
    Version,
    /// Longer than [`RTP_DATAGRAM_BYTES_MAX`].
    #[error("the packet is too long")]
    TooLong,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// [`PacketError`], if it is not one whole RTP packet.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        if datagram.len() > RTP_DATAGRAM_BYTES_MAX {
            return Err(PacketError::TooLong);
        }
        let reader = RtpReader::new(datagram).map_err(|error| match error {
            rtp_rs::RtpReaderError::UnsupportedVersion(_) => PacketError::Version,
            rtp_rs::RtpReaderError::BufferTooShort(_)
            | rtp_rs::RtpReaderError::HeadersTruncated { .. }
            | rtp_rs::RtpReaderError::PaddingLengthInvalid(_) => PacketError::Truncated,
        })?;
        let header = Header {
            payload_type: reader.payload_type(),
            marker: reader.mark(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
        };
        Ok(Self { header, payload: reader.payload() })
    }

    /// Writes the packet to the beginning of `buffer` and returns its length, or `None` if it does not fit or the
    /// payload type is above 127.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        RtpPacketBuilder::new()
            .payload_type(self.header.payload_type)
            .marked(self.header.marker)
            .sequence(Seq::from(self.header.sequence))
            .timestamp(self.header.timestamp)
            .ssrc(self.header.ssrc)
            .payload(self.payload)
            .build_into(buffer)
            .ok()
    }
}

/// Whether a datagram that arrived on a port shared by RTP and RTCP is RTCP (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|packet_type| (192..=223).contains(packet_type))
}

/// How long the header of an RTP packet is, with its CSRC list and its extension. `None` if it reaches beyond the packet,
/// or if this is not version 2.
pub fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let sources = FIXED_HEADER_LEN + 4 * usize::from(first & 0x0f);
    let len = if first & 0x10 == 0 {
        sources
    } else {
        let extension: [u8; 4] = *packet.get(sources..)?.first_chunk()?;
        let [_, _, high, low] = extension;
        sources + 4 + 4 * usize::from(u16::from_be_bytes([high, low]))
    };
    (first >> 6 == 2 && len <= packet.len()).then_some(len)
}

/// SSRC and sequence number of an RTP packet, whatever else it is.
pub fn ssrc_and_sequence(packet: &[u8]) -> Option<(u32, u16)> {
    let [_, _, high, low, _, _, _, _, ssrc @ ..]: [u8; FIXED_HEADER_LEN] = *packet.first_chunk()?;
    Some((u32::from_be_bytes(ssrc), u16::from_be_bytes([high, low])))
}

const FIXED_HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    const HEADER: Header =
        Header { payload_type: 101, marker: true, sequence: 65_535, timestamp: u32::MAX, ssrc: 0xdead_beef };

    #[test]
    fn a_packet_survives_writing_and_reading() {
        let mut buffer = [0; 200];
        let packet = Packet { header: HEADER, payload: &[7; 160] };
        let len = packet.write(&mut buffer).unwrap();
        assert_eq!(len, 172);
        assert_eq!(Packet::parse(&buffer[..len]), Ok(packet));
        assert_eq!(packet.write(&mut buffer[..171]), None);
        assert_eq!(Packet { header: Header { payload_type: 128, ..HEADER }, payload: &[] }.write(&mut buffer), None);
    }

    #[test]
    fn csrc_extension_and_padding_are_left_out_of_the_payload() {
        let mut bytes = vec![0b1011_0010, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]; // V=2, P, X, CC=2
        bytes.extend([0; 8]); // two CSRC
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]); // one word of extension
        bytes.extend([1, 2, 3, 0, 2]); // three bytes of payload, two of padding
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.payload, [1, 2, 3]);
        assert_eq!((packet.header.sequence, packet.header.timestamp, packet.header.ssrc), (1, 2, 3));
        assert_eq!((header_len(&bytes), ssrc_and_sequence(&bytes)), (Some(28), Some((3, 1))));
        assert_eq!(
            (header_len(&bytes[..27]), header_len(&bytes[..11]), ssrc_and_sequence(&bytes[..11])),
            (None, None, None)
        );
    }

    #[test]
    fn what_is_not_one_whole_packet_is_refused() {
        check(&[], PacketError::Truncated);
        check(&[0x80; 11], PacketError::Truncated);
        check(&[0x40; 12], PacketError::Version);
        check(&[0x8f, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3], PacketError::Truncated); // 15 CSRC that are not there
        check(&[0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 255, 255], PacketError::Truncated); // long extension
        check(&[0xa0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3], PacketError::Truncated); // padding flag, no padding
        check(&[0xa0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0], PacketError::Truncated); // padding of zero bytes
        check(&[0xa0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 200], PacketError::Truncated); // padding into the header
        check(&[0x80; 1_501], PacketError::TooLong);
    }

    #[test]
    fn mutated_packets_never_panic_and_never_grow() {
        let mut rng = ChaCha12Rng::seed_from_u64(3550);
        for _ in 0..200_000 {
            let mut bytes = vec![0; rng.random_range(0..64)];
            rng.fill_bytes(&mut bytes);
            if let Some(first) = bytes.first_mut()
                && rng.random_bool(0.9)
            {
                *first = (*first & 0x3f) | 0x80;
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                assert!(packet.payload.len() + 12 <= bytes.len() && packet.header.payload_type < 128);
                assert!(header_len(&bytes).is_some_and(|it| it + packet.payload.len() <= bytes.len()));
            }
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x80, 192]) && is_rtcp(&[0x80, 223]));
        assert!(!is_rtcp(&[0x80, 0]) && !is_rtcp(&[0x80, 0x80 | 101]) && !is_rtcp(&[0x80]) && !is_rtcp(&[]));
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: PacketError) {
        assert_eq!(Packet::parse(bytes), Err(expected));
    }
}
