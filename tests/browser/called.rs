//! A browser that is called: it registers over a websocket, and a telephone with a tone calls it.

use std::time::{Duration, Instant};

use crate::authority::Secured;
use crate::rtp_peer::{Account, Sends, to_ulaw};
use crate::server_process::{Process, free_port};
use crate::sip_phone::Phone;
use crate::tone_peer::{TonePeer, talk};
use crate::{alone, browser};

const PASSWORD: &str = "a secret of the page";
/// What the telephone says, in hertz.
pub(crate) const CALLER_HZ: f64 = 450.0;
/// What the page says.
pub(crate) const PAGE_HZ: f64 = 1_000.0;

#[test]
fn both_sides_hear_each_other_through_a_restart_of_ice_in_opus_and_a_hold() {
    let _alone = alone();
    let call = Called::start("wss", &["steps=restart,hold,resume,hang-up", "hears=450", "ends=us"]);
    let phases = call.talk("500", &["answered", "restart", "hold", "resume"]);
    assert_eq!(phases.directions, ["sendonly", "sendrecv"]);
    for (step, codec) in [("answered", "PCMU"), ("restart", "opus"), ("resume", "opus")] {
        assert!(phases.step(step).contains(&format!(r#""codec":"audio/{codec}""#)), "{}", phases.log);
    }
    let port = |step: &str| number(phases.step(step), "port");
    assert_ne!(port("answered"), port("restart"), "ICE was not restarted\n{}", phases.log);
    assert_eq!(port("restart"), port("resume"), "a hold is no restart\n{}", phases.log);
}

#[test]
fn both_sides_hear_each_other_in_mu_law_the_caller_holds_and_hangs_up() {
    let _alone = alone();
    let call = Called::start("ws", &["steps=silence,sound", "hears=450", "ends=them"]);
    let phases = call.talk("500", &["answered", "silence", "sound"]);
    // A hold by the caller is told to the page, and nothing else changes.
    let port = |step: &str| number(phases.step(step), "port");
    assert_eq!(port("answered"), port("sound"), "{}", phases.log);
    assert!(phases.step("answered").contains(r#""codec":"audio/PCMU""#), "{}", phases.log);
}

#[test]
fn an_agent_hands_its_caller_over_to_a_browser() {
    let _alone = alone();
    let call = Called::start("wss", &["hears=450", "ends=them"]);
    call.talk("100", &["answered"]);
}

#[test]
fn a_browser_that_has_gone_or_goes_while_it_rings_ends_the_call_at_once() {
    let _alone = alone();
    let Called { secured, page, .. } = Called::start("ws", &["steps=leave", "ends=us"]);
    drop(page);
    let mut phone = Phone::udp(&secured.server);
    let begin = Instant::now();
    assert_eq!(phone.invite("500").status(), Some(480));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());

    let Called { secured, page, mut phone } = Called::start("ws", &["answers=no"]);
    let answer = std::thread::scope(|scope| {
        let calling = scope.spawn(|| phone.invite("500"));
        assert!(page.log.wait(Duration::from_secs(20), |_| page.log.text().contains("ringing")), "{}", page.log.text());
        // Node.js ends the browser with itself.
        page.signal("TERM");
        calling.join().unwrap()
    });
    assert_eq!(answer.status(), Some(480), "{answer:?}\n{}", secured.server.log());
}

#[test]
fn a_browser_that_goes_in_the_middle_of_a_call_is_missed_before_silence_would_tell() {
    let _alone = alone();
    let Called { secured, page, mut phone } = Called::start("ws", &["hears=450"]);
    assert_eq!(phone.invite("500").status(), Some(200), "{}", page.log.text());
    phone.hear(100);
    page.signal("TERM");
    let stay = phone.stay(Sends::Silence, Duration::from_secs(40));
    assert!(stay.bye.is_some() && stay.lasted < Duration::from_secs(25), "{stay:?}\n{}", secured.server.log());
}

/// A page that has registered, and who calls it.
pub(crate) struct Called {
    pub(crate) secured: Secured,
    pub(crate) page: Process,
    pub(crate) phone: Phone,
}

/// What became of the call.
struct Phases {
    log: String,
    /// Of the media, as the page has asked for.
    directions: Vec<String>,
}

impl Called {
    fn start(scheme: &str, parameters: &[&str]) -> Self {
        Self::start_with(scheme, &[], parameters)
    }

    /// At a server with more keys.
    #[track_caller]
    pub(crate) fn start_with(scheme: &str, keys: &[(&str, &str)], parameters: &[&str]) -> Self {
        let (ws, wss) = (free_port(), free_port());
        let sockets = format!("ws://127.0.0.1:{ws},wss://127.0.0.1:{wss}");
        let mut all = vec![
            ("SIP__ORIGINS", "*"),
            ("SIP__DIGEST", "SHA-256"),
            ("USERS__PAGE__PASSWORD", PASSWORD),
            ("NUMBERS__500__USER", "page"),
            ("AGENTS__TALKER__ON_FAX", "desk"),
            ("AGENTS__TALKER__TRANSFERS__DESK", "page"),
        ];
        all.extend(keys);
        let secured = Secured::start_with(&sockets, &all);
        let sip = if scheme == "ws" { format!("ws://127.0.0.1:{ws}") } else { format!("wss://127.0.0.1:{wss}") };
        let password = format!("password={PASSWORD}");
        let parameters: Vec<&str> = ["page=called", "user=page", &password].iter().chain(parameters).copied().collect();
        let page = browser(&secured, &sip, &parameters);
        let is_there = page.log.wait(Duration::from_secs(40), |_| page.log.text().contains("registered"));
        assert!(is_there, "the page has not registered\n{}\n{}", page.log.text(), secured.server.log());
        let phone = Phone::udp(&secured.server);
        Self { secured, page, phone }
    }

    /// Calls `number`, of the page or of an agent, and talks until the page has done all of `steps` and the call is over.
    #[track_caller]
    fn talk(self, number: &str, steps: &[&str]) -> Phases {
        let Self { secured, mut page, mut phone } = self;
        let before = secured.server.metrics();
        let answer = phone.invite(number);
        assert_eq!(answer.status(), Some(200), "{answer:?}\n{}\n{}", page.log.text(), secured.server.log());
        if number == "100" {
            be_sent_on(&mut phone, &page);
        }
        let socket = phone.media.socket.try_clone().unwrap();
        let mut caller = TonePeer::on(socket, phone.media.remote, CALLER_HZ);
        let (mut directions, mut is_over, mut marks, mut held) = (vec![], false, vec![], [false; 2]);
        let end = Instant::now() + Duration::from_secs(45);
        while Instant::now() < end && !is_over && !page.log.text().contains(r#""failed""#) {
            talk(&mut [&mut caller], 20, Duration::from_millis(200));
            let log = page.log.text();
            let done = steps.iter().take_while(|it| log.contains(&done(it))).count();
            if done > marks.len() {
                marks.resize(done, caller.heard.len());
            }
            match take_request(&mut phone).as_deref() {
                Some("BYE") => is_over = true,
                Some(direction) => directions.push(direction.to_owned()),
                None => (),
            }
            let signs = [r#""kind":"begins","step":"silence""#.to_owned(), self::done("silence")];
            for ((sign, direction), is_told) in signs.iter().zip(["inactive", "sendrecv"]).zip(&mut held) {
                if log.contains(sign) && !std::mem::replace(is_told, true) {
                    assert_eq!(phone.reinvite(direction).status(), Some(200), "{log}");
                }
            }
            if done == steps.len() && !steps.contains(&"resume") {
                phone.hang_up();
                is_over = true;
            }
        }
        let status = page.exit_status(Duration::from_secs(20));
        let log = page.log.text();
        assert!(status.success() && marks.len() == steps.len(), "{log}\n{}", secured.server.log());
        check_heard(&caller, steps, &marks);
        secured.server.settles(&before, Duration::from_secs(20));
        Phases { log, directions }
    }
}

/// Sounds like a fax machine, which the agent sends on, until the page rings.
#[track_caller]
#[expect(clippy::cast_possible_truncation, reason = "within full scale")]
fn be_sent_on(phone: &mut Phone, page: &Process) {
    let mut heard = Account::default();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end && !page.log.text().contains("ringing") {
        if phone.media.voice.is_empty() {
            let tone =
                (0..4_000_u32).map(|at| 8_000.0 * (std::f64::consts::TAU * 1_100.0 * f64::from(at) / 8_000.0).sin());
            phone.media.voice.extend(tone.map(|it| to_ulaw(it as i16)).chain(std::iter::repeat_n(0xFF, 24_000)));
        }
        phone.media.tick(Sends::Silence, &mut heard);
    }
    phone.media.voice.clear();
    assert!(page.log.text().contains("ringing"), "the agent calls nobody");
}

/// What the server asks for within the call meanwhile, which is answered: a change of its media, by the direction, or its end,
/// by the method.
fn take_request(phone: &mut Phone) -> Option<String> {
    let request = phone.wire.receive(Duration::from_millis(1))?;
    let ok = request.reply("200 OK");
    if request.method() != Some("INVITE") {
        if request.method() != Some("ACK") {
            phone.wire.send(ok.as_bytes());
        }
        return request.method().filter(|it| *it == "BYE").map(str::to_owned);
    }
    let is = |it: &&str| request.body.lines().any(|line| line == format!("a={it}"));
    let direction = ["inactive", "sendonly", "recvonly"].into_iter().find(is).unwrap_or("sendrecv");
    let sdp = phone.sdp(if direction == "sendonly" { "recvonly" } else { direction });
    let contact = format!("Contact: <sip:tester@{}>\r\nContent-Type: application/sdp\r\n", phone.wire.local());
    let length = format!("{contact}Content-Length: {}\r\n\r\n{sdp}", sdp.len());
    phone.wire.send(ok.replace("Content-Length: 0\r\n\r\n", &length).as_bytes());
    Some(direction.to_owned())
}

/// Before each step but the hold was done, the caller heard the page's tone for a second at least: nearly nothing else.
fn check_heard(caller: &TonePeer, steps: &[&str], marks: &[usize]) {
    caller.assert_unbroken(0);
    let levels = caller.levels(0, PAGE_HZ);
    for (step, mark) in steps.iter().zip(marks) {
        let last = &levels[mark.saturating_sub(50)..(*mark).min(levels.len())];
        let loud = last.iter().filter(|it| **it > 1_000.0).count();
        // On a busy machine the page's tone has gaps.
        assert!(
            ["hold", "silence"].contains(step) || loud * 10 >= last.len() * 8,
            "{step}: {loud} of {}: {last:?}",
            last.len()
        );
    }
    if let ([_, "restart", ..], [answered, restarted, ..]) = (steps, marks) {
        let (mut longest, mut quiet) = (0, 0);
        for level in &levels[*answered..*restarted] {
            quiet = if *level > 1_000.0 { 0 } else { quiet + 1 };
            longest = longest.max(quiet);
        }
        assert!(longest < 25, "no tone for {} ms while ICE was restarted", longest * 20);
    }
}

impl Phases {
    /// What the page said when it had done that.
    #[track_caller]
    fn step(&self, step: &str) -> &str {
        self.log.lines().find(|it| it.contains(&done(step))).unwrap()
    }
}

fn done(step: &str) -> String {
    format!(r#""kind":"step","step":"{step}""#)
}

#[track_caller]
fn number(line: &str, name: &str) -> u32 {
    let rest = line.split(&format!("\"{name}\":")).nth(1).unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}
