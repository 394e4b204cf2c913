//! Vectors of RFC 3711 appendix B and RFC 7714 §16, §17; comparison with another implementation; hostile packets.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rtc_srtp::context::Context;
use rtc_srtp::crypto::providers::AwsLcRsCrypto;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::transform::{SessionKeys, Transform};
use super::*;
use crate::rtp::{Header, Packet};

const ALL: [(Suite, ProtectionProfile); 4] = [
    (Suite::AesCm128HmacSha1Tag80, ProtectionProfile::Aes128CmHmacSha1_80),
    (Suite::AesCm128HmacSha1Tag32, ProtectionProfile::Aes128CmHmacSha1_32),
    (Suite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Suite::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

#[test]
fn session_keys_are_those_of_rfc_3711_appendix_b_3() {
    let Transform::Counter { cipher: _, salt, .. } = SessionKeys::derive(&appendix_b()).rtp else {
        panic!("a key in counter mode");
    };
    assert_eq!(hex(&*salt), "30cbbc08863d8c85d49db34a9ae1");
}

/// The key stream of the session keys of appendix B.3 is that of their cipher key, and the tag that of their
/// authentication key.
#[test]
fn packets_of_appendix_b_keys_are_known() {
    let mut outbound = Outbound::new(appendix_b());
    let mut buffer = [0; 64];
    let rtp = bytes("800f1234decafbadcafebabeabababababababababababababababab");
    buffer[..28].copy_from_slice(&rtp);
    assert_eq!(outbound.protect_rtp(&mut buffer, 28), Ok(38));
    let expected = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb";
    assert_eq!(hex(&buffer[..38]), expected);
    let rtcp = bytes("81c8000bcafebabeabababababababababababababababab");
    buffer[..24].copy_from_slice(&rtcp);
    outbound.protect_rtcp(&mut [0; 64], 8).unwrap(); // uses up index 0
    assert_eq!(outbound.protect_rtcp(&mut buffer, 24), Ok(38));
    let expected = "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798";
    assert_eq!(hex(&buffer[..38]), expected);
}

#[test]
fn key_streams_are_those_of_rfc_3711_appendix_b_2() {
    let key = bytes("2b7e151628aed2a6abf7158809cf4f3c");
    let salt = bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfd");
    let transform = Transform::counter_of(&key, &salt);
    let mut buffer = [0; 12 + 48 + 10];
    transform.seal_rtp(&mut buffer, 12, 60, 0, 0).unwrap();
    let expected = "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0";
    assert_eq!(hex(&buffer[12..60]), expected);
}

#[test]
fn packets_are_those_of_rfc_7714() {
    let short = "000102030405060708090a0b0c0d0e0f";
    let long = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let rtp = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e6973206469766973\
        6120696e207061727465732074726573";
    for (key, expected) in [
        (
            short,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            long,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ] {
        let transform = Transform::gcm_of(&bytes(key), b"Quid pro quo");
        let mut packet = bytes(rtp);
        let len = packet.len();
        packet.resize(len + 16, 0);
        transform.seal_rtp(&mut packet, 12, len, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(hex(&packet), expected.replace(' ', ""));
        assert_eq!(transform.open_rtp(&mut packet, 12, &[], 0x5501_a0b2, 0xf17b), Ok(len));
        assert_eq!(packet[..len], bytes(rtp));
    }
    let rtcp =
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let expected = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded\
        0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4";
    let transform = Transform::gcm_of(&bytes(short), b"Quid pro quo");
    let mut packet = bytes(rtcp);
    let len = packet.len();
    packet.resize(len + 20, 0);
    transform.seal_rtcp(&mut packet, len, 0x4d61_7273, 0x5d4).unwrap();
    assert_eq!(hex(&packet), expected);
    assert_eq!(transform.open_rtcp(&mut packet, &[], 0x4d61_7273, 0x5d4), Ok(len));
    assert_eq!(packet[..len], bytes(rtcp));
}

#[test]
fn another_implementation_writes_and_reads_the_same() {
    let mut rng = ChaCha12Rng::seed_from_u64(3711);
    for (suite, profile) in ALL {
        let key = MasterKey::random(suite, &mut rng);
        let mut theirs_out = Context::new(key.key(), key.salt(), profile, None, None, &AwsLcRsCrypto).unwrap();
        let mut theirs_in = Context::new(key.key(), key.salt(), profile, None, None, &AwsLcRsCrypto).unwrap();
        let (mut ours_out, mut ours_in) = (Outbound::new(key.clone()), Inbound::new(key, &[]));
        // Over three wraps, with gaps, so that rollover counters count.
        let mut sequence = 32_000_u16;
        for _ in 0..600 {
            let mut plain = vec![0; 12 + rng.random_range(0..200)];
            rng.fill_bytes(&mut plain);
            plain[0] = 0x80;
            plain[2..4].copy_from_slice(&sequence.to_be_bytes());
            plain[8..12].copy_from_slice(&[1, 2, 3, 4]);
            let mut packet = [0; 256];
            packet[..plain.len()].copy_from_slice(&plain);
            let len = ours_out.protect_rtp(&mut packet, plain.len()).unwrap();
            assert_eq!(&*theirs_out.encrypt_rtp(&plain).unwrap(), &packet[..len], "{suite:?} {sequence}");
            assert_eq!(&*theirs_in.decrypt_rtp(&packet[..len]).unwrap(), &*plain);
            assert_eq!(ours_in.unprotect_rtp(&mut packet[..len], now()), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
            sequence = sequence.wrapping_add(rng.random_range(1..600));
        }
        for _ in 0..20 {
            let mut plain = vec![0; 8 + 4 * rng.random_range(0..20)];
            rng.fill_bytes(&mut plain);
            plain[..2].copy_from_slice(&[0x80, 200]);
            plain[4..8].copy_from_slice(&[1, 2, 3, 4]);
            let mut packet = [0; 256];
            packet[..plain.len()].copy_from_slice(&plain);
            let theirs = theirs_out.encrypt_rtcp(&plain).unwrap().to_vec();
            // They count from 1.
            if ours_out.rtcp_index_is_0() {
                ours_out.protect_rtcp(&mut packet, plain.len()).unwrap();
                packet[..plain.len()].copy_from_slice(&plain);
            }
            let len = ours_out.protect_rtcp(&mut packet, plain.len()).unwrap();
            assert_eq!(theirs, &packet[..len], "{suite:?}");
            assert_eq!(&*theirs_in.decrypt_rtcp(&packet[..len]).unwrap(), &*plain);
            assert_eq!(ours_in.unprotect_rtcp(&mut packet[..len], now()), Ok(plain.len()));
            assert_eq!(packet[..plain.len()], plain);
        }
    }
}

#[test]
fn only_what_the_peer_sent_is_taken_and_only_once() {
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[]);
        let first = pair.packet(1, 100);
        for changed in 0..first.len() {
            let mut forged = first.clone();
            forged[changed] ^= 1;
            let found = pair.inbound.unprotect_rtp(&mut forged, pair.now);
            assert!(matches!(found, Err(Rejected::Forged | Rejected::Malformed)), "{suite:?} {changed} {found:?}");
        }
        for len in 0..first.len() {
            let mut cut = first[..len].to_vec();
            let found = pair.inbound.unprotect_rtp(&mut cut, pair.now);
            assert!(matches!(found, Err(Rejected::Forged | Rejected::Malformed)), "{suite:?} {len} {found:?}");
        }
        assert_eq!(pair.take(&first), Ok(32));
        assert_eq!(pair.take(&first), Err(Rejected::Replayed));
        let later: Vec<_> = (101..110).map(|it| pair.packet(1, it)).collect();
        for packet in later.iter().rev() {
            assert_eq!(pair.take(packet), Ok(32));
        }
        for packet in &later {
            assert_eq!(pair.take(packet), Err(Rejected::Replayed));
        }
        assert_eq!(pair.take(&[0x80; 1_501]), Err(Rejected::Malformed));
        let plain = plain_packet(1, 200);
        assert_eq!(pair.take(&plain), Err(Rejected::Forged));
    }
}

#[test]
fn rtcp_is_taken_once_and_only_encrypted() {
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[]);
        let mut buffer = [0; 64];
        buffer[..28].copy_from_slice(&[0x81; 28]);
        let len = pair.outbound.protect_rtcp(&mut buffer, 28).unwrap();
        let sealed = buffer[..len].to_vec();
        for changed in 0..len {
            let mut forged = sealed.clone();
            forged[changed] ^= 0x80;
            let found = pair.inbound.unprotect_rtcp(&mut forged, pair.now);
            assert!(matches!(found, Err(Rejected::Forged | Rejected::Malformed)), "{suite:?} {changed} {found:?}");
        }
        assert_eq!(pair.inbound.unprotect_rtcp(&mut sealed.clone(), pair.now), Ok(28));
        assert_eq!(pair.inbound.unprotect_rtcp(&mut sealed.clone(), pair.now), Err(Rejected::Replayed));
        for len in 0..len {
            assert!(pair.inbound.unprotect_rtcp(&mut sealed[..len].to_vec(), pair.now).is_err());
        }
    }
}

#[test]
fn strangers_leave_nothing_behind_and_streams_follow_each_other() {
    let mut pair = Pair::new(Suite::AesCm128HmacSha1Tag80, &[]);
    for ssrc in 0..1_000 {
        let mut forged = plain_packet(ssrc, 1);
        forged.extend([0; 10]);
        assert_eq!(pair.take(&forged), Err(Rejected::Forged));
    }
    // A box in the middle may pass on one stream after the other under its key.
    for ssrc in 0..100 {
        let packet = pair.packet(ssrc, 1);
        assert_eq!(pair.take(&packet), Ok(32));
        assert_eq!(pair.take(&packet), Err(Rejected::Replayed));
    }
}

/// Packets of `master` that has wrapped so often.
fn wrapped(master: &MasterKey, rollovers: u32) -> Vec<u8> {
    let mut outbound = Outbound::new(master.clone());
    for _ in 0..rollovers {
        for sequence in [0, 0x4000, 0x8000, 0xc000] {
            sealed(&mut outbound, 1, sequence);
        }
    }
    sealed(&mut outbound, 1, 7)
}

#[test]
fn a_peer_may_have_talked_to_somebody_else_for_hours() {
    for (suite, _) in ALL {
        let master = MasterKey::random(suite, &mut ChaCha12Rng::seed_from_u64(11));
        let now = Pair::new(suite, &[]).now;
        for (rollovers, is_heard) in [(0, true), (1, true), (2, true), (66, true), (67, false)] {
            let packet = wrapped(&master, rollovers);
            let mut inbound = Inbound::of_running(master.clone(), &[]);
            assert_eq!(inbound.unprotect_rtp(&mut packet.clone(), now).is_ok(), is_heard, "{rollovers}");
            let mut usual = Inbound::new(master.clone(), &[]);
            assert_eq!(usual.unprotect_rtp(&mut packet.clone(), now).is_ok(), rollovers < 2, "{rollovers}");
        }
        // Strangers do not have it sought for ever.
        let mut inbound = Inbound::of_running(master.clone(), &[]);
        let mut forged = plain_packet(1, 7);
        forged.extend([0; 16]);
        for _ in 0..100 {
            assert_eq!(inbound.unprotect_rtp(&mut forged.clone(), now), Err(Rejected::Forged));
        }
        assert_eq!(inbound.unprotect_rtp(&mut wrapped(&master, 2), now), Err(Rejected::Forged));
    }
}

#[test]
fn rollover_counters_outlast_a_key_under_which_nothing_came() {
    for (suite, _) in ALL {
        let mut rng = ChaCha12Rng::seed_from_u64(12);
        let mut pair = Pair::new(suite, &[]);
        for sequence in [0, 0x4000, 0x8000, 0xc000].repeat(3).into_iter().chain([1]) {
            let packet = pair.packet(1, sequence);
            pair.take(&packet).unwrap();
        }
        for _ in 0..2 {
            let fresh = MasterKey::random(suite, &mut rng);
            pair.inbound.rekey(&fresh, &[], pair.now);
            pair.outbound.rekey(&fresh);
        }
        let packet = pair.packet(1, 2);
        assert_eq!(pair.take(&packet), Ok(32));
        // The same key by another name: what has come has come.
        let master = pair.outbound.master().clone();
        pair.inbound.rekey(&master, &[1], pair.now);
        pair.inbound.rekey(&master, &[], pair.now);
        assert_eq!(pair.take(&packet), Err(Rejected::Replayed));
    }
}

#[test]
fn numbers_may_wrap_before_the_first_packet_is_heard() {
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[]);
        pair.packet(1, 65_530);
        let packets = [3, 2, 65_533, 4].map(|it| pair.packet(1, it));
        for packet in packets {
            assert_eq!(pair.take(&packet), Ok(32), "{suite:?}");
        }
    }
}

#[test]
fn a_number_is_not_used_twice() {
    let mut pair = Pair::new(Suite::AeadAes128Gcm, &[]);
    pair.packet(1, 7);
    assert_eq!(pair.outbound.protect_rtp(&mut padded(1, 7), 32), Err(Unprotected));
    assert_eq!(pair.outbound.protect_rtp(&mut padded(1, 8)[..40], 32), Err(Unprotected), "no room");
    pair.packet(1, 8);
}

#[test]
fn a_new_key_takes_over_and_the_old_one_lasts_for_a_moment() {
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[]);
        for sequence in [65_534, 65_535, 0, 1] {
            let packet = pair.packet(1, sequence);
            assert_eq!(pair.take(&packet), Ok(32));
        }
        let on_its_way = [pair.packet(1, 2), pair.packet(1, 3)];
        let fresh = MasterKey::random(suite, &mut ChaCha12Rng::seed_from_u64(9));
        let same = pair.outbound.master().clone();
        pair.inbound.rekey(&same, &[], pair.now);
        assert!(!pair.inbound.keeps_an_old_key());
        pair.inbound.rekey(&fresh, &[], pair.now);
        assert_eq!(pair.take(&on_its_way[0]), Ok(32));
        pair.outbound.rekey(&fresh);
        let packet = pair.packet(1, 4); // with its rollover counter at 1
        assert_eq!(pair.take(&packet), Ok(32));
        pair.now += Duration::from_millis(2_001);
        assert_eq!(pair.take(&on_its_way[1]), Err(Rejected::Forged));

        // A peer that begins anew with its key is understood, too.
        let third = MasterKey::random(suite, &mut ChaCha12Rng::seed_from_u64(10));
        pair.inbound.rekey(&third, &[], pair.now);
        pair.outbound = Outbound::new(third);
        let packet = pair.packet(1, 5);
        assert_eq!(pair.take(&packet), Ok(32));
    }
}

#[test]
fn a_key_may_be_named_in_each_packet() {
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[1, 2, 3, 4]);
        let packet = pair.packet(1, 1);
        assert_eq!(pair.take(&packet), Err(Rejected::Forged));
        let at = if matches!(suite, Suite::AesCm128HmacSha1Tag80) { packet.len() - 10 } else { packet.len() };
        let at = if matches!(suite, Suite::AesCm128HmacSha1Tag32) { packet.len() - 4 } else { at };
        let mut named = packet.clone();
        named.splice(at..at, [1, 2, 3, 4]);
        let mut other = packet;
        other.splice(at..at, [1, 2, 3, 5]);
        assert_eq!(pair.take(&other), Err(Rejected::Forged));
        assert_eq!(pair.take(&named), Ok(32));
    }
}

#[test]
fn garbage_is_rejected() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    for (suite, _) in ALL {
        let mut pair = Pair::new(suite, &[]);
        for _ in 0..20_000 {
            let mut garbage = vec![0; rng.random_range(0..80)];
            rng.fill_bytes(&mut garbage);
            if let Some(first) = garbage.first_mut() {
                *first = (*first & 0x3f) | 0x80;
            }
            assert!(pair.inbound.unprotect_rtp(&mut garbage.clone(), pair.now).is_err());
            assert!(pair.inbound.unprotect_rtcp(&mut garbage.clone(), pair.now).is_err());
            let len = garbage.len();
            garbage.resize(len + OVERHEAD_BYTES_MAX, 0);
            for protect in [Outbound::protect_rtp, Outbound::protect_rtcp] {
                let grown = protect(&mut pair.outbound, &mut garbage.clone(), len).unwrap_or(len);
                assert!(grown <= len + OVERHEAD_BYTES_MAX);
            }
        }
    }
}

#[test]
fn keys_do_not_print_themselves() {
    let key = appendix_b();
    let (outbound, inbound) = (Outbound::new(key.clone()), Inbound::new(key.clone(), &[]));
    let printed = format!("{key:?} {outbound:?} {inbound:?}");
    assert!(!printed.contains("225") && !printed.to_lowercase().contains("e1") && printed.contains("redacted"));
}

fn now() -> Instant {
    crate::timer::Now::origin().instant
}

struct Pair {
    outbound: Outbound,
    inbound: Inbound,
    now: Instant,
}

impl Pair {
    fn new(suite: Suite, mki: &[u8]) -> Self {
        let key = MasterKey::random(suite, &mut ChaCha12Rng::seed_from_u64(4568));
        Self { outbound: Outbound::new(key.clone()), inbound: Inbound::new(key, mki), now: now() }
    }

    fn packet(&mut self, ssrc: u32, sequence: u16) -> Vec<u8> {
        sealed(&mut self.outbound, ssrc, sequence)
    }

    fn take(&mut self, packet: &[u8]) -> Result<usize, Rejected> {
        self.inbound.unprotect_rtp(&mut packet.to_vec(), self.now)
    }
}

fn sealed(outbound: &mut Outbound, ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = padded(ssrc, sequence);
    let len = outbound.protect_rtp(&mut packet, 32).unwrap();
    packet.truncate(len);
    packet
}

fn padded(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = plain_packet(ssrc, sequence);
    packet.resize(32 + OVERHEAD_BYTES_MAX, 0);
    packet
}

fn plain_packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    let header = Header { payload_type: 0, marker: false, sequence, timestamp: 5, ssrc };
    let mut buffer = vec![0; 32];
    Packet { header, payload: &[0x55; 20] }.write(&mut buffer).unwrap();
    buffer
}

/// The master key of RFC 3711 appendix B.3.
fn appendix_b() -> MasterKey {
    let key = bytes("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6");
    MasterKey::new(Suite::AesCm128HmacSha1Tag80, &key).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|it| it.to_digit(16)).collect();
    digits.chunks(2).map(|it| u8::try_from(it[0] * 16 + it[1]).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}
