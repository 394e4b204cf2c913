//! The servers of a carrier that we register with, of which one dies and lives again.

use std::time::{Duration, Instant};

use crate::carrier::{Carrier, Received};
use crate::server_process::Server;
use crate::sip_phone::ANSWER_MAX;

#[test]
fn a_registration_leaves_a_server_that_does_not_live_and_comes_back() {
    let carriers = [Carrier::start(), Carrier::start()];
    let gateways = carriers.each_ref().map(Carrier::uri).join(",");
    let server = Server::start(&[
        ("TRUNKS__ACME__GATEWAYS", &gateways),
        ("TRUNKS__ACME__USERNAME", "4930123"),
        ("TRUNKS__ACME__REGISTER", "true"),
        ("TRUNKS__ACME__OPTIONS_S", "1"),
    ]);
    let mut lives = [true, true];
    // Answers what is asked for, until a server is registered with.
    let registered_with = |lives: [bool; 2], wanted: usize| {
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end {
            for (index, carrier) in carriers.iter().enumerate() {
                let Some(request) = carrier.next_any(Duration::from_millis(20)) else { continue };
                if lives[index] {
                    carrier.answer(&request, "200 OK", &["Expires: 600"]);
                }
                if lives[index] && index == wanted && is_registration(&request) {
                    return;
                }
            }
        }
        panic!("server {wanted} is not registered with:\n{}", server.log());
    };
    registered_with(lives, 0);
    metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"}", 1.0);
    lives[0] = false;
    let begin = Instant::now();
    registered_with(lives, 1);
    assert!(begin.elapsed() < Duration::from_secs(8), "it takes too long: {:?}", begin.elapsed());
    metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"}", 1.0);
    metric(&server, "hookswitch_trunk_gateways_resting{trunk=\"acme\"}", 1.0);
    server.logs("the trunk's server does not answer OPTIONS", ANSWER_MAX);
    lives[0] = true;
    registered_with(lives, 0);
    server.logs("the trunk's server answers OPTIONS", ANSWER_MAX);
    metric(&server, "hookswitch_trunk_gateways_resting{trunk=\"acme\"}", 0.0);
    let accepted = "hookswitch_trunk_registrations_total{trunk=\"acme\",result=\"accepted\"}";
    metric(&server, accepted, 3.0);
}

#[test]
fn where_no_server_takes_us_it_is_tried_again_later() {
    let carriers = [Carrier::start(), Carrier::start()];
    let gateways = carriers.each_ref().map(Carrier::uri).join(",");
    let server = Server::start(&[
        ("TRUNKS__ACME__GATEWAYS", &gateways),
        ("TRUNKS__ACME__USERNAME", "4930123"),
        ("TRUNKS__ACME__REGISTER", "true"),
    ]);
    for carrier in &carriers {
        let request = carrier.next("REGISTER", ANSWER_MAX);
        carrier.answer(&request, "500 Server Internal Error", &[]);
    }
    metric(&server, "hookswitch_trunk_registered{trunk=\"acme\"}", 0.0);
    metric(&server, "hookswitch_trunk_registration_failures_total{trunk=\"acme\",reason=\"500\"}", 2.0);
    for carrier in &carriers {
        assert!(carrier.next_if_any("REGISTER", Duration::from_millis(500)).is_none(), "it is tried again at once");
    }
}

fn is_registration(request: &Received) -> bool {
    request.message.method() == Some("REGISTER")
}

#[track_caller]
fn metric(server: &Server, sample: &str, value: f64) {
    let found = server.wait(ANSWER_MAX, || server.metrics().value(sample) == Some(value));
    assert!(found, "{sample} is not {value}:\n{}\n{}", server.metrics().shown(), server.log());
}
