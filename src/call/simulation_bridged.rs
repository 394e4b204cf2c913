//! A telephone calls another through us, over a network that loses, copies, delays and reorders, on simulated time. Every
//! call must end everywhere, the sides must agree, and nothing may be left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::*;
use crate::locate::Records;
use crate::route::{Admission, Destination};
use crate::transport::{Listener, TransportKind};

#[test]
fn a_perfect_network() {
    check(1, 60, Network { delay_ms_max: 1, ..Network::PERFECT });
}

#[test]
fn a_network_that_copies_and_reorders() {
    check(2, 96, Network { copies: 0.3, delay_ms_max: 500, ..Network::PERFECT });
}

#[test]
fn a_network_that_loses_a_little() {
    check(3, 144, Network { loss: 0.05, copies: 0.02, delay_ms_max: 120, ..Network::PERFECT });
}

#[test]
fn a_network_that_loses_much() {
    check(4, 144, Network { loss: 0.2, copies: 0.1, delay_ms_max: 900, ..Network::PERFECT });
}

#[test]
fn streams_that_hold() {
    check(6, 144, Network { delay_ms_max: 200, streams: Some(Streams { lives_ms_max: None }), ..Network::PERFECT });
}

#[test]
fn streams_that_break() {
    let streams = Some(Streams { lives_ms_max: Some(60_000) });
    check(7, 144, Network { delay_ms_max: 100, streams, ..Network::PERFECT });
}

/// What the network does to messages.
#[derive(Clone, Copy)]
struct Network {
    /// The share that is lost.
    loss: f64,
    /// The share that comes twice.
    copies: f64,
    delay_ms_max: u64,
    /// It is one of streams, on which nothing is lost or comes twice.
    streams: Option<Streams>,
}

/// How long streams live.
#[derive(Clone, Copy)]
struct Streams {
    lives_ms_max: Option<u64>,
}

impl Network {
    const PERFECT: Self = Self { loss: 0.0, copies: 0.0, delay_ms_max: 0, streams: None };

    const fn kind(self) -> TransportKind {
        if self.streams.is_some() { TransportKind::Tcp } else { TransportKind::Udp }
    }

    /// What URIs end with.
    const fn suffix(self) -> &'static str {
        if self.streams.is_some() { ";transport=tcp" } else { "" }
    }

    /// Whether messages are lost that nobody sends again.
    fn loses_for_good(self) -> bool {
        self.streams.is_some_and(|it| it.lives_ms_max.is_some())
    }
}

/// A stream that is open.
struct Stream {
    id: u64,
    ends: [SocketAddr; 2],
    /// When the last segment to each end arrives.
    arrives: [Instant; 2],
}

/// Who calls, we in the middle, and who is called.
const CALLER: usize = 0;
const US: usize = 1;
const CALLED: usize = 2;

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Plan {
    /// A side hangs up after the answer; we, too, can.
    HangUp(usize),
    /// Both telephones do, at once.
    HangUpBoth,
    /// A telephone holds and resumes, and hangs up much later.
    Hold(usize),
    /// Both do.
    HoldBoth,
    /// The caller gives up at some moment, maybe too late.
    Cancel,
    /// The called side refuses.
    Busy,
    /// A side has no port: the called one, or we for the called one.
    NoPort(usize),
    /// The caller has the called side transferred: to itself, as nobody else is there.
    Transfer,
    /// The media of a leg move, before the answer or after it: those of a telephone, or ours on either side.
    Move { side: usize, leg: u8 },
}

const PLANS: [Plan; 16] = [
    Plan::HangUp(CALLER),
    Plan::HangUp(US),
    Plan::HangUp(CALLED),
    Plan::HangUpBoth,
    Plan::Hold(CALLER),
    Plan::Hold(CALLED),
    Plan::HoldBoth,
    Plan::Cancel,
    Plan::Busy,
    Plan::NoPort(US),
    Plan::NoPort(CALLED),
    Plan::Transfer,
    Plan::Move { side: CALLER, leg: 0 },
    Plan::Move { side: US, leg: 0 },
    Plan::Move { side: US, leg: 1 },
    Plan::Move { side: CALLED, leg: 0 },
];

/// Something that happens at a time.
enum Event {
    Datagram { side: usize, flow: Flow, data: Bytes },
    Segment { side: usize, flow: Flow, stream: u64, data: Bytes },
    Break(u64),
    SendFailed { side: usize, flow: Flow },
    Move { side: usize, leg: LegId },
    Place(usize),
    Media { side: usize, leg: LegId, is_open: bool },
    HangUp { side: usize, call: CallId, cause: HangUpCause },
    Hold { side: usize, call: CallId, holds: bool },
    Transfer { call: CallId },
}

/// What a side saw of one of its calls.
#[derive(Clone, Debug, Default)]
struct Seen {
    plan: Option<usize>,
    is_answered: bool,
    ends: Vec<End>,
    outcomes: Vec<TransferOutcome>,
    open_legs: BTreeSet<LegId>,
    bridges: BTreeSet<(LegId, LegId)>,
}

struct Simulation {
    network: Network,
    rng: ChaCha12Rng,
    now: Now,
    sides: [Calls; 3],
    queue: BTreeMap<(Instant, u64), Event>,
    next: u64,
    plans: Vec<Plan>,
    seen: [BTreeMap<CallId, Seen>; 3],
    streams: Vec<Stream>,
}

#[track_caller]
fn check(seed: u64, calls: usize, network: Network) {
    let mut simulation = Simulation::new(seed, calls, network);
    simulation.run();
    assert_eq!(simulation.sides.each_ref().map(Calls::counts), [Counts::default(); 3]);
    let mut answered = BTreeSet::new();
    for (side, calls) in simulation.seen.iter().enumerate() {
        for seen in calls.values() {
            let plan = seen.plan.map(|it| simulation.plans[it]);
            assert_eq!(seen.ends.len(), 1, "a call ends once: {side} {plan:?} {seen:#?}");
            assert!(seen.open_legs.is_empty() && seen.bridges.is_empty(), "{side} {plan:?} {seen:#?}");
            answered.extend(plan.filter(|_| seen.is_answered && side == CALLER));
        }
    }
    for (number, plan) in simulation.plans.iter().enumerate() {
        let of = |side: usize| simulation.seen[side].values().find(|it| it.plan == Some(number));
        let (caller, us) = (of(CALLER).expect("the caller knows its call"), of(US));
        let is_refused = matches!(plan, Plan::Busy | Plan::NoPort(_));
        assert!(!(is_refused && caller.is_answered), "{plan:?}");
        let is_asked = *plan == Plan::Transfer && caller.is_answered;
        assert!(caller.outcomes.len() <= usize::from(is_asked), "{plan:?} {caller:#?}");
        if network.loses_for_good() {
            continue;
        }
        // The caller hears an answer only from us.
        assert!(!caller.is_answered || us.is_some_and(|it| it.is_answered), "{plan:?} {caller:#?} {us:#?}");
    }
    if network.loses_for_good() {
        return;
    }
    let transfers = simulation.seen[CALLER].values().flat_map(|it| &it.outcomes);
    assert!(transfers.into_iter().any(|it| *it == TransferOutcome::Succeeded), "some transfers succeed");
    let talked = PLANS.into_iter().filter(|it| !matches!(it, Plan::Busy | Plan::NoPort(_))).collect::<BTreeSet<_>>();
    assert_eq!(answered, talked, "every plan that can be answered is");
}

impl Simulation {
    fn new(seed: u64, calls: usize, network: Network) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let now = Now::origin();
        let sides = [CALLER, US, CALLED].map(|side| {
            let mut config = CallsConfig::new(vec![Listener::new(network.kind(), address(side))]);
            let target = Target::agent("phone");
            config.listeners[0].1 =
                Admission { unknown_sources: side == CALLED, unknown_numbers: Some(target), ..Admission::default() };
            if side == US {
                config.routes.insert_source("192.0.2.1/32".parse().expect("a network"));
                for number in 0..calls {
                    let uri = format!("sip:{number}@192.0.2.3{}", network.suffix()).parse().expect("a URI");
                    let target = Target { account: AccountId::default(), to: Destination::Uri(uri) };
                    config.routes.insert_number(&number.to_string(), target);
                }
                config.transfers = Transfers::CarriedOut { for_known_sources: true };
            }
            config.ring.answer_after = Some(Duration::from_millis(800));
            config.session_timers.interval_s = 120;
            config.reliable_provisionals = seed.is_multiple_of(2);
            Calls::new(config, ChaCha12Rng::from_rng(&mut rng), now)
        });
        let plans: Vec<_> = (0..calls).map(|it| PLANS[it % PLANS.len()]).collect();
        let (queue, seen) = (BTreeMap::new(), Default::default());
        let streams = vec![];
        let mut simulation = Self { network, rng, now, sides, queue, next: 0, plans, seen, streams };
        for number in 0..calls {
            let ms = simulation.rng.random_range(0..60_000);
            simulation.after(ms, Event::Place(number));
        }
        simulation
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now.instant + Duration::from_millis(ms), self.next), event);
    }

    fn run(&mut self) {
        for _ in 0..20_000_000 {
            let timers = self.sides.iter().filter_map(|it| it.poll_timeout().map(|(at, _)| at));
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            // Streams are pinged for as long as they are open.
            if event.is_none() && self.is_over() {
                while let Some(id) = self.streams.first().map(|it| it.id) {
                    self.break_stream(id);
                }
                continue;
            }
            let Some(at) = timers.chain(event).min() else {
                return;
            };
            self.now = self.now + at.saturating_duration_since(self.now.instant);
            for side in [CALLER, US, CALLED] {
                self.sides[side].handle_timeout(self.now);
                self.drain(side);
            }
            while let Some(((at, _), _)) = self.queue.first_key_value()
                && *at <= self.now.instant
            {
                let (_, event) = self.queue.pop_first().expect("it is there");
                self.happen(event);
            }
        }
        panic!("it does not end");
    }

    /// Whether only streams are left.
    fn is_over(&self) -> bool {
        let of_streams = |it: &Calls| Counts { streams: it.counts().streams, ..Counts::default() };
        !self.streams.is_empty() && self.sides.iter().all(|it| it.counts() == of_streams(it))
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        let side = match event {
            Event::Datagram { side, flow, data } => {
                self.sides[side].handle_datagram(flow, data, now);
                side
            }
            Event::Segment { side, flow, stream, data } => {
                if self.streams.iter().any(|it| it.id == stream) {
                    self.sides[side].handle_segment(flow, data, now);
                }
                side
            }
            Event::Break(stream) => return self.break_stream(stream),
            Event::SendFailed { side, flow } => {
                self.sides[side].handle_send_failed(flow, now);
                side
            }
            Event::Move { side, leg } => {
                let port = self.rng.random_range(30_000..40_000);
                self.sides[side].handle_media_moved(leg, SocketAddr::new(address(side).ip(), port), now);
                side
            }
            Event::Place(number) => {
                self.place(number);
                CALLER
            }
            Event::Media { side, leg, is_open: true } => {
                let port = self.rng.random_range(10_000..30_000);
                self.sides[side].handle_media_opened(leg, SocketAddr::new(address(side).ip(), port), now);
                side
            }
            Event::Media { side, leg, is_open: false } => {
                self.seen(side, leg.call).open_legs.remove(&leg);
                self.sides[side].handle_media_refused(leg, now);
                side
            }
            Event::HangUp { side, call, cause } => {
                self.sides[side].hang_up(call, cause, now);
                side
            }
            Event::Hold { side, call, holds } => {
                self.sides[side].hold(call, holds, now);
                side
            }
            Event::Transfer { call } => {
                let to = "sip:0@192.0.2.2".parse().expect("a URI");
                self.sides[CALLER].transfer(call, &TransferTarget::Uri(to), now);
                CALLER
            }
        };
        self.drain(side);
    }

    fn place(&mut self, number: usize) {
        let uri = |it: String| it.parse().expect("a URI");
        let kind = self.network.kind();
        let port = if kind == TransportKind::Udp { 5060 } else { 40_000 };
        let local = SocketAddr::new(address(CALLER).ip(), port);
        let flow = Flow { kind, local, remote: address(US) };
        let outbound = Outbound {
            account: AccountId::default(),
            to: uri(format!("sip:{number}@192.0.2.2")),
            from: uri(format!("sip:{number}@192.0.2.1")),
            display_name: None,
            flow,
            other_flows: vec![],
            keeps_transport: true,
            headers: vec![],
            credentials: None,
        };
        let call = self.sides[CALLER].place(outbound, self.now);
        if self.plans[number] == Plan::Cancel {
            let ms = self.rng.random_range(0..3_000);
            self.after(ms, Event::HangUp { side: CALLER, call, cause: HangUpCause::Done });
        }
    }

    fn seen(&mut self, side: usize, call: CallId) -> &mut Seen {
        self.seen[side].entry(call).or_default()
    }

    fn plan(&mut self, side: usize, call: CallId) -> Plan {
        self.seen(side, call).plan.map_or(Plan::Cancel, |it| self.plans[it])
    }

    fn drain(&mut self, side: usize) {
        while let Some(output) = self.sides[side].poll_output() {
            self.perform(side, output);
        }
    }

    fn perform(&mut self, side: usize, output: Output) {
        match output {
            Output::Send { flow, data } => match self.network.streams {
                None => self.transmit(flow, &data),
                Some(streams) => self.stream(side, flow, &data, streams),
            },
            Output::OpenMedia { leg, .. } => {
                let plan = self.plan(side, leg.call);
                let is_refused = plan == Plan::NoPort(side) && (side == CALLED || leg.index == 1);
                self.seen(side, leg.call).open_legs.insert(leg);
                let ms = self.rng.random_range(0..30);
                self.after(ms, Event::Media { side, leg, is_open: !is_refused });
                if plan == (Plan::Move { side, leg: leg.index }) {
                    for _ in 0..3 {
                        let ms = self.rng.random_range(50..4_000);
                        self.after(ms, Event::Move { side, leg });
                    }
                }
            }
            Output::CloseMedia { leg } => assert!(self.seen(side, leg.call).open_legs.remove(&leg), "it was open"),
            Output::Bridge { a, b } => assert!(self.seen(side, a.call).bridges.insert((a.min(b), a.max(b)))),
            Output::PlaySound { .. } => panic!("no sounds are configured"),
            Output::Unbridge { a, b } => {
                let open = self.seen(side, a.call).open_legs.clone();
                assert!(open.contains(&a) && open.contains(&b), "neither is closed before");
                assert!(self.seen(side, a.call).bridges.remove(&(a.min(b), a.max(b))));
            }
            Output::Answered { call, .. } => {
                self.seen(side, call).is_answered = true;
                self.go_on(side, call);
            }
            Output::Ended { call, end } => self.seen(side, call).ends.push(end),
            Output::Transferred { call, outcome } => self.seen(side, call).outcomes.push(outcome),
            Output::Journal { call, event: super::Event::Offered { to, .. } } => {
                let to = to.reveal().strip_prefix("sip:").and_then(|it| it.split('@').next()).expect("a user");
                let number: usize = to.parse().expect("a number");
                // What is transferred comes to the called side as a call of its own, whose plan is not its business.
                let is_first = self.seen[side].values().all(|it| it.plan != Some(number));
                self.seen(side, call).plan = Some(number).filter(|_| is_first);
                if side == CALLED && is_first && self.plans[number] == Plan::Busy {
                    self.after(300, Event::HangUp { side, call, cause: HangUpCause::Busy });
                }
            }
            Output::Ask(question) => {
                let ours = vec![address(side).ip()];
                let answer = Ok((Records::Addresses(ours), Duration::from_secs(60)));
                self.sides[side].handle_answer(&question, answer, self.now);
            }
            Output::Supervising { .. }
            | Output::SupervisorGone { .. }
            | Output::UpdateMedia { .. }
            | Output::StartAgent { .. }
            | Output::EnterRoom { .. }
            | Output::Digit { .. }
            | Output::Registration(_)
            | Output::Trunk { .. }
            | Output::Secure { .. }
            | Output::Received { .. }
            | Output::CallIdKnown { .. }
            | Output::Journal { .. } => (),
            Output::TransferAsked { .. } => panic!("we carry it out ourselves"),
            Output::Close { .. } => panic!("nobody breaks the framing"),
        }
    }

    /// What is done after the answer.
    fn go_on(&mut self, side: usize, call: CallId) {
        let cause = HangUpCause::Done;
        let ms = self.rng.random_range(50..5_000);
        match self.plan(side, call) {
            Plan::HangUp(by) if by == side => self.after(20_000 + ms, Event::HangUp { side, call, cause }),
            Plan::Move { .. } if side == CALLER => self.after(40_000 + ms, Event::HangUp { side, call, cause }),
            Plan::HangUpBoth if side != US => self.after(2_000, Event::HangUp { side, call, cause }),
            Plan::Hold(by) if by == side => self.hold_on(side, call, ms),
            Plan::HoldBoth if side != US => self.hold_on(side, call, ms),
            Plan::Transfer if side == CALLER => {
                self.after(ms, Event::Transfer { call });
                self.after(100_000, Event::HangUp { side, call, cause });
            }
            Plan::Transfer if side == CALLED => self.after(120_000, Event::HangUp { side, call, cause }),
            Plan::HangUp(_)
            | Plan::HangUpBoth
            | Plan::Hold(_)
            | Plan::HoldBoth
            | Plan::Cancel
            | Plan::Busy
            | Plan::NoPort(_)
            | Plan::Move { .. }
            | Plan::Transfer => (),
        }
    }

    fn hold_on(&mut self, side: usize, call: CallId, ms: u64) {
        self.after(ms, Event::Hold { side, call, holds: true });
        self.after(2 * ms, Event::Hold { side, call, holds: false });
        self.after(3 * ms, Event::Hold { side, call, holds: ms.is_multiple_of(2) });
        self.after(70_000, Event::HangUp { side, call, cause: HangUpCause::Done });
    }

    fn transmit(&mut self, flow: Flow, data: &Bytes) {
        let copies = 1 + usize::from(self.rng.random_bool(self.network.copies));
        for _ in 0..copies {
            if self.rng.random_bool(self.network.loss) {
                continue;
            }
            let side =
                [CALLER, US, CALLED].into_iter().find(|it| address(*it) == flow.remote).expect("somebody is there");
            let flow = Flow { local: flow.remote, remote: flow.local, ..flow };
            let ms = self.rng.random_range(0..=self.network.delay_ms_max);
            self.after(ms, Event::Datagram { side, flow, data: data.clone() });
        }
    }
}

impl Simulation {
    /// Writes to a stream, which is opened if it can be.
    fn stream(&mut self, side: usize, flow: Flow, data: &Bytes, streams: Streams) {
        let mut ends = [flow.local, flow.remote];
        ends.sort();
        let position = match self.streams.iter().position(|it| it.ends == ends) {
            Some(position) => position,
            // Nobody listens on a port that a connection came from.
            None if flow.remote.port() != 5060 => return self.after(1, Event::SendFailed { side, flow }),
            None => {
                let id = self.next;
                self.streams.push(Stream { id, ends, arrives: [self.now.instant; 2] });
                if let Some(lives_ms_max) = streams.lives_ms_max {
                    let ms = self.rng.random_range(1..=lives_ms_max);
                    self.after(ms, Event::Break(id));
                }
                self.streams.len() - 1
            }
        };
        let to = usize::from(ends[1] == flow.remote);
        let other = owner(flow.remote);
        let flow = Flow { local: flow.remote, remote: flow.local, ..flow };
        let cut = self.rng.random_range(0..data.len());
        for part in [data.slice(..cut), data.slice(cut..)].into_iter().filter(|it| !it.is_empty()) {
            let ms = self.rng.random_range(1..=self.network.delay_ms_max);
            let stream = &mut self.streams[position];
            let at = (self.now.instant + Duration::from_millis(ms)).max(stream.arrives[to]);
            stream.arrives[to] = at;
            let stream = stream.id;
            self.next += 1;
            self.queue.insert((at, self.next), Event::Segment { side: other, flow, stream, data: part });
        }
    }

    /// Both sides see that the stream is gone; what was on the way is lost.
    fn break_stream(&mut self, id: u64) {
        let Some(position) = self.streams.iter().position(|it| it.id == id) else {
            return;
        };
        let [one, two] = self.streams.remove(position).ends;
        for (local, remote) in [(one, two), (two, one)] {
            let side = owner(local);
            self.sides[side].handle_disconnected(Flow { kind: TransportKind::Tcp, local, remote }, self.now);
            self.drain(side);
        }
    }
}

/// Whose address it is.
fn owner(at: SocketAddr) -> usize {
    [CALLER, US, CALLED].into_iter().find(|it| address(*it).ip() == at.ip()).expect("somebody is there")
}

/// 192.0.2.1 calls, 192.0.2.2 is us, 192.0.2.3 is called.
fn address(side: usize) -> SocketAddr {
    let last = u8::try_from(side + 1).expect("there are three");
    SocketAddr::from(([192, 0, 2, last], 5060))
}
