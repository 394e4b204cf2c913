//! What is told of a leg's media: while the call goes on, afterwards, and in the metrics.

use serde_json::Value;

use crate::http_client;
use crate::rtp_peer::{Account, Sends};
use crate::server_process::Server;
use crate::sip_phone::{ANSWER_MAX, Phone};

const KEY: &str = "a key for tests only";

#[test]
fn the_jitter_buffer_says_what_it_aims_at_and_why_during_the_call_and_after_it() {
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let mut phone = Phone::call(&server, "100");
    let mut account = Account::default();
    // Five packets come together: the first of them was said 80 ms before.
    for _ in 0..60 {
        let (burst, remote) = ([(); 5].map(|()| phone.media.packet()), phone.media.remote.unwrap());
        for packet in burst {
            phone.media.socket.send_to(&packet, remote).unwrap();
        }
        (0..5).for_each(|_| phone.media.tick(Sends::Nothing, &mut account));
    }
    let live = get(&server, "/v1/calls?state=live")["calls"][0].clone();
    let call = live["call"].as_str().unwrap().to_owned();
    assert_eq!(live["status"], "in_progress");
    assert_aims_high(&live["media"][0]);
    assert!((40..1_000).contains(&live["media"][0]["jitter_buffer"]["delay_ms"].as_u64().unwrap()), "{live}");
    assert_aims_high(&get(&server, &format!("/v1/calls/{call}"))["media"][0]);
    phone.hang_up();
    let ended = || get(&server, &format!("/v1/calls/{call}"))["status"] == "answered";
    assert!(server.wait(ANSWER_MAX, ended), "{}", server.log());
    let record = get(&server, &format!("/v1/calls/{call}"));
    assert_eq!(record["media"].as_array().unwrap().len(), 1, "{record}");
    assert_aims_high(&record["media"][0]);
    let mean_ms = record["media"][0]["jitter_buffer"]["delay_mean_ms"].as_u64().unwrap();
    assert!((20..1_000).contains(&mean_ms), "{record}");
    let metrics = server.metrics();
    assert_eq!(metrics.value("hookswitch_rtp_jitter_buffer_seconds_count"), Some(1.0));
    let sum = metrics.value("hookswitch_rtp_jitter_buffer_seconds_sum").unwrap();
    assert!((sum * 1_000.0 - mean_ms as f64).abs() < 1.0, "{sum} {mean_ms}");
}

#[test]
fn packets_that_are_not_used_are_told_apart_alike_in_the_record_and_in_the_metrics() {
    let server = Server::start(&[("HTTP__API_KEY", KEY)]);
    let mut phone = Phone::call(&server, "100");
    phone.hear(5);
    let remote = phone.media.remote.unwrap();
    // Of a payload type that was not agreed on; of another version; twice; from somewhere else.
    for _ in 0..3 {
        let mut packet = phone.media.packet();
        packet[1] = 77;
        phone.media.socket.send_to(&packet, remote).unwrap();
    }
    let mut packet = phone.media.packet();
    packet[0] = 0x40;
    phone.media.socket.send_to(&packet, remote).unwrap();
    let packet = phone.media.packet();
    (0..2).for_each(|_| drop(phone.media.socket.send_to(&packet, remote)));
    let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    (0..2).for_each(|_| drop(stranger.send_to(&packet, remote)));
    phone.hear(10);
    phone.hang_up();
    let ended = || get(&server, "/v1/calls")["calls"][0]["status"] == "answered";
    assert!(server.wait(ANSWER_MAX, ended), "{}", server.log());
    let media = get(&server, "/v1/calls")["calls"][0]["media"][0].clone();
    let expected = serde_json::json!({"payload_type": 3, "malformed": 1, "stranger": 2});
    assert_eq!((&media["packets_dropped"], &media["packets_strange"]), (&expected, &Value::from(6)), "{media}");
    assert_eq!(media["packets_duplicate"], 1, "{media}");
    let metrics = server.metrics();
    let value = |name: &str| metrics.value(name).unwrap_or_else(|| panic!("no {name}"));
    let dropped = |it: &str| value(&format!("hookswitch_rtp_packets_dropped_total{{reason=\"{it}\"}}"));
    assert_eq!(["payload_type", "malformed", "stranger", "ssrc"].map(dropped), [3.0, 1.0, 2.0, 0.0]);
    assert_eq!(value("hookswitch_rtp_packets_total{what=\"strange\"}"), 6.0);
    for name in ["media_ticks_skipped", "media_legs_failed", "media_receive_failures", "playout_underruns"] {
        assert!(value(&format!("hookswitch_{name}_total")) >= 0.0);
    }
    assert_eq!(value("hookswitch_queue_drops_total{queue=\"leg_commands\"}"), 0.0);
}

#[track_caller]
fn assert_aims_high(media: &Value) {
    let buffer = &media["jitter_buffer"];
    let ms = |it: &Value| it.as_u64().unwrap_or_else(|| panic!("{media}"));
    let because = &buffer["because"];
    assert_eq!((ms(&because["least_ms"]), ms(&because["fec_ms"])), (20, 0), "{media}");
    assert!((60..=120).contains(&ms(&because["lateness_ms"])), "{media}");
    assert_eq!(ms(&buffer["target_ms"]), 20 + ms(&because["lateness_ms"]), "{media}");
    assert!(ms(&media["jitter_max_us"]) > 1_000, "{media}");
}

#[track_caller]
fn get(server: &Server, path: &str) -> Value {
    let got = http_client::get_with(server.http, path, &format!("Authorization: Bearer {KEY}\r\n")).unwrap();
    assert_eq!(got.status, 200, "{}", got.body);
    serde_json::from_str(&got.body).unwrap()
}
