//! `/metrics`: what the server does, in the Prometheus text format.
//!
//! There are two kinds of numbers. What happens once a call or a turn is recorded as it happens, through handles that
//! are looked up once. Everything that a worker counts by itself (packets, messages, sockets in use) is asked for only
//! when somebody looks: a [source](Metrics::add_source) adds its part to an empty [`Snapshot`], so the paths that count
//! touch nothing shared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use std::sync::{Mutex, PoisonError};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::auth::DigestServerStats;
use crate::limits;
use crate::platform::calls::record::Status;
use crate::platform::calls::sql::JournalCounts;
use crate::platform::calls::{Direction, MediaReport, TurnTiming};
use crate::registrar::RegistrarStats;
use crate::server::media_metrics::MediaMetrics;
use crate::server::recordings::RecordingsSnapshot;
use crate::server::rooms::RoomsSnapshot;
use crate::server::task;
use crate::timer::Now;

/// What the workers know about themselves at one moment. Every number of a source is added to those of the sources
/// before it. Numbers named as totals count from the start of the server and never fall.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Calls in progress by state: `ringing`, `talking`, `held` …
    pub calls: BTreeMap<&'static str, u64>,
    /// SIP.
    pub sip: SipSnapshot,
    /// Trunks, by name.
    pub trunks: BTreeMap<String, TrunkSnapshot>,
    /// RTP.
    pub rtp: RtpSnapshot,
    /// Media ports.
    pub ports: PortsSnapshot,
    /// Decoders of the embedded speech engine.
    pub decoders: DecodersSnapshot,
    /// Total of things dropped because a queue was full, by queue.
    pub queue_drops: BTreeMap<&'static str, u64>,
    /// The journal.
    pub journal: JournalCounts,
    /// Recordings.
    pub recordings: RecordingsSnapshot,
    /// Supervisors who hear a call or are called for that, and the total of those who came to hear one.
    pub supervisors: (u64, u64),
    /// Conference rooms.
    pub rooms: RoomsSnapshot,
    /// Users: where they are, and what they showed of themselves.
    pub users: UsersSnapshot,
    /// Captured SIP messages.
    pub capture: CaptureSnapshot,
}

/// Users, as the registrar and the digest server count them.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsersSnapshot {
    /// Places where users can be reached.
    pub bindings: u64,
    /// Totals of what became of bindings and of requests for them.
    pub registrar: RegistrarStats,
    /// Totals of what was judged of credentials.
    pub credentials: DigestServerStats,
}

impl UsersSnapshot {
    /// Takes over what a worker counts. There is one that has users.
    pub const fn set(&mut self, bindings: u64, registrar: RegistrarStats, credentials: DigestServerStats) {
        *self = Self { bindings, registrar, credentials };
    }
}

/// Captured SIP messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptureSnapshot {
    /// Total of messages sent and received.
    pub messages: u64,
    /// Total of messages not captured because the queue was full.
    pub queue_drops: u64,
    /// Total of messages kept in ladders.
    pub kept: u64,
    /// Total of messages of calls that had too many already.
    pub limit_drops: u64,
    /// Bytes of messages that wait to be stored.
    pub waiting_bytes: u64,
    /// Calls whose messages are followed.
    pub calls: u64,
    /// Total of messages sent to the collector.
    pub hep_sent: u64,
    /// Total of messages that the collector did not get.
    pub hep_failed: u64,
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To us.
    In,
    /// From us.
    Out,
}

/// A method's name. Unknown methods share one name, as a peer could invent any number of them.
pub type Method = Cow<'static, str>;

/// SIP as its worker counts it.
#[derive(Clone, Debug, Default)]
pub struct SipSnapshot {
    /// Total of requests, retransmissions included.
    pub requests: BTreeMap<(Way, Method), u64>,
    /// Total of responses by the method they answer and their status.
    pub responses: BTreeMap<(Way, Method, u16), u64>,
    /// Total of messages that could not be understood, by reason.
    pub parse_errors: BTreeMap<&'static str, u64>,
    /// Total of messages that were understood and dropped, by reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// Transactions held.
    pub transactions: u64,
    /// Dialogs held.
    pub dialogs: u64,
    /// Connections held.
    pub connections: u64,
    /// Total of handshakes of TLS and websockets that failed, by kind.
    pub handshakes_failed: BTreeMap<&'static str, u64>,
    /// Whole days until our TLS certificate ends, negative once it has.
    pub certificate_days_left: Option<i64>,
}

/// A trunk.
#[derive(Clone, Debug, Default)]
pub struct TrunkSnapshot {
    /// Whether it has us registered; `None` if we do not ask for that.
    pub registered: Option<bool>,
    /// Total of registrations and refreshes that were accepted.
    pub registrations_accepted: u64,
    /// Total of those that were not, or not answered.
    pub registrations_failed: u64,
    /// The same by status, or what there was instead of one.
    pub registration_failures: BTreeMap<String, u64>,
    /// Servers it has.
    pub gateways: u64,
    /// Servers that failed a short time ago, and are tried last.
    pub gateways_resting: u64,
    /// Total of calls from it.
    pub calls_in: u64,
    /// Total of calls to it.
    pub calls_out: u64,
}

/// A total of a trunk.
type Counted = fn(&TrunkSnapshot) -> u64;

/// RTP as the media workers count it.
#[derive(Clone, Debug, Default)]
pub struct RtpSnapshot {
    /// Legs with media.
    pub sessions: u64,
    /// Total of packets received and used.
    pub packets_in: u64,
    /// Total of packets sent.
    pub packets_out: u64,
    /// Total of packets that never came.
    pub packets_lost: u64,
    /// Total of packets that came too late.
    pub packets_late: u64,
    /// Total of packets that were not used, by the reasons of [`crate::media::Dropped::by_reason`].
    pub packets_dropped: BTreeMap<&'static str, u64>,
    /// Total of packets on shared ports from where nobody's peer is.
    pub packets_unmatched: u64,
    /// Total of legs that could not share a port because another has their address.
    pub shared_port_conflicts: u64,
    /// Total of packets on other legs that had come before.
    pub packets_duplicate: u64,
    /// Total of packets that the system did not send, for want of a way there, say.
    pub packets_unsent: u64,
    /// Total of packets that came back, as nobody listens where they were sent.
    pub packets_refused: u64,
    /// Legs whose SRTP keys were told over signalling that others can read.
    pub keys_in_clear: u64,
    /// Total of audio made up for what was missing, in milliseconds.
    pub concealed_ms: u64,
    /// Total of ticks that a media worker began late.
    pub ticks_late: u64,
    /// Total of ticks of legs that were left out after a stall.
    pub ticks_skipped: u64,
    /// Total of legs that a defect closed.
    pub legs_failed: u64,
    /// Total of utterances that were interrupted because their next frame had not come in time.
    pub underruns: u64,
    /// Total of receive calls that the system failed.
    pub receive_failures: u64,
}

impl RtpSnapshot {
    /// As [`crate::media::Dropped::strange`].
    fn packets_strange(&self) -> u64 {
        let secured = ["unauthenticated", "replayed"];
        self.packets_dropped.iter().filter(|(reason, _)| !secured.contains(*reason)).map(|(_, count)| count).sum()
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.packets_dropped.get(reason).copied().unwrap_or(0)
    }
}

/// Media ports.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortsSnapshot {
    /// Pairs in use.
    pub in_use: u64,
    /// Pairs that rest after use.
    pub quarantined: u64,
    /// Pairs in the range.
    pub configured: u64,
}

/// Decoders of the embedded speech engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecodersSnapshot {
    /// Decoders there are.
    pub configured: u64,
    /// Decoders that listen to a caller.
    pub in_use: u64,
    /// Callers that wait for one.
    pub waiting: u64,
    /// Total of callers that did not get one.
    pub refused: u64,
}

/// A service that an agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Speech to text.
    Recogniser,
    /// Text to speech.
    Synthesiser,
    /// The language model.
    Model,
}

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    started: Now,
    calls_ended: Vec<((Direction, Status), IntCounter)>,
    call_results: IntCounterVec,
    leg_ticks_missed: IntCounter,
    turn: Histogram,
    parts: PartHistograms,
    media: MediaMetrics,
    service_errors: [(Service, IntCounter); 3],
    plays: [(&'static str, IntCounter); 3],
    /// Asked only when somebody looks, so a lock around them disturbs nobody.
    sources: Mutex<Vec<Source>>,
}

type Source = Box<dyn Fn(&mut Snapshot) + Send>;

struct PartHistograms {
    end_of_turn: Histogram,
    recogniser: Histogram,
    decision: Histogram,
    synthesiser: Histogram,
    playout: Histogram,
}

impl Metrics {
    /// Nothing has happened. Uptime counts from `now`.
    pub fn new(now: Now) -> Self {
        let registry = Registry::new();
        let calls_ended = counters(
            &registry,
            Opts::new("hookswitch_calls_ended_total", "Calls that ended, by direction and outcome."),
            &["direction", "outcome"],
        );
        let call_results = counters(
            &registry,
            Opts::new(
                "hookswitch_call_results_total",
                "Calls that ended, by direction and the class of the INVITE's final response; none if there was none.",
            ),
            &["direction", "class"],
        );
        let service_errors = counters(
            &registry,
            Opts::new("hookswitch_service_errors_total", "Failures of services that agents need, by service."),
            &["service"],
        );
        let plays = Opts::new("hookswitch_plays_total", "What was played by order from outside, by what became of it.");
        let plays = counters(&registry, plays, &["outcome"]);
        let turn = HistogramOpts::new(
            "hookswitch_turn_latency_seconds",
            "From the caller's last word to the first packet of the agent's reply.",
        );
        let part = HistogramOpts::new("hookswitch_turn_part_seconds", "The parts of the turn latency.");
        let part = HistogramVec::new(part.buckets(TURN_SECONDS.to_vec()), &["part"]).expect("the names are valid");
        let metrics = Self {
            started: now,
            calls_ended: outcomes()
                .map(|(direction, status)| {
                    let labels = [direction_label(direction), status_label(status)];
                    ((direction, status), calls_ended.with_label_values(&labels))
                })
                .collect(),
            call_results,
            leg_ticks_missed: leg_ticks_missed(&registry),
            turn: histogram(&registry, turn, &TURN_SECONDS),
            parts: PartHistograms {
                end_of_turn: part.with_label_values(&["end_of_turn"]),
                recogniser: part.with_label_values(&["recogniser"]),
                decision: part.with_label_values(&["decision"]),
                synthesiser: part.with_label_values(&["synthesiser"]),
                playout: part.with_label_values(&["playout"]),
            },
            media: MediaMetrics::new(&registry),
            service_errors: [
                (Service::Recogniser, service_errors.with_label_values(&["recogniser"])),
                (Service::Synthesiser, service_errors.with_label_values(&["synthesiser"])),
                (Service::Model, service_errors.with_label_values(&["model"])),
            ],
            plays: PLAY_OUTCOMES.map(|it| (it, plays.with_label_values(&[it]))),
            registry,
            sources: Mutex::default(),
        };
        metrics.registry.register(Box::new(part)).expect("the name is there once");
        metrics
    }

    /// Has `source` asked for its numbers whenever somebody looks. It must answer at once.
    pub fn add_source(&self, source: impl Fn(&mut Snapshot) + Send + 'static) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(source));
    }

    /// A call is over.
    pub fn call_ended(&self, direction: Direction, status: Status) {
        if let Some((_, counter)) = self.calls_ended.iter().find(|(of, _)| *of == (direction, status)) {
            counter.inc();
        }
    }

    /// A call is over: whether it was answered, and the final response of its INVITE if that was not 2xx.
    pub fn call_result(&self, direction: Direction, is_answered: bool, sip_status: Option<u16>) {
        let class = match (is_answered, sip_status.map(|it| it / 100)) {
            (true, _) => "2xx",
            (false, Some(3)) => "3xx",
            (false, Some(4)) => "4xx",
            (false, Some(5)) => "5xx",
            (false, Some(6)) => "6xx",
            (false, Some(_) | None) => "none",
        };
        self.call_results.with_label_values(&[direction_label(direction), class]).inc();
    }

    /// The agent of a call did not see so many ticks.
    pub fn leg_ticks_missed(&self, ticks: u32) {
        self.leg_ticks_missed.inc_by(ticks.into());
    }

    /// The agent replied.
    pub fn turn(&self, timing: &TurnTiming) {
        self.turn.observe(seconds(timing.total_ms));
        self.parts.end_of_turn.observe(seconds(timing.end_of_turn_ms));
        self.parts.recogniser.observe(seconds(timing.recogniser_ms));
        self.parts.decision.observe(seconds(timing.decision_ms));
        self.parts.synthesiser.observe(seconds(timing.synthesiser_ms));
        self.parts.playout.observe(seconds(timing.playout_ms));
    }

    /// The media of a leg is over.
    pub fn media_ended(&self, report: &MediaReport) {
        self.media.observe(report);
    }

    /// A service has failed an agent.
    pub fn service_failed(&self, service: Service) {
        if let Some((_, counter)) = self.service_errors.iter().find(|(of, _)| *of == service) {
            counter.inc();
        }
    }

    /// Something that was played by order from outside is over: `finished`, `cleared` or `failed`.
    pub fn play_ended(&self, outcome: &str) {
        if let Some((_, counter)) = self.plays.iter().find(|(of, _)| *of == outcome) {
            counter.inc();
        }
    }

    /// The numbers of all sources.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for source in self.sources.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            source(&mut snapshot);
        }
        snapshot
    }

    /// Everything, in the text format.
    pub fn render(&self, now: Now) -> String {
        let mut page = vec![];
        // Writing to memory cannot fail, and every family here has a metric.
        TextEncoder::new().encode(&self.registry.gather(), &mut page).unwrap_or_default();
        let mut page = Page(String::from_utf8_lossy(&page).into_owned());
        page.process(now.since(self.started).as_secs_f64());
        page.tasks();
        page.snapshot(&self.snapshot());
        page.0
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("started", &self.started).finish_non_exhaustive()
    }
}

/// The part of the page that is written from snapshots.
struct Page(String);

impl Page {
    fn process(&mut self, uptime: f64) {
        self.family("hookswitch_build_info", GAUGE, "The version that runs.", [([("version", VERSION)], 1)]);
        self.head("hookswitch_uptime_seconds", GAUGE, "Since the start.");
        self.line(format_args!("hookswitch_uptime_seconds {uptime:.3}"));
        if let Some(bytes) = resident_bytes() {
            self.value("process_resident_memory_bytes", GAUGE, "Memory in use.", bytes);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            let count = u64::try_from(open.count()).unwrap_or(u64::MAX);
            self.value("process_open_fds", GAUGE, "File descriptors in use.", count);
        }
    }

    fn tasks(&mut self) {
        let counts = task::counts();
        let of = |number: fn(&task::Count) -> u64| {
            counts.iter().map(move |(name, count)| ([("name", *name)], number(count)))
        };
        self.family("hookswitch_tasks", GAUGE, "Tasks alive, by name.", of(|it| it.live));
        self.family("hookswitch_tasks_started_total", COUNTER, "Tasks ever started, by name.", of(|it| it.started));
        self.family("hookswitch_task_panics_total", COUNTER, "Tasks ended by a panic, by name.", of(|it| it.panicked));
    }

    fn snapshot(&mut self, snapshot: &Snapshot) {
        let by = |label, counts: &BTreeMap<&'static str, u64>| {
            counts.iter().map(|(name, count)| ([(label, *name)], *count)).collect::<Vec<_>>()
        };
        self.family("hookswitch_calls", GAUGE, "Calls in progress, by state.", by("state", &snapshot.calls));
        self.sip(&snapshot.sip, by("reason", &snapshot.sip.parse_errors), by("reason", &snapshot.sip.drops));
        self.rtp(&snapshot.rtp, &snapshot.ports);
        self.trunks(&snapshot.trunks);
        let decoders = &snapshot.decoders;
        self.value("hookswitch_decoders", GAUGE, "Decoders of the embedded speech engine.", decoders.configured);
        self.value("hookswitch_decoders_in_use", GAUGE, "Decoders that listen to a caller.", decoders.in_use);
        self.value("hookswitch_decoders_waiting", GAUGE, "Callers that wait for a decoder.", decoders.waiting);
        self.value("hookswitch_decoders_refused_total", COUNTER, "Callers that got no decoder.", decoders.refused);
        let help = "Things dropped because a queue was full, by queue.";
        self.family("hookswitch_queue_drops_total", COUNTER, help, by("queue", &snapshot.queue_drops));
        self.journal(&snapshot.journal);
        self.recordings(&snapshot.recordings);
        self.supervisors(snapshot.supervisors);
        self.rooms(&snapshot.rooms);
        self.users(&snapshot.users);
        self.capture(&snapshot.capture);
    }

    fn users(&mut self, users: &UsersSnapshot) {
        self.value("hookswitch_registrar_bindings", GAUGE, "Places where users can be reached.", users.bindings);
        let registrar = &users.registrar;
        let changes = [
            ([("what", "bound")], registrar.bound),
            ([("what", "refreshed")], registrar.refreshed),
            ([("what", "removed")], registrar.removed),
            ([("what", "expired")], registrar.expired),
            ([("what", "lost")], registrar.lost),
            ([("what", "made_room")], registrar.made_room),
            ([("what", "refused")], registrar.refused),
        ];
        let help = "What became of places where users can be reached, and requests for them that were refused.";
        self.family("hookswitch_registrations_total", COUNTER, help, changes);
        let credentials = &users.credentials;
        let verdicts = [
            ([("verdict", "granted")], credentials.granted),
            ([("verdict", "without_credentials")], credentials.without_credentials),
            ([("verdict", "wrong")], credentials.wrong),
            ([("verdict", "stale")], credentials.stale),
            ([("verdict", "replayed")], credentials.replayed),
            ([("verdict", "blocked")], credentials.blocked),
        ];
        let help =
            "Requests of users, by what was judged of their credentials; all but granted and blocked were challenged.";
        self.family("hookswitch_digest_requests_total", COUNTER, help, verdicts);
    }

    fn capture(&mut self, capture: &CaptureSnapshot) {
        let messages = [
            ([("what", "seen")], capture.messages),
            ([("what", "kept")], capture.kept),
            ([("what", "beyond_limit")], capture.limit_drops),
            ([("what", "queue_full")], capture.queue_drops),
            ([("what", "sent_to_collector")], capture.hep_sent),
            ([("what", "not_sent_to_collector")], capture.hep_failed),
        ];
        let help = "Captured SIP messages; those that belong to no call are kept nowhere.";
        self.family("hookswitch_capture_messages_total", COUNTER, help, messages);
        let waiting = capture.waiting_bytes;
        self.value("hookswitch_capture_waiting_bytes", GAUGE, "Captured SIP messages to be stored.", waiting);
        self.value("hookswitch_capture_calls", GAUGE, "Calls whose SIP messages are followed.", capture.calls);
    }

    fn trunks(&mut self, trunks: &BTreeMap<String, TrunkSnapshot>) {
        let each = |value: fn(&TrunkSnapshot) -> Option<u64>| {
            trunks.iter().filter_map(move |(name, it)| Some(([("trunk", name.as_str())], value(it)?)))
        };
        let help = "Whether a trunk has us registered.";
        self.family("hookswitch_trunk_registered", GAUGE, help, each(|it| it.registered.map(u64::from)));
        self.family("hookswitch_trunk_gateways", GAUGE, "Servers of a trunk.", each(|it| Some(it.gateways)));
        let help = "Servers of a trunk that failed a short time ago.";
        self.family("hookswitch_trunk_gateways_resting", GAUGE, help, each(|it| Some(it.gateways_resting)));
        let split = |parts: [(&'static str, &'static str, Counted); 2]| {
            trunks.iter().flat_map(move |(name, it)| {
                parts.map(|(label, value, count)| ([("trunk", name.as_str()), (label, value)], count(it)))
            })
        };
        let results = split([
            ("result", "accepted", |it| it.registrations_accepted),
            ("result", "failed", |it| it.registrations_failed),
        ]);
        let help = "Answers to registrations and refreshes, and those that did not come.";
        self.family("hookswitch_trunk_registrations_total", COUNTER, help, results);
        let failures = trunks.iter().flat_map(|(name, it)| {
            let each = it.registration_failures.iter();
            each.map(|(reason, count)| ([("trunk", name.as_str()), ("reason", reason.as_str())], *count))
        });
        let help = "Registrations and refreshes that failed, by status or what there was instead of one.";
        self.family("hookswitch_trunk_registration_failures_total", COUNTER, help, failures);
        let calls = split([("direction", "in", |it| it.calls_in), ("direction", "out", |it| it.calls_out)]);
        self.family("hookswitch_trunk_calls_total", COUNTER, "Calls over a trunk.", calls);
    }

    fn sip(&mut self, sip: &SipSnapshot, parse_errors: Vec<Row<'_, 1>>, drops: Vec<Row<'_, 1>>) {
        let way = |way: &Way| match way {
            Way::In => ("direction", "in"),
            Way::Out => ("direction", "out"),
        };
        let requests = sip.requests.iter().map(|((to, method), count)| ([way(to), ("method", method)], *count));
        self.family("hookswitch_sip_requests_total", COUNTER, "SIP requests.", requests);
        let codes: Vec<_> = sip.responses.keys().map(|(_, _, status)| status.to_string()).collect();
        let responses = sip.responses.iter().zip(&codes).map(|(((to, method, _), count), status)| {
            ([way(to), ("method", method.as_ref()), ("status", status.as_str())], *count)
        });
        self.family("hookswitch_sip_responses_total", COUNTER, "SIP responses, by the method they answer.", responses);
        let help = "SIP messages that could not be understood, by reason.";
        self.family("hookswitch_sip_parse_errors_total", COUNTER, help, parse_errors);
        self.family("hookswitch_sip_drops_total", COUNTER, "SIP messages dropped, by reason.", drops);
        self.value("hookswitch_sip_transactions", GAUGE, "SIP transactions held.", sip.transactions);
        self.value("hookswitch_sip_dialogs", GAUGE, "SIP dialogs held.", sip.dialogs);
        self.value("hookswitch_sip_connections", GAUGE, "Connections held for SIP.", sip.connections);
        let failed = sip.handshakes_failed.iter().map(|(kind, count)| ([("kind", *kind)], *count));
        let help = "Handshakes of TLS and websockets for SIP that failed, by kind.";
        self.family("hookswitch_sip_handshakes_failed_total", COUNTER, help, failed);
        if let Some(days) = sip.certificate_days_left {
            let name = "hookswitch_sip_certificate_days_left";
            self.head(name, GAUGE, "Whole days until the TLS certificate ends, negative once it has.");
            self.line(format_args!("{name} {days}"));
        }
    }

    fn rtp(&mut self, rtp: &RtpSnapshot, ports: &PortsSnapshot) {
        self.value("hookswitch_rtp_sessions", GAUGE, "Legs with media.", rtp.sessions);
        let packets = [
            ([("what", "in")], rtp.packets_in),
            ([("what", "out")], rtp.packets_out),
            ([("what", "lost")], rtp.packets_lost),
            ([("what", "late")], rtp.packets_late),
            ([("what", "strange")], rtp.packets_strange()),
            ([("what", "unmatched")], rtp.packets_unmatched),
            ([("what", "unauthenticated")], rtp.dropped("unauthenticated")),
            ([("what", "replayed")], rtp.dropped("replayed")),
            ([("what", "duplicate")], rtp.packets_duplicate),
            ([("what", "unsent")], rtp.packets_unsent),
            ([("what", "refused")], rtp.packets_refused),
        ];
        let help = "RTP packets received and used, sent, never arrived, arrived too late, of no session of ours, \
            on a shared port from where nobody is expected, not protected with the peer's key, come before under it, \
            come before without keys, not sent by the system, \
            come back as ICMP errors.";
        self.family("hookswitch_rtp_packets_total", COUNTER, help, packets);
        let dropped = rtp.packets_dropped.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        let help = "Packets that were not used, by reason; all but unauthenticated and replayed are the strange ones.";
        self.family("hookswitch_rtp_packets_dropped_total", COUNTER, help, dropped);
        let help = "Legs whose SRTP keys were told over signalling that others can read.";
        self.value("hookswitch_srtp_keys_in_clear_total", COUNTER, help, rtp.keys_in_clear);
        let concealed = rtp.concealed_ms / 1000;
        self.value("hookswitch_rtp_concealed_seconds_total", COUNTER, "Audio made up for what was missing.", concealed);
        self.value("hookswitch_media_ticks_late_total", COUNTER, "Media ticks begun late.", rtp.ticks_late);
        let help = "Media ticks of legs left out after a stall.";
        self.value("hookswitch_media_ticks_skipped_total", COUNTER, help, rtp.ticks_skipped);
        self.value("hookswitch_media_legs_failed_total", COUNTER, "Legs closed by a defect of ours.", rtp.legs_failed);
        let help = "Receive calls for media that the system failed.";
        self.value("hookswitch_media_receive_failures_total", COUNTER, help, rtp.receive_failures);
        let help = "Utterances interrupted because what follows had not come in time.";
        self.value("hookswitch_playout_underruns_total", COUNTER, help, rtp.underruns);
        let help = "Legs that could not share a media port because another has their address.";
        self.value("hookswitch_media_shared_port_conflicts_total", COUNTER, help, rtp.shared_port_conflicts);
        self.value("hookswitch_media_ports", GAUGE, "Pairs of media ports in the range.", ports.configured);
        self.value("hookswitch_media_ports_in_use", GAUGE, "Pairs of media ports in use.", ports.in_use);
        self.value("hookswitch_media_ports_quarantined", GAUGE, "Pairs of media ports resting.", ports.quarantined);
    }

    fn journal(&mut self, journal: &JournalCounts) {
        self.value("hookswitch_journal_written_total", COUNTER, "Events committed.", journal.written);
        self.value("hookswitch_journal_batches_total", COUNTER, "Transactions committed.", journal.batches);
        self.value(
            "hookswitch_journal_dropped_total",
            COUNTER,
            "Events not taken, the queue being full.",
            journal.dropped,
        );
        self.value("hookswitch_journal_lost_total", COUNTER, "Events lost, the disk failing.", journal.lost);
        let ladders = [([("what", "written")], journal.ladders_written), ([("what", "lost")], journal.ladders_lost)];
        self.family("hookswitch_journal_sip_ladders_total", COUNTER, "Parts of SIP ladders for the journal.", ladders);
        self.value("hookswitch_journal_queued", GAUGE, "Events that wait for the writer.", journal.queued);
        self.value("hookswitch_journal_failing", GAUGE, "Whether the latest write failed.", journal.failing.into());
        self.head("hookswitch_journal_lag_seconds", GAUGE, "How long the latest commit let its oldest event wait.");
        let (whole, rest) = (journal.lag_us / 1_000_000, journal.lag_us % 1_000_000);
        self.line(format_args!("hookswitch_journal_lag_seconds {whole}.{rest:06}"));
    }

    fn supervisors(&mut self, (now, total): (u64, u64)) {
        let help = "Supervisors who hear a call, or are called for that.";
        self.value("hookswitch_supervisors", GAUGE, help, now);
        self.value("hookswitch_supervisions_total", COUNTER, "Supervisors who came to hear a call.", total);
    }

    fn rooms(&mut self, rooms: &RoomsSnapshot) {
        self.value("hookswitch_rooms", GAUGE, "Conference rooms with somebody in them.", rooms.occupied);
        self.value("hookswitch_room_members", GAUGE, "Members of all conference rooms.", rooms.members);
        self.value("hookswitch_room_entries_total", COUNTER, "Callers who came into a room.", rooms.entered);
        let help = "Callers who did not come into a room, and wrong PINs, by reason.";
        let refused =
            rooms.refused.iter().filter(|it| !it.0.is_empty()).map(|(why, count)| ([("reason", *why)], *count));
        self.family("hookswitch_room_refusals_total", COUNTER, help, refused);
    }

    fn recordings(&mut self, recordings: &RecordingsSnapshot) {
        let recorder = &recordings.recorder;
        self.value("hookswitch_recordings_active", GAUGE, "Recordings under way.", recorder.active);
        let ended = [([("outcome", "finished")], recorder.finished), ([("outcome", "failed")], recorder.failed)];
        self.family("hookswitch_recordings_total", COUNTER, "Recordings that ended, by outcome.", ended);
        let missed = recorder.missed_ticks / 50;
        let help = "Silence recorded because the disk did not keep up.";
        self.value("hookswitch_recordings_missed_seconds_total", COUNTER, help, missed);
        let help = "Recordings uploaded.";
        self.value("hookswitch_recording_uploads_total", COUNTER, help, recordings.uploaded);
        let help = "Attempts to upload a recording that failed and are made again.";
        self.value("hookswitch_recording_upload_failures_total", COUNTER, help, recordings.upload_failures);
        let help = "Recordings that wait to be uploaded.";
        self.value("hookswitch_recording_uploads_waiting", GAUGE, help, recordings.waiting);
        let help = "Recordings deleted because of their age.";
        self.value("hookswitch_recordings_expired_total", COUNTER, help, recordings.expired);
    }

    fn value(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A family of labelled numbers. Beyond the limit they are left out, as a page that grows with what peers send
    /// would be a hole.
    fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        rows: impl IntoIterator<Item = Row<'a, N>>,
    ) {
        self.head(name, kind, help);
        for (labels, value) in rows.into_iter().take(limits::METRIC_SERIES_MAX) {
            let labels = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).join(",");
            self.line(format_args!("{name}{{{labels}}} {value}"));
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("writing to a String cannot fail");
    }
}

/// Labels with their values, and the number.
type Row<'a, const N: usize> = ([(&'static str, &'a str); N], u64);

pub(super) fn counters(registry: &Registry, opts: Opts, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(opts, labels).expect("the names are valid");
    registry.register(Box::new(counters.clone())).expect("the name is there once");
    counters
}

fn leg_ticks_missed(registry: &Registry) -> IntCounter {
    let help = "Ticks of 20 ms that an agent did not see, being behind.";
    let counter = IntCounter::new("hookswitch_agent_ticks_missed_total", help).expect("the name is valid");
    registry.register(Box::new(counter.clone())).expect("the name is there once");
    counter
}

pub(super) fn histogram(registry: &Registry, opts: HistogramOpts, buckets: &[f64]) -> Histogram {
    let histogram = Histogram::with_opts(opts.buckets(buckets.to_vec())).expect("the names are valid");
    registry.register(Box::new(histogram.clone())).expect("the name is there once");
    histogram
}

fn outcomes() -> impl Iterator<Item = (Direction, Status)> {
    let statuses = [Status::Answered, Status::Busy, Status::NoAnswer, Status::Failed, Status::Voicemail];
    let directions = [Direction::Inbound, Direction::Outbound, Direction::Internal];
    directions.into_iter().flat_map(move |direction| statuses.map(|status| (direction, status)))
}

const fn direction_label(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Internal => "internal",
    }
}

const fn status_label(status: Status) -> &'static str {
    match status {
        Status::InProgress => "in_progress",
        Status::Answered => "answered",
        Status::Busy => "busy",
        Status::NoAnswer => "no_answer",
        Status::Failed => "failed",
        Status::Voicemail => "voicemail",
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub(super) fn seconds(milliseconds: u32) -> f64 {
    f64::from(milliseconds) / 1000.0
}

/// As Linux tells it; `None` elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
/// Callers notice from about 0.8 s on; the buckets are fine around that.
const TURN_SECONDS: [f64; 20] =
    [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0];

const PLAY_OUTCOMES: [&str; 3] = ["finished", "cleared", "failed"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::platform::calls::JitterBufferReport;

    /// Reads the text format strictly: a family is announced once, before its samples, every sample belongs to the
    /// family above it, and no sample is there twice. Returns the samples.
    fn parse(page: &str) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        let mut families = vec![];
        let mut family = ("", "");
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                assert!(help.split_once(' ').unwrap().1.ends_with('.'), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                family = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&family.1), "{line}");
                assert!(!families.contains(&family.0), "{line}");
                assert_eq!(family.1 == "counter", family.0.ends_with("_total"), "{line}");
                families.push(family.0);
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                let base = match family.1 {
                    "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it)).unwrap(),
                    _ => name,
                };
                assert_eq!(base, family.0, "{line}");
                assert!(samples.insert(sample.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
        samples
    }

    #[test]
    fn what_happens_is_counted() {
        let metrics = Metrics::new(Now::origin());
        metrics.call_ended(Direction::Inbound, Status::Answered);
        metrics.call_ended(Direction::Inbound, Status::Answered);
        metrics.call_ended(Direction::Outbound, Status::NoAnswer);
        metrics.turn(&TurnTiming { end_of_turn_ms: 500, total_ms: 640, ..TurnTiming::default() });
        metrics.media_ended(&MediaReport {
            codec: "G722".to_owned(),
            jitter_us: 3_000,
            mos_hundredths: Some(436),
            round_trip_ms: Some(40),
            jitter_buffer: Some(JitterBufferReport { delay_mean_ms: Some(25), ..JitterBufferReport::default() }),
            ..MediaReport::default()
        });
        metrics.service_failed(Service::Model);
        metrics.play_ended("failed");
        let samples = parse(&metrics.render(Now::origin() + Duration::from_millis(0)));
        for (sample, value) in [
            (r#"hookswitch_calls_ended_total{direction="inbound",outcome="answered"}"#, 2.0),
            (r#"hookswitch_calls_ended_total{direction="outbound",outcome="no_answer"}"#, 1.0),
            (r#"hookswitch_calls_ended_total{direction="internal",outcome="voicemail"}"#, 0.0),
            (r#"hookswitch_turn_latency_seconds_bucket{le="0.6"}"#, 0.0),
            (r#"hookswitch_turn_latency_seconds_bucket{le="0.8"}"#, 1.0),
            (r#"hookswitch_turn_part_seconds_sum{part="end_of_turn"}"#, 0.5),
            (r#"hookswitch_turn_part_seconds_count{part="playout"}"#, 1.0),
            (r#"hookswitch_rtp_jitter_seconds_bucket{le="0.005"}"#, 1.0),
            (r#"hookswitch_rtp_mos_bucket{le="4.3"}"#, 0.0),
            (r#"hookswitch_rtp_mos_bucket{le="4.4"}"#, 1.0),
            (r#"hookswitch_rtp_legs_ended_total{codec="G722"}"#, 1.0),
            (r#"hookswitch_rtp_round_trip_seconds_bucket{le="0.05"}"#, 1.0),
            (r#"hookswitch_rtp_round_trip_seconds_bucket{le="0.025"}"#, 0.0),
            (r#"hookswitch_rtp_jitter_buffer_seconds_bucket{le="0.03"}"#, 1.0),
            ("hookswitch_rtp_jitter_buffer_seconds_sum", 0.025),
            (r#"hookswitch_rtp_legs_ended_total{codec="opus"}"#, 0.0),
            (r#"hookswitch_service_errors_total{service="model"}"#, 1.0),
            (r#"hookswitch_plays_total{outcome="failed"}"#, 1.0),
            (r#"hookswitch_plays_total{outcome="cleared"}"#, 0.0),
            (r#"hookswitch_service_errors_total{service="recogniser"}"#, 0.0),
            ("hookswitch_journal_written_total", 0.0),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample} in {samples:#?}");
        }
        assert!(samples["process_resident_memory_bytes"] > 1e6);
    }

    #[test]
    fn what_sources_count_is_added_up_when_somebody_looks() {
        let start = Now::origin();
        let metrics = Metrics::new(start);
        for worker in 1..=2 {
            metrics.add_source(move |snapshot| {
                *snapshot.calls.entry("talking").or_default() += worker;
                snapshot.rtp.packets_in += 100 * worker;
                for (reason, count) in [("stranger", 1), ("ssrc", 2), ("replayed", 4)] {
                    *snapshot.rtp.packets_dropped.entry(reason).or_default() += count;
                }
                *snapshot.queue_drops.entry("leg \"commands\"").or_default() += worker;
            });
        }
        metrics.add_source(|snapshot| {
            snapshot.sip.requests.insert((Way::In, "INVITE".into()), 3);
            snapshot.sip.requests.insert((Way::Out, "INVITE".into()), 1);
            snapshot.sip.responses.insert((Way::Out, "INVITE".into(), 200), 2);
            snapshot.sip.parse_errors.insert("no Via", 4);
            snapshot.decoders.waiting = 5;
            snapshot.journal.lag_us = 21_500;
            snapshot.journal.failing = true;
        });
        let samples = parse(&metrics.render(start + Duration::from_millis(1500)));
        for (sample, value) in [
            (r#"hookswitch_calls{state="talking"}"#, 3.0),
            (r#"hookswitch_rtp_packets_total{what="in"}"#, 300.0),
            (r#"hookswitch_rtp_packets_total{what="strange"}"#, 6.0),
            (r#"hookswitch_rtp_packets_total{what="replayed"}"#, 8.0),
            (r#"hookswitch_rtp_packets_dropped_total{reason="ssrc"}"#, 4.0),
            (r#"hookswitch_queue_drops_total{queue="leg \"commands\""}"#, 3.0),
            (r#"hookswitch_sip_requests_total{direction="in",method="INVITE"}"#, 3.0),
            (r#"hookswitch_sip_requests_total{direction="out",method="INVITE"}"#, 1.0),
            (r#"hookswitch_sip_responses_total{direction="out",method="INVITE",status="200"}"#, 2.0),
            (r#"hookswitch_sip_parse_errors_total{reason="no Via"}"#, 4.0),
            ("hookswitch_decoders_waiting", 5.0),
            ("hookswitch_journal_lag_seconds", 0.0215),
            ("hookswitch_journal_failing", 1.0),
            ("hookswitch_uptime_seconds", 1.5),
            (concat!("hookswitch_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
        ] {
            assert_eq!(samples.get(sample), Some(&value), "{sample} in {samples:#?}");
        }
    }

    #[test]
    fn a_page_does_not_grow_with_what_peers_send() {
        let metrics = Metrics::new(Now::origin());
        metrics.add_source(|snapshot| {
            for method in 0..10_000 {
                snapshot.sip.requests.insert((Way::In, format!("M{method}").into()), 1);
            }
        });
        let page = metrics.render(Now::origin());
        assert_eq!(page.matches("hookswitch_sip_requests_total{").count(), limits::METRIC_SERIES_MAX);
    }

    #[tokio::test]
    async fn tasks_are_there_by_name() {
        let metrics = Metrics::new(Now::origin());
        let task = task::spawn("test scraped", std::future::pending::<()>());
        let samples = parse(&metrics.render(Now::origin()));
        assert_eq!(samples[r#"hookswitch_tasks{name="test scraped"}"#], 1.0);
        task.abort();
    }
}
