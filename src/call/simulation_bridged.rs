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
    check(1, 60, Network { loss: 0.0, copies: 0.0, delay_ms_max: 1 });
}

#[test]
fn a_network_that_copies_and_reorders() {
    check(2, 96, Network { loss: 0.0, copies: 0.3, delay_ms_max: 500 });
}

#[test]
fn a_network_that_loses_a_little() {
    check(3, 144, Network { loss: 0.05, copies: 0.02, delay_ms_max: 120 });
}

#[test]
fn a_network_that_loses_much() {
    check(4, 96, Network { loss: 0.2, copies: 0.1, delay_ms_max: 900 });
}

/// What the network does to a datagram.
#[derive(Clone, Copy)]
struct Network {
    /// The share that is lost.
    loss: f64,
    /// The share that comes twice.
    copies: f64,
    delay_ms_max: u64,
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
}

const PLANS: [Plan; 12] = [
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
];

/// Something that happens at a time.
enum Event {
    Datagram { side: usize, flow: Flow, data: Bytes },
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
        // The caller hears an answer only from us.
        assert!(!caller.is_answered || us.is_some_and(|it| it.is_answered), "{plan:?} {caller:#?} {us:#?}");
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
            let mut config = CallsConfig::new(vec![Listener::new(TransportKind::Udp, address(side))]);
            let target = Target::agent("phone");
            config.listeners[0].1 =
                Admission { unknown_sources: side == CALLED, unknown_numbers: Some(target), ..Admission::default() };
            if side == US {
                config.routes.insert_source("192.0.2.1/32".parse().expect("a network"));
                for number in 0..calls {
                    let uri = format!("sip:{number}@192.0.2.3").parse().expect("a URI");
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
        let mut simulation = Self { network, rng, now, sides, queue, next: 0, plans, seen };
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

    fn happen(&mut self, event: Event) {
        let now = self.now;
        let side = match event {
            Event::Datagram { side, flow, data } => {
                self.sides[side].handle_datagram(flow, data, now);
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
        let flow = Flow { kind: TransportKind::Udp, local: address(CALLER), remote: address(US) };
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
            Output::Send { flow, data } => self.transmit(flow, &data),
            Output::OpenMedia { leg, .. } => {
                let plan = self.plan(side, leg.call);
                let is_refused = plan == Plan::NoPort(side) && (side == CALLED || leg.index == 1);
                self.seen(side, leg.call).open_legs.insert(leg);
                let ms = self.rng.random_range(0..30);
                self.after(ms, Event::Media { side, leg, is_open: !is_refused });
            }
            Output::CloseMedia { leg } => assert!(self.seen(side, leg.call).open_legs.remove(&leg), "it was open"),
            Output::Bridge { a, b } => assert!(self.seen(side, a.call).bridges.insert((a.min(b), a.max(b)))),
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
            | Output::Digit { .. }
            | Output::SendDigit { .. }
            | Output::Registration(_)
            | Output::Trunk { .. }
            | Output::Secure { .. }
            | Output::Received { .. }
            | Output::CallIdKnown { .. }
            | Output::Journal { .. } => (),
            Output::TransferAsked { .. } => panic!("we carry it out ourselves"),
            Output::Close { .. } => panic!("there are no streams"),
        }
    }

    /// What is done after the answer.
    fn go_on(&mut self, side: usize, call: CallId) {
        let cause = HangUpCause::Done;
        let ms = self.rng.random_range(50..5_000);
        match self.plan(side, call) {
            Plan::HangUp(by) if by == side => self.after(20_000 + ms, Event::HangUp { side, call, cause }),
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

/// 192.0.2.1 calls, 192.0.2.2 is us, 192.0.2.3 is called.
fn address(side: usize) -> SocketAddr {
    let last = u8::try_from(side + 1).expect("there are three");
    SocketAddr::from(([192, 0, 2, last], 5060))
}
