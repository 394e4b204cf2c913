//! Nanoseconds to protect and to unprotect a packet of 20 ms of G.711, beside `rtc-srtp` with the same cryptography.
//!
//! `cargo bench --bench srtp`. Each packet has a number of its own, as the same one is not taken twice; what it takes to
//! copy it into place is measured alone, and is part of all figures.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
use std::time::Instant;

use divan::Bencher;
use hookswitch::rtp::{Header, Packet};
use hookswitch::srtp::{Inbound, MasterKey, Outbound, Suite};
use rtc_srtp::context::Context;
use rtc_srtp::crypto::providers::AwsLcRsCrypto;
use rtc_srtp::protection_profile::ProtectionProfile;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

const SUITES: [Suite; 3] = [Suite::AesCm128HmacSha1Tag80, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm];

fn main() {
    divan::main();
}

#[divan::bench]
fn copying(bencher: Bencher<'_, '_>) {
    let mut packets = Packets::new();
    bencher.bench_local(|| packets.next().1);
}

#[divan::bench(args = SUITES)]
fn protect(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut outbound = Outbound::new(key(suite));
    let mut packets = Packets::new();
    bencher.bench_local(|| {
        let (buffer, len) = packets.next();
        outbound.protect_rtp(buffer, len)
    });
}

#[divan::bench(args = SUITES)]
fn unprotect(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut outbound, mut inbound) = (Outbound::new(key(suite)), Inbound::new(key(suite), &[]));
    let mut packets = Packets::new();
    let now = Instant::now();
    bencher
        .with_inputs(|| {
            let (buffer, len) = packets.next();
            let len = outbound.protect_rtp(buffer, len).expect("a packet");
            (*buffer, len)
        })
        .bench_local_refs(|(buffer, len)| inbound.unprotect_rtp(buffer.get_mut(..*len)?, now).ok());
}

#[divan::bench(args = SUITES)]
fn protect_rtc_srtp(bencher: Bencher<'_, '_>, suite: Suite) {
    let mut context = theirs(suite);
    let mut packets = Packets::new();
    bencher.bench_local(|| {
        let (buffer, len) = packets.next();
        context.encrypt_rtp(buffer.get(..len).expect("a packet"))
    });
}

#[divan::bench(args = SUITES)]
fn unprotect_rtc_srtp(bencher: Bencher<'_, '_>, suite: Suite) {
    let (mut outbound, mut context) = (Outbound::new(key(suite)), theirs(suite));
    let mut packets = Packets::new();
    bencher
        .with_inputs(|| {
            let (buffer, len) = packets.next();
            let len = outbound.protect_rtp(buffer, len).expect("a packet");
            (*buffer, len)
        })
        .bench_local_refs(|(buffer, len)| context.decrypt_rtp(buffer.get(..*len).expect("a packet")));
}

/// One stream, packet after packet.
struct Packets {
    buffer: [u8; 256],
    sequence: u16,
}

impl Packets {
    fn new() -> Self {
        Self { buffer: [0; 256], sequence: 0 }
    }

    fn next(&mut self) -> (&mut [u8; 256], usize) {
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header { payload_type: 0, marker: false, sequence: self.sequence, timestamp: 0, ssrc: 1 };
        let len = Packet { header, payload: &[0x55; 160] }.write(&mut self.buffer).expect("it fits");
        (&mut self.buffer, len)
    }
}

fn key_bytes(suite: Suite) -> Vec<u8> {
    (0..).take(suite.key_len() + suite.salt_len()).collect()
}

fn key(suite: Suite) -> MasterKey {
    MasterKey::new(suite, &key_bytes(suite)).expect("the lengths of the suite")
}

fn theirs(suite: Suite) -> Context {
    let profile = match suite {
        Suite::AesCm128HmacSha1Tag80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1Tag32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let bytes = key_bytes(suite);
    let (key, salt) = bytes.split_at(suite.key_len());
    Context::new(key, salt, profile, None, None, &AwsLcRsCrypto).expect("a key")
}
