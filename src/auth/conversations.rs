//! Client and server, and what strangers try.

use std::net::IpAddr;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

use super::{
    DigestAccount, DigestClient, DigestServer, DigestServerConfig, DigestServerStats, Exchange, GaveUp, Protected,
    Side, Verdict,
};
use crate::identity::{AccountId, Secret};
use crate::limits::{AUTH_FAILURES_MAX, AUTH_FAILURES_S, NONCE_S_MAX};
use crate::sip::{Challenge, Credentials, DigestAlgorithm, HeaderName, Method, Request, Response};
use crate::timer::Now;

const SOURCE: &str = "192.0.2.1";

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(42)
}

fn server_with(change: impl FnOnce(&mut DigestServerConfig)) -> DigestServer {
    let mut config = DigestServerConfig::new("example.com");
    change(&mut config);
    let mut server = DigestServer::new(config, &mut rng(), Now::origin()).expect("a plain realm");
    server.insert_user(AccountId::default(), "alice", &Secret::new("wonderland")).expect("a plain name");
    server
}

fn client(realm: &str, password: &str) -> DigestClient {
    let account = DigestAccount::new(vec![realm.to_owned()], "alice", Secret::new(password)).expect("plain names");
    DigestClient::new(account, rng())
}

fn request(method: Method, uri: &str, fields: &[(HeaderName, String)]) -> Request {
    let uri = uri.parse().expect("a URI");
    let cseq = format!("1 {method}");
    let mut builder = Request::builder(method, &uri)
        .header(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa")
        .header(HeaderName::MaxForwards, 70)
        .header(HeaderName::From, "<sip:alice@example.com>;tag=1")
        .header(HeaderName::To, "<sip:alice@example.com>")
        .header(HeaderName::CallId, "c")
        .header(HeaderName::CSeq, cseq);
    for (name, value) in fields {
        builder = builder.header(name.clone(), value);
    }
    builder.body("text/plain", "hello".into()).build().expect("a request")
}

fn protected(request: &Request) -> Protected<'_> {
    Protected { method: request.method().as_str(), uri: request.uri_str(), body: request.body() }
}

fn challenge(request: &Request, side: Side, fields: &[(HeaderName, String)]) -> Response {
    let mut reply = Response::reply(request, side.status()).to_tag(request, "2");
    for (name, value) in fields {
        reply = reply.header(name.clone(), value);
    }
    reply.build().expect("a response")
}

fn source() -> IpAddr {
    SOURCE.parse().expect("an address")
}

fn judge(server: &mut DigestServer, request: &Request, now: Now) -> Verdict {
    server.check(request, Side::Server, source(), now)
}

/// What a verdict tells the peer.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Granted(granted) => format!("granted {}/{}", granted.who.account(), granted.who.user()),
        Verdict::Challenged(fields) => {
            let all: Vec<_> =
                fields.iter().flat_map(|(_, it)| Challenge::parse_all(it).expect("well-formed")).collect();
            let digests = all.iter().map(|it| it.digest().expect("a digest"));
            let shown = digests.map(|it| {
                let stale = if it.stale { " stale" } else { "" };
                format!("{}{stale}", it.algorithm.expect("known").as_str())
            });
            format!("challenged {}", shown.collect::<Vec<_>>().join(", "))
        }
        Verdict::Blocked => "blocked".to_owned(),
    }
}

/// The credentials that a client shows when this server challenges it.
fn credentials(
    server: &mut DigestServer,
    client: &mut DigestClient,
    bare: &Request,
    side: Side,
    now: Now,
) -> Vec<(HeaderName, String)> {
    let Verdict::Challenged(fields) = server.check(bare, side, source(), now) else {
        panic!("no credentials, no challenge");
    };
    let mut exchange = Exchange::default();
    let answer = client.handle_challenge(&mut exchange, &challenge(bare, side, &fields), protected(bare));
    answer.expect("an answer")
}

#[track_caller]
fn check(change: impl FnOnce(&mut DigestServerConfig), side: Side, expect: &str) {
    let now = Now::origin();
    let (mut server, mut client) = (server_with(change), client("example.com", "wonderland"));
    for method in [Method::Register, Method::Invite, Method::Bye, Method::Refer] {
        let bare = request(method.clone(), "sip:example.com", &[]);
        let fields = credentials(&mut server, &mut client, &bare, side, now);
        let shown = Credentials::parse(&fields[0].1).and_then(|it| it.digest()).expect("digest credentials");
        let counted = shown.counted.expect("counted");
        assert_eq!(format!("{} {}", shown.algorithm.expect("known").as_str(), counted.qop.as_str()), expect);
        assert_eq!((&fields[0].0, counted.count()), (&side.credentials_header(), 1));
        let again = request(method, "sip:example.com", &fields);
        assert_eq!(told(&server.check(&again, side, source(), now)), "granted default/alice");
    }
}

#[test]
fn the_strongest_algorithm_that_both_know_is_used() {
    use DigestAlgorithm::{Md5, Sha256, Sha512_256};
    check(|_| (), Side::Server, "SHA-256 auth");
    check(|_| (), Side::Proxy, "SHA-256 auth");
    check(|it| it.algorithms = vec![Md5], Side::Server, "MD5 auth");
    check(|it| it.algorithms = vec![Md5, Sha512_256, Sha256], Side::Server, "SHA-512-256 auth");
    check(|it| it.auth_int = true, Side::Server, "SHA-256 auth");
}

#[test]
fn sessions_are_kept() {
    use DigestAlgorithm::{Md5, Md5Session, Sha256Session, Sha512_256Session};
    check(|it| it.algorithms = vec![Md5Session], Side::Server, "MD5-sess auth");
    check(|it| it.algorithms = vec![Md5Session, Sha256Session], Side::Proxy, "SHA-256-sess auth");
    check(|it| it.algorithms = vec![Sha512_256Session], Side::Server, "SHA-512-256-sess auth");
    // Of equals the simpler one.
    check(|it| it.algorithms = vec![Md5Session, Md5], Side::Server, "MD5 auth");
    // The second request of a session counts on, with the nonce of the first.
    let now = Now::origin();
    let (mut server, mut client) =
        (server_with(|it| it.algorithms = vec![Md5Session]), client("example.com", "wonderland"));
    let bare = request(Method::Register, "sip:example.com", &[]);
    let first = credentials(&mut server, &mut client, &bare, Side::Server, now);
    let second = client.authorize(&mut Exchange::default(), protected(&bare));
    let cnonce = |fields: &[(HeaderName, String)]| {
        let shown = Credentials::parse(&fields[0].1).and_then(|it| it.digest()).expect("digest credentials");
        shown.counted.map(|it| it.cnonce.to_owned())
    };
    assert_eq!(cnonce(&first), cnonce(&second));
    for fields in [first, second] {
        let again = request(Method::Register, "sip:example.com", &fields);
        assert_eq!(told(&judge(&mut server, &again, now)), "granted default/alice");
    }
    // Without a qop there is no nonce of the client's to begin one with.
    check_client(&[(Side::Server, &["Digest realm=ours,nonce=a,algorithm=MD5-sess"], Err(GaveUp::NoCommonAlgorithm))]);
}

#[test]
fn bodies_can_be_protected() {
    let now = Now::origin();
    let (mut server, mut client) = (server_with(|it| it.auth_int = true), client("example.com", "wonderland"));
    let bare = request(Method::Invite, "sip:example.com", &[]);
    let only = [(
        HeaderName::WwwAuthenticate,
        match judge(&mut server, &bare, now) {
            Verdict::Challenged(fields) => fields[0].1.replace("auth,auth-int", "auth-int"),
            Verdict::Granted(_) | Verdict::Blocked => panic!("no credentials"),
        },
    )];
    let asked = challenge(&bare, Side::Server, &only);
    let fields = client.handle_challenge(&mut Exchange::default(), &asked, protected(&bare)).expect("an answer");
    let signed = request(Method::Invite, "sip:example.com", &fields);
    let changed = signed.edit().body("text/plain", "hullo".into()).build().expect("a request");
    assert_eq!(told(&judge(&mut server, &changed, now)), "challenged SHA-256, MD5");
    let Verdict::Granted(granted) = judge(&mut server, &signed, now) else {
        panic!("right credentials");
    };
    // And the server proves that it knows the password.
    let info = granted.authentication_info(b"");
    let mut accepted = |info: &str| {
        let reply = Response::reply(&signed, crate::sip::StatusCode::OK).to_tag(&signed, "2");
        let reply = reply.header(HeaderName::AuthenticationInfo, info).build().expect("a response");
        client.handle_accepted(&reply, signed.uri_str())
    };
    assert!(accepted(&info) && !accepted(&info.replace("rspauth=\"", "rspauth=\"0")));
    assert!(accepted("nextnonce=\"next\""));
    let fields = client.authorize(&mut Exchange::default(), protected(&bare));
    assert!(fields[0].1.contains("nonce=\"next\"") && fields[0].1.contains("nc=00000001"), "{}", fields[0].1);
}

#[test]
fn the_next_nonce_comes_before_the_one_that_is_used_is_stale() {
    let start = Now::origin();
    let (mut server, mut client) = (server_with(|it| it.informs = true), client("example.com", "wonderland"));
    let bare = request(Method::Register, "sip:example.com", &[]);
    let mut fields = credentials(&mut server, &mut client, &bare, Side::Server, start);
    let half = NONCE_S_MAX / 2;
    for (second, has_next) in [(0, false), (half, false), (half + 1, true), (half + 2, false), (2 * half + 1, false)] {
        let now = start + Duration::from_secs(second);
        let Verdict::Granted(granted) = judge(&mut server, &request(Method::Register, "sip:example.com", &fields), now)
        else {
            panic!("granted at {second}");
        };
        let info = granted.authentication_info(b"");
        assert_eq!((info.contains("rspauth="), info.contains("nextnonce=")), (true, has_next), "{second}");
        let reply = Response::reply(&bare, crate::sip::StatusCode::OK).to_tag(&bare, "2");
        let reply = reply.header(HeaderName::AuthenticationInfo, info).build().expect("a response");
        assert!(client.handle_accepted(&reply, bare.uri_str()));
        fields = client.authorize(&mut Exchange::default(), protected(&bare));
    }
}

#[test]
fn only_the_right_credentials_are_right() {
    let now = Now::origin();
    let mut server = server_with(|_| ());
    let bare = request(Method::Register, "sip:example.com", &[]);
    let fields = credentials(&mut server, &mut client("example.com", "wonderland"), &bare, Side::Server, now);
    let (name, right) = &fields[0];
    let mut shown = |method: Method, uri: &str, value: String| {
        told(&judge(&mut server, &request(method, uri, &[(name.clone(), value)]), now))
    };
    let nonce = Credentials::parse(right).and_then(|it| it.digest()).expect("a digest").nonce.to_owned();
    let forged = nonce.replace(|it: char| it.is_ascii_digit(), "0");
    let refused = "challenged SHA-256, MD5";
    for wrong in [
        right.replace("alice", "bob"),
        right.replace("uri=\"sip:example.com\"", "uri=\"sip:example.org\""),
        right.replace("nc=00000001", "nc=00000002"),
        right.replace("qop=auth, ", ""),
        right.replace("nc=00000001", "nc=1"),
        right.replace("algorithm=SHA-256", "algorithm=MD5"),
        right.replace("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        right.replace(&nonce, &forged),
        right.replace("response=\"", "response=\"00"),
        right.replace("example.com", "example.org"),
        "Digest".to_owned(),
        "Digest \"".to_owned(),
        "Basic YWxpY2U6d29uZGVybGFuZA==".to_owned(),
    ] {
        assert_eq!(shown(Method::Register, "sip:example.com", wrong.clone()), refused, "{wrong}");
    }
    assert_eq!(shown(Method::Register, "sip:example.org", right.clone()), refused);
    assert_eq!(shown(Method::Invite, "sip:example.com", right.clone()), refused);
    // The same by RFC 3261 §19.1.4.
    assert_eq!(shown(Method::Register, "sip:EXAMPLE.com", right.clone()), "granted default/alice");
    assert_eq!(shown(Method::Register, "sip:example.com", right.clone()), "challenged SHA-256 stale, MD5 stale");
    assert_eq!((server.stats().granted, server.stats().replayed), (1, 1));
}

#[test]
fn unknown_users_get_the_answers_of_wrong_passwords() {
    let now = Now::origin();
    let mut server = server_with(|_| ());
    let bare = request(Method::Register, "sip:example.com", &[]);
    let mut answers = vec![];
    for user in ["alice", "nobody", "", "*"] {
        let account = DigestAccount::new(vec!["example.com".to_owned()], user, Secret::new("guess")).expect("plain");
        let mut client = DigestClient::new(account, rng());
        let fields = credentials(&mut server, &mut client, &bare, Side::Server, now);
        answers.push(told(&judge(&mut server, &request(Method::Register, "sip:example.com", &fields), now)));
    }
    assert!(answers.iter().all(|it| it == "challenged SHA-256, MD5"), "{answers:?}");
    assert_eq!(server.stats().wrong, 4);
}

#[test]
fn old_nonces_are_stale_and_answered_once_more() {
    let mut now = Now::origin();
    let (mut server, mut client) = (server_with(|_| ()), client("example.com", "wonderland"));
    let bare = request(Method::Register, "sip:example.com", &[]);
    let fields = credentials(&mut server, &mut client, &bare, Side::Server, now);
    assert!(matches!(
        judge(&mut server, &request(Method::Register, "sip:example.com", &fields), now),
        Verdict::Granted(_)
    ));
    now = now + Duration::from_secs(NONCE_S_MAX + 1);
    let mut exchange = Exchange::default();
    let fields = client.authorize(&mut exchange, protected(&bare));
    assert!(fields[0].1.contains("nc=00000002"));
    let Verdict::Challenged(asked) = judge(&mut server, &request(Method::Register, "sip:example.com", &fields), now)
    else {
        panic!("too old");
    };
    assert!(asked[0].1.contains("stale=true"));
    let asked = challenge(&bare, Side::Server, &asked);
    let fields = client.handle_challenge(&mut exchange, &asked, protected(&bare)).expect("an answer");
    assert_eq!(
        told(&judge(&mut server, &request(Method::Register, "sip:example.com", &fields), now)),
        "granted default/alice"
    );
    assert_eq!(server.counts(), (1, 1));
}

#[test]
fn who_guesses_is_blocked_and_others_are_not() {
    let now = Now::origin();
    let mut server = server_with(|_| ());
    let garbage = request(Method::Register, "sip:example.com", &[(HeaderName::Authorization, "Digest".to_owned())]);
    for _ in 0..AUTH_FAILURES_MAX {
        assert_eq!(told(&judge(&mut server, &garbage, now)), "challenged SHA-256, MD5");
    }
    let bare = request(Method::Register, "sip:example.com", &[]);
    assert_eq!(told(&judge(&mut server, &bare, now)), "blocked");
    let other = "192.0.2.2".parse().expect("an address");
    assert_eq!(told(&server.check(&bare, Side::Server, other, now)), "challenged SHA-256, MD5");
    let later = now + Duration::from_secs(AUTH_FAILURES_S);
    assert_eq!(told(&judge(&mut server, &bare, later)), "challenged SHA-256, MD5");
    let wrong = u64::from(AUTH_FAILURES_MAX);
    let expect = DigestServerStats { wrong, blocked: 1, without_credentials: 2, ..DigestServerStats::default() };
    assert_eq!(*server.stats(), expect);
}

/// What a client does with these challenges, one response after the other: the statuses and their fields.
#[track_caller]
fn check_client(steps: &[(Side, &[&str], Result<&str, GaveUp>)]) {
    let mut client = client("ours", "secret");
    let bare = request(Method::Invite, "sip:example.com", &[]);
    let mut exchange = Exchange::default();
    for (side, challenges, expect) in steps {
        let fields: Vec<_> = challenges.iter().map(|it| (side.challenge_header(), (*it).to_owned())).collect();
        let result = client.handle_challenge(&mut exchange, &challenge(&bare, *side, &fields), protected(&bare));
        let shown = result.map(|it| {
            let show = |(name, value): &(HeaderName, String)| {
                let digest = Credentials::parse(value).and_then(|it| it.digest()).expect("a digest");
                assert_eq!((digest.realm, digest.username), ("ours", "alice"));
                let nc = digest.counted.map_or("-", |it| it.nc.trim_start_matches('0'));
                format!("{name} {} {} {nc}", digest.algorithm.expect("known").as_str(), digest.nonce)
            };
            it.iter().map(show).collect::<Vec<_>>().join(", ")
        });
        assert_eq!(shown.as_deref().map_err(|it| *it), *expect, "{challenges:?}");
    }
    assert!(!format!("{client:?}").contains("secret\""));
}

#[test]
fn passwords_go_to_their_realm_only() {
    let ours = "Digest realm=\"ours\", nonce=\"a\", qop=\"auth\"";
    let foreign = "Digest realm=\"theirs\", nonce=\"a\", qop=\"auth\"";
    check_client(&[(Side::Server, &[foreign], Err(GaveUp::ForeignRealm))]);
    check_client(&[(Side::Server, &[&foreign.replace("theirs", "OURS")], Err(GaveUp::ForeignRealm))]);
    check_client(&[(Side::Server, &[foreign, ours], Ok("Authorization MD5 a 1"))]);
    check_client(&[(Side::Server, &[], Err(GaveUp::NoChallenge))]);
    check_client(&[(Side::Server, &["Basic realm=\"ours\"", "Digest realm=\"ours\""], Err(GaveUp::NoChallenge))]);
    let unknown = "Digest realm=\"ours\", nonce=\"a\", algorithm=SHA3";
    check_client(&[(Side::Server, &[unknown], Err(GaveUp::NoCommonAlgorithm))]);
    check_client(&[(Side::Server, &["Digest realm=\"ours\", nonce=\"a\", qop=\"x\""], Err(GaveUp::NoCommonAlgorithm))]);
    check_client(&[(Side::Server, &[unknown, ours], Ok("Authorization MD5 a 1"))]);
}

#[test]
fn many_challenges_are_answered_once() {
    let (a, b, c) = (
        "Digest realm=\"ours\", nonce=\"a\", qop=\"auth\"",
        "Digest realm=\"ours\",nonce=b",
        "Digest realm=ours,nonce=c",
    );
    let stale = |it: &str| format!("{it}, stale=true");
    check_client(&[
        (Side::Proxy, &[a], Ok("Proxy-Authorization MD5 a 1")),
        (Side::Server, &[b], Ok("Proxy-Authorization MD5 a 2, Authorization MD5 b -")),
        (Side::Server, &[c], Err(GaveUp::Rejected)),
    ]);
    check_client(&[
        (Side::Server, &[a], Ok("Authorization MD5 a 1")),
        (Side::Server, &[&stale(b)], Ok("Authorization MD5 b -")),
        (Side::Server, &[&stale(c)], Err(GaveUp::Rejected)),
    ]);
    check_client(&[
        (Side::Server, &[a], Ok("Authorization MD5 a 1")),
        (Side::Server, &[&stale(a)], Err(GaveUp::Rejected)),
    ]);
    let list = format!("Digest realm=ours,nonce=z,algorithm=MD5, Digest realm=ours,nonce=y,algorithm=SHA-256, {b}");
    check_client(&[(Side::Server, &[&list], Ok("Authorization SHA-256 y -"))]);
}

#[test]
fn weak_algorithms_can_be_disallowed() {
    let account = DigestAccount::new(vec!["ours".to_owned()], "alice", Secret::new("secret")).expect("plain");
    let mut client = DigestClient::new(account.allowing(vec![DigestAlgorithm::Sha256]), rng());
    let bare = request(Method::Invite, "sip:example.com", &[]);
    let fields = [(HeaderName::WwwAuthenticate, "Digest realm=\"ours\", nonce=\"a\"".to_owned())];
    let asked = challenge(&bare, Side::Server, &fields);
    let answer = client.handle_challenge(&mut Exchange::default(), &asked, protected(&bare));
    assert_eq!(answer, Err(GaveUp::NoCommonAlgorithm));
    assert!(DigestAccount::new(vec!["a\"b".to_owned()], "x", Secret::new("")).is_err());
}
