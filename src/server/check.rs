//! `hookswitch check`: will this set-up work? Every line says `ok`, or what is wrong and what to do about it.
#![expect(clippy::print_stdout, reason = "a command of the terminal: what it prints is its result")]

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use crate::agent::provider::secret::Secret;
use crate::call::{CallsConfig, TrunkConfig, TrunkState};
use crate::config::{self, Config};
use crate::locate::{Hop, NotLocated, Reach};
use crate::registrar::RegistrationState;
use crate::server::call_log::CallLog;
use crate::server::endpoint::{Endpoint, EndpointConfig};
use crate::server::phone::line::listen_towards;
use crate::server::resolver::{self, Resolver};
use crate::server::speech::{self, SpeechConfig};
use crate::server::{clock, interfaces, ports, system, task};
use crate::transport::TransportKind;

/// Checks the set-up that `file` describes, or the built-in one.
///
/// # Errors
/// If anything would not work; it has been printed.
pub async fn run(file: Option<&Path>) -> anyhow::Result<()> {
    let environment = config::environment();
    let config = match file {
        Some(file) => Config::load(file, &environment)?,
        None => Config::built_in(&environment)?,
    };
    let mut findings = Findings { failed: 0 };
    findings.good("configuration", file.map_or_else(|| "built in".to_owned(), |it| it.display().to_string()));
    check_ports(&config, &mut findings);
    for (name, trunk) in &config.trunks {
        check_trunk(&config, system::trunk_config(&config.media, (name, trunk)), &mut findings).await;
    }
    check_speech(&config, &mut findings);
    anyhow::ensure!(findings.failed == 0, "{} of these would not work", findings.failed);
    Ok(())
}

/// What was found so far.
struct Findings {
    failed: usize,
}

impl Findings {
    #[expect(clippy::unused_self, reason = "as the other one")]
    fn good(&self, what: &str, how: impl Display) {
        println!("ok    {what}: {how}");
    }

    fn bad(&mut self, what: &str, why: impl Display) {
        self.failed += 1;
        println!("FAIL  {what}: {why}");
    }

    fn judge<T>(&mut self, what: &str, how: impl Display, result: Result<T, impl Display>) {
        match result {
            Ok(_) => self.good(what, how),
            Err(why) => self.bad(what, why),
        }
    }
}

/// Why a port cannot be had, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others speak for themselves")]
fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is in use; end the other program, or choose another port".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need more rights".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether everything that is listened on can be.
fn check_ports(config: &Config, findings: &mut Findings) {
    for listener in &config.sip.listeners {
        let bind = |address: SocketAddr| match listener.transport.to_string().as_str() {
            "udp" => UdpSocket::bind(address).map(drop),
            _ => TcpListener::bind(address).map(drop),
        };
        let all = interfaces::expand(listener.address).and_then(|it| it.into_iter().try_for_each(bind));
        match all {
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable && !listener.required => (),
            result => findings.judge("SIP", listener, result.map_err(|it| format!("{listener}: {}", explain(&it)))),
        }
    }
    let listen = config.http.listen;
    let http = TcpListener::bind(listen).map_err(|it| format!("{listen}: {}", explain(&it)));
    findings.judge("HTTP", listen, http);
    let range = config.rtp.ports;
    let bind = |port| UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).map(drop);
    let free = (range.first..=range.last).take(RTP_PORTS_TRIED).filter(|it| bind(*it).is_ok()).count();
    if free == 0 {
        findings.bad("RTP", format!("the first ports of {range} are in use; choose others with [rtp] ports"));
    } else if let Some(overlap) = ports::ephemeral_overlap(&(range.first..=range.last)) {
        let (first, last) = (overlap.start(), overlap.end());
        findings
            .bad("RTP", format!("the kernel hands {first}-{last} to other programs; choose others with [rtp] ports"));
    } else {
        findings.good("RTP", format!("UDP {range}, {} calls", range.pairs()));
    }
}

/// Whether a trunk is found, reached, answers and takes our registration.
async fn check_trunk(config: &Config, trunk: TrunkConfig, findings: &mut Findings) {
    let what = format!("trunk {}", trunk.name.0);
    if trunk.gateways.is_empty() {
        findings.good(&what, "it registers with us".to_owned());
        return;
    }
    let kinds = TransportKind::ALL
        .into_iter()
        .filter(|kind| config.sip.listeners.iter().any(|it| it.transport.to_string() == kind.scheme()));
    let reach = Reach { kinds: kinds.collect(), v4: true, v6: true };
    let resolver = Resolver::new(&config.dns.servers);
    let mut hops: Vec<Hop> = vec![];
    for target in trunk.targets() {
        let host = target.host();
        match resolver::locate(&resolver, target, reach.clone()).await {
            Ok(found) => hops.extend(found),
            Err(error @ NotLocated::NoTransport) => {
                findings.bad(&what, format!("{host}: {error}; add one to [sip] listen, or write another transport"));
            }
            Err(error) => findings.bad(&what, format!("{host}: {error}; see its uri, and [dns] servers")),
        }
    }
    for hop in &hops {
        let from = hop.local_ip.map_or_else(|| "no way there".to_owned(), |it| format!("from {it}"));
        findings.good(&what, format!("{}://{} {from}", hop.kind.scheme(), hop.remote));
        if let Some(local) = hop.local_ip.filter(|it| is_private(*it) && !is_private(hop.remote.ip())) {
            let advertised = config.sip.advertise.of(SocketAddr::new(local, 5060)).ip();
            if advertised == local {
                let advice = "set [sip] advertise to the public one";
                findings.bad(&what, format!("{local} is a private address that it cannot reach; {advice}"));
            }
        }
    }
    if hops.is_empty() {
        return;
    }
    let registers = trunk.register_s.is_some();
    match try_trunk(config, trunk, &hops).await {
        Ok(state) => tell_trunk(&what, &state, registers, findings),
        Err(error) => findings.bad(&what, format!("{error:#}")),
    }
}

/// Registers with a trunk from ports of our own and asks its servers whether they live, then leaves it.
async fn try_trunk(config: &Config, trunk: TrunkConfig, hops: &[Hop]) -> anyhow::Result<TrunkState> {
    let trunk = TrunkConfig { ping_every: Some(TRY_AGAIN), ..trunk };
    let endpoint = EndpointConfig {
        listen: listen_towards(hops),
        media_threads: 1,
        calls: CallsConfig { trunks: vec![trunk], ..CallsConfig::new(vec![]) },
        ..system::endpoint_config(config, None, None)
    };
    let Endpoint { handle, .. } = Endpoint::start(endpoint, CallLog::new(None, None))?;
    let give_up = clock::now().instant + PATIENCE;
    let state = loop {
        let state = handle.status().trunks.into_iter().next();
        let is_known = |it: &TrunkState| {
            let is_pending = |it: RegistrationState| it == RegistrationState::Pending;
            it.gateways.iter().all(|it| it.lives.is_some())
                && !it.gateways.is_empty()
                && (!it.registers || it.registration.is_some_and(|it| !is_pending(it.state)))
        };
        match state {
            Some(state) if is_known(&state) || clock::now().instant >= give_up => break state,
            None if clock::now().instant >= give_up => anyhow::bail!("it cannot be tried"),
            Some(_) | None => task::deadline(clock::now().instant + LOOK_AGAIN).await,
        }
    };
    handle.drain().await;
    let until = clock::now().instant + FAREWELL;
    while handle.status().counts.farewells > 0 && clock::now().instant < until {
        task::deadline(clock::now().instant + LOOK_AGAIN).await;
    }
    handle.stop().await;
    Ok(state)
}

fn tell_trunk(what: &str, state: &TrunkState, registers: bool, findings: &mut Findings) {
    for gateway in &state.gateways {
        let name = format!("{}://{}", gateway.kind.scheme(), gateway.remote);
        if gateway.lives == Some(true) {
            findings.good(what, format!("{name} answers OPTIONS"));
        } else {
            findings.bad(what, format!("{name} does not answer OPTIONS; see address, transport, and the firewall"));
        }
    }
    if !registers {
        return;
    }
    let Some(registration) = state.registration else {
        findings.bad(what, "it was not asked to register us");
        return;
    };
    match registration.state {
        RegistrationState::Registered => findings.good(what, "registered"),
        RegistrationState::AuthFailed => {
            let why = registration.gave_up.map_or_else(|| "refused".to_owned(), |it| it.to_string());
            findings.bad(what, format!("not registered: {why}; see username, password and realm"));
        }
        RegistrationState::Failed(failure) => findings.bad(what, format!("not registered: {failure}")),
        RegistrationState::Pending | RegistrationState::NotRegistered => {
            findings.bad(what, "not registered: no answer in time");
        }
    }
}

/// Whether what agents need to speak and to hear is there.
fn check_speech(config: &Config, findings: &mut Findings) {
    if config.speech.enabled {
        let found = speech::probe(&SpeechConfig::new(Secret::new("")).model);
        findings.judge("speech", "the libraries are there", found);
    }
}

/// Addresses that the Internet does not lead to (RFC 1918, RFC 6598, RFC 4193, loopback).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(it) => {
            let [first, second, ..] = it.octets();
            it.is_private() || it.is_loopback() || it.is_link_local() || (first == 100 && (64..128).contains(&second))
        }
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local(),
    }
}

/// RTP ports that are tried: others may be in calls.
const RTP_PORTS_TRIED: usize = 20;
/// How long a trunk may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Nothing is asked twice.
const TRY_AGAIN: Duration = Duration::from_secs(3_600);
/// For the answer to our farewell.
const FAREWELL: Duration = Duration::from_secs(3);
