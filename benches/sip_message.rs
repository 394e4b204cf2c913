//! What reading and writing one INVITE of 1.5 kB costs, beside rsip. `cargo bench --bench sip_message` prints the ratio
//! first and then the distribution of each. The pass line for read, typed and written is 2 us.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::Bencher;
use hookswitch::sip::{Message, Response, StatusCode, StreamFramer};
use rsip::prelude::{HeadersExt, ToTypedHeader};

fn main() {
    if std::env::args().skip(1).all(|it| it.starts_with('-')) {
        print_ratios();
    }
    divan::main();
}

fn print_ratios() {
    println!("{} bytes; best of 300 batches", invite().len());
    let rows = [
        ("frame", ours_frame as fn(), rsip_frame as fn()),
        ("frame + typed", ours_typed, rsip_typed),
        ("frame + typed + write", ours_all, rsip_all),
    ];
    for (name, ours, theirs) in rows {
        let (ours, theirs) = (best(ours), best(theirs));
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("{name:22} ours {ours:>9.2?}   rsip {theirs:>9.2?}   {ratio:.1} times faster");
    }
}

#[divan::bench(name = "1 frame")]
fn frame(bencher: Bencher<'_, '_>) {
    bencher.bench(ours_frame);
}

#[divan::bench(name = "2 frame + typed")]
fn typed(bencher: Bencher<'_, '_>) {
    bencher.bench(ours_typed);
}

#[divan::bench(name = "3 frame + typed + write")]
fn all(bencher: Bencher<'_, '_>) {
    bencher.bench(ours_all);
}

#[divan::bench(name = "4 write with a stamped Via")]
fn write_stamped(bencher: Bencher<'_, '_>) {
    let Ok(Message::Request(request)) = Message::parse(invite()) else {
        return;
    };
    let source = ([192, 0, 2, 77], 5060).into();
    bencher.bench(|| request.edit().stamp_via(source).build());
}

#[divan::bench(name = "5 write a 180")]
fn write_reply(bencher: Bencher<'_, '_>) {
    let Ok(Message::Request(request)) = Message::parse(invite()) else {
        return;
    };
    bencher.bench(|| Response::reply(&request, StatusCode::RINGING).to_tag(&request, "8f3a").build());
}

#[divan::bench(name = "6 stream of 8")]
fn stream(bencher: Bencher<'_, '_>) {
    let eight = invite().repeat(8);
    bencher.bench(|| {
        let mut framer = StreamFramer::new();
        framer.push(&eight);
        framer.filter(Result::is_ok).count()
    });
}

#[divan::bench(name = "7 rsip: frame")]
fn rsip_frame_bench(bencher: Bencher<'_, '_>) {
    bencher.bench(rsip_frame);
}

#[divan::bench(name = "8 rsip: frame + typed")]
fn rsip_typed_bench(bencher: Bencher<'_, '_>) {
    bencher.bench(rsip_typed);
}

#[divan::bench(name = "9 rsip: frame + typed + write")]
fn rsip_all_bench(bencher: Bencher<'_, '_>) {
    bencher.bench(rsip_all);
}

fn ours_frame() {
    black_box(Message::parse(black_box(invite()))).expect("valid");
}

fn ours_typed() {
    let message = Message::parse(black_box(invite())).expect("valid");
    read_typed(&message);
}

fn ours_all() {
    let message = Message::parse(black_box(invite())).expect("valid");
    read_typed(&message);
    // As rsip does: into a buffer of its own.
    black_box(Bytes::copy_from_slice(&message.to_bytes()));
}

fn read_typed(message: &Message) {
    let headers = message.headers();
    black_box(headers.vias()).expect("valid");
    black_box((headers.from().uri(), headers.from().tag(), headers.to().uri()));
    black_box(headers.contacts()).expect("valid");
    black_box(headers.routes()).expect("valid");
    black_box((headers.cseq(), headers.call_id()));
}

fn rsip_frame() {
    black_box(rsip::Request::try_from(black_box(invite()))).expect("valid");
}

fn rsip_typed() {
    let request = rsip::Request::try_from(black_box(invite())).expect("valid");
    read_typed_rsip(&request);
}

fn rsip_all() {
    let request = rsip::Request::try_from(black_box(invite())).expect("valid");
    read_typed_rsip(&request);
    black_box(Bytes::from(request));
}

fn read_typed_rsip(request: &rsip::Request) {
    use rsip::message::HasHeaders;
    for header in request.headers().iter() {
        if let rsip::Header::Via(it) = header {
            black_box(it.clone().into_typed()).expect("valid");
        } else if let rsip::Header::Route(it) = header {
            black_box(it.clone().into_typed()).expect("valid");
        }
    }
    black_box(request.from_header().and_then(ToTypedHeader::typed)).expect("valid");
    black_box(request.to_header().and_then(ToTypedHeader::typed)).expect("valid");
    black_box(request.contact_header().and_then(ToTypedHeader::typed)).expect("valid");
    black_box(request.cseq_header().and_then(ToTypedHeader::typed)).expect("valid");
    black_box(request.call_id_header()).expect("there");
}

/// The least time of one run: what the machine does besides only adds.
fn best(run: fn()) -> Duration {
    const RUNS: u32 = 500;
    (0..300)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| run());
            start.elapsed() / RUNS
        })
        .min()
        .unwrap_or_default()
}

/// Shares one buffer, as a datagram from a receive buffer does.
fn invite() -> Bytes {
    static SHARED: LazyLock<Bytes> = LazyLock::new(|| Bytes::copy_from_slice(INVITE.as_bytes()));
    SHARED.clone()
}

const INVITE: &str = "INVITE sip:+4930123456@pbx.example.com;user=phone SIP/2.0\r\n\
Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bK0b7d.1f5c4c4f3a2b1c0d9e8f7a6b5c4d3e2f.0;received=198.51.100.10\r\n\
Via: SIP/2.0/UDP 10.20.30.40:5080;rport=5080;branch=z9hG4bK-524287-1---3c0e6f1d2b7a9e45\r\n\
Max-Forwards: 68\r\n\
Record-Route: <sip:198.51.100.10;lr;ftag=as58f4201b;did=e2a.7c21>\r\n\
Route: <sip:edge1.example.com;lr>\r\n\
From: \"Alice Example\" <sip:alice@atlanta.example.com>;tag=as58f4201b\r\n\
To: <sip:+4930123456@pbx.example.com;user=phone>\r\n\
Contact: <sip:alice@10.20.30.40:5080;transport=udp>\r\n\
Call-ID: 3848276298220188511@atlanta.example.com\r\n\
CSeq: 102 INVITE\r\n\
User-Agent: Example PBX 18.20.1\r\n\
Date: Thu, 19 Nov 2026 10:11:12 GMT\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE, UPDATE, PRACK\r\n\
Supported: replaces, timer, 100rel, path\r\n\
Session-Expires: 1800;refresher=uac\r\n\
Min-SE: 90\r\n\
P-Asserted-Identity: <sip:alice@atlanta.example.com>\r\n\
X-Account: 8812\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 426\r\n\
\r\n\
v=0\r\n\
o=root 1821349623 1821349623 IN IP4 10.20.30.40\r\n\
s=Example PBX 18.20.1\r\n\
c=IN IP4 10.20.30.40\r\n\
b=CT:384\r\n\
t=0 0\r\n\
m=audio 17722 RTP/AVP 8 0 9 111 18 101\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:9 G722/8000\r\n\
a=rtpmap:111 opus/48000/2\r\n\
a=fmtp:111 useinbandfec=1\r\n\
a=rtpmap:18 G729/8000\r\n\
a=fmtp:18 annexb=no\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=ptime:20\r\n\
a=maxptime:150\r\n\
a=sendrecv\r\n\
a=rtcp:17723\r\n";
