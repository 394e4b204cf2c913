//! Terminated legs in a process of their own: sockets, jitter buffer, decoder, somebody who listens for voice, recorder,
//! encoder. Each has a task of its own, as a call with an agent does, which has what it hears played back: so each packet
//! that comes goes the whole way and leaves as another one.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hookswitch::agent::voice_activity::{Detector, VoiceActivity, VoiceActivityConfig};
use hookswitch::codec::{AudioCodec, OpusSettings, SampleRate};
use hookswitch::identity::{CallId, LegId};
use hookswitch::media::{Heard, Latching, PlayoutFrame, RemoteMedia, SessionConfig};
use hookswitch::server::batched_udp::allow_open_files;
use hookswitch::server::media_link::{LegCommand, TaskEnd, link};
use hookswitch::server::media_worker::{Means, MediaWorkers, OpenLeg};
use hookswitch::server::ports::{LegSockets, PortPool};
use hookswitch::server::recorder::Recorder;
use hookswitch::server::{entropy, task};

/// The role: `arguments` are what listens for voice (`none`, `energy`, `neural`), a directory for recordings (or `-`), and the
/// ports of the telephones. Prints the port of each leg, and ends with its input.
pub(crate) fn run(arguments: &[String]) {
    let [voice, directory, ports @ ..] = arguments else {
        panic!("what listens, where to record, and ports");
    };
    let detector = match voice.as_str() {
        "energy" => Some(Detector::Energy),
        "neural" => Some(Detector::Neural),
        _ => None,
    };
    let directory = Some(PathBuf::from(directory)).filter(|it| it != Path::new("-"));
    // Refused, there are as many as there are.
    drop(allow_open_files());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let _entered = runtime.enter();
    let mut rng = entropy::generator();
    let (events, _told) = tokio::sync::mpsc::channel(16);
    let workers = MediaWorkers::start(1, &mut rng, &events).expect("a thread starts");
    let recorder = Recorder::start_threads(2).expect("a thread starts");
    let pool = PortPool::new(16_384..=32_767, &mut rng).expect("there are ports in between");
    let mut legs = vec![];
    for (index, port) in ports.iter().enumerate() {
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        let sockets = pool.allocate(ip).expect("there are ports left");
        println!("{}", sockets.rtp.local_addr().expect("it is bound").port());
        let (listener, link) = link(SampleRate::Hz8000);
        let tap = directory.as_ref().map(|it| {
            let path = it.join(format!("{index}.wav"));
            recorder.record(&path, SampleRate::Hz8000).expect("it takes as many").0
        });
        let peer = SocketAddr::new(ip, port.parse().expect("a port"));
        let session = SessionConfig { remote: Some(remote(peer)), hears_tones: true };
        let leg = LegId { call: CallId::generate(&mut rng, 0), index: 0 };
        let sockets = LegSockets::Own(sockets);
        let open = OpenLeg { leg, room: None, sockets, session, means: Means::default(), link, tap, inactivity: None };
        legs.push(workers.open(open).expect("it takes as many"));
        let voice = detector.map(|detector| VoiceActivityConfig { detector, ..VoiceActivityConfig::default() });
        task::spawn("listener", play_back(listener, voice.map(VoiceActivity::new)));
        if index % 100 == 99 {
            // It takes so many orders at once and no more.
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
    drop(std::io::stdin().read_to_end(&mut vec![]));
    std::process::exit(0);
}

async fn play_back(mut leg: TaskEnd, mut voice: Option<VoiceActivity>) {
    while let Some(tick) = leg.tick().await {
        let frame = match tick.tick.heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => Some(frame),
            Heard::Nothing => None,
        };
        if let Some(voice) = &mut voice {
            std::hint::black_box(voice.handle_frame(frame.as_ref()));
        }
        // What came while the machine stalled would be late for ever, as as much goes out as comes in.
        if let Some(frame) = frame.filter(|_| tick.tick.queued_frames <= 1) {
            leg.command(LegCommand::Play(PlayoutFrame { utterance: 1, frame })).unwrap_or(());
        }
    }
}

fn remote(peer: SocketAddr) -> RemoteMedia {
    RemoteMedia {
        rtp: peer,
        rtcp: SocketAddr::new(peer.ip(), peer.port() + 1),
        latching: Latching::Exact,
        codec: AudioCodec::Pcmu,
        payload_type: 0,
        received_payload_type: 0,
        maxptime_ms: None,
        ptime_ms: 20,
        opus: OpusSettings::default(),
        comfort_noise: None,
        telephone_event: None,
        send: true,
        receive: true,
    }
}
