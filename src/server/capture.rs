//! Capture in the running server: a task sorts the messages that the SIP worker sent and received into ladders, stores
//! those in the journal's database, and sends every message to a Homer collector if there is one.
//!
//! Signalling never waits for it: what finds its queue full is dropped and counted.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::capture::ladder::Rung;
use crate::capture::redaction::redacted;
use crate::capture::{Direction, LadderLimits, Ladders, Message, Part, hep};
use crate::config::{Capture, Homer};
use crate::identity::{AccountId, CallId};
use crate::limits::{CAPTURE_BATCH, CAPTURE_QUEUE_MESSAGES_MAX, HEP_QUEUE_PACKETS_MAX};
use crate::platform::calls::ladder_sql::StoredPart;
use crate::platform::calls::sql::Journal;
use crate::server::metrics::CaptureSnapshot;
use crate::server::{clock, task};
use crate::timer::Now;
use crate::transport::Flow;

/// Where the SIP worker hands over what it sends and receives. The task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct CaptureTap {
    sender: mpsc::Sender<Tapped>,
    counters: Arc<CaptureCounters>,
}

/// What is counted, for `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct CaptureCounters {
    messages: AtomicU64,
    queue_drops: AtomicU64,
    kept: AtomicU64,
    limit_drops: AtomicU64,
    waiting_bytes: AtomicU64,
    calls: AtomicU64,
    hep_sent: AtomicU64,
    hep_failed: AtomicU64,
}

#[derive(Debug)]
enum Tapped {
    Message(Message),
    CallId(CallId, Box<str>),
    Ended(CallId),
}

impl CaptureTap {
    /// A message came or goes.
    pub(crate) fn message(&self, direction: Direction, flow: Flow, data: Bytes) {
        let unix_us = u64::try_from(clock::now().unix.as_micros()).unwrap_or(u64::MAX);
        self.counters.messages.fetch_add(1, Ordering::Relaxed);
        self.hand_over(Tapped::Message(Message { unix_us, direction, flow, data }));
    }

    /// Messages with this Call-ID are those of `call`.
    pub(crate) fn call_id(&self, call: CallId, call_id: Box<str>) {
        self.hand_over(Tapped::CallId(call, call_id));
    }

    /// The call is over.
    pub(crate) fn ended(&self, call: CallId) {
        self.hand_over(Tapped::Ended(call));
    }

    fn hand_over(&self, tapped: Tapped) {
        if self.sender.try_send(tapped).is_err() {
            self.counters.queue_drops.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl CaptureCounters {
    fn count_hep(&self, is_sent: bool) {
        let counter = if is_sent { &self.hep_sent } else { &self.hep_failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds them to `snapshot`.
    pub(crate) fn add_to(&self, snapshot: &mut CaptureSnapshot) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        snapshot.messages += value(&self.messages);
        snapshot.queue_drops += value(&self.queue_drops);
        snapshot.kept += value(&self.kept);
        snapshot.limit_drops += value(&self.limit_drops);
        snapshot.waiting_bytes += value(&self.waiting_bytes);
        snapshot.calls += value(&self.calls);
        snapshot.hep_sent += value(&self.hep_sent);
        snapshot.hep_failed += value(&self.hep_failed);
    }
}

/// Starts the task; `None` if nothing is to be captured. It is done when the tap is gone and everything is in the queue of
/// `journal`.
pub(crate) fn start(config: &Capture, journal: Journal) -> Option<(CaptureTap, Arc<CaptureCounters>, JoinHandle<()>)> {
    if !config.enabled && config.homer.is_none() {
        return None;
    }
    let (sender, receiver) = mpsc::channel(CAPTURE_QUEUE_MESSAGES_MAX);
    let counters = Arc::<CaptureCounters>::default();
    let limits = LadderLimits { call_bytes: config.bytes_per_call, ..LadderLimits::default() };
    let worker = Worker {
        ladders: Ladders::new(limits),
        journal: config.enabled.then_some(journal),
        keep: config.keep,
        expire_at: clock::now().instant,
        collector: config.homer.as_ref().map(|it| Collector::new(it.clone(), &counters)),
        counters: Arc::clone(&counters),
    };
    let done = task::spawn("capture", worker.run(receiver));
    Some((CaptureTap { sender, counters: Arc::clone(&counters) }, counters, done))
}

struct Worker {
    ladders: Ladders,
    journal: Option<Journal>,
    keep: Duration,
    expire_at: Instant,
    collector: Option<Collector>,
    counters: Arc<CaptureCounters>,
}

impl Worker {
    async fn run(mut self, mut receiver: mpsc::Receiver<Tapped>) {
        let mut batch = vec![];
        loop {
            let wake = self.ladders.poll_timeout().unwrap_or(self.expire_at).min(self.expire_at);
            tokio::select! {
                count = receiver.recv_many(&mut batch, BATCH_MAX) => if count == 0 { break },
                () = task::deadline(wake) => (),
            }
            let now = clock::now();
            for tapped in batch.drain(..) {
                self.handle(tapped, now);
            }
            self.ladders.handle_timeout(now);
            self.store(now);
            self.expire(now);
            if receiver.len() < BATCH_MAX {
                // Waking for every message would cost the SIP worker a system call for each.
                task::deadline(now.instant + CAPTURE_BATCH).await;
            }
        }
        self.ladders.finish();
        self.store(clock::now());
    }

    fn handle(&mut self, tapped: Tapped, now: Now) {
        match tapped {
            Tapped::CallId(call, id) => self.ladders.bind(call, id.as_bytes(), now),
            Tapped::Ended(call) => self.ladders.end(call, now),
            Tapped::Message(message) => {
                let copy = self.collector.is_some().then(|| message.clone());
                let call = self.ladders.handle_message(message, now);
                if let (Some(collector), Some(message)) = (&mut self.collector, copy) {
                    collector.send(&message, call, &self.counters);
                }
            }
        }
    }

    fn store(&mut self, now: Now) {
        while let Some(part) = self.ladders.poll_part() {
            if let Some(journal) = &self.journal {
                // Counted by the journal.
                journal.try_keep_ladder(stored(&part, now)).unwrap_or(());
            }
        }
        let counts = self.ladders.counts();
        self.counters.kept.store(counts.kept, Ordering::Relaxed);
        self.counters.limit_drops.store(counts.dropped, Ordering::Relaxed);
        self.counters.waiting_bytes.store(counts.waiting_bytes, Ordering::Relaxed);
        self.counters.calls.store(counts.calls, Ordering::Relaxed);
    }

    fn expire(&mut self, now: Now) {
        if self.expire_at > now.instant {
            return;
        }
        self.expire_at = now.instant + EXPIRE_EVERY;
        if let Some(journal) = &self.journal {
            journal.expire_ladders(now.unix_ms() - i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX));
        }
    }
}

fn stored(part: &Part, now: Now) -> StoredPart {
    let mut body = vec![];
    for message in &part.messages {
        Rung::of(&Message { data: redacted(&message.data), ..message.clone() }).write(&mut body);
    }
    StoredPart {
        account: AccountId::default(),
        call: part.call,
        number: part.number,
        unix_ms: now.unix_ms(),
        not_kept: part.not_kept,
        body,
    }
}

/// Where copies go.
struct Collector {
    agent: hep::Agent,
    way: Way,
}

/// How they go there.
enum Way {
    /// Once its name is found; a message that cannot be sent at once is dropped. There is a socket for the addresses of each
    /// family. They never block, and nothing comes back.
    Datagrams { address: watch::Receiver<Option<SocketAddr>>, sockets: [Option<UdpSocket>; 2] },
    /// By a task that writes to a connection; a message that finds its queue full is dropped.
    Stream(mpsc::Sender<Vec<u8>>),
}

impl Collector {
    fn new(homer: Homer, counters: &Arc<CaptureCounters>) -> Self {
        let agent = hep::Agent { id: homer.id, key: homer.key.as_ref().map(|it| it.reveal().to_owned()) };
        let way = if homer.is_stream {
            let (sender, packets) = mpsc::channel(HEP_QUEUE_PACKETS_MAX);
            task::spawn("homer-stream", stream(homer, packets, Arc::clone(counters)));
            Way::Stream(sender)
        } else {
            let (found, address) = watch::channel(None);
            task::spawn("homer-lookup", look_up(homer, found));
            Way::Datagrams { address, sockets: [None, None] }
        };
        Self { agent, way }
    }

    fn send(&mut self, message: &Message, call: Option<CallId>, counters: &CaptureCounters) {
        let packet = self.packet(message, call);
        let is_sent = match &mut self.way {
            Way::Datagrams { address, sockets: [v4, v6] } => address.borrow().is_some_and(|address| {
                let socket = if address.is_ipv4() { v4 } else { v6 };
                if socket.is_none() {
                    *socket = bind(address);
                }
                socket.as_ref().is_some_and(|it| it.send_to(&packet, address).is_ok())
            }),
            Way::Stream(queue) => match queue.try_send(packet) {
                // Counted when it is written.
                Ok(()) => return,
                Err(_full) => false,
            },
        };
        counters.count_hep(is_sent);
    }

    fn packet(&self, message: &Message, call: Option<CallId>) -> Vec<u8> {
        let shown = Message { data: redacted(&message.data), ..message.clone() };
        let correlation = match call {
            Some(call) => call.to_string().into_bytes(),
            None => crate::capture::call_id(&message.data).unwrap_or_default().to_vec(),
        };
        hep::packet(&self.agent, &shown, &correlation)
    }
}

/// Writes packets to a connection until there are no more. One that cannot be written is dropped, and so is what comes while
/// there is no connection and it is too early to try for another.
async fn stream(homer: Homer, mut packets: mpsc::Receiver<Vec<u8>>, counters: Arc<CaptureCounters>) {
    let mut open: Option<TcpStream> = None;
    let mut try_at = clock::now().instant;
    while let Some(packet) = packets.recv().await {
        if open.is_none() && clock::now().instant >= try_at {
            let connect = TcpStream::connect((homer.host.as_str(), homer.port));
            open = tokio::time::timeout(HEP_PATIENCE, connect).await.ok().and_then(Result::ok);
            if open.is_none() {
                tracing::warn!(host = homer.host, "the Homer collector takes no connection");
            }
            try_at = clock::now().instant + HEP_CONNECT_EVERY;
        }
        let is_written = match &mut open {
            Some(stream) => {
                let written = tokio::time::timeout(HEP_PATIENCE, stream.write_all(&packet)).await;
                matches!(written, Ok(Ok(())))
            }
            None => false,
        };
        if !is_written {
            // Half a packet would make nonsense of all that follow.
            open = None;
        }
        counters.count_hep(is_written);
    }
}

fn bind(towards: SocketAddr) -> Option<UdpSocket> {
    let any: SocketAddr =
        if towards.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Finds the collector's address, and again every minute: it may move. Ends with the task that wants it.
async fn look_up(homer: Homer, found: watch::Sender<Option<SocketAddr>>) {
    loop {
        match tokio::net::lookup_host((homer.host.as_str(), homer.port)).await.map(|mut it| it.next()) {
            Ok(Some(address)) => drop(found.send_replace(Some(address))),
            Ok(None) | Err(_) => tracing::warn!(host = homer.host, "the Homer collector is not found"),
        }
        tokio::select! {
            () = found.closed() => return,
            () = task::deadline(clock::now().instant + LOOK_UP_EVERY) => (),
        }
    }
}

const BATCH_MAX: usize = 1_024;
/// For connecting to a collector, and for writing one packet.
const HEP_PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to connect.
const HEP_CONNECT_EVERY: Duration = Duration::from_secs(5);
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);
