//! A ladder as a pcap file, which Wireshark and tshark show as a flow. Each message stands in an IP and a UDP header
//! (RFC 791, RFC 8200, RFC 768) made up for it, whatever carried it, as captured bytes of TLS would say nothing.

use std::net::{IpAddr, SocketAddr};

use super::ladder::Rung;

/// The whole file.
pub fn file(rungs: &[Rung]) -> Vec<u8> {
    let mut file = vec![];
    file.extend(MAGIC.to_le_bytes());
    file.extend([2_u16, 4].map(u16::to_le_bytes).concat());
    file.extend([0, 0, u32::from(u16::MAX) + 64, RAW_IP].map(u32::to_le_bytes).concat());
    for rung in rungs {
        let (from, to) = rung.ends();
        let packet = packet(from, to, &rung.data);
        let length = u32::try_from(packet.len()).unwrap_or_default();
        let seconds = u32::try_from(rung.unix_us / 1_000_000).unwrap_or(u32::MAX);
        let micros = u32::try_from(rung.unix_us % 1_000_000).unwrap_or_default();
        file.extend([seconds, micros, length, length].map(u32::to_le_bytes).concat());
        file.extend(packet);
    }
    file
}

fn packet(from: SocketAddr, to: SocketAddr, message: &[u8]) -> Vec<u8> {
    let message = message.get(..MESSAGE_BYTES_MAX).unwrap_or(message);
    let (addresses, is_v4) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ([from.octets(), to.octets()].concat(), true),
        (from, to) => ([from, to].map(v6).concat(), false),
    };
    let udp_length = length(UDP_BYTES + message.len());
    let mut udp = [from.port(), to.port(), udp_length, 0].map(u16::to_be_bytes).concat();
    udp.extend(message);
    let pseudo = [&addresses[..], &[0, UDP], &udp_length.to_be_bytes(), &udp].concat();
    // A sum of zero is written as its other form: zero says that there is none.
    let sum = Some(checksum(&pseudo)).filter(|it| *it != 0).unwrap_or(u16::MAX).to_be_bytes();
    for (byte, sum) in udp.iter_mut().skip(6).zip(sum) {
        *byte = sum;
    }
    let mut packet = if is_v4 { v4_header(&addresses, udp_length) } else { v6_header(&addresses, udp_length) };
    packet.extend(udp);
    packet
}

fn v4_header(addresses: &[u8], udp_length: u16) -> Vec<u8> {
    let total = udp_length.saturating_add(20).to_be_bytes();
    let mut header = [&[0x45, 0], &total[..], &[0, 0, 0x40, 0, HOPS, UDP, 0, 0], addresses].concat();
    let sum = checksum(&header).to_be_bytes();
    for (byte, sum) in header.iter_mut().skip(10).zip(sum) {
        *byte = sum;
    }
    header
}

fn v6_header(addresses: &[u8], udp_length: u16) -> Vec<u8> {
    [&[0x60, 0, 0, 0], &udp_length.to_be_bytes()[..], &[UDP, HOPS], addresses].concat()
}

const fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|it| u64::from(u16::from_be_bytes([byte(it, 0), byte(it, 1)])));
    let mut sum: u64 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn byte(of: &[u8], at: usize) -> u8 {
    of.get(at).copied().unwrap_or_default()
}

fn length(of: usize) -> u16 {
    u16::try_from(of).unwrap_or(u16::MAX)
}

/// Times are in microseconds, numbers in little endian.
const MAGIC: u32 = 0xa1b2_c3d4;
/// The link type of packets that begin with their IP header.
const RAW_IP: u32 = 101;
const UDP: u8 = 17;
const HOPS: u8 = 64;
const UDP_BYTES: usize = 8;
/// What fits into an IPv4 packet.
const MESSAGE_BYTES_MAX: usize = 65_535 - 20 - UDP_BYTES;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::{Direction, Message};
    use crate::transport::{Flow, TransportKind};

    fn rung(local: &str, remote: &str, data: &'static [u8]) -> Rung {
        let flow = Flow { kind: TransportKind::Tcp, local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        let data = Bytes::from_static(data);
        Rung::of(&Message { unix_us: 1_700_000_000_000_007, direction: Direction::Received, flow, data })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    #[test]
    fn a_message_becomes_a_packet() {
        let file = file(&[rung("192.0.2.1:5060", "192.0.2.7:5062", b"BYE")]);
        let expected = [
            "d4c3b2a1020004000000000000000000",
            "3f00010065000000",
            "00f15365070000001f0000001f000000",
            "4500001f000040004011",
        ]
        .concat();
        assert!(hex(&file).starts_with(&expected), "{}", hex(&file));
        let (header, udp) = file.get(40..).unwrap().split_at(20);
        assert_eq!(checksum(header), 0);
        assert_eq!(hex(udp.get(..6).unwrap()), "13c613c4000b");
        let pseudo = [header.get(12..).unwrap(), &[0, UDP, 0, 11], udp].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(udp.get(8..), Some(&b"BYE"[..]));
    }

    #[test]
    fn addresses_of_version_6_and_large_messages_have_their_packets() {
        static LARGE: [u8; 70_000] = [b'x'; 70_000];
        let six = file(&[rung("[2001:db8::1]:5060", "[2001:db8::2]:5060", b"BYE")]);
        assert_eq!(hex(six.get(40..48).unwrap()), "60000000000b1140");
        assert_eq!(six.len(), 40 + 40 + 11);
        let large = file(&[rung("192.0.2.1:5060", "192.0.2.7:5062", &LARGE)]);
        assert_eq!(large.len(), 40 + 65_535);
        assert_eq!(file(&[]).len(), 24);
    }
}
