//! Agents that hand their caller over and leave the line to the two (`transfer_by = "release"`): REFER with Replaces, as in
//! RFC 5589 §7.

use std::path::PathBuf;
use std::time::Duration;

use crate::carrier::{Carrier, Received};
use crate::journal;
use crate::server_process::{Home, Server, free_port};
use crate::sip_phone::{ANSWER_MAX, Message, Phone};
use crate::tone_peer::{TonePeer, talk};

const CALLER_HZ: f64 = 500.0;
const DESK_HZ: f64 = 900.0;

#[test]
fn the_caller_takes_our_place() {
    let mut call = Call::hand_over("202 Accepted");
    // What a telephone does: it calls the desk itself, in the place of the call that the desk has with us.
    let mut direct = Phone::new(crate::sip_phone::Wire::udp(call.desk.address), call.desk.address);
    let replaces = call.replaces();
    let answer = std::thread::scope(|scope| {
        let taking = scope.spawn(|| {
            let invite = call.desk.next("INVITE", ANSWER_MAX);
            let own = format!("Contact: <{}>", call.desk.uri());
            call.desk.answer_with(&invite, "200 OK", &[&own], &call.desk_media.sdp());
            call.desk.next("ACK", ANSWER_MAX);
            invite
        });
        let offer = direct.sdp("sendrecv");
        assert_eq!(direct.invite_with(&[&format!("Replaces: {replaces}")], &offer).status(), Some(200));
        taking.join().unwrap()
    });
    assert!(answer.message.header("Replaces").is_some());
    call.desk.hang_up(&call.invite);
    call.tell("SIP/2.0 200 OK");
    call.caller.asked("BYE", "200 OK");
    let outcomes = call.outcomes();
    assert_eq!(outcomes, ["succeeded", "succeeded"], "of our call to the desk, and of theirs");
}

#[test]
fn a_caller_that_does_not_stays_with_the_desk_through_us() {
    for (status, told) in [("603 Decline", None), ("202 Accepted", Some("SIP/2.0 486 Busy Here"))] {
        let mut call = Call::hand_over(status);
        if let Some(told) = told {
            call.tell(told);
        }
        call.both_hear_each_other();
        call.desk.hang_up(&call.invite);
        call.caller.asked("BYE", "200 OK");
        assert_eq!(call.outcomes()[0], "succeeded", "the call to the desk");
    }
}

/// A caller whom the agent has handed over to the desk.
struct Call {
    server: Server,
    desk: Carrier,
    caller: Phone,
    desk_media: TonePeer,
    /// The call of the desk.
    invite: Received,
    refer: Message,
}

impl Call {
    /// The caller's answer to the REFER is `status`.
    #[track_caller]
    fn hand_over(status: &str) -> Self {
        let desk = Carrier::start();
        let server = server(&desk);
        let mut caller = Phone::call(&server, "600");
        let mut desk_media = TonePeer::new(DESK_HZ);
        let invite = desk_media.answer(&desk);
        let refer = caller.asked("REFER", status);
        Self { server, desk, caller, desk_media, invite, refer }
    }

    /// Of Refer-To: the dialog that the desk has with us, as the desk knows it.
    #[track_caller]
    fn replaces(&self) -> String {
        let refer_to = self.refer.header("Refer-To").unwrap();
        let uri = refer_to.split('<').nth(1).unwrap().split('>').next().unwrap();
        let (uri, replaces) = uri.split_once("?Replaces=").unwrap_or_else(|| panic!("{refer_to}"));
        assert_eq!(uri, self.desk.uri(), "its Contact");
        let replaces = percent_decoded(replaces);
        let header = |name: &str| self.invite.message.header(name).unwrap();
        let from_tag = header("From").split("tag=").nth(1).unwrap().split(';').next().unwrap();
        let mut parts: Vec<_> = replaces.split(';').collect();
        parts[1..].sort_unstable();
        assert_eq!(parts, [header("Call-ID"), &format!("from-tag={from_tag}"), "to-tag=called"]);
        replaces
    }

    /// The caller's NOTIFY, which ends the transfer.
    #[track_caller]
    fn tell(&mut self, line: &str) {
        let headers =
            ["Event: refer", "Subscription-State: terminated;reason=noresource", "Content-Type: message/sipfrag"];
        let answer = self.caller.ask_with("NOTIFY", &headers, &format!("{line}\r\n"));
        assert_eq!(answer.status(), Some(200), "{answer:?}");
    }

    #[track_caller]
    fn both_hear_each_other(&mut self) {
        let socket = self.caller.media.socket.try_clone().unwrap();
        let mut caller_media = TonePeer::on(socket, self.caller.media.remote, CALLER_HZ);
        talk(&mut [&mut caller_media, &mut self.desk_media], 20, Duration::from_millis(400));
        let seen = [caller_media.heard.len(), self.desk_media.heard.len()];
        talk(&mut [&mut caller_media, &mut self.desk_media], 20, Duration::from_secs(1));
        assert_eq!(caller_media.tones(seen[0], &[CALLER_HZ, DESK_HZ]), [DESK_HZ]);
        assert_eq!(self.desk_media.tones(seen[1], &[CALLER_HZ, DESK_HZ]), [CALLER_HZ]);
    }

    /// What the record says of its transfers, once it is closed.
    #[track_caller]
    fn outcomes(&self) -> Vec<String> {
        let data = self.server.home.data();
        let is_closed = || journal::calls(&data).first().is_some_and(|it| it.closed);
        assert!(self.server.wait(ANSWER_MAX, is_closed), "{}", self.server.log());
        let call = journal::calls(&data).remove(0);
        call.all("transfer").map(|it| it["outcome"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// 600 is an agent that hands over to `desk`.
fn server(desk: &Carrier) -> Server {
    let home = Home::new();
    let file = home.path().join("hookswitch.toml");
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/black_box");
    std::fs::copy(here.join("handover.toml"), home.path().join("handover.toml")).unwrap();
    let text = format!(
        "[sip]\nopen = 'loopback'\n[numbers.600]\nagent = 'handover'\n[agents.handover]\npathway = 'handover.toml'\n\
         transfers = {{ desk = '{}' }}\ntransfer_by = 'release'\n",
        desk.uri().replace("sip:", "sip:desk@")
    );
    std::fs::write(&file, text).unwrap();
    Server::start_with(&home, &file, free_port(), free_port(), &[])
}

pub(crate) fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (octet, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(octet, 16).unwrap()));
        decoded.push_str(rest);
    }
    decoded
}
