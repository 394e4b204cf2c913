//! The callers: a SIP user agent client (RFC 3261) of a few lines and an RTP sender (RFC 3550), all in one thread that
//! sends each packet when it is due, and measures how late it was itself.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hookswitch::server::batched_udp::Poll;
use hookswitch::server::clock;

/// How far a run is, for whoever takes the server's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Every call was answered or has failed, and has had time to settle.
    Begins,
    /// The measured time is over; the calls are still up.
    Ends,
    /// Every call is over.
    Over,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where the packets go: the server's SIP address, or that of the echo.
    pub(crate) peer: SocketAddr,
    /// Whether there is no call, only packets that come back.
    pub(crate) is_echo: bool,
    pub(crate) calls: usize,
    pub(crate) measured: Duration,
    /// What a caller says, in µ-law.
    pub(crate) speech: &'static [u8],
}

/// What the callers saw in the measured time.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) answered: usize,
    /// Why calls failed, each once.
    pub(crate) failures: Vec<String>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Packets that the sequence numbers say are missing.
    pub(crate) lost: u64,
    /// Calls times the measured time, in packets.
    pub(crate) expected: u64,
    /// Between two packets of a call, in microseconds.
    pub(crate) gaps_us: Vec<u32>,
    /// Of our own packets behind their schedule, in microseconds.
    pub(crate) lag_us: Vec<u32>,
    /// From the last loud packet of a caller to the first loud one that came back, in microseconds.
    pub(crate) responses_us: Vec<u32>,
}

/// Places the calls, talks, measures, hangs up.
pub(crate) fn run(plan: &Plan, phases: &SyncSender<Phase>) -> Seen {
    let signalling = socket();
    let mut poll = Poll::new().expect("there are descriptors left");
    poll.add(signalling.as_fd(), SIGNALLING).expect("there are descriptors left");
    let began = now();
    let mut callers: Vec<_> = (0..plan.calls).map(|index| Caller::new(index, plan, began)).collect();
    for (token, caller) in (0..).zip(&callers) {
        poll.add(caller.media.as_fd(), token).expect("there are descriptors left");
    }
    let mut run = Run { plan, signalling, seen: Seen::default(), window: None };
    let mut phase = None;
    let mut change_at = None;
    let give_up = began + plan.measured + Duration::from_secs(120);
    while phase != Some(Phase::Over) && now() < give_up {
        for caller in &mut callers {
            caller.act(&mut run);
        }
        let at = now();
        let next = run.next_phase(phase, &callers, &mut change_at, at);
        if next != phase {
            phase = next;
            run.enter(next, &mut callers, at);
            if let Some(next) = next {
                phases.send(next).expect("the other end lives as long as the run");
            }
        }
        let ready: Vec<u64> =
            poll.wait(Some(Duration::from_millis(1))).expect("the set is ours").map(|it| it.token).collect();
        for token in ready {
            match usize::try_from(token).ok().and_then(|it| callers.get_mut(it)) {
                Some(caller) => caller.hear(&mut run),
                None => run.take_messages(&mut callers),
            }
        }
    }
    let reasons = callers.iter().filter_map(|it| it.failure.clone());
    run.seen.failures.extend(reasons);
    run.seen.lag_us.sort_unstable();
    run.seen.gaps_us.sort_unstable();
    run.seen.responses_us.sort_unstable();
    run.seen
}

struct Run<'a> {
    plan: &'a Plan,
    signalling: UdpSocket,
    seen: Seen,
    /// Whether what happens counts, and since when.
    window: Option<Instant>,
}

impl Run<'_> {
    /// The phase that follows once it is time for it.
    fn next_phase(
        &self,
        phase: Option<Phase>,
        callers: &[Caller],
        change_at: &mut Option<Instant>,
        at: Instant,
    ) -> Option<Phase> {
        let due = change_at.is_some_and(|it| it <= at);
        match phase {
            None => {
                let settled = callers.iter().all(|it| matches!(it.state, State::Talking | State::Over));
                if settled && change_at.is_none() {
                    *change_at = Some(at + SETTLING);
                }
                due.then(|| *change_at = Some(at + self.plan.measured)).map(|()| Phase::Begins)
            }
            Some(Phase::Begins) if due => Some(Phase::Ends),
            Some(Phase::Ends) if callers.iter().all(|it| it.state == State::Over) => Some(Phase::Over),
            same => same,
        }
    }

    fn enter(&mut self, phase: Option<Phase>, callers: &mut [Caller], at: Instant) {
        match phase {
            Some(Phase::Begins) => {
                self.seen.answered = callers.iter().filter(|it| it.state == State::Talking).count();
                self.window = Some(at);
                callers.iter_mut().for_each(Caller::begin_to_count);
            }
            Some(Phase::Ends) => {
                if let Some(from) = self.window.take() {
                    let packets = (at - from).as_micros() / TICK.as_micros();
                    self.seen.expected = u64::try_from(packets).unwrap_or(0) * self.seen.answered as u64;
                }
                callers.iter_mut().for_each(|it| it.leave(at));
            }
            Some(Phase::Over) | None => (),
        }
    }

    fn take_messages(&self, callers: &mut [Caller]) {
        let mut buffer = [0; 4_096];
        while let Ok((len, _)) = self.signalling.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            let index = header(&text, "Call-ID").and_then(|it| it.split('-').next()?.parse::<usize>().ok());
            if let Some(caller) = index.and_then(|it| callers.get_mut(it)) {
                caller.take_message(&text, self);
            }
        }
    }

    fn send(&self, text: &str) {
        // What is lost is sent again.
        drop(self.signalling.send_to(text.as_bytes(), self.plan.peer));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Until its time to call.
    Waiting(Instant),
    Inviting,
    Talking,
    Leaving,
    Over,
}

struct Caller {
    index: usize,
    media: UdpSocket,
    state: State,
    failure: Option<String>,
    /// When the latest request is sent again, and how often it was.
    again: Option<(Instant, u32)>,
    /// The server's tag and contact.
    far: Option<(String, String)>,
    remote: Option<SocketAddr>,
    next_packet: Instant,
    sequence: u16,
    /// Packets until the first word; then the place in the cycle of speech and silence.
    quiet: usize,
    place: usize,
    spoke_until: Option<Instant>,
    last: Option<(Instant, u16)>,
}

impl Caller {
    fn new(index: usize, plan: &Plan, began: Instant) -> Self {
        // The turns of the callers are spread over the cycle, and their packets over the tick.
        let share = |of: u128| usize::try_from(of * index as u128 / plan.calls as u128).unwrap_or(0);
        let starts = began + CALL_EVERY * u32::try_from(index).unwrap_or(u32::MAX);
        Self {
            index,
            media: socket(),
            state: if plan.is_echo { State::Talking } else { State::Waiting(starts) },
            failure: None,
            again: None,
            far: None,
            remote: plan.is_echo.then_some(plan.peer),
            next_packet: began + Duration::from_micros(share(TICK.as_micros()) as u64),
            sequence: 0,
            quiet: GREETING_PACKETS + share(CYCLE_PACKETS as u128),
            place: 0,
            spoke_until: None,
            last: None,
        }
    }

    fn act(&mut self, run: &mut Run<'_>) {
        let at = now();
        match (self.state, self.again) {
            (State::Waiting(until), _) if until <= at => {
                self.state = State::Inviting;
                self.request("INVITE", at, 0, run);
            }
            (State::Inviting | State::Leaving, Some((when, times))) if when <= at => {
                let method = if self.state == State::Inviting { "INVITE" } else { "BYE" };
                if times < RETRANSMISSIONS_MAX {
                    self.request(method, at, times + 1, run);
                } else {
                    self.fail(&format!("no answer to {method}"));
                }
            }
            (State::Talking, _) => {
                while self.next_packet <= at {
                    self.speak(at, run);
                }
            }
            _ => (),
        }
    }

    /// Sends the packet that is due.
    fn speak(&mut self, at: Instant, run: &mut Run<'_>) {
        let due = self.next_packet;
        self.next_packet += TICK;
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend((u32::from(self.sequence) * 160).to_be_bytes());
        packet.extend((0x4000_0000 + self.index as u32).to_be_bytes());
        let spoken = run.plan.speech.chunks_exact(SAMPLES).nth(self.place).filter(|_| self.quiet == 0);
        packet.extend(spoken.unwrap_or(&[SILENCE; SAMPLES]));
        if spoken.is_some_and(is_loud) {
            self.spoke_until = Some(at);
        }
        match self.quiet {
            0 => self.place = (self.place + 1) % CYCLE_PACKETS,
            _ => self.quiet -= 1,
        }
        let sent = self.remote.is_some_and(|it| self.media.send_to(&packet, it).is_ok());
        if run.window.is_some() {
            run.seen.sent += u64::from(sent);
            run.seen.lag_us.push(micros(at - due));
        }
    }

    fn hear(&mut self, run: &mut Run<'_>) {
        let mut buffer = [0; 2_048];
        while let Ok((len, from)) = self.media.recv_from(&mut buffer) {
            let packet = &buffer[..len];
            if Some(from) != self.remote || len != 12 + SAMPLES {
                continue;
            }
            let at = now();
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            let last = self.last.replace((at, sequence));
            // One packet of what a caller says may still be on its way when the other side begins.
            let answered = is_loud(&packet[12..]) && self.spoke_until.is_some_and(|it| at - it > TICK * 10);
            let spoke_until = if answered { self.spoke_until.take() } else { None };
            if run.window.is_none() {
                continue;
            }
            run.seen.received += 1;
            if let Some((before, number)) = last {
                run.seen.gaps_us.push(micros(at - before));
                run.seen.lost += u64::from(sequence.wrapping_sub(number).saturating_sub(1).min(1_000));
            }
            run.seen.responses_us.extend(spoke_until.map(|it| micros(at - it)));
        }
    }

    fn begin_to_count(&mut self) {
        self.last = None;
    }

    fn leave(&mut self, at: Instant) {
        if self.state == State::Talking {
            let is_call = self.far.is_some();
            self.state = if is_call { State::Leaving } else { State::Over };
            // All at once would measure the size of a socket's buffer.
            self.again = is_call.then(|| (at + CALL_EVERY / 5 * u32::try_from(self.index).unwrap_or(0), 0));
        }
    }

    fn fail(&mut self, why: &str) {
        self.state = State::Over;
        self.failure = Some(why.to_owned());
    }

    fn request(&mut self, method: &str, at: Instant, times: u32, run: &Run<'_>) {
        self.again = Some((at + RETRANSMISSION * (1 << times.min(3)), times));
        run.send(&self.message(method, run));
    }

    fn message(&self, method: &str, run: &Run<'_>) -> String {
        let (index, local) = (self.index, address(&run.signalling));
        let media = address(&self.media);
        let body = match method {
            "INVITE" => format!(
                "v=0\r\no=- {index} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
                 a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n",
                ip = media.ip(),
                port = media.port()
            ),
            _ => String::new(),
        };
        let to = format!("sip:100@{}", run.plan.peer);
        let (tag, target) =
            self.far.clone().map_or_else(|| (String::new(), to.clone()), |(tag, it)| (format!(";tag={tag}"), it));
        let number = if method == "BYE" { 2 } else { 1 };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{method}-{index}-{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller{index}@{local}>;tag=caller-{index}\r\nTo: <{to}>{tag}\r\n\
             Call-ID: {index}-{port}-agent-calls\r\nCSeq: {number} {method}\r\nContact: <sip:caller{index}@{local}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len(),
            port = media.port()
        )
    }

    fn take_message(&mut self, text: &str, run: &Run<'_>) {
        let Some(status) = text.strip_prefix("SIP/2.0 ").and_then(|it| it.get(..3)?.parse::<u16>().ok()) else {
            if text.starts_with("BYE") {
                run.send(&reply(text));
                self.fail("the server hung up");
            }
            return;
        };
        let is_invite = header(text, "CSeq").is_some_and(|it| it.ends_with("INVITE"));
        match (status, is_invite, self.state) {
            (100..200, true, State::Inviting) => self.again = None,
            (200..300, true, State::Inviting) => self.answered(text, run),
            // The ACK was lost, or had not arrived yet.
            (200..300, true, _) => run.send(&self.message("ACK", run)),
            (300.., true, State::Inviting) => self.fail(&format!("refused with {status}")),
            (200.., false, State::Leaving) => self.state = State::Over,
            _ => (),
        }
    }

    fn answered(&mut self, text: &str, run: &Run<'_>) {
        let tag = header(text, "To").and_then(|it| Some(it.split_once("tag=")?.1.to_owned()));
        let contact = header(text, "Contact").and_then(|it| Some(it.split_once('<')?.1.split_once('>')?.0.to_owned()));
        let line = |name: &str| text.lines().find_map(|it| it.strip_prefix(name));
        let ip = line("c=IN IP4 ").and_then(|it| it.trim().parse().ok());
        let port = line("m=audio ").and_then(|it| it.split(' ').next()?.parse().ok());
        let (Some(tag), Some(contact), Some(ip), Some(port)) = (tag, contact, ip, port) else {
            return self.fail("the answer cannot be read");
        };
        self.far = Some((tag, contact));
        self.remote = Some(SocketAddr::new(ip, port));
        self.again = None;
        self.state = State::Talking;
        while self.next_packet < now() {
            self.next_packet += TICK;
        }
        run.send(&self.message("ACK", run));
    }
}

fn reply(request: &str) -> String {
    let mut text = "SIP/2.0 200 OK\r\n".to_owned();
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        if let Some(value) = header(request, name) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    text + "Content-Length: 0\r\n\r\n"
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.split("\r\n").take_while(|it| !it.is_empty());
    let mut pairs = lines.filter_map(|it| it.split_once(':'));
    pairs.find(|(it, _)| it.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports left");
    socket.set_nonblocking(true).expect("the socket is ours");
    socket
}

fn address(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("it is bound")
}

/// µ-law is stored inverted: the top bit is the sign, and the other seven are the greater, the louder.
fn is_loud(payload: &[u8]) -> bool {
    payload.iter().filter(|it| !**it & 0x7F > 0x30).count() > 20
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

fn now() -> Instant {
    clock::now().instant
}

/// The packets of a cycle: 2.7 seconds of speech, and time for the reply.
const CYCLE_PACKETS: usize = 350;
/// Before a caller first speaks, so that the greeting is over.
const GREETING_PACKETS: usize = 150;
const SAMPLES: usize = 160;
const SILENCE: u8 = 0xFF;
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Fifty new calls a second.
const CALL_EVERY: Duration = Duration::from_millis(20);
/// Between the last answer and the measured time.
const SETTLING: Duration = Duration::from_secs(4);
const RETRANSMISSION: Duration = Duration::from_millis(500);
const RETRANSMISSIONS_MAX: u32 = 6;
const SIGNALLING: u64 = u64::MAX;
