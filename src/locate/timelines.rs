//! Searches against a zone written down, with the questions they ask and the hops they find.

use rand::SeedableRng;

use super::*;

/// A zone, a line for a name: `name kind records`, with a `!` for a server that does not answer.
struct World {
    zone: String,
    locator: Locator,
    now: Now,
}

impl World {
    fn new(zone: &str) -> Self {
        let reach =
            Reach { kinds: vec![TransportKind::Udp, TransportKind::Tcp, TransportKind::Tls], v4: true, v6: true };
        Self::reaching(zone, reach)
    }

    fn reaching(zone: &str, reach: Reach) -> Self {
        let locator = Locator::new(reach, ChaCha12Rng::seed_from_u64(1));
        Self { zone: zone.to_owned(), locator, now: Now::origin() }
    }

    /// The questions asked and the outcome.
    fn locate(&mut self, uri: &str) -> (String, String) {
        let target = match Target::of(&uri.parse().expect("a URI")) {
            Ok(target) => target,
            Err(error) => return (String::new(), format!("{error:?}")),
        };
        let id = self.locator.locate(target, self.now);
        let mut asked = vec![];
        while let Some(question) = self.locator.poll_query() {
            let answer = self.answer(&question);
            if question.kind != RecordKind::Route {
                asked.push(format!("{:?} {}", question.kind, question.name));
            }
            self.locator.handle_answer(&question, answer, self.now);
        }
        let (found, outcome) = self.locator.poll_located().expect("every search ends");
        assert_eq!((found, self.locator.counts().0), (id, 0));
        (asked.join(", "), outcome.map_or_else(|it| format!("{it:?}"), |it| show(&it)))
    }

    #[expect(clippy::unwrap_in_result, reason = "the zone is well-formed")]
    fn answer(&self, question: &Question) -> Answer {
        let kind = format!("{:?}", question.kind);
        let fits = |it: &Vec<&str>| it.first() == Some(&&*question.name) && it.get(1) == Some(&kind.as_str());
        if question.kind == RecordKind::Route {
            return Ok((Records::Addresses(vec!["192.0.2.1".parse().expect("an address")]), Duration::ZERO));
        }
        let lines = self.zone.lines().map(|it| it.split_whitespace().collect::<Vec<_>>());
        let found: Vec<_> = lines.filter(fits).map(|it| it[2..].to_vec()).collect();
        if found.first().is_some_and(|it| it == &["!"]) {
            return Err(Unanswered::Failed);
        }
        let number = |it: &str| it.parse::<u16>().expect("a number");
        let records = match question.kind {
            _ if found.is_empty() => return Err(Unanswered::None(None)),
            RecordKind::Naptr => Records::Naptr(
                found
                    .iter()
                    .map(|it| Naptr {
                        order: number(it[0]),
                        preference: number(it[1]),
                        flags: it[2].into(),
                        services: it[3].into(),
                        replacement: it[4].into(),
                    })
                    .collect(),
            ),
            RecordKind::Srv => {
                let srv = |it: &Vec<&str>| Srv {
                    priority: number(it[0]),
                    weight: number(it[1]),
                    port: number(it[2]),
                    target: it[3].into(),
                };
                Records::Srv(found.iter().map(srv).collect())
            }
            RecordKind::A | RecordKind::Aaaa | RecordKind::Route => {
                Records::Addresses(found.iter().map(|it| it[0].parse().expect("an address")).collect())
            }
        };
        Ok((records, Duration::from_secs(60)))
    }
}

fn show(hops: &[Hop]) -> String {
    let show = |it: &Hop| {
        let name = it.server_name.as_ref().map_or_else(String::new, |it| format!(" ({it})"));
        format!("{} {}{name}", it.kind.scheme(), it.remote)
    };
    hops.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(zone: &str, uri: &str, asked: &str, found: &str) {
    let (questions, outcome) = World::new(zone).locate(uri);
    assert_eq!((questions.as_str(), outcome.as_str()), (asked, found), "{uri}");
}

const ZONE: &str = "
    example.com Naptr 50 50 s SIPS+D2T _sips._tcp.example.com
    example.com Naptr 90 50 s SIP+D2T _sip._tcp.example.com
    example.com Naptr 100 50 s SIP+D2U _sip._udp.example.com
    example.com Naptr 10 50 s SIP+D2S _sip._sctp.example.com
    example.com Naptr 20 50 u E2U+sip !^.*$!sip:a@b!
    _sips._tcp.example.com Srv 0 0 5061 a.example.com.
    _sip._tcp.example.com Srv 10 0 5060 b.example.com
    _sip._tcp.example.com Srv 0 0 5070 a.example.com
    _sip._udp.example.com Srv 0 0 5060 a.example.com
    a.example.com A 192.0.2.2
    a.example.com Aaaa 2001:db8::2
    b.example.com A 192.0.2.3
    plain.example A 192.0.2.9
    half.example A 192.0.2.8
    half.example Aaaa !
    _sip._udp.gone.example Srv 0 0 0 .
    _sip._tcp.only.example Srv 0 0 5080 plain.example
    dead.example A !";

#[test]
fn addresses_and_ports_need_no_more_than_they_say() {
    check(ZONE, "sip:a@192.0.2.9", "", "udp 192.0.2.9:5060");
    check(ZONE, "sip:a@192.0.2.9:5070;transport=tcp", "", "tcp 192.0.2.9:5070");
    check(ZONE, "sips:a@[2001:db8::9]", "", "tls [2001:db8::9]:5061 (2001:db8::9)");
    check(ZONE, "sips:192.0.2.9;transport=tcp", "", "tls 192.0.2.9:5061 (192.0.2.9)");
    check(ZONE, "sips:192.0.2.9;transport=udp", "", "NoTransport");
    check(ZONE, "sip:192.0.2.9;transport=sctp", "", "NoTransport");
    check(ZONE, "sip:192.0.2.9;transport=ws", "", "NoTransport");
    check(ZONE, "tel:+4930123", "", "NoHost");
    check(ZONE, "sip:plain.example:5080", "A plain.example, Aaaa plain.example", "udp 192.0.2.9:5080");
    check(ZONE, "sip:PLAIN.example.:5080;transport=TCP", "A plain.example, Aaaa plain.example", "tcp 192.0.2.9:5080");
}

#[test]
fn services_come_in_the_order_of_the_domain() {
    let asked = "Naptr example.com, Srv _sips._tcp.example.com, Srv _sip._tcp.example.com, Srv _sip._udp.example.com, \
                 A a.example.com, Aaaa a.example.com, A b.example.com, Aaaa b.example.com";
    let tls = "tls 192.0.2.2:5061 (example.com), tls [2001:db8::2]:5061 (example.com)";
    check(
        ZONE,
        "sip:a@example.com",
        asked,
        &format!(
            "{tls}, tcp 192.0.2.2:5070, tcp [2001:db8::2]:5070, tcp 192.0.2.3:5060, udp 192.0.2.2:5060, \
             udp [2001:db8::2]:5060"
        ),
    );
    let asked = "Naptr example.com, Srv _sips._tcp.example.com, A a.example.com, Aaaa a.example.com";
    check(ZONE, "sips:example.com", asked, tls);
    let asked = "Srv _sip._udp.example.com, A a.example.com, Aaaa a.example.com";
    check(ZONE, "sip:example.com;transport=udp", asked, "udp 192.0.2.2:5060, udp [2001:db8::2]:5060");
}

#[test]
fn what_a_domain_does_not_say_is_tried() {
    let servers = |it: &str| format!("Naptr {it}, Srv _sip._udp.{it}, Srv _sip._tcp.{it}, Srv _sips._tcp.{it}");
    let asked = format!("{}, A plain.example, Aaaa plain.example", servers("plain.example"));
    check(ZONE, "sip:plain.example", &asked, "udp 192.0.2.9:5060");
    let asked = format!("{}, A plain.example, Aaaa plain.example", servers("only.example"));
    check(ZONE, "sip:only.example", &asked, "tcp 192.0.2.9:5080");
    check(ZONE, "sip:gone.example", &servers("gone.example"), "NoAddress");
    let asked = format!("{}, A nothing.example, Aaaa nothing.example", servers("nothing.example"));
    check(ZONE, "sip:nothing.example", &asked, "NoAddress");
    let asked = format!("{}, A dead.example, Aaaa dead.example", servers("dead.example"));
    check(ZONE, "sip:dead.example", &asked, "NoAnswer");
    let asked = "Srv _sip._udp.half.example, A half.example, Aaaa half.example";
    check(ZONE, "sip:half.example;transport=udp", asked, "udp 192.0.2.8:5060");
    let reach = Reach { kinds: vec![TransportKind::Tcp], v4: true, v6: false };
    let mut world = World::reaching(ZONE, reach);
    assert_eq!(world.locate("sip:plain.example").1, "tcp 192.0.2.9:5060");
    assert_eq!(world.locate("sip:[2001:db8::1];transport=tcp").1, "NoTransport");
    assert_eq!(world.locate("sip:plain.example:5060").1, "NoTransport");
}

#[test]
fn answers_are_remembered_and_stand_in_for_those_that_do_not_come() {
    let mut world = World::new("plain.example A 192.0.2.9");
    let both = "A plain.example, Aaaa plain.example";
    assert_eq!(world.locate("sip:plain.example:5060").0, both);
    assert_eq!(world.locate("sip:plain.example:5060").0, "");
    world.now = world.now + Duration::from_secs(61);
    "plain.example A ! \n plain.example Aaaa !".clone_into(&mut world.zone);
    assert_eq!(world.locate("sip:plain.example:5060"), (both.to_owned(), "udp 192.0.2.9:5060".to_owned()));
    assert_eq!(world.locate("sip:plain.example:5060").0, "");
    world.now = world.now + Duration::from_secs(2 * 86_400);
    assert_eq!(world.locate("sip:plain.example:5060").1, "NoAnswer");
    world.now = world.now + Duration::from_secs(11);
    "plain.example A 192.0.2.10".clone_into(&mut world.zone);
    assert_eq!(world.locate("sip:plain.example:5060"), (both.to_owned(), "udp 192.0.2.10:5060".to_owned()));
}

#[test]
fn one_question_is_asked_for_all_who_wait() {
    let mut world = World::new("");
    let target = Target::of(&"sip:a.example:5060".parse().expect("a URI")).expect("a host");
    let ids = [(); 3].map(|()| world.locator.locate(target.clone(), world.now));
    let questions: Vec<_> = std::iter::from_fn(|| world.locator.poll_query()).collect();
    assert_eq!(questions.len(), 2);
    for question in &questions {
        world.locator.handle_answer(question, Err(Unanswered::None(None)), world.now);
        // Once is enough.
        world.locator.handle_answer(question, Err(Unanswered::Failed), world.now);
    }
    let found: Vec<_> = std::iter::from_fn(|| world.locator.poll_located()).collect();
    assert_eq!(found, ids.map(|it| (it, Err(NotLocated::NoAddress))));
}

#[test]
fn who_failed_comes_last_and_who_fails_again_rests_longer() {
    let mut world = World::new("a.example A 192.0.2.1\na.example A 192.0.2.2\na.example A 192.0.2.3");
    let order =
        |world: &mut World| world.locate("sip:a.example:5060").1.replace("udp 192.0.2.", "").replace(":5060", "");
    let place = |last: u8| SocketAddr::from(([192, 0, 2, last], 5060));
    let rest = |world: &World, last| {
        let until = world.locator.rests_until(TransportKind::Udp, place(last), world.now);
        until.map(|it| it.duration_since(world.now.instant).as_secs())
    };
    assert_eq!(order(&mut world), "1, 2, 3");
    world.locator.handle_failed(TransportKind::Udp, place(1), None, world.now);
    world.locator.handle_failed(TransportKind::Udp, place(1), None, world.now);
    assert_eq!((order(&mut world).as_str(), rest(&world, 1)), ("2, 3, 1", Some(15)));
    world.locator.handle_failed(TransportKind::Udp, place(2), Some(Duration::from_secs(5)), world.now);
    world.locator.handle_failed(TransportKind::Udp, place(3), Some(Duration::from_secs(99_999)), world.now);
    assert_eq!((order(&mut world).as_str(), rest(&world, 3)), ("2, 1, 3", Some(3_600)));
    world.now = world.now + Duration::from_secs(15);
    assert_eq!(order(&mut world), "1, 2, 3");
    world.locator.handle_failed(TransportKind::Udp, place(1), None, world.now);
    assert_eq!((order(&mut world).as_str(), rest(&world, 1)), ("2, 1, 3", Some(30)));
    world.locator.handle_reached(TransportKind::Udp, place(1));
    assert_eq!((order(&mut world).as_str(), rest(&world, 1)), ("1, 2, 3", None));
}
