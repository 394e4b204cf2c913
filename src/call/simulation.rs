//! Two user agents call each other through a network that loses, copies, delays and reorders, on simulated time. Every
//! call must end on both sides, the sides must agree, and nothing may be left.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::{RngExt, SeedableRng};

use super::*;
use crate::auth::DigestServerConfig;
use crate::identity::Secret;
use crate::route::{Admission, Target};
use crate::transport::{Listener, TransportKind};

#[test]
fn a_perfect_network() {
    check(1, 200, Network::new(0.0, 0.0, 1));
}

#[test]
fn a_network_that_copies_and_reorders() {
    check(2, 300, Network::new(0.0, 0.3, 700));
}

#[test]
fn a_network_that_loses_a_little() {
    check(3, 1000, Network::new(0.05, 0.02, 120));
}

#[test]
fn a_network_that_loses_much() {
    check(4, 300, Network::new(0.2, 0.1, 900));
}

#[test]
fn a_network_that_does_everything() {
    check(11, 300, Network::new(0.1, 0.1, 1_500));
}

#[test]
fn callers_who_have_to_show_a_password() {
    check(5, 500, Network { asks_for_password: true, ..Network::new(0.03, 0.05, 200) });
}

#[test]
fn a_session_timer_that_the_called_side_asks_for() {
    check(6, 500, Network { caller_asks_for_timer: false, ..Network::new(0.03, 0.05, 200) });
}

#[test]
fn streams_that_hold() {
    check(7, 500, Network { streams: Some(Streams { lives_ms_max: None }), ..Network::new(0.0, 0.0, 200) });
}

#[test]
fn streams_that_break() {
    check(8, 700, Network { streams: Some(Streams { lives_ms_max: Some(4_000) }), ..Network::new(0.0, 0.0, 300) });
}

#[test]
fn streams_that_break_while_callers_show_a_password() {
    let streams = Some(Streams { lives_ms_max: Some(1_000) });
    check(9, 400, Network { streams, asks_for_password: true, ..Network::new(0.0, 0.0, 500) });
}

#[test]
fn a_seed_gives_the_same_calls_again() {
    let network = Network { asks_for_password: true, ..Network::new(0.1, 0.1, 500) };
    let [one, two, other] = [12, 12, 13].map(|seed| {
        let mut simulation = Simulation::new(seed, 64, network);
        simulation.run();
        (simulation.sent.finish(), simulation.now.since(simulation.start))
    });
    assert_eq!(one, two);
    assert_ne!(one, other);
}

/// What the network does to what is sent, and what the sides want of each other.
#[derive(Clone, Copy)]
struct Network {
    /// The share of the datagrams that is lost.
    loss: f64,
    /// The share that comes twice.
    copies: f64,
    delay_ms_max: u64,
    /// Streams instead of datagrams.
    streams: Option<Streams>,
    /// Whether callers are challenged.
    asks_for_password: bool,
    /// Whether the caller asks for a session timer, which it then refreshes; otherwise the called side does both.
    caller_asks_for_timer: bool,
}

/// How streams behave: they lose, copy and reorder nothing, but cut what is sent anywhere.
#[derive(Clone, Copy)]
struct Streams {
    /// How long they live until they break and lose what is on the way.
    lives_ms_max: Option<u64>,
}

impl Network {
    const fn new(loss: f64, copies: f64, delay_ms_max: u64) -> Self {
        Self { loss, copies, delay_ms_max, streams: None, asks_for_password: false, caller_asks_for_timer: true }
    }

    /// Whether a request may be lost for good: then each side ends its call for itself.
    fn loses_for_good(self) -> bool {
        self.streams.is_some_and(|it| it.lives_ms_max.is_some())
    }
}

/// How a call goes. Sides are 0, which calls, and 1, which is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Plan {
    /// A side hangs up after the answer.
    HangUp(usize),
    /// A side hangs up so late that the session was refreshed some times.
    HangUpLate(usize),
    /// Both do, at once.
    HangUpBoth,
    /// A side holds and resumes, and hangs up much later.
    Hold(usize),
    /// Both hold at once.
    HoldBoth,
    /// A side asks for a transfer, and hangs up much later.
    Transfer(usize),
    /// Both do, and the one that was called hangs up before anything is certain.
    TransferBoth,
    /// The media session of a side moves twice, and the other side holds meanwhile.
    Move(usize),
    /// The caller gives up at some moment, maybe too late.
    Cancel,
    /// The called side refuses.
    Busy,
    /// The called side has no port.
    NoPort,
    /// The called side answers and hangs up at once.
    HangUpAtOnce,
}

const PLANS: [Plan; 18] = [
    Plan::HangUp(0),
    Plan::HangUp(1),
    Plan::HangUpLate(0),
    Plan::HangUpLate(1),
    Plan::HangUpBoth,
    Plan::Hold(0),
    Plan::Hold(1),
    Plan::HoldBoth,
    Plan::Transfer(0),
    Plan::Transfer(1),
    Plan::TransferBoth,
    Plan::Move(0),
    Plan::Move(1),
    Plan::Cancel,
    Plan::Cancel,
    Plan::Busy,
    Plan::NoPort,
    Plan::HangUpAtOnce,
];

/// Something that happens at a time.
enum Event {
    Datagram { side: usize, flow: Flow, data: Bytes },
    Segment { side: usize, flow: Flow, stream: u64, data: Bytes },
    SendFailed { side: usize, flow: Flow },
    Break(u64),
    Place(usize),
    Media { side: usize, leg: LegId, is_open: bool },
    HangUp { side: usize, call: CallId, cause: HangUpCause },
    Hold { side: usize, call: CallId, holds: bool },
    Move { side: usize, call: CallId },
    Transfer { side: usize, call: CallId },
    Report { side: usize, call: CallId, status: u16 },
}

/// What one side saw of one call.
#[derive(Clone, Debug, Default)]
struct Seen {
    is_answered: bool,
    ends: Vec<End>,
    /// Transfers it asked for, how they ended, and what it told about the one it was asked for.
    transfers: usize,
    outcomes: Vec<TransferOutcome>,
    reported: Option<u16>,
    media_opened: usize,
    media_closed: usize,
    /// Whether it sends and receives.
    media: (bool, bool),
}

struct Simulation {
    network: Network,
    rng: ChaCha12Rng,
    start: Now,
    now: Now,
    sides: [Calls; 2],
    queue: BTreeMap<(Instant, u64), Event>,
    next: u64,
    plans: Vec<Plan>,
    numbers: [BTreeMap<CallId, usize>; 2],
    seen: [Vec<Seen>; 2],
    /// The open streams: their ends, that of side 0 first.
    streams: Vec<Stream>,
    /// Of all that was sent.
    sent: DefaultHasher,
}

/// A stream that is open.
struct Stream {
    id: u64,
    ends: [SocketAddr; 2],
    /// When the last segment to each side arrives.
    arrives: [Instant; 2],
}

/// Runs the seed, and as many more as `HOOKSWITCH_SIMULATION_SEEDS` says.
#[track_caller]
fn check(seed: u64, calls: usize, network: Network) {
    let more: u64 = std::env::var("HOOKSWITCH_SIMULATION_SEEDS").map_or(0, |it| it.parse().expect("a number"));
    for seed in (0..=more).map(|it| seed + 100 * it) {
        check_seed(seed, calls, network, more == 0);
    }
}

#[track_caller]
fn check_seed(seed: u64, calls: usize, network: Network, is_first: bool) {
    let mut simulation = Simulation::new(seed, calls, network);
    simulation.run();
    let counts = simulation.sides.each_ref().map(Calls::counts);
    assert_eq!(counts, [Counts::default(); 2], "seed {seed}");
    let mut kinds = BTreeSet::new();
    for (number, plan) in simulation.plans.iter().enumerate() {
        let [caller, called] = simulation.seen.each_ref().map(|it| &it[number]);
        let agreed = if network.loses_for_good() { end(caller, called) } else { agree(*plan, caller, called) };
        agreed.unwrap_or_else(|it| panic!("{it}: seed {seed}, {number} {plan:?} {caller:#?} {called:#?}"));
        kinds.insert((*plan, caller.is_answered));
    }
    // Each plan went one way, but calls were cancelled early and too late.
    let is_chance = network.loses_for_good() || !is_first;
    assert!(is_chance || kinds.len() == BTreeSet::from(PLANS).len() + 1, "seed {seed}: {kinds:?}");
}

/// Whether a call is over on both sides, and everything that belonged to it.
fn end(caller: &Seen, called: &Seen) -> Result<(), &'static str> {
    if caller.ends.len() != 1 {
        return Err("the caller's call ends once");
    }
    // A call that was cancelled before its INVITE got through is unknown to the called side.
    let is_unknown = called.ends.is_empty() && called.media_opened == 0;
    if caller.media_opened != caller.media_closed || called.media_opened != called.media_closed {
        return Err("every media session is closed");
    }
    if called.ends.len() > 1 || (called.ends.is_empty() && !is_unknown) {
        return Err("the called side's call ends once");
    }
    if caller.is_answered && !called.is_answered {
        return Err("who is answered was answered");
    }
    if [caller, called].iter().any(|it| it.outcomes.len() != it.transfers) {
        return Err("every transfer ends once");
    }
    Ok(())
}

/// Whether both sides tell the same story.
fn agree(plan: Plan, caller: &Seen, called: &Seen) -> Result<(), &'static str> {
    end(caller, called)?;
    let end = caller.ends[0];
    let far = called.ends.first().map(|it| it.cause);
    let is_plausible = match (end.cause, far) {
        (EndCause::HungUp, Some(EndCause::HungUp)) => caller.is_answered,
        // A refresh or hold overtook the BYE.
        (EndCause::PeerLost, Some(EndCause::HungUp)) | (EndCause::HungUp, Some(EndCause::PeerLost)) => {
            caller.is_answered
        }
        (EndCause::Cancelled, Some(EndCause::Cancelled) | None) => !called.is_answered,
        // Seven INVITEs in a row were lost.
        (EndCause::NoAnswer, None) => true,
        // The answer crossed the CANCEL.
        (EndCause::Cancelled, Some(EndCause::HungUp | EndCause::NotAcknowledged)) => plan == Plan::Cancel,
        (EndCause::Rejected, Some(EndCause::Rejected)) => plan == Plan::Busy && end.sip_status == Some(486),
        (EndCause::Rejected, Some(EndCause::NoMediaPort)) => plan == Plan::NoPort && end.sip_status == Some(503),
        _ => false,
    };
    if !is_plausible {
        return Err("the ends fit together");
    }
    for (asking, asked) in [(caller, called), (called, caller)] {
        let is_known = match asking.outcomes.first() {
            Some(TransferOutcome::Succeeded) => asked.reported == Some(200),
            Some(TransferOutcome::Failed(486)) => asked.reported == Some(486),
            // The BYE overtook the REFER, or what it would have told.
            Some(TransferOutcome::HungUp | TransferOutcome::NotPossible | TransferOutcome::Refused(481)) => {
                plan == Plan::TransferBoth
            }
            Some(TransferOutcome::Unknown) => plan == Plan::TransferBoth || matches!(end.cause, EndCause::PeerLost),
            // A NOTIFY overtook the REFER, which is out of order then.
            Some(TransferOutcome::Refused(500)) => plan == Plan::TransferBoth,
            Some(TransferOutcome::Failed(_) | TransferOutcome::Refused(_)) => false,
            None => true,
        };
        if !is_known {
            return Err("a transfer ended as was reported");
        }
    }
    let is_settled = matches!(plan, Plan::Hold(_) | Plan::HoldBoth | Plan::HangUp(_) | Plan::Move(_));
    if is_settled && caller.is_answered && caller.media != (called.media.1, called.media.0) {
        return Err("who sends is listened to");
    }
    Ok(())
}

impl Simulation {
    fn new(seed: u64, calls: usize, network: Network) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let now = Now::origin();
        let sides = [0, 1].map(|side| {
            let mut config = CallsConfig::new(vec![Listener::new(network.kind(), address(side))]);
            let target = Target::agent("demo");
            config.listeners[0].1 =
                Admission { unknown_sources: true, unknown_numbers: Some(target), ..Admission::default() };
            if side == 1 && network.asks_for_password {
                config.users = Some(UsersConfig {
                    digest: DigestServerConfig::new("ours"),
                    registrar: registrar::RegistrarConfig::default(),
                    users: vec![(AccountId::default(), "caller".to_owned(), Secret::new("secret"))],
                    // Each call is known by a number of its own.
                    caller_ids: BTreeMap::from([(
                        (AccountId::default(), "caller".to_owned()),
                        (0..1_000).map(|it: u32| it.to_string()).collect(),
                    )]),
                    plain_media: BTreeSet::new(),
                });
                let admission = &mut config.listeners[0].1;
                *admission = Admission { unknown_sources: false, users: true, ..admission.clone() };
            }
            config.ring.answer_after = Some(Duration::from_millis(800));
            config.session_timers.interval_s = if seed.is_multiple_of(2) { 90 } else { 120 };
            config.session_timers.outbound = network.caller_asks_for_timer;
            config.reliable_provisionals = true;
            config.transfers = Transfers::ToHosts(vec!["192.0.2.3".to_owned()]);
            if seed % 2 == 1 {
                config.ring.tone = RingTone::EarlyMedia;
            }
            Calls::new(config, ChaCha12Rng::from_rng(&mut rng), now)
        });
        let plans: Vec<_> = (0..calls).map(|it| PLANS[it % PLANS.len()]).collect();
        let seen = [vec![Seen::default(); calls], vec![Seen::default(); calls]];
        let numbers = [BTreeMap::new(), BTreeMap::new()];
        Self {
            network,
            rng,
            start: now,
            now,
            sides,
            queue: BTreeMap::new(),
            next: 0,
            plans,
            numbers,
            seen,
            streams: vec![],
            sent: DefaultHasher::new(),
        }
    }

    fn run(&mut self) {
        for number in 0..self.plans.len() {
            let at = self.rng.random_range(0..60_000);
            self.after(at, Event::Place(number));
        }
        loop {
            let timer = [0, 1].into_iter().filter_map(|it| Some((self.sides[it].poll_timeout()?.0, it))).min();
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            match (timer, event) {
                (Some((at, side)), event) if event.is_none_or(|event| at < event) => {
                    self.move_to(at);
                    self.sides[side].handle_timeout(self.now);
                }
                (_, Some(at)) => {
                    self.move_to(at);
                    let (_, event) = self.queue.pop_first().expect("looked at above");
                    self.act(event);
                }
                (_, None) => break,
            }
            self.drain();
            assert!(self.now.since(self.start) < Duration::from_secs(1_200), "the simulation comes to rest");
        }
        while let Some(id) = self.streams.first().map(|it| it.id) {
            self.break_stream(id);
        }
    }

    fn move_to(&mut self, at: Instant) {
        self.now = self.now + at.saturating_duration_since(self.now.instant);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now.instant + Duration::from_millis(ms), self.next), event);
    }

    fn act(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Datagram { side, flow, data } => self.sides[side].handle_datagram(flow, data, now),
            Event::Segment { side, flow, stream, data } => {
                if self.streams.iter().any(|it| it.id == stream) {
                    self.sides[side].handle_segment(flow, data, now);
                }
            }
            Event::SendFailed { side, flow } => self.sides[side].handle_send_failed(flow, now),
            Event::Break(stream) => self.break_stream(stream),
            Event::Place(number) => {
                let account = DigestAccount::new(vec!["ours".to_owned()], "caller", Secret::new("secret"));
                let account = account.expect("plain names");
                let outbound = Outbound {
                    account: AccountId::default(),
                    to: Uri::sip(Some("100"), "192.0.2.2", None).expect("a URI"),
                    from: Uri::sip(Some(&number.to_string()), "192.0.2.1", None).expect("a URI"),
                    display_name: None,
                    flow: Flow { kind: self.network.kind(), local: self.network.caller(), remote: address(1) },
                    other_flows: vec![],
                    keeps_transport: false,
                    headers: vec![],
                    credentials: Some(account).filter(|_| self.network.asks_for_password),
                };
                let call = self.sides[0].place(outbound, now);
                self.numbers[0].insert(call, number);
                if self.plans[number] == Plan::Cancel {
                    let ms = self.rng.random_range(0..3_000);
                    self.after(ms, Event::HangUp { side: 0, call, cause: HangUpCause::Done });
                }
            }
            Event::Media { side, leg, is_open: true } => {
                self.sides[side].handle_media_opened(leg, address(side), now);
            }
            Event::Media { side, leg, is_open: false } => self.sides[side].handle_media_refused(leg, now),
            Event::HangUp { side, call, cause } => self.sides[side].hang_up(call, cause, now),
            Event::Hold { side, call, holds } => self.sides[side].hold(call, holds, now),
            Event::Move { side, call } => {
                let address = SocketAddr::new(address(side).ip(), 30_000);
                self.sides[side].handle_media_moved(LegId { call, index: 0 }, address, now);
            }
            Event::Transfer { side, call } => {
                let seen = self.seen(side, call).expect("the call is known");
                seen.transfers += usize::from(seen.ends.is_empty());
                let uri = "sip:x@192.0.2.3".parse().expect("a URI");
                self.sides[side].transfer(call, &TransferTarget::Uri(uri), now);
            }
            Event::Report { side, call, status } => {
                if status >= 200 {
                    self.seen(side, call).expect("the call is known").reported = Some(status);
                }
                self.sides[side].report_transfer(call, status, now);
            }
        }
    }

    fn drain(&mut self) {
        for side in [0, 1] {
            while let Some(output) = self.sides[side].poll_output() {
                self.perform(side, output);
            }
        }
    }

    fn perform(&mut self, side: usize, output: Output) {
        match output {
            Output::Send { flow, data } => {
                data.hash(&mut self.sent);
                match self.network.streams {
                    None => self.transmit(flow, &data),
                    Some(streams) => self.stream(side, flow, &data, streams),
                }
            }
            Output::OpenMedia { leg, remote, .. } => {
                let ms = self.rng.random_range(0..30);
                let is_open = !(side == 1 && self.plan(side, leg.call) == Some(Plan::NoPort));
                let seen = self.seen(side, leg.call);
                if let Some((seen, remote)) = seen.zip(remote) {
                    seen.media = (remote.send, remote.receive);
                }
                self.after(ms, Event::Media { side, leg, is_open });
            }
            Output::UpdateMedia { leg, remote, .. } => {
                let seen = self.seen(side, leg.call).expect("the call is known");
                seen.media = (remote.send, remote.receive);
            }
            Output::CloseMedia { leg } => self.seen(side, leg.call).expect("the call is known").media_closed += 1,
            Output::Answered { call, .. } => {
                self.seen(side, call).expect("the call is known").is_answered = true;
                self.go_on(side, call);
            }
            Output::Ended { call, end } => self.seen(side, call).expect("the call is known").ends.push(end),
            Output::Journal { call, event: super::Event::Offered { from, .. } } => {
                let from = from.reveal().strip_prefix("sip:").and_then(|it| it.split('@').next()).expect("a user");
                let number: usize = from.parse().expect("a number");
                self.numbers[side].insert(call, number);
                let has_port = !(side == 1 && self.plans[number] == Plan::NoPort);
                self.seen[side][number].media_opened += usize::from(has_port);
                if side == 1 && self.plans[number] == Plan::Busy {
                    self.after(300, Event::HangUp { side, call, cause: HangUpCause::Busy });
                }
            }
            Output::Transferred { call, outcome } => {
                self.seen(side, call).expect("the call is known").outcomes.push(outcome);
            }
            Output::TransferAsked { call, .. } => {
                let ms = self.rng.random_range(0..10_000);
                self.after(ms / 2, Event::Report { side, call, status: 180 });
                self.after(ms, Event::Report { side, call, status: [200, 486][usize::from(ms % 2 == 0)] });
            }
            Output::Supervising { .. }
            | Output::SupervisorGone { .. }
            | Output::StartAgent { .. }
            | Output::EnterRoom { .. }
            | Output::Received { .. }
            | Output::CallIdKnown { .. }
            | Output::Digit { .. }
            | Output::Registration(_)
            | Output::Ask(_)
            | Output::Trunk { .. }
            | Output::Secure { .. }
            | Output::Journal { .. } => (),
            Output::Close { .. } => panic!("nobody breaks the framing"),
            Output::Bridge { .. } | Output::Unbridge { .. } | Output::PlaySound { .. } => {
                panic!("a call has one leg")
            }
        }
    }

    /// What is done after the answer.
    fn go_on(&mut self, side: usize, call: CallId) {
        let cause = HangUpCause::Done;
        let ms = self.rng.random_range(50..5_000);
        match self.plan(side, call).expect("the call is known") {
            Plan::HangUp(by) if by == side => self.after(40_000 + ms, Event::HangUp { side, call, cause }),
            Plan::HangUpLate(by) if by == side => self.after(200_000 + 20 * ms, Event::HangUp { side, call, cause }),
            Plan::HangUpBoth => self.after(2_000, Event::HangUp { side, call, cause }),
            Plan::HangUpAtOnce if side == 1 => self.after(0, Event::HangUp { side, call, cause }),
            Plan::Hold(by) if by == side => {
                self.after(ms, Event::Hold { side, call, holds: true });
                self.after(2 * ms, Event::Hold { side, call, holds: false });
                self.after(3 * ms, Event::Hold { side, call, holds: ms % 2 == 0 });
                self.after(70_000, Event::HangUp { side, call, cause });
            }
            Plan::HoldBoth => {
                self.after(2_000, Event::Hold { side, call, holds: true });
                if side == 0 {
                    self.after(90_000, Event::HangUp { side, call, cause });
                }
            }
            Plan::Transfer(by) if by == side => {
                self.after(ms, Event::Transfer { side, call });
                self.after(75_000, Event::HangUp { side, call, cause });
            }
            Plan::TransferBoth => {
                self.after(ms, Event::Transfer { side, call });
                if side == 1 {
                    self.after(2 * ms, Event::HangUp { side, call, cause });
                }
            }
            Plan::Move(by) => {
                self.after(
                    ms,
                    if by == side { Event::Move { side, call } } else { Event::Hold { side, call, holds: true } },
                );
                if by == side {
                    self.after(2 * ms, Event::Move { side, call });
                    self.after(80_000, Event::HangUp { side, call, cause });
                }
            }
            Plan::Transfer(_)
            | Plan::HangUp(_)
            | Plan::HangUpLate(_)
            | Plan::HangUpAtOnce
            | Plan::Hold(_)
            | Plan::Cancel
            | Plan::Busy
            | Plan::NoPort => (),
        }
    }

    fn plan(&self, side: usize, call: CallId) -> Option<Plan> {
        self.numbers[side].get(&call).map(|it| self.plans[*it])
    }

    fn seen(&mut self, side: usize, call: CallId) -> Option<&mut Seen> {
        self.numbers[side].get(&call).map(|it| &mut self.seen[side][*it])
    }

    fn transmit(&mut self, flow: Flow, data: &Bytes) {
        let copies = 1 + usize::from(self.rng.random_bool(self.network.copies));
        for _ in 0..copies {
            if self.rng.random_bool(self.network.loss) {
                continue;
            }
            let ms = self.rng.random_range(0..=self.network.delay_ms_max);
            let side = usize::from(flow.remote == address(1));
            let flow = Flow { local: flow.remote, remote: flow.local, ..flow };
            self.after(ms, Event::Datagram { side, flow, data: data.clone() });
        }
    }
}

impl Simulation {
    /// Writes to a stream, which is opened if it can be.
    fn stream(&mut self, side: usize, flow: Flow, data: &Bytes, streams: Streams) {
        let ends = if side == 0 { [flow.local, flow.remote] } else { [flow.remote, flow.local] };
        let position = match self.streams.iter().position(|it| it.ends == ends) {
            Some(position) => position,
            // Nobody listens on a port that a connection came from.
            None if flow.remote.port() != 5060 => {
                self.after(1, Event::SendFailed { side, flow });
                return;
            }
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
        let flow = Flow { local: flow.remote, remote: flow.local, ..flow };
        let cut = self.rng.random_range(0..data.len());
        for part in [data.slice(..cut), data.slice(cut..)].into_iter().filter(|it| !it.is_empty()) {
            let ms = self.rng.random_range(1..=self.network.delay_ms_max);
            let stream = &mut self.streams[position];
            let at = (self.now.instant + Duration::from_millis(ms)).max(stream.arrives[1 - side]);
            stream.arrives[1 - side] = at;
            let stream = stream.id;
            self.next += 1;
            self.queue.insert((at, self.next), Event::Segment { side: 1 - side, flow, stream, data: part });
        }
    }

    /// Both sides see that the stream is gone; what was on the way is lost.
    fn break_stream(&mut self, id: u64) {
        let Some(position) = self.streams.iter().position(|it| it.id == id) else {
            return;
        };
        let [local, remote] = self.streams.remove(position).ends;
        let flow = Flow { kind: TransportKind::Tcp, local, remote };
        self.sides[0].handle_disconnected(flow, self.now);
        self.sides[1].handle_disconnected(Flow { local: remote, remote: local, ..flow }, self.now);
        self.drain();
    }
}

impl Network {
    const fn kind(self) -> TransportKind {
        if self.streams.is_some() { TransportKind::Tcp } else { TransportKind::Udp }
    }

    /// Where the caller's requests come from.
    fn caller(self) -> SocketAddr {
        let port = if self.streams.is_some() { 40_000 } else { 5060 };
        SocketAddr::new(address(0).ip(), port)
    }
}

fn address(side: usize) -> SocketAddr {
    ["192.0.2.1:5060", "192.0.2.2:5060"][side].parse().expect("an address")
}
