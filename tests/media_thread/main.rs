//! What a media thread does for each packet, counted: no allocation, and no reading of a clock but before and after it waits.
//! Printed with `cargo test --test media_thread -- --nocapture`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail anywhere")]
#![expect(clippy::print_stdout, reason = "it also prints what it has counted")]

mod counted;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookswitch::codec::{AudioCodec, OpusSettings, SampleRate};
use hookswitch::identity::{CallId, LegId};
use hookswitch::media::{Latching, RemoteMedia, SessionConfig};
use hookswitch::rtp::packet::is_rtcp;
use hookswitch::rtp::{Header, Packet};
use hookswitch::server::media_link::link;
use hookswitch::server::media_worker::{Means, MediaLeg, MediaWorkers, OpenLeg};
use hookswitch::server::ports::{LegSockets, PortPool};
use hookswitch::server::recorder::Recorder;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use self::counted::{Counting, Counts, counts, watch};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Both in one test, as there is one thread that is watched.
#[test]
fn packets_cost_no_allocation_and_no_clock() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let (events, _told) = tokio::sync::mpsc::channel(16);
    let workers = MediaWorkers::start(1, &mut rng, &events).unwrap();
    let pool = PortPool::new(16_384..=32_767, &mut rng).unwrap();
    let open = |phone: &Phone, index| open(&workers, &pool, phone, index);

    let mut phones = [Phone::new(AudioCodec::Pcmu), Phone::new(AudioCodec::Pcmu)];
    let legs = [open(&phones[0], 0), open(&phones[1], 1)];
    phones.iter_mut().for_each(Phone::find_peer);
    watch("media-0");
    legs[0].bridge(&legs[1]).unwrap();
    for index in 0..2 {
        while {
            phones[index].send(LONG);
            phones[1 - index].receive_soon() != Some(LONG)
        } {}
    }
    let metrics = workers.metrics().next().unwrap();
    let published = || metrics.packets_in.load(Ordering::Relaxed);
    let mut exchange = |packets: u64| {
        for _ in 0..packets {
            for index in 0..2 {
                phones[index].send(LONG);
                while phones[1 - index].receive_len() != LONG {}
            }
        }
    };
    // Until it has looked after the legs twice, once more, and again.
    let mut rounds = |count: u64| {
        let mut exchanged = 0;
        for _ in 0..count {
            let before = published();
            while published() == before {
                exchange(50);
                exchanged += 100;
            }
        }
        exchanged
    };
    rounds(4);
    let before = counts();
    let exchanged = rounds(4);
    check("passed on as they are", exchanged, 0, counts().since(before));
    drop(legs);

    let mut phones = [Phone::new(AudioCodec::Pcmu), Phone::new(AudioCodec::Pcma)];
    let legs = [open(&phones[0], 2), open(&phones[1], 3)];
    phones.iter_mut().for_each(Phone::find_peer);
    legs[0].bridge(&legs[1]).unwrap();
    let recorder = Recorder::start().unwrap();
    let path = std::env::temp_dir().join(format!("hookswitch-media-thread-{}.wav", std::process::id()));
    let (tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
    legs[0].record(Some(tap)).unwrap();
    // A leg sends a packet every 20 ms, which is when the next is sent to it.
    let mut exchange = |packets: u64| {
        for _ in 0..packets {
            for phone in &mut phones {
                while phone.receive_len() == 0 {}
                phone.send(SHORT);
            }
        }
        2 * packets
    };
    exchange(110);
    let before = counts();
    let exchanged = exchange(110);
    // If the machine stalls, what waits may become more than it ever was, and need room once.
    check("coded again, recorded", exchanged, exchanged / 20, counts().since(before));
    drop(legs);
    assert!(done.blocking_recv().unwrap().error.is_none());
    std::fs::remove_file(path).unwrap();
}

fn check(what: &str, packets: u64, allocations_max: u64, counts: Counts) {
    println!("{packets} packets {what}: {counts:?}");
    assert!(counts.allocations <= allocations_max, "{what}: {counts:?}");
    // Both clocks before it waits and after.
    assert!(counts.clock_readings <= 4 * (counts.waits + 1), "{what}: {counts:?}");
    assert!(counts.waits > 0, "{what}: {counts:?}");
}

fn open(workers: &MediaWorkers, pool: &PortPool, phone: &Phone, index: u8) -> MediaLeg {
    let mut rng = ChaCha12Rng::seed_from_u64(2);
    let open = OpenLeg {
        leg: LegId { call: CallId::generate(&mut rng, 0), index },
        room: None,
        sockets: LegSockets::Own(pool.allocate(phone.address().ip()).unwrap()),
        session: SessionConfig { remote: Some(phone.remote()), hears_tones: false },
        means: Means::default(),
        link: link(SampleRate::Hz8000).1,
        tap: None,
        inactivity: None,
    };
    workers.open(open).unwrap()
}

/// The peer of a leg.
struct Phone {
    socket: UdpSocket,
    codec: AudioCodec,
    peer: Option<SocketAddr>,
    sequence: u16,
}

impl Phone {
    fn new(codec: AudioCodec) -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        // An address on which no other process tests at the same time.
        let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::new(127, high, low, 79)), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, codec, peer: None, sequence: 0 }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn payload_type(&self) -> u8 {
        self.codec.static_payload_type().unwrap()
    }

    fn remote(&self) -> RemoteMedia {
        RemoteMedia {
            rtp: self.address(),
            rtcp: self.address(),
            latching: Latching::Exact,
            codec: self.codec,
            payload_type: self.payload_type(),
            received_payload_type: self.payload_type(),
            ptime_ms: 20,
            maxptime_ms: None,
            opus: OpusSettings::default(),
            comfort_noise: None,
            telephone_event: None,
            send: true,
            receive: true,
        }
    }

    /// The leg speaks first.
    fn find_peer(&mut self) {
        self.peer = Some(self.socket.recv_from(&mut [0; 2_000]).unwrap().1);
    }

    /// The length of the payload of the next packet; 0 for a report.
    fn receive_len(&self) -> usize {
        let mut buffer = [0; 2_000];
        let len = self.socket.recv(&mut buffer).unwrap();
        if is_rtcp(&buffer[..len]) { 0 } else { len - 12 }
    }

    /// The same, if it comes in the time of a packet.
    fn receive_soon(&self) -> Option<usize> {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let len = self.socket.recv(&mut [0; 2_000]).ok().map(|it| it - 12);
        self.socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        len
    }

    fn send(&mut self, len: usize) {
        let (sequence, timestamp) = (self.sequence, u32::from(self.sequence) * 160);
        let header = Header { payload_type: self.payload_type(), marker: false, sequence, timestamp, ssrc: 9 };
        let mut buffer = [0; 500];
        let len = Packet { header, payload: &[0x55; 300][..len] }.write(&mut buffer).unwrap();
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send_to(&buffer[..len], self.peer.unwrap()).unwrap();
    }
}

/// Bytes of a payload that only comes from whoever passes on: what is coded here is 20 ms long.
const LONG: usize = 240;
const SHORT: usize = 160;
