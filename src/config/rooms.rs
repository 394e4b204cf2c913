//! `[rooms.NAME]`

use std::collections::BTreeMap;

use super::agents::parse_speech;
use super::reading::Section;
use super::{Places, User};
use crate::identity::Secret;
use crate::limits::{AGENT_NAME_BYTES_MAX, ROOM_MEMBERS_MAX, ROOM_PIN_DIGITS_MAX};
use crate::platform::rooms::Rules;

/// `[rooms.NAME]`: a conference room, which numbers lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// `max_members`, `pin`, `moderator_pin`, `moderators`, `muted_on_entry`, `wait_for_moderator`, `end_with_moderator`.
    pub rules: Rules,
    /// `tones`: whether all hear that somebody comes or goes.
    pub tones: bool,
    /// `music`: what is heard by who is alone, or waits; nothing if `None`.
    pub music: Option<String>,
    /// `prompt`: what asks for the PIN.
    pub prompt: String,
    /// `record`: whether what is said is recorded from the first member to the last.
    pub record: bool,
    /// `announcement`: what is said to whoever comes into a room that is recorded; nothing if `None`.
    pub announcement: Option<String>,
    /// `announcement_file`: the sound that is played instead of that.
    pub announcement_file: Option<String>,
}

pub(super) fn read_rooms(
    root: &Section<'_>,
    users: &BTreeMap<String, User>,
    places: &Places<'_>,
) -> BTreeMap<String, Room> {
    let mut rooms = BTreeMap::new();
    for (name, section) in root.sections("rooms") {
        let fits = !name.is_empty() && name.len() <= AGENT_NAME_BYTES_MAX;
        if !fits || !name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-')) {
            section.complain_of_section(&format!(
                "the name of a room is 1 to {AGENT_NAME_BYTES_MAX} letters, digits, `-` and `_`"
            ));
        }
        rooms.insert(name, read_room(&section, users, places));
        section.finish();
    }
    rooms
}

fn read_room(section: &Section<'_>, users: &BTreeMap<String, User>, places: &Places<'_>) -> Room {
    let most = u32::try_from(ROOM_MEMBERS_MAX).unwrap_or(u32::MAX);
    let members_max = section.number("max_members", 2..=most).unwrap_or(MEMBERS);
    let pin = checked(section, "pin", places.secret(section, "pin", "pin_env"));
    let moderator_pin = checked(section, "moderator_pin", places.secret(section, "moderator_pin", "moderator_pin_env"));
    if pin.is_some() && pin == moderator_pin {
        section.complain_of_secret("moderator_pin", "it is the same as `pin`");
    }
    let known = |text: &str| match users.contains_key(text) {
        true => Ok(text.to_owned()),
        false => Err("there is no such user: add it as [users.NAME]".to_owned()),
    };
    let rules = Rules {
        members_max: usize::try_from(members_max).unwrap_or(usize::MAX),
        pin,
        moderator_pin,
        moderators: section.list("moderators", known).unwrap_or_default().into_iter().collect(),
        mutes_on_entry: section.boolean("muted_on_entry").unwrap_or(false),
        waits_for_moderator: section.boolean("wait_for_moderator").unwrap_or(false),
        ends_with_moderator: section.boolean("end_with_moderator").unwrap_or(false),
    };
    let wants_moderator = rules.waits_for_moderator || rules.ends_with_moderator;
    let has_mistake = section.origin("moderators").is_some() || section.origin("moderator_pin_env").is_some();
    if wants_moderator && rules.moderator_pin.is_none() && rules.moderators.is_empty() && !has_mistake {
        section.complain_of_section("nobody can be its moderator: `moderator_pin` or `moderators` is missing");
    }
    let music = section.text("music").unwrap_or_else(|| MUSIC.to_owned());
    Room {
        rules,
        tones: section.boolean("tones").unwrap_or(true),
        music: Some(music).filter(|it| it != NO_MUSIC),
        prompt: section.text("prompt").unwrap_or_else(|| PROMPT.to_owned()),
        record: section.boolean("record").unwrap_or(false),
        announcement: section.parsed("announcement", parse_speech),
        announcement_file: section.text("announcement_file"),
    }
}

/// Only digits can be pressed.
fn checked(section: &Section<'_>, key: &'static str, pin: Option<Secret>) -> Option<Secret> {
    let fits = |it: &Secret| {
        let digits = it.reveal().as_bytes();
        (PIN_DIGITS_MIN..=ROOM_PIN_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
    };
    if pin.as_ref().is_some_and(|it| !fits(it)) {
        section
            .complain_of_secret(key, &format!("expected {PIN_DIGITS_MIN} to {ROOM_PIN_DIGITS_MAX} digits in quotes"));
        return None;
    }
    pin
}

/// Unless the configuration says otherwise.
const MEMBERS: u32 = 32;
const PIN_DIGITS_MIN: usize = 4;
const MUSIC: &str = "hold-music";
/// What `music` says where there is to be none.
pub(super) const NO_MUSIC: &str = "none";
const PROMPT: &str = "enter-pin";
