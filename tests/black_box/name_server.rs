//! A name server of a few lines (RFC 1035): it answers from a zone over UDP, and ends with the test.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    _alive: Arc<()>,
}

/// What it knows of a name.
#[derive(Clone, Copy)]
pub(crate) enum Record {
    A(Ipv4Addr),
    /// Priority, weight, port and target.
    Srv(u16, u16, u16, &'static str),
    /// Order, preference, service and replacement.
    Naptr(u16, u16, &'static str, &'static str),
}

impl NameServer {
    pub(crate) fn start(zone: &[(&'static str, Record)]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let alive = Arc::new(());
        let (zone, watched) = (zone.to_vec(), Arc::downgrade(&alive));
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        std::thread::spawn(move || {
            let mut query = [0; 1_500];
            while watched.strong_count() > 0 {
                if let Ok((length, from)) = socket.recv_from(&mut query) {
                    socket.send_to(&answer(&zone, &query[..length]), from).unwrap();
                }
            }
        });
        Self { address, _alive: alive }
    }
}

/// The answer to a query with one question, which begins after twelve bytes.
fn answer(zone: &[(&'static str, Record)], query: &[u8]) -> Vec<u8> {
    let mut labels = vec![];
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_ascii_lowercase());
        at += 1 + length;
    }
    let question = &query[12..at + 5];
    let wanted = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let name = labels.join(".");
    let records: Vec<_> = zone.iter().filter(|it| it.0 == name).map(|it| rdata(it.1)).collect();
    let found: Vec<_> = records.iter().filter(|it| it.0 == wanted).collect();
    let code = if records.is_empty() { 3 } else { 0 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend(question);
    for (kind, data) in found {
        // The name of the question, class IN, a minute.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}

fn rdata(record: Record) -> (u16, Vec<u8>) {
    let numbers = |all: &[u16]| all.iter().flat_map(|it| it.to_be_bytes()).collect::<Vec<_>>();
    match record {
        Record::A(ip) => (1, ip.octets().to_vec()),
        Record::Srv(priority, weight, port, target) => {
            (33, [numbers(&[priority, weight, port]), name(target)].concat())
        }
        Record::Naptr(order, preference, service, target) => {
            (35, [numbers(&[order, preference]), text("s"), text(service), text(""), name(target)].concat())
        }
    }
}

fn text(it: &str) -> Vec<u8> {
    [&[u8::try_from(it.len()).unwrap()], it.as_bytes()].concat()
}

fn name(it: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = it.split('.').flat_map(text).collect();
    bytes.push(0);
    bytes
}
