//! `[users.NAME]`

use std::collections::BTreeMap;

use super::Places;
use super::agents::check_number;
use super::reading::Section;
use super::recordings::Recording;
use crate::identity::Secret;

/// `[users.NAME]`: a telephone or PBX that registers, and may call from anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `password`, or what the variable named by `password_env` holds.
    pub password: Secret,
    /// `caller_ids`: the numbers as which it may call out of the house, the first unless it names one of them.
    pub caller_ids: Vec<String>,
    /// `media`: whether it takes WebRTC where it is called over a websocket, or plain RTP as over all other transports.
    pub takes_webrtc: bool,
    /// `[users.NAME.recording]`: how the calls are recorded that it makes or takes, if no agent takes part.
    pub recording: Option<Recording>,
}

pub(super) fn read_users(root: &Section<'_>, places: &Places<'_>) -> BTreeMap<String, User> {
    let mut users = BTreeMap::new();
    for (name, section) in root.sections("users") {
        if check_number(&name).is_err() {
            section.complain_of_section("a user has a name or number such as \"alice\", \"100\" or \"+4930123\"");
        }
        let caller_ids = section.list("caller_ids", |text| check_number(text).map(|()| text.to_owned()));
        let takes_webrtc = section.parsed("media", |text| match text {
            "webrtc" => Ok(true),
            "plain" => Ok(false),
            _ => Err("expected \"webrtc\" or \"plain\"".to_owned()),
        });
        let recording = section.section_if_any("recording").map(Recording::read);
        let password = places.secret(&section, "password", "password_env");
        match password {
            Some(password) if password.reveal().is_empty() => section.complain("password", "it is empty"),
            Some(password) => {
                let (caller_ids, takes_webrtc) = (caller_ids.unwrap_or_default(), takes_webrtc.unwrap_or(true));
                users.insert(name, User { password, caller_ids, takes_webrtc, recording });
            }
            None if section.origin("password").is_none() && section.origin("password_env").is_none() => {
                section.complain_of_section("`password` or `password_env` is missing");
            }
            None => {}
        }
        section.finish();
    }
    users
}
