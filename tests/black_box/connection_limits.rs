//! What one source may do: connections, how fast they are opened, messages. Loopback is exempt unless the configuration says
//! otherwise (here it exempts an address that nobody has), and has as many addresses as sources are needed here.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone, Wire};

#[test]
fn ten_thousand_connections_of_one_source_keep_nobody_else_out() {
    let server = Server::start(&[("SIP__LIMITS__EXEMPT", "192.0.2.1"), ("SIP__LIMITS__CONNECTIONS_PER_S", "0")]);
    let source = Ipv4Addr::new(127, 0, 0, 2);
    // Those that are refused are closed at once, and let go of here before the next ones are opened: the limit of
    // descriptors is less than ten thousand on many machines.
    let mut held = vec![];
    let mut opened = 0;
    while opened < 10_000 {
        let batch: Vec<_> = (0..500).filter_map(|_| connect(server.sip, source)).collect();
        opened += 500;
        held.extend(batch.into_iter().filter(is_open));
        assert!(held.len() < 1_000, "{} are held", held.len());
    }
    assert_eq!(held.iter().filter(|it| is_open(it)).count(), 256);
    assert_eq!(server.metrics().value("hookswitch_sip_connections"), Some(256.0));
    let refused = "hookswitch_sip_drops_total{reason=\"too_many_connections_of_source\"}";
    assert!(server.metrics().value(refused).unwrap() > 9_000.0, "{}", server.metrics().shown());
    assert_eq!(Phone::tcp(&server).ask("OPTIONS", &[]).status(), Some(200), "another source is served");
    Phone::assert_served(&server);
}

#[test]
fn who_opens_connections_too_fast_is_slowed_down() {
    let server = Server::start(&[("SIP__LIMITS__EXEMPT", "192.0.2.1"), ("SIP__LIMITS__CONNECTIONS_PER_S", "2")]);
    let batch: Vec<_> = (0..100).filter_map(|_| connect(server.sip, Ipv4Addr::new(127, 0, 0, 2))).collect();
    let held = batch.iter().filter(|it| is_open(it)).count();
    assert!((10..40).contains(&held), "{held} are held");
    let refused = "hookswitch_sip_drops_total{reason=\"source_connects_too_fast\"}";
    assert!(server.metrics().value(refused).unwrap() >= 60.0, "{}", server.metrics().shown());
    assert_eq!(Phone::tcp(&server).ask("OPTIONS", &[]).status(), Some(200), "another source is served");
}

#[test]
fn a_stranger_is_heard_less_than_who_may_call() {
    let server = Server::start(&[("SIP__LIMITS__EXEMPT", "192.0.2.1"), ("SIP__LIMITS__UNKNOWN_REQUESTS_PER_S", "1")]);
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    let mut stranger = Phone::new(Wire::Udp { socket, server: server.sip }, server.sip);
    assert!(answers(&mut stranger, 60) < 20, "five seconds' worth, and what time brings");
    let dropped = "hookswitch_sip_drops_total{reason=\"unknown_source_too_fast\"}";
    assert!(server.metrics().value(dropped).unwrap() > 30.0, "{}", server.metrics().shown());

    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).unwrap();
    let mut caller = Phone::new(Wire::Udp { socket, server: server.sip }, server.sip);
    let answer = caller.invite("100");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert_eq!(answers(&mut caller, 60), 60, "{}", server.metrics().shown());
    caller.hang_up();
}

/// How many of so many OPTIONS at once are answered.
fn answers(phone: &mut Phone, count: u32) -> usize {
    for _ in 0..count {
        phone.cseq += 1;
        let request = phone.request("OPTIONS", &[], "");
        phone.wire.send(request.as_bytes());
    }
    (0..count).map_while(|_| phone.wire.receive(Duration::from_secs(2))).filter(|it| it.status() == Some(200)).count()
}

/// A connection from `source`, unless the server closes it while it is being opened.
fn connect(server: SocketAddr, source: Ipv4Addr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).unwrap();
    socket.connect_timeout(&server.into(), ANSWER_MAX).ok()?;
    Some(socket.into())
}

/// Whether the server has not closed it a moment after it was opened.
fn is_open(stream: &TcpStream) -> bool {
    let mut stream = stream;
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let read = stream.read(&mut [0]);
    read.is_err_and(|error| matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}
