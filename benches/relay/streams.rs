//! The RTP of all telephones: a stream from each, 20 ms a packet, staggered by milliseconds; and who has received what.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hookswitch::server::batched_udp::{Poll, ReceiveBatch, SendBatch};
use hookswitch::server::clock;

/// Sockets of one side, shared by its telephones, so that this process has little to do.
const SOCKETS: usize = 4;
const SLOTS: usize = 20;
const PACKET_LEN: usize = 172;

/// Two telephones for each call.
pub(crate) struct Streams {
    sides: [Vec<UdpSocket>; 2],
    poll: Poll,
    receive: ReceiveBatch,
    send: SendBatch,
    /// Where the telephones of each side send.
    peers: [Vec<SocketAddr>; 2],
    sequence: u16,
    figures: Figures,
    origin: Instant,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// In microseconds, sorted.
    pub(crate) delays: Vec<u32>,
    /// How late each millisecond's packets were sent, in microseconds, sorted.
    pub(crate) lags: Vec<u32>,
    pub(crate) elapsed: Duration,
}

impl Streams {
    pub(crate) fn new(calls: usize) -> Self {
        let poll = Poll::new().expect("epoll");
        let mut token = 0;
        let sides = [(); 2].map(|()| {
            let open = || {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
                socket.set_nonblocking(true).expect("a socket can be non-blocking");
                // What the system does not grant is left out.
                drop(socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20));
                poll.add(socket.as_fd(), token).expect("epoll");
                token += 1;
                socket
            };
            std::iter::repeat_with(open).take(SOCKETS).collect()
        });
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        Self {
            sides,
            poll,
            receive: ReceiveBatch::new(),
            send: SendBatch::new(),
            peers: [vec![nobody; calls], vec![nobody; calls]],
            sequence: 0,
            figures: Figures::default(),
            origin: clock::now().instant,
        }
    }

    pub(crate) const fn calls(&self) -> usize {
        self.peers[0].len()
    }

    /// The address of a telephone's socket.
    pub(crate) fn address(&self, side: usize, call: usize) -> SocketAddr {
        self.sides[side][socket_of(call)].local_addr().expect("it is bound")
    }

    /// Where it is to send.
    pub(crate) fn set_peer(&mut self, side: usize, call: usize, peer: SocketAddr) {
        self.peers[side][call] = peer;
    }

    /// Sends and receives for so long, and then waits for what is still on its way.
    pub(crate) fn run(&mut self, time: Duration, is_measured: bool) -> Figures {
        self.figures = Figures::default();
        let start = clock::now().instant;
        let end = time.as_millis() as u64;
        for ms in 0..end {
            let due = start + Duration::from_millis(ms);
            self.listen_until(due);
            let lag = clock::now().instant.saturating_duration_since(due);
            self.figures.lags.push(lag.as_micros() as u32);
            self.send_slot(ms as usize % SLOTS, is_measured);
            if ms as usize % SLOTS == SLOTS - 1 {
                self.sequence = self.sequence.wrapping_add(1);
            }
        }
        self.figures.elapsed = clock::now().instant - start;
        if is_measured {
            self.listen_until(clock::now().instant + Duration::from_millis(500));
        }
        let mut figures = std::mem::take(&mut self.figures);
        figures.delays.sort_unstable();
        figures.lags.sort_unstable();
        figures
    }

    fn send_slot(&mut self, slot: usize, is_measured: bool) {
        for side in 0..2 {
            for (index, socket) in self.sides[side].iter().enumerate() {
                let calls = (0..self.peers[side].len()).filter(|it| it % SLOTS == slot && socket_of(*it) == index);
                for call in calls {
                    let now = (clock::now().instant - self.origin).as_micros() as u64;
                    let packet = packet(self.sequence, side, call, now, is_measured);
                    self.figures.sent += u64::from(is_measured);
                    let to = self.peers[side][call];
                    self.send.push(|buffer| {
                        buffer.get_mut(..PACKET_LEN)?.copy_from_slice(&packet);
                        Some((to, PACKET_LEN))
                    });
                    if self.send.is_full() {
                        self.send.send(socket.as_fd());
                    }
                }
                self.send.send(socket.as_fd());
            }
        }
    }

    fn listen_until(&mut self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(clock::now().instant);
            let ready: Vec<u64> = self.poll.wait(Some(left)).expect("epoll").collect();
            for token in ready {
                let index = token as usize;
                let socket = &self.sides[index / SOCKETS][index % SOCKETS];
                if self.receive.receive(socket.as_fd()).is_err() {
                    continue;
                }
                let now = (clock::now().instant - self.origin).as_micros() as u64;
                for (_, datagram) in self.receive.iter() {
                    if let Some(sent) = measured_at(datagram) {
                        self.figures.received += 1;
                        self.figures.delays.push(now.saturating_sub(sent) as u32);
                    }
                }
            }
            if left.is_zero() {
                return;
            }
        }
    }
}

const fn socket_of(call: usize) -> usize {
    call / SLOTS % SOCKETS
}

/// A packet of G.711 that says when it was sent, and whether it counts.
fn packet(sequence: u16, side: usize, call: usize, now: u64, is_measured: bool) -> [u8; PACKET_LEN] {
    let mut packet = [0xd5; PACKET_LEN];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&(0x1000_0000 + (call * 2 + side) as u32).to_be_bytes());
    packet[12..16].copy_from_slice(if is_measured { MEASURED } else { b"warm" });
    packet[16..24].copy_from_slice(&now.to_be_bytes());
    packet
}

fn measured_at(datagram: &[u8]) -> Option<u64> {
    let is_ours = datagram.len() == PACKET_LEN && datagram.get(12..16)? == MEASURED;
    let at: [u8; 8] = *datagram.get(16..)?.first_chunk()?;
    is_ours.then_some(u64::from_be_bytes(at))
}

const MEASURED: &[u8] = b"true";
