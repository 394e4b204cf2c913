//! Media threads: each owns its legs, with their sockets, sessions and schedule, and shares nothing but counters.
//!
//! A thread waits for packets, orders and the next tick. The 20 ms of a tick are divided into slots of one millisecond;
//! each leg ticks in one slot, the least occupied when it was opened, so that the packets of many legs do not leave
//! together. Slots follow the monotonic clock from one origin: a late one does not move the next. After a stall of more
//! than three ticks, whole ticks are skipped rather than made up for in a burst. The clock is read when a turn
//! begins and when it ends, not per packet. Legs whose packets are only passed on send when they receive, and have
//! no slot: `relay`.
//!
//! A panic while serving a leg closes that leg and is told by [`MediaEvent::Failed`]; the others go on.

mod attend;
mod bridge;
mod browser;
mod failures;
mod live;
mod media_leg;
mod metrics;
mod play;
mod refused;
mod relay;
mod room;
mod shared;
mod slots;
mod supervise;
mod transmit;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use tokio::sync::{mpsc, oneshot};

use self::attend::Told;
pub use self::attend::{TOLD, Telling};
pub use self::browser::Means;
pub use self::live::LiveReports;
pub use self::metrics::WorkerMetrics;
use self::play::Deck;
pub(crate) use self::play::refuse as refuse_play;
pub use self::play::{Play, PlayOrder, PlaySource, PlayStep, PlayTold, new_play_id};
use self::refused::listen_on;
use self::relay::Ear;
use self::room::{Cue, Room};
pub use self::room::{Entry, RoomKey, RoomOrder, RoomSounds};
use self::shared::{SharedEnd, token_of_leg};
use self::slots::{Rounds, Slots};
pub use self::supervise::Speech;
use self::supervise::{Desk, Said, Ticked, Voice, audio};
use super::batched_udp::{Poll, Ready, ReceiveBatch, SendBatch, Waker, prefer_this_thread};
use super::clock;
use super::media_link::WorkerEnd;
use super::ports::{LegSockets, RtpSockets};
use super::recorder::TapEnd;
use crate::codec::{Clip, Frame};
use crate::identity::{CallId, LegId};
use crate::limits::{MEDIA_LEGS_PER_THREAD_MAX, MEDIA_ORDERS_MAX};
use crate::media::{LegTransport, RemoteMedia, Report, Session, SessionConfig};
use crate::rtp::Digit;
use crate::timer::Now;

/// All media threads. Dropping it ends them, and with them every leg.
#[derive(Debug)]
pub struct MediaWorkers {
    workers: Vec<Worker>,
    next_key: AtomicU64,
}

/// A leg to be opened.
#[derive(Debug)]
pub struct OpenLeg {
    /// Comes back in [`MediaEvent`]. Legs of one call share a thread.
    pub leg: LegId,
    /// The room that it may enter: legs of one room share a thread.
    pub room: Option<RoomKey>,
    /// Its own are given back to their pool when the leg is closed. Shared ones are those of its thread
    /// ([`MediaWorkers::thread_for`]).
    pub sockets: LegSockets,
    /// What is known of the peer.
    pub session: SessionConfig,
    /// How its packets are carried.
    pub means: Means,
    /// The end of a [`super::media_link::link`].
    pub link: WorkerEnd,
    /// Records from the beginning.
    pub tap: Option<TapEnd>,
    /// Without valid RTP or RTCP for so long, [`MediaEvent::Inactive`] is told.
    pub inactivity: Option<Duration>,
}

/// An open leg. Dropping it closes the leg.
#[derive(Debug)]
pub struct MediaLeg {
    key: u64,
    handle: Handle,
    /// Tells the thread that this is gone, even if it takes no orders.
    abandoned: Arc<AtomicBool>,
    is_closing: bool,
}

/// What a media thread tells of its legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// Neither valid RTP nor RTCP has come for as long as [`OpenLeg::inactivity`] says. Told again only after some has come.
    Inactive {
        /// The leg.
        leg: LegId,
    },
    /// The leg could not be opened, or has been closed by an error of ours. Nothing more comes from it.
    Failed {
        /// The leg.
        leg: LegId,
    },
    /// Its peer is to be told of a key ([`Means::tells_keys`]).
    Pressed {
        /// The leg.
        leg: LegId,
        /// The key.
        digit: Digit,
        /// How long it was held, in milliseconds.
        ms: u16,
    },
}

/// [`MEDIA_ORDERS_MAX`] orders wait for the thread, or it has ended: this one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media thread takes no more orders")]
pub struct MediaBusy;

impl MediaWorkers {
    /// Starts `threads` threads, at least one. Events go to `events`; one that finds no room there is told later.
    ///
    /// # Errors
    ///
    /// What the system says: too many threads or open files.
    pub fn start(threads: usize, rng: &mut ChaCha12Rng, events: &mpsc::Sender<MediaEvent>) -> io::Result<Self> {
        let mut workers = vec![];
        for index in 0..threads.max(1) {
            workers.push(Worker::start(index, ChaCha12Rng::from_rng(rng), events.clone())?);
        }
        Ok(Self { workers, next_key: AtomicU64::new(0) })
    }

    /// Opens a leg; it ticks from now on.
    ///
    /// # Errors
    ///
    /// [`MediaBusy`].
    pub fn open(&self, open: OpenLeg) -> Result<MediaLeg, MediaBusy> {
        let handle = self.workers.get(self.thread_for(open.leg.call, open.room)).ok_or(MediaBusy)?.handle.clone();
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let abandoned = Arc::new(AtomicBool::new(false));
        handle.order(Order::Open { key, open: Box::new(open), abandoned: Arc::clone(&abandoned) })?;
        Ok(MediaLeg { key, handle, abandoned, is_closing: false })
    }

    /// The thread on which the legs of a call are, counted from zero: that of its room, if it has one.
    pub fn thread_for(&self, call: CallId, room: Option<RoomKey>) -> usize {
        let threads = u64::try_from(self.workers.len()).unwrap_or(1).max(1);
        let hash = room.map_or_else(|| foldhash::fast::FixedState::default().hash_one(call), |it| it.0);
        usize::try_from(hash % threads).unwrap_or(0)
    }

    /// The counters of each thread.
    pub fn metrics(&self) -> impl Iterator<Item = &WorkerMetrics> {
        self.workers.iter().map(|it| &*it.metrics)
    }
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    metrics: Arc<WorkerMetrics>,
    stop: Arc<AtomicBool>,
    /// `None` only while it is dropped.
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Handle {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
}

#[derive(Debug)]
enum Order {
    Open { key: u64, open: Box<OpenLeg>, abandoned: Arc<AtomicBool> },
    Update { key: u64, agreed: Box<(RemoteMedia, Means)> },
    Record { key: u64, tap: Option<TapEnd> },
    Move { key: u64, sockets: RtpSockets },
    Bridge { a: u64, b: u64 },
    Unbridge { key: u64 },
    Supervise { key: u64, speech: Option<Speech> },
    Room { key: u64, order: RoomOrder },
    Sound { key: u64, clip: Option<Clip> },
    PlayInto { key: u64, order: PlayOrder },
    Digit { key: u64, digit: Digit, ms: u16 },
    Told { key: u64, digit: Digit, ms: u16 },
    Tell { key: u64, telling: Option<Box<Telling>> },
    Close { key: u64, reply: oneshot::Sender<Report> },
}

impl Handle {
    fn order(&self, order: Order) -> Result<(), MediaBusy> {
        self.orders.try_send(order).or(Err(MediaBusy))?;
        self.waker.wake();
        Ok(())
    }
}

impl Worker {
    fn start(index: usize, rng: ChaCha12Rng, events: mpsc::Sender<MediaEvent>) -> io::Result<Self> {
        let (orders, received) = sync_channel(MEDIA_ORDERS_MAX);
        let (metrics, stop) = (Arc::new(WorkerMetrics::default()), Arc::new(AtomicBool::new(false)));
        let waker = Arc::new(Waker::new()?);
        let poll = Poll::new()?;
        poll.add(waker.as_fd(), WAKER_TOKEN)?;
        let turn = Turn {
            orders: received,
            waker: Arc::clone(&waker),
            stop: Arc::clone(&stop),
            legs: Legs {
                poll,
                slots: Slots::new(clock::now().instant),
                rounds: Rounds::new(clock::now().instant),
                relaying: 0,
                open: vec![],
                vacant: vec![],
                by_key: BTreeMap::new(),
                supervisors: BTreeMap::new(),
                rooms: BTreeMap::new(),
                shared: vec![],
                by_address: HashMap::default(),
                metrics: Arc::clone(&metrics),
                events,
                untold: VecDeque::new(),
                rng,
            },
            receive: ReceiveBatch::new(),
            send: SendBatch::new(),
            ready: vec![],
        };
        let run = move || {
            if let Err(error) = prefer_this_thread()
                && index == 0
            {
                tracing::info!(%error, "media threads have no more than ordinary priority");
            }
            turn.run();
        };
        let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(run)?;
        Ok(Self { handle: Handle { orders, waker }, metrics, stop, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.handle.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            thread.join().unwrap_or(());
        }
    }
}

/// What a media thread works with.
struct Turn {
    orders: Receiver<Order>,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    legs: Legs,
    receive: ReceiveBatch,
    send: SendBatch,
    /// The sockets that are ready in this turn.
    ready: Vec<Ready>,
}

/// The legs of a thread.
struct Legs {
    poll: Poll,
    slots: Slots,
    rounds: Rounds,
    /// Legs whose packets are passed on.
    relaying: usize,
    open: Vec<Option<Box<Leg>>>,
    /// Places of `open` that are `None`.
    vacant: Vec<usize>,
    by_key: BTreeMap<u64, usize>,
    /// The supervisors of calls, by their keys.
    supervisors: BTreeMap<CallId, u64>,
    rooms: BTreeMap<RoomKey, Room>,
    /// The ports that many legs share.
    shared: Vec<SharedEnd>,
    /// The place of the leg whose peer is at an address, by the token of the shared socket.
    by_address: HashMap<(u64, SocketAddr), usize, foldhash::fast::RandomState>,
    metrics: Arc<WorkerMetrics>,
    events: mpsc::Sender<MediaEvent>,
    /// Legs whose failure has found no room in `events`; at most as many as have failed since there was some.
    untold: VecDeque<LegId>,
    rng: ChaCha12Rng,
}

struct Leg {
    id: LegId,
    key: u64,
    sockets: LegSockets,
    /// The index of its shared ports, if it has no own.
    shared: Option<usize>,
    /// Under which it is in `by_address`.
    addresses: [Option<(u64, SocketAddr)>; 2],
    transport: LegTransport,
    /// What stands for the address of a browser in its session.
    browser_address: Option<SocketAddr>,
    session: Session,
    /// Keys are told by events of ours, and not sent.
    tells_keys: bool,
    /// `None` once nobody is at the other end.
    link: Option<Box<WorkerEnd>>,
    tap: Option<TapEnd>,
    inactivity: Option<Duration>,
    inactivity_told: bool,
    /// When a socket of it was ready last.
    ready_at: Instant,
    /// The key of the leg that hears this one.
    partner: Option<u64>,
    /// The place of that leg, while packets go there as they come.
    relays_to: Option<usize>,
    /// What is played to its peer in the place of its partner, and how many samples of it are played.
    sound: Option<(Clip, usize)>,
    /// Frames that were still to be played after the last tick, and those that have come since.
    waiting_frames: u16,
    /// How many slots had been served when it last ticked.
    ticked_in: u64,
    /// What is said while packets are passed on, if somebody wants to know.
    ear: Option<Box<Ear>>,
    /// The key of the leg of the supervisor who hears this one.
    watcher: Option<u64>,
    /// Of the supervisor, if that is to be heard here.
    voice: Option<Box<Voice>>,
    /// Of a supervisor's leg.
    desk: Option<Box<Desk>>,
    /// The room that it is in.
    room: Option<RoomKey>,
    /// What its peer hears once, over everything else.
    cue: Option<Box<Cue>>,
    deck: Option<Box<Deck>>,
    /// What its peer is told by whoever attends to it.
    told: Option<Box<Told>>,
    abandoned: Arc<AtomicBool>,
    /// What the metrics have been told so far.
    published: Report,
}

impl Turn {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let timeout = self.legs.next_due().map(|it| it.saturating_duration_since(clock::now().instant));
            self.ready.clear();
            match self.legs.poll.wait(timeout) {
                Ok(ready) => self.ready.extend(ready),
                // Waiting on our own valid descriptors cannot fail; should it, ticks must not.
                Err(error) => tracing::error!(%error, "epoll"),
            }
            let now = clock::now();
            // First: packets may come under what has just been agreed.
            if self.ready.iter().any(|it| it.token == WAKER_TOKEN) {
                self.waker.clear();
                self.take_orders(now);
            }
            for index in 0..self.ready.len() {
                if let Some(ready) = self.ready.get(index).filter(|it| it.token != WAKER_TOKEN) {
                    self.legs.receive(*ready, &mut self.receive, &mut self.send, now);
                }
            }
            self.legs.run_due_slots(&mut self.send, now);
            self.legs.run_due_rounds(&mut self.send, now);
            self.legs.flush();
            self.legs.tell_failures();
        }
        let now = clock::now();
        for place in 0..self.legs.open.len() {
            self.legs.close(place, &mut self.send, now);
        }
    }

    fn take_orders(&mut self, now: Now) {
        for _ in 0..ORDERS_PER_TURN {
            let Ok(order) = self.orders.try_recv() else {
                return;
            };
            match order {
                Order::Open { key, open, abandoned } => self.legs.open(key, *open, abandoned, now),
                Order::Update { key, agreed } => self.legs.update(key, *agreed, now),
                Order::Record { key, tap } => {
                    if let Some(leg) = self.legs.by_key(key) {
                        leg.tap = tap;
                    }
                    self.legs.settle(key, now);
                }
                Order::Move { key, sockets } => self.legs.move_to(key, sockets),
                Order::Bridge { a, b } => self.legs.bridge(a, b, now),
                Order::Unbridge { key } => self.legs.unbridge(key, now),
                Order::Tell { key, telling } => self.legs.tell(key, telling, now),
                Order::Supervise { key, speech } => self.legs.supervise(key, speech, now),
                Order::Room { key, order } => self.legs.room(key, order),
                Order::Sound { key, clip } => self.legs.play(key, clip, now),
                Order::PlayInto { key, order } => self.legs.play_into(key, order, now),
                Order::Digit { key, digit, ms } => {
                    let events = self.legs.events.clone();
                    if let Some(leg) = self.legs.by_key(key) {
                        leg.send_digit(digit, ms, &events);
                    }
                    self.legs.settle(key, now);
                }
                Order::Told { key, digit, ms } => self.legs.tell_digit(key, digit, ms, now),
                Order::Close { key, reply } => {
                    let place = self.legs.by_key.get(&key).copied();
                    if let Some(report) = place.and_then(|it| self.legs.close(it, &mut self.send, now)) {
                        // Nobody may be waiting for the report.
                        reply.send(report).unwrap_or_default();
                    }
                }
            }
        }
        // More may wait; packets and ticks come first.
        self.waker.wake();
    }
}

impl Legs {
    fn open(&mut self, key: u64, open: OpenLeg, abandoned: Arc<AtomicBool>, now: Now) {
        let OpenLeg { leg: id, room: _, sockets, session, means, link, tap, inactivity } = open;
        let place = self.vacant.pop().unwrap_or(self.open.len());
        let token = token_of_leg(place);
        let has_room = self.by_key.len() < MEDIA_LEGS_PER_THREAD_MAX;
        let transport = means.open(&sockets, now);
        let added = match &sockets {
            LegSockets::Own(own) => listen_on(&self.poll, [&own.rtp, &own.rtcp], token).map(|()| None),
            LegSockets::Shared(pair) => self.share(pair).map(Some),
        };
        if let Err(error) = &added {
            tracing::error!(%error, leg = %id, "epoll");
        }
        let (Some(transport), Ok(shared)) = (transport.filter(|_| has_room), added) else {
            // What was added leaves the set when its socket is closed.
            self.vacant.extend((place < self.open.len()).then_some(place));
            self.untold.push_back(id);
            return;
        };
        let remote = session.remote;
        let mut session = Session::new(session, &mut self.rng, now);
        session.align(self.slots.insert(place, now.instant));
        let published = Report::default();
        let leg = Leg {
            id,
            key,
            sockets,
            shared,
            addresses: [None; 2],
            transport,
            browser_address: remote.map(|it| it.rtp),
            session,
            tells_keys: means.tells_keys,
            link: Some(Box::new(link)),
            tap,
            inactivity,
            inactivity_told: false,
            ready_at: now.instant,
            partner: None,
            relays_to: None,
            sound: None,
            waiting_frames: 0,
            ticked_in: 0,
            ear: None,
            watcher: None,
            voice: None,
            desk: None,
            room: None,
            cue: None,
            deck: None,
            told: None,
            abandoned,
            published,
        };
        let leg = Some(Box::new(leg));
        match self.open.get_mut(place) {
            Some(vacant) => *vacant = leg,
            None => self.open.push(leg),
        }
        self.by_key.insert(key, place);
        if let Some(remote) = remote {
            self.find_by_address(key, &remote);
        }
        self.metrics.legs.fetch_add(1, Ordering::Relaxed);
    }

    /// When the next tick or round is due.
    fn next_due(&self) -> Option<Instant> {
        let round = (self.relaying > 0).then(|| self.rounds.next_due());
        self.slots.next_due().into_iter().chain(round).min()
    }

    fn by_key(&mut self, key: u64) -> Option<&mut Leg> {
        let place = self.by_key.get(&key)?;
        self.open.get_mut(*place)?.as_deref_mut()
    }

    /// Says good-bye, closes the sockets and gives the final report.
    fn close(&mut self, place: usize, send: &mut SendBatch, now: Now) -> Option<Report> {
        let mut leg = self.take(place, now)?;
        leg.session.handle_close(now);
        leg.send_out(send, &self.metrics, now);
        let report = leg.session.report(now);
        self.metrics.publish(&report, &leg.published);
        Some(report)
    }

    fn take(&mut self, place: usize, now: Now) -> Option<Box<Leg>> {
        let mut leg = self.open.get_mut(place)?.take()?;
        leg.end_plays(now);
        self.part(&leg, now);
        self.leave_room(leg.key, leg.room);
        for address in leg.addresses.iter().flatten() {
            self.by_address.remove(address);
        }
        self.vacant.push(place);
        self.by_key.remove(&leg.key);
        self.slots.remove(place);
        self.metrics.live.remove(leg.id);
        self.metrics.legs.fetch_sub(1, Ordering::Relaxed);
        self.seat(leg.id.call, now);
        Some(leg)
    }

    /// Takes what waits on a socket, at most one batch: a flood on one must not keep the others waiting.
    fn receive(&mut self, ready: Ready, batch: &mut ReceiveBatch, send: &mut SendBatch, now: Now) {
        let Ready { token, is_failing } = ready;
        if is_failing {
            self.take_refusals(token);
        }
        if token & SHARED_TOKEN != 0 {
            return self.receive_shared(token, batch, send, now);
        }
        let place = usize::try_from(token >> 1).unwrap_or(usize::MAX);
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        let is_rtcp = token & 1 == 1;
        let socket = if is_rtcp { leg.sockets.rtcp() } else { leg.sockets.rtp() };
        // A stream brings one packet at a time; where more come, they wait in a batch.
        let is_burst = now.instant.saturating_duration_since(std::mem::replace(&mut leg.ready_at, now.instant)) < BURST;
        let received = if is_burst { batch.receive(socket.as_fd()) } else { batch.receive_one(socket.as_fd()) };
        if received.is_err() {
            self.metrics.receive_failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if let Some(other) = leg.relays_to.filter(|_| !is_rtcp) {
            return self.relay((place, other), batch.iter_mut(), send, now);
        }
        let served = catch_unwind(AssertUnwindSafe(|| {
            for (from, datagram) in batch.iter_mut() {
                leg.receive(from, datagram, is_rtcp, now);
            }
        }));
        if served.is_err() {
            self.fail(place, now);
        }
    }

    fn run_due_slots(&mut self, send: &mut SendBatch, now: Now) {
        let skipped = self.slots.skip_after_stall(now.instant);
        if skipped > 0 {
            self.skip_rounds(skipped);
            for leg in self.open.iter_mut().flatten() {
                if leg.relays_to.is_some() {
                    leg.skip_overheard(skipped);
                    continue;
                }
                leg.session.skip_ticks(skipped);
                self.metrics.ticks_skipped.fetch_add(u64::from(skipped), Ordering::Relaxed);
            }
        }
        while let Some(slot) = self.slots.take_due(now.instant) {
            let late = u64::from(slot.is_late);
            // Legs that end while they tick leave their slot: from the last to the first, none is missed.
            for index in (0..self.slots.len(slot.index)).rev() {
                if let Some(place) = self.slots.get(slot.index, index).filter(|it| self.is_due(*it)) {
                    self.metrics.ticks.fetch_add(1, Ordering::Relaxed);
                    self.metrics.ticks_late.fetch_add(late, Ordering::Relaxed);
                    self.tick(place, send, now);
                }
            }
        }
    }

    /// Whether a leg has not ticked in the slot that is served: whoever leaves it puts the last one in its place.
    fn is_due(&mut self, place: usize) -> bool {
        let served = self.slots.served();
        let leg = self.open.get_mut(place).and_then(Option::as_deref_mut);
        leg.is_some_and(|it| std::mem::replace(&mut it.ticked_in, served) != served)
    }

    fn tick(&mut self, place: usize, send: &mut SendBatch, now: Now) {
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        if leg.abandoned.load(Ordering::Relaxed) {
            self.close(place, send, now);
            return;
        }
        let unsettled = leg.partner.filter(|_| leg.relays_to.is_none()).map(|_| leg.key);
        let (watcher, index, speaks, room, key) = (leg.watcher, leg.id.index, leg.desk.is_some(), leg.room, leg.key);
        let other = leg.relays_to.filter(|_| leg.tap.is_some());
        let other_said = other.and_then(|it| self.overheard(it));
        self.begin_round(room, key);
        let Some(leg) = self.open.get_mut(place).and_then(Option::as_deref_mut) else {
            return;
        };
        let ticked =
            catch_unwind(AssertUnwindSafe(|| leg.tick(other_said.as_ref(), send, &self.metrics, &self.events, now)));
        match ticked {
            Ok(Ticked { passed, said }) => {
                if let Some(passed) = passed {
                    self.pass(passed);
                }
                if let Some(watcher) = watcher {
                    self.tell_supervisor(watcher, index, &said);
                }
                self.say_in_room(room, key, said.heard.as_ref());
                if let Some(frame) = said.heard.filter(|_| speaks) {
                    self.speak(place, &frame);
                }
            }
            Err(_) => {
                // What it was about to send must not leave from the socket of another leg.
                send.clear();
                self.fail(place, now);
            }
        }
        if let Some(key) = unsettled {
            self.settle(key, now);
        }
    }

    /// Drops a leg whose state cannot be trusted any more.
    fn fail(&mut self, place: usize, now: Now) {
        if let Some(leg) = self.take(place, now) {
            self.metrics.legs_failed.fetch_add(1, Ordering::Relaxed);
            self.untold.push_back(leg.id);
        }
    }
}

impl Leg {
    fn tick(
        &mut self,
        other_said: Option<&Frame>,
        send: &mut SendBatch,
        metrics: &WorkerMetrics,
        events: &mpsc::Sender<MediaEvent>,
        now: Now,
    ) -> Ticked {
        if self.relays_to.is_some() {
            let heard = self.overhear_tick(other_said, now);
            return Ticked { passed: None, said: Said { heard, played: None } };
        }
        self.take_commands(metrics, events);
        self.play_sound();
        self.hear_call();
        self.play_cue();
        self.tell();
        self.play_deck(now);
        let voice = self.hear_supervisor();
        let mut tick = self.session.handle_tick(now);
        self.send_out(send, metrics, now);
        if let Some(tap) = &mut self.tap {
            tap.tick(tick.number, audio(&tick.heard).as_ref(), self.session.sent_frame());
        }
        self.tell_inactivity(tick.inactive_for, events);
        if tick.number.is_multiple_of(TICKS_PER_PUBLICATION) {
            self.publish(metrics, now);
        }
        self.waiting_frames = tick.queued_frames;
        if tick.played.is_none() && self.is_live() {
            // A digit went out, or nothing may: what was said meanwhile would be late for good.
            self.session.clear();
            self.waiting_frames = 0;
        }
        let passed = self.passed(&tick);
        self.note_told(&mut tick);
        let said = self.said(&tick.heard);
        if let Some(it) = &self.voice {
            tick.heard = it.heard_by_agent(tick.heard, voice);
        }
        if let Some(link) = &mut self.link {
            link.tick(tick);
        }
        Ticked { passed, said }
    }

    /// Whether what waits to be sent has just been said by somebody else.
    const fn is_live(&self) -> bool {
        self.waiting_frames > 0 && (self.partner.is_some() || self.room.is_some() || self.desk.is_some())
    }

    /// What a datagram says; `None` if it is not the peer's. Strangers are counted by the session, and cost no
    /// cryptography.
    fn unprotect<'a>(&mut self, from: SocketAddr, datagram: &'a mut [u8], is_rtcp: bool, now: Now) -> Option<&'a [u8]> {
        if !self.session.admits(from, now) {
            return Some(datagram);
        }
        match self.transport.unprotect(datagram, is_rtcp, now.instant) {
            Ok(plain) => Some(plain),
            Err(rejected) => {
                self.session.handle_rejected(rejected);
                None
            }
        }
    }

    fn receive(&mut self, from: SocketAddr, datagram: &mut [u8], is_rtcp: bool, now: Now) {
        if let (LegTransport::WebRtc(peer), Some(address)) = (&mut self.transport, self.browser_address) {
            return browser::receive(peer, &mut self.session, (from, address), datagram, now);
        }
        let Some(datagram) = self.unprotect(from, datagram, is_rtcp, now) else {
            return;
        };
        if is_rtcp {
            self.session.handle_rtcp(from, datagram, now);
        } else {
            self.session.handle_rtp(from, datagram, now);
        }
    }
}

const WAKER_TOKEN: u64 = u64::MAX;
/// Set in the tokens of shared sockets; the lowest bit stands for RTCP, as in those of legs.
const SHARED_TOKEN: u64 = 1 << 62;
const ORDERS_PER_TURN: usize = 64;
/// Packets of one peer come further apart than this, unless they come in a burst.
const BURST: Duration = Duration::from_millis(2);
/// Once a second.
const TICKS_PER_PUBLICATION: u64 = 50;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, UdpSocket};

    use smallvec::SmallVec;

    use super::*;
    use crate::codec::{AudioCodec, Frame, OpusSettings, SampleRate};
    use crate::identity::CallId;
    use crate::media::player::Playing;
    use crate::media::{Heard, Latching, PlayoutFrame};
    use crate::rtp::packet::is_rtcp;
    use crate::rtp::{Header, Packet, rtcp};
    use crate::server::media_link::{LegCommand, LegTick, TaskEnd, link};
    use crate::server::ports::{PortPool, SharedPair};
    use crate::server::recorder::Recorder;
    use crate::srtp::{Inbound, Keys, MasterKey, Outbound, Suite};

    #[test]
    fn a_leg_sends_and_hears_until_it_is_closed() {
        let bench = Bench::new(1);
        let mut phone = Phone::new();
        let (leg, mut task) = bench.open(&phone, None);
        let first = phone.receive();
        let mut before = first;
        for _ in 0..50 {
            let header = phone.receive();
            // Time and packets go together, so fifty packets are a second of the leg's clock; a stalled machine may skip.
            assert_eq!(header.sequence, before.sequence.wrapping_add(1));
            assert_eq!(header.timestamp.wrapping_sub(before.timestamp) % 160, 0);
            assert_ne!(header.timestamp, before.timestamp);
            phone.send(&[0x80; 160]);
            before = header;
        }
        let heard =
            std::iter::from_fn(|| task.poll_tick()).filter(|it| matches!(it.tick.heard, Heard::Audio(_))).count();
        assert!(heard > 30, "{heard}");
        let report = leg.close().blocking_recv().unwrap();
        assert!(report.received.packets >= 49 && report.sent.packets >= 51, "{report:?}");
        assert!(task.is_closed());
        assert_eq!(bench.legs(), 0);
        let in_use = bench.pool.counts().in_use;
        assert_eq!(in_use, 0);
        let metrics = bench.workers.metrics().next().unwrap();
        assert_eq!(metrics.packets_out.load(Ordering::Relaxed), report.sent.packets);
        assert_eq!(metrics.packets_in.load(Ordering::Relaxed), report.received.packets);
    }

    #[test]
    fn packets_leave_no_faster_than_the_clock() {
        let bench = Bench::new(1);
        let mut phone = Phone::new();
        let (_leg, _task) = bench.open(&phone, None);
        let first = phone.receive();
        let start = clock::now();
        let last = (0..25).map(|_| phone.receive()).last().unwrap();
        let audio = Duration::from_millis(u64::from(last.timestamp.wrapping_sub(first.timestamp)) / 8);
        // At most three ticks are made up for at once, and the first packet may have waited for us.
        assert!(clock::now() - start + Duration::from_millis(100) > audio, "{audio:?}");
    }

    #[test]
    fn what_a_task_plays_is_heard_and_clearing_is_quick() {
        let bench = Bench::new(1);
        let mut phone = Phone::new();
        let (_leg, mut task) = bench.open(&phone, None);
        for _ in 0..40 {
            let frame = Frame::from_samples(SampleRate::Hz8000, &[i16::MAX; 160]);
            task.command(LegCommand::Play(PlayoutFrame { utterance: 5, frame })).unwrap();
        }
        while !phone.hears_sound() {}
        task.command(LegCommand::Clear).unwrap();
        let after = (0..20).take_while(|_| phone.hears_sound()).count();
        // What had left before may still be on its way; of the forty frames most are never sent.
        assert!(after < 20);
        let mut played = 0;
        while let Some(LegTick { tick, .. }) = task.poll_tick() {
            played = tick.played.map_or(played, |it| it.position);
        }
        assert!((160..40 * 160).contains(&played), "{played}");
    }

    #[test]
    fn a_dropped_leg_is_closed() {
        let bench = Bench::new(2);
        let phone = Phone::new();
        let (leg, mut task) = bench.open(&phone, None);
        drop(leg);
        bench.runtime.block_on(async { while task.tick().await.is_some() {} });
        bench.wait_until(|it| it.legs() == 0 && it.pool.counts().in_use == 0);
    }

    #[test]
    fn stopping_closes_every_leg() {
        let bench = Bench::new(2);
        let phone = Phone::new();
        let legs: Vec<_> = (0..8).map(|_| bench.open(&phone, None)).collect();
        let Bench { workers, pool, .. } = bench;
        drop(workers);
        assert_eq!(pool.counts().in_use, 0);
        for (leg, task) in legs {
            assert!(task.is_closed());
            assert!(leg.close().blocking_recv().is_err());
        }
    }

    #[test]
    fn inactivity_is_told_once() {
        let mut bench = Bench::new(1);
        let mut phone = Phone::new();
        let (leg, _task) = bench.open(&phone, Some(Duration::from_millis(60)));
        let id = bench.last_leg();
        assert_eq!(bench.event(), MediaEvent::Inactive { leg: id });
        phone.receive_many(10);
        assert_eq!(bench.events.try_recv().ok(), None);
        phone.send(&[0xff; 160]);
        assert_eq!(bench.event(), MediaEvent::Inactive { leg: id });
        // Held, nothing is expected.
        leg.update(RemoteMedia { send: false, ..phone.remote() }, Means::default()).unwrap();
        leg.close().blocking_recv().unwrap();
        while let Ok(event) = bench.events.try_recv() {
            assert_eq!(event, MediaEvent::Inactive { leg: id });
        }
    }

    #[test]
    fn a_recording_can_begin_later_and_end_earlier() {
        let bench = Bench::new(1);
        let mut phone = Phone::new();
        let (leg, _task) = bench.open(&phone, None);
        let recorder = Recorder::start().unwrap();
        let path = std::env::temp_dir().join(format!("hookswitch-media-worker-{}.wav", std::process::id()));
        let (tap, done) = recorder.record(&path, SampleRate::Hz8000).unwrap();
        leg.record(Some(tap)).unwrap();
        phone.receive_many(20);
        leg.record(None).unwrap();
        let recorded = done.blocking_recv().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(recorded.error.is_none() && recorded.duration_ms >= 300, "{recorded:?}");
        assert!(leg.close().blocking_recv().is_ok());
    }

    #[test]
    fn a_thousand_legs_leave_nothing_behind() {
        let bench = Bench::new(2);
        let phone = Phone::new();
        for _ in 0..40 {
            let legs: Vec<_> = (0..25).map(|_| bench.open(&phone, None)).collect();
            assert_eq!(bench.pool.counts().in_use, 25);
            for (index, (leg, task)) in legs.into_iter().enumerate() {
                // Every other task goes first.
                if index % 2 == 0 {
                    drop(task);
                }
                leg.close().blocking_recv().unwrap();
            }
            assert_eq!((bench.legs(), bench.pool.counts().in_use), (0, 0));
        }
        assert_eq!(bench.pool.counts().in_quarantine.min(1), 1);
    }

    #[test]
    fn packets_of_legs_that_agree_are_sent_on_as_they_are() {
        let bench = Bench::new(1);
        let (mut caller, mut called) = (Phone::new(), Phone::new());
        let ((leg, task), (other, other_task)) = (bench.open(&caller, None), bench.open(&called, None));
        caller.receive();
        let ssrc = called.receive().ssrc;
        leg.bridge(&other).unwrap();
        // Nothing is passed on while somebody might listen.
        called.receive_many(5);
        drop((task, other_task));
        // Three times, with something in between for which the legs speak for themselves.
        for round in 0..3 {
            // What is decoded and coded again is 20 ms long.
            let long = [round; 240];
            called.wait_for_long(&mut caller, &long);
            let bodies = (0..20).map(|number| vec![10 + number; 240]);
            for body in bodies.clone() {
                caller.send(&body);
            }
            let passed = std::iter::from_fn(|| Some(called.receive_whole())).skip_while(|it| it.1 == long);
            let passed: Vec<_> = passed.take(20).collect();
            assert!(passed.iter().map(|it| &it.1).eq(&bodies.collect::<Vec<_>>()));
            assert!(passed.windows(2).all(|it| it[1].0.sequence == it[0].0.sequence.wrapping_add(1)));
            assert!(passed.windows(2).all(|it| it[1].0.timestamp == it[0].0.timestamp.wrapping_add(160)));
            assert!(passed.iter().all(|it| it.0.ssrc == ssrc));
            match round {
                0 => other.send_digit(Digit::from_char('5').unwrap(), 100).unwrap(),
                1 => leg.update(RemoteMedia { codec: AudioCodec::Pcma, ..caller.remote() }, Means::default()).unwrap(),
                _ => leg.unbridge().unwrap(),
            }
            let next = std::iter::from_fn(|| Some(called.receive_whole())).find(|it| it.1.len() == 160).unwrap().0;
            let last = passed.last().unwrap().0;
            assert_eq!((next.ssrc, next.marker, next.sequence), (ssrc, true, last.sequence.wrapping_add(1)));
            leg.update(caller.remote(), Means::default()).unwrap();
        }
        let report = leg.close().blocking_recv().unwrap();
        assert_eq!((report.received.packets, report.received.lost), (u64::from(caller.sequence), 0));
    }

    #[test]
    fn packets_of_secured_legs_are_passed_on_with_the_keys_of_each() {
        for (suite, secured) in [
            (Suite::AesCm128HmacSha1Tag80, [true, true]),
            (Suite::AeadAes256Gcm, [true, false]),
            (Suite::AesCm128HmacSha1Tag32, [false, true]),
        ] {
            let bench = Bench::new(1);
            let phone = |is_secured: bool, seed| if is_secured { Phone::secured(suite, seed) } else { Phone::new() };
            let (mut caller, mut called) = (phone(secured[0], 1), phone(secured[1], 2));
            let (leg, other) = (bench.open(&caller, None).0, bench.open(&called, None).0);
            caller.receive();
            let ssrc = called.receive().ssrc;
            leg.bridge(&other).unwrap();
            let long = [7; 240];
            called.wait_for_long(&mut caller, &long);
            for _ in 0..30 {
                caller.send(&long);
            }
            // What the caller does not protect, or not with its key, goes nowhere.
            let forged = caller.written(&[9; 200]);
            caller.socket.send_to(&forged, caller.peer.unwrap()).unwrap();
            caller.send(&[8; 240]);
            let heard: Vec<_> = std::iter::from_fn(|| Some(called.receive_whole()))
                .take_while(|it| it.1 != [8; 240])
                .filter(|it| it.1.len() != 160)
                .collect();
            let forged = heard.iter().filter(|it| it.1 == [9; 200]).count();
            assert_eq!(forged, usize::from(!secured[0]), "{suite:?}");
            assert!(heard.iter().filter(|it| it.1 == long).count() >= 30, "{suite:?}: {}", heard.len());
            assert!(heard.iter().all(|it| it.0.ssrc == ssrc));
            // The farewell is SRTCP on a leg that is secured, and readable with its key.
            let report = other.close().blocking_recv().unwrap();
            assert!(report.sent.packets > 30);
            assert!(called.receives_rtcp(), "{suite:?}");
        }
    }

    #[test]
    fn a_sound_takes_the_place_of_the_partner_until_it_ends() {
        let bench = Bench::new(1);
        let (mut caller, mut called) = (Phone::new(), Phone::new());
        let (leg, other) = (bench.open(&caller, None).0, bench.open(&called, None).0);
        caller.receive();
        let ssrc = called.receive().ssrc;
        leg.bridge(&other).unwrap();
        let long = [7; 240];
        called.wait_for_long(&mut caller, &long);
        let sound = Clip::new(&[i16::MAX; 500], 8_000, SampleRate::Hz8000).unwrap();
        other.play(Some(sound)).unwrap();
        while !called.hears_sound() {
            caller.send(&long);
        }
        for _ in 0..50 {
            caller.send(&long);
            let (header, first) = called.receive_packet();
            assert_eq!((header.ssrc, first), (ssrc, 0x80), "nothing of the caller is heard");
        }
        other.play(None).unwrap();
        called.wait_for_long(&mut caller, &long);
        drop((leg, other));
    }

    #[test]
    fn what_is_played_into_a_leg_is_heard_whole_and_packets_are_passed_on_again_after_it() {
        let bench = Bench::new(1);
        let (mut caller, mut called) = (Phone::new(), Phone::new());
        let (leg, other) = (bench.open(&caller, None).0, bench.open(&called, None).0);
        caller.receive();
        called.receive();
        leg.bridge(&other).unwrap();
        let long = [7; 240];
        let (told, mut steps) = mpsc::channel(16);
        for (times, round) in [(Some(1), 0), (None, 1)] {
            called.wait_for_long(&mut caller, &long);
            let clip = Clip::new(&[i16::MAX; 1_600], 8_000, SampleRate::Hz8000).unwrap();
            let marks = BTreeMap::from([(100, "half".to_owned())]);
            let playing = Playing { times, marks, ..Playing::once(new_play_id()) };
            let id = playing.id;
            let play = Play { playing, source: PlaySource::Clip(clip), told: told.clone() };
            other.play_into(PlayOrder::Play(Box::new(play)), clock::now()).unwrap();
            let mut last = None;
            let mut heard = 0;
            while heard == 0 || last == Some(true) {
                caller.send(&long);
                let (_, payload) = called.receive_whole();
                last = Some(payload.iter().all(|it| *it == 0x80));
                heard += u32::from(last == Some(true));
                if heard == 5 && times.is_none() {
                    other.play_into(PlayOrder::Stop(vec![id]), clock::now()).unwrap();
                }
            }
            assert!(times.is_some() && heard == 10 || times.is_none() && (5..9).contains(&heard), "{heard}");
            called.wait_for_long(&mut caller, &long);
            let steps: Vec<_> = std::iter::from_fn(|| steps.try_recv().ok()).filter(|it| it.play == id).collect();
            let whats: Vec<_> = steps.iter().map(|it| it.what.clone()).collect();
            let last = if round == 0 { PlayStep::Finished } else { PlayStep::Cleared((heard * 20) % 200) };
            assert!(
                whats == [PlayStep::Started, PlayStep::Mark("half".to_owned()), last.clone()]
                    || whats == [PlayStep::Started, last],
                "{whats:?}"
            );
        }
        let gone = other.close().blocking_recv();
        assert!(gone.is_ok());
        drop(leg);
    }

    #[test]
    fn a_leg_whose_partner_is_gone_speaks_for_itself() {
        let bench = Bench::new(1);
        let (mut caller, mut called) = (Phone::new(), Phone::new());
        let (leg, other) = (bench.open(&caller, None).0, bench.open(&called, None).0);
        caller.receive();
        called.receive();
        leg.bridge(&other).unwrap();
        called.wait_for_long(&mut caller, &[7; 240]);
        drop(leg);
        while called.receive_whole().1.len() != 160 {}
        called.receive_many(10);
        other.close().blocking_recv().unwrap();
    }

    #[test]
    fn legs_share_a_port_and_are_told_apart_by_their_peers() {
        let bench = Bench::new(1);
        let (mut caller, mut called, mut third) = (Phone::new(), Phone::new(), Phone::new());
        let ip = caller.address().ip();
        let pair = (15_500..15_600).step_by(2).find_map(|port| SharedPair::bind(ip, port).ok());
        let pair = Arc::new(pair.unwrap());
        let open = |phone: &Phone| bench.open_on(LegSockets::Shared(Arc::clone(&pair)), phone, None);
        let ((leg, mut task), (other, other_task)) = (open(&caller), open(&called));
        // One with ports of its own beside them.
        let (own, own_task) = bench.open(&third, None);
        caller.receive();
        called.receive();
        third.receive();
        assert_eq!((caller.peer, called.peer), (Some(pair.rtp_address()), Some(pair.rtp_address())));
        assert_ne!(third.peer, caller.peer);
        let hears = |task: &mut TaskEnd| {
            let heard = std::iter::from_fn(|| task.poll_tick()).filter(|it| it.tick.heard != Heard::Nothing);
            heard.count() > 0
        };
        while !hears(&mut task) {
            caller.send(&[0x80; 160]);
            called.receive();
        }
        drop((task, other_task, own_task));
        leg.bridge(&other).unwrap();
        called.wait_for_long(&mut caller, &[7; 240]);
        caller.wait_for_long(&mut called, &[8; 240]);
        let metrics = bench.workers.metrics().next().unwrap();
        let ticks = || metrics.ticks.load(Ordering::Relaxed);
        bench.wait_until(|_| metrics.unmatched.load(Ordering::Relaxed) == 0);
        // Between a shared port and one that is not.
        leg.bridge(&own).unwrap();
        third.wait_for_long(&mut caller, &[9; 240]);
        caller.wait_for_long(&mut third, &[10; 240]);
        let stranger = UdpSocket::bind((ip, 0)).unwrap();
        stranger.send_to(&[0x80; 172], pair.rtp_address()).unwrap();
        bench.wait_until(|_| metrics.unmatched.load(Ordering::Relaxed) == 1);
        let report = leg.close().blocking_recv().unwrap();
        assert_eq!((report.received.lost, report.dropped.strangers), (0, 0));
        caller.send(&[7; 240]);
        bench.wait_until(|_| metrics.unmatched.load(Ordering::Relaxed) == 2);
        drop((other, own));
        bench.wait_until(|it| it.legs() == 0);
        assert!(ticks() > 0);
    }

    #[test]
    fn legs_whose_packets_are_passed_on_do_not_tick() {
        let bench = Bench::new(1);
        let (mut caller, mut called) = (Phone::new(), Phone::new());
        let (leg, other) = (bench.open(&caller, None).0, bench.open(&called, None).0);
        caller.receive();
        called.receive();
        leg.bridge(&other).unwrap();
        called.wait_for_long(&mut caller, &[7; 240]);
        let metrics = bench.workers.metrics().next().unwrap();
        let before = metrics.ticks.load(Ordering::Relaxed);
        for _ in 0..50 {
            caller.send(&[8; 240]);
            while called.receive_whole().1 != [8; 240] {}
        }
        // Their rounds have told of some packets before they tick again.
        bench.wait_until(|_| metrics.packets_in.load(Ordering::Relaxed) > 0);
        assert_eq!(metrics.ticks.load(Ordering::Relaxed), before);
        leg.unbridge().unwrap();
        while called.receive_whole().1.len() != 160 {}
        bench.wait_until(|_| metrics.ticks.load(Ordering::Relaxed) > before);
    }

    #[test]
    fn garbage_and_strangers_do_no_harm() {
        let bench = Bench::new(1);
        let mut phone = Phone::new();
        let (leg, _task) = bench.open(&phone, None);
        phone.receive();
        let stranger = UdpSocket::bind((phone.address().ip(), 0)).unwrap();
        for len in [0, 1, 11, 12, 172, 1_500, 1_501, 9_000] {
            stranger.send_to(&vec![0x80; len], phone.peer.unwrap()).unwrap();
            phone.socket.send_to(&vec![0xff; len], phone.peer.unwrap()).unwrap();
        }
        phone.receive_many(5);
        phone.send(&[0x80; 160]);
        phone.receive_many(5);
        let report = leg.close().blocking_recv().unwrap();
        assert_eq!((report.dropped.strangers, report.dropped.malformed, report.received.packets), (8, 8, 1));
    }

    struct Bench {
        workers: MediaWorkers,
        events: mpsc::Receiver<MediaEvent>,
        pool: PortPool,
        runtime: tokio::runtime::Runtime,
        opened: std::cell::Cell<u8>,
    }

    impl Bench {
        fn new(threads: usize) -> Self {
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            let (sender, events) = mpsc::channel(16);
            let workers = MediaWorkers::start(threads, &mut rng, &sender).unwrap();
            let pool = PortPool::new(16_384..=32_767, &mut rng).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            Self { workers, events, pool, runtime, opened: std::cell::Cell::new(0) }
        }

        fn open(&self, phone: &Phone, inactivity: Option<Duration>) -> (MediaLeg, TaskEnd) {
            let sockets = self.pool.allocate(phone.address().ip()).unwrap();
            self.open_on(LegSockets::Own(sockets), phone, inactivity)
        }

        fn open_on(&self, sockets: LegSockets, phone: &Phone, inactivity: Option<Duration>) -> (MediaLeg, TaskEnd) {
            self.opened.set(self.opened.get().wrapping_add(1));
            let (task, link) = link(SampleRate::Hz8000);
            let session = SessionConfig { remote: Some(phone.remote()), hears_tones: false };
            let open = OpenLeg {
                room: None,
                leg: self.last_leg(),
                sockets,
                session,
                means: Means { keys: phone.keys.clone(), ..Means::default() },
                link,
                tap: None,
                inactivity,
            };
            (self.workers.open(open).unwrap(), task)
        }

        /// Every leg belongs to a call of its own.
        fn last_leg(&self) -> LegId {
            let mut rng = ChaCha12Rng::seed_from_u64(u64::from(self.opened.get()));
            LegId { call: CallId::generate(&mut rng, 0), index: 0 }
        }

        fn legs(&self) -> u64 {
            self.workers.metrics().map(|it| it.legs.load(Ordering::Relaxed)).sum()
        }

        fn event(&mut self) -> MediaEvent {
            let limit = Duration::from_secs(10);
            self.runtime.block_on(async { tokio::time::timeout(limit, self.events.recv()).await.unwrap().unwrap() })
        }

        fn wait_until(&self, holds: impl Fn(&Self) -> bool) {
            let until = clock::now() + Duration::from_secs(10);
            while !holds(self) {
                assert!(clock::now() < until, "it did not come to hold");
                std::thread::yield_now();
            }
        }
    }

    /// The peer of a leg.
    struct Phone {
        socket: UdpSocket,
        /// Where packets come from.
        peer: Option<SocketAddr>,
        sequence: u16,
        /// Those of the leg, and what protects and reads packets here.
        keys: Option<Box<Keys>>,
        security: Option<(Outbound, Inbound)>,
    }

    impl Phone {
        fn new() -> Self {
            let [.., high, low] = std::process::id().to_be_bytes();
            // An address on which no other process tests at the same time.
            let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::new(127, high, low, 78)), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            Self { socket, peer: None, sequence: 0, keys: None, security: None }
        }

        fn secured(suite: Suite, seed: u64) -> Self {
            let mut rng = ChaCha12Rng::seed_from_u64(seed);
            let [leg, phone] = std::array::from_fn(|_| MasterKey::random(suite, &mut rng));
            let security = Some((Outbound::new(phone.clone()), Inbound::new(leg.clone(), &[])));
            let keys = Keys { ours: leg, theirs: phone, their_identifier: SmallVec::new() };
            Self { keys: Some(Box::new(keys)), security, ..Self::new() }
        }

        fn address(&self) -> SocketAddr {
            self.socket.local_addr().unwrap()
        }

        fn remote(&self) -> RemoteMedia {
            RemoteMedia {
                rtp: self.address(),
                rtcp: self.address(),
                latching: Latching::Exact,
                codec: AudioCodec::Pcmu,
                payload_type: 0,
                received_payload_type: 0,
                ptime_ms: 20,
                maxptime_ms: None,
                opus: OpusSettings::default(),
                comfort_noise: None,
                telephone_event: None,
                send: true,
                receive: true,
            }
        }

        /// The header of the next RTP packet.
        fn receive(&mut self) -> Header {
            self.receive_packet().0
        }

        fn receive_many(&mut self, count: usize) {
            for _ in 0..count {
                self.receive();
            }
        }

        fn hears_sound(&mut self) -> bool {
            self.receive_packet().1 == 0x80
        }

        /// The header and first byte of payload of the next RTP packet.
        fn receive_packet(&mut self) -> (Header, u8) {
            let (header, payload) = self.receive_whole();
            (header, payload[0])
        }

        fn receive_whole(&mut self) -> (Header, Vec<u8>) {
            self.receive_within(Duration::from_secs(10)).unwrap()
        }

        fn receive_within(&mut self, limit: Duration) -> Option<(Header, Vec<u8>)> {
            self.socket.set_read_timeout(Some(limit)).unwrap();
            let mut buffer = [0; 2_000];
            loop {
                let (mut len, from) = self.socket.recv_from(&mut buffer).ok()?;
                self.peer = Some(from);
                if !is_rtcp(&buffer[..len]) {
                    if let Some((_, inbound)) = &mut self.security {
                        len = inbound.unprotect_rtp(&mut buffer[..len], clock::now().instant).unwrap();
                    }
                    let packet = Packet::parse(&buffer[..len]).unwrap();
                    return Some((packet.header, packet.payload.to_vec()));
                }
            }
        }

        /// Has `caller` send packets until one of them is passed on.
        fn wait_for_long(&mut self, caller: &mut Self, payload: &[u8]) {
            loop {
                caller.send(payload);
                let next = self.receive_within(Duration::from_millis(20));
                if next.is_some_and(|it| it.1.len() == payload.len()) {
                    return;
                }
            }
        }

        /// Whether RTCP comes that can be read.
        fn receives_rtcp(&mut self) -> bool {
            let mut buffer = [0; 2_000];
            loop {
                let (mut len, _) = self.socket.recv_from(&mut buffer).unwrap();
                if !is_rtcp(&buffer[..len]) {
                    continue;
                }
                if let Some((_, inbound)) = &mut self.security {
                    len = inbound.unprotect_rtcp(&mut buffer[..len], clock::now().instant).unwrap();
                }
                return rtcp::Compound::parse(&buffer[..len]).is_ok();
            }
        }

        /// The next packet, unprotected.
        fn written(&mut self, payload: &[u8]) -> Vec<u8> {
            let timestamp = u32::from(self.sequence) * 160;
            let header = Header { payload_type: 0, marker: false, sequence: self.sequence, timestamp, ssrc: 9 };
            let mut buffer = vec![0; 500];
            let len = Packet { header, payload }.write(&mut buffer).unwrap();
            buffer.truncate(len);
            self.sequence += 1;
            buffer
        }

        fn send(&mut self, payload: &[u8]) {
            let mut packet = self.written(payload);
            let mut len = packet.len();
            packet.resize(600, 0);
            if let Some((outbound, _)) = &mut self.security {
                len = outbound.protect_rtp(&mut packet, len).unwrap();
            }
            self.socket.send_to(&packet[..len], self.peer.unwrap()).unwrap();
        }
    }
}
