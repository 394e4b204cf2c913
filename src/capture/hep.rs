//! HEP version 3, the encapsulation in which Homer and other collectors take SIP messages: `HEP3`, the length, and chunks
//! of a vendor, a type, a length and a value, all in network byte order.

use std::net::{IpAddr, SocketAddr};

use super::{Direction, Message};

/// What every packet says of its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Which of the collector's senders it is.
    pub id: u32,
    /// The password that the collector asks for, if any.
    pub key: Option<String>,
}

/// The packet that tells about `message`, whose secrets have been taken out already. `correlation` is shared by all
/// messages of a call. A message that does not fit into a datagram is cut off.
pub fn packet(agent: &Agent, message: &Message, correlation: &[u8]) -> Vec<u8> {
    let (from, to) = match message.direction {
        Direction::Received => (message.flow.remote, message.flow.local),
        Direction::Sent => (message.flow.local, message.flow.remote),
    };
    let mut packet = Packet(b"HEP3\0\0".to_vec());
    packet.addresses(from, to);
    packet.chunk(PROTOCOL, &[if message.flow.kind.is_reliable() { TCP } else { UDP }]);
    packet.chunk(SOURCE_PORT, &from.port().to_be_bytes());
    packet.chunk(DESTINATION_PORT, &to.port().to_be_bytes());
    packet.chunk(SECONDS, &u32::try_from(message.unix_us / 1_000_000).unwrap_or(u32::MAX).to_be_bytes());
    packet.chunk(MICROSECONDS, &u32::try_from(message.unix_us % 1_000_000).unwrap_or_default().to_be_bytes());
    packet.chunk(PAYLOAD_KIND, &[SIP]);
    packet.chunk(AGENT, &agent.id.to_be_bytes());
    if let Some(key) = &agent.key {
        packet.chunk(KEY, cut(key.as_bytes(), TEXT_BYTES_MAX));
    }
    packet.chunk(CORRELATION, cut(correlation, TEXT_BYTES_MAX));
    let room = PACKET_BYTES_MAX.saturating_sub(packet.0.len() + CHUNK_BYTES);
    packet.chunk(PAYLOAD, cut(&message.data, room));
    packet.finish()
}

struct Packet(Vec<u8>);

impl Packet {
    fn addresses(&mut self, from: SocketAddr, to: SocketAddr) {
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.chunk(FAMILY, &[IPV4]);
                self.chunk(SOURCE_V4, &from.octets());
                self.chunk(DESTINATION_V4, &to.octets());
            }
            (from, to) => {
                self.chunk(FAMILY, &[IPV6]);
                self.chunk(SOURCE_V6, &v6(from));
                self.chunk(DESTINATION_V6, &v6(to));
            }
        }
    }

    fn chunk(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(CHUNK_BYTES + value.len()).unwrap_or(u16::MAX);
        self.0.extend([0, kind, length].map(u16::to_be_bytes).concat());
        self.0.extend(value);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX).to_be_bytes();
        for (byte, length) in self.0.iter_mut().skip(4).zip(length) {
            *byte = length;
        }
        self.0
    }
}

fn cut(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

const fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

const FAMILY: u16 = 1;
const PROTOCOL: u16 = 2;
const SOURCE_V4: u16 = 3;
const DESTINATION_V4: u16 = 4;
const SOURCE_V6: u16 = 5;
const DESTINATION_V6: u16 = 6;
const SOURCE_PORT: u16 = 7;
const DESTINATION_PORT: u16 = 8;
const SECONDS: u16 = 9;
const MICROSECONDS: u16 = 10;
const PAYLOAD_KIND: u16 = 11;
const AGENT: u16 = 12;
const KEY: u16 = 14;
const PAYLOAD: u16 = 15;
const CORRELATION: u16 = 17;

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SIP: u8 = 1;

const CHUNK_BYTES: usize = 6;
const TEXT_BYTES_MAX: usize = 256;
/// What fits into a UDP datagram over IPv4.
const PACKET_BYTES_MAX: usize = 65_507;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::transport::{Flow, TransportKind};

    fn message(local: &str, remote: &str, data: Bytes) -> Message {
        let flow = Flow { kind: TransportKind::Udp, local: local.parse().unwrap(), remote: remote.parse().unwrap() };
        Message { unix_us: 1_700_000_000_000_007, direction: Direction::Received, flow, data }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    #[test]
    fn a_packet_byte_for_byte() {
        let agent = Agent { id: 2001, key: Some("pw".to_owned()) };
        let message = message("192.0.2.1:5060", "192.0.2.7:5062", Bytes::from_static(b"BYE"));
        let expected = [
            "48455033",
            "0077",
            "0000000100 0702",
            "00000003000ac0000207",
            "00000004000ac0000201",
            "0000000200 0711",
            "00000007000813c6",
            "00000008000813c4",
            "00000009000a6553f100",
            "0000000a000a00000007",
            "0000000b00 0701",
            "0000000c000a000007d1",
            "0000000e00087077",
            "000000110009633a61",
            "0000000f0009425945",
        ];
        assert_eq!(hex(&packet(&agent, &message, b"c:a")), expected.concat().replace(' ', ""));
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let large = Bytes::from(vec![b'x'; 70_000]);
        let message = message("[2001:db8::1]:5060", "192.0.2.7:5062", large);
        let made = packet(&Agent::default(), &message, &[b'c'; 1_000]);
        assert_eq!(made.len(), PACKET_BYTES_MAX);
        assert_eq!(hex(made.get(4..6).unwrap()), format!("{PACKET_BYTES_MAX:04x}"));
        assert!(hex(&made).contains("00000005001600000000000000000000ffffc0000207"));
    }
}
