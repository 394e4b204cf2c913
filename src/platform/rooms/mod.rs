//! Conference rooms: who may enter one, who is in it, who hears whom. The audio is mixed elsewhere; what has to change
//! there is told by [`Change`].
//!
//! A room is there for as long as somebody is in it. Each time somebody enters an empty room it begins anew: not locked,
//! and waiting for a moderator if it is one that waits.

pub mod door;

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use crate::identity::{CallId, Pii, Secret};
use crate::limits::{ROOM_WRONG_PINS_MAX, ROOM_WRONG_PINS_S};

/// How a room is to be, as its configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many may be in it at once.
    pub members_max: usize,
    /// Digits that everybody has to press who wants in.
    pub pin: Option<Secret>,
    /// Digits that make a moderator of whoever presses them.
    pub moderator_pin: Option<Secret>,
    /// Users who are moderators without pressing anything.
    pub moderators: BTreeSet<String>,
    /// Whether who is no moderator comes in muted.
    pub mutes_on_entry: bool,
    /// Whether nobody hears anybody until a moderator is there.
    pub waits_for_moderator: bool,
    /// Whether it ends when its last moderator leaves.
    pub ends_with_moderator: bool,
}

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has as many members as it may have.
    Full,
    /// A moderator, or somebody over the API, has locked it.
    Locked,
    /// The PIN is wrong, or did not come.
    Pin,
}

impl Refused {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Full, Self::Locked, Self::Pin];

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Locked => "locked",
            Self::Pin => "pin",
        }
    }
}

/// What follows for the audio and the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The others hear this member no more, or again.
    Muted(CallId, bool),
    /// The room has what it waited for: its members hear each other.
    Begins,
    /// This member's call is to be ended.
    Leaves(CallId),
}

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its call.
    pub call: CallId,
    /// Who it is: the URI of whoever called, or was called.
    pub party: Pii<String>,
    /// Whether it is a moderator.
    pub moderator: bool,
    /// Whether the others do not hear it.
    pub muted: bool,
    /// When it came, in milliseconds since the Unix epoch.
    pub entered_unix_ms: i64,
}

/// See the module.
#[derive(Debug)]
pub struct Room {
    rules: Rules,
    /// In the order in which they came.
    members: Vec<Member>,
    is_locked: bool,
    /// A moderator has been there since it was empty.
    has_begun: bool,
    /// Wrong PINs, and when the first of them was pressed.
    wrong_pins: (u32, i64),
    changes: VecDeque<Change>,
}

impl Room {
    /// An empty one.
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            members: vec![],
            is_locked: false,
            has_begun: false,
            wrong_pins: (0, 0),
            changes: VecDeque::new(),
        }
    }

    /// How it is to be.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who is in it.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether only moderators get in.
    pub const fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// Whether its members do not hear each other, because no moderator has come.
    pub const fn is_waiting(&self) -> bool {
        self.rules.waits_for_moderator && !self.has_begun
    }

    /// Somebody has pressed a wrong PIN.
    pub fn note_wrong_pin(&mut self, unix_ms: i64) {
        let (count, since) = self.wrong_pins;
        self.wrong_pins = if is_past(since, unix_ms) { (1, unix_ms) } else { (count.saturating_add(1), since) };
    }

    /// Whether so many wrong PINs were pressed, in whatever calls, that somebody may be looking for the right one: no other is
    /// listened to until these are past.
    pub const fn is_besieged(&self, unix_ms: i64) -> bool {
        let (count, since) = self.wrong_pins;
        count >= ROOM_WRONG_PINS_MAX && !is_past(since, unix_ms)
    }

    /// Whether somebody could enter now.
    ///
    /// # Errors
    ///
    /// Why not.
    pub const fn admits(&self, is_moderator: bool) -> Result<(), Refused> {
        if self.members.len() >= self.rules.members_max {
            return Err(Refused::Full);
        }
        if self.is_locked && !is_moderator {
            return Err(Refused::Locked);
        }
        Ok(())
    }

    /// Lets somebody in; whether it is muted.
    ///
    /// # Errors
    ///
    /// Why it does not get in.
    pub fn enter(
        &mut self,
        call: CallId,
        party: Pii<String>,
        is_moderator: bool,
        unix_ms: i64,
    ) -> Result<bool, Refused> {
        self.admits(is_moderator)?;
        let muted = self.rules.mutes_on_entry && !is_moderator;
        self.members.push(Member { call, party, moderator: is_moderator, muted, entered_unix_ms: unix_ms });
        if is_moderator && !self.has_begun {
            self.has_begun = true;
            self.changes.push_back(Change::Begins);
        }
        Ok(muted)
    }

    /// Somebody is gone. Whether it was there.
    pub fn leave(&mut self, call: CallId) -> bool {
        let Some(index) = self.members.iter().position(|it| it.call == call) else {
            return false;
        };
        let gone = self.members.remove(index);
        let has_moderator = self.members.iter().any(|it| it.moderator);
        if gone.moderator && !has_moderator && self.rules.ends_with_moderator {
            self.end();
        }
        if self.members.is_empty() {
            self.is_locked = false;
            self.has_begun = false;
        }
        true
    }

    /// Has the others hear a member no more, or again. Whether it is there.
    pub fn mute(&mut self, call: CallId, is_muted: bool) -> bool {
        let Some(member) = self.members.iter_mut().find(|it| it.call == call) else {
            return false;
        };
        if member.muted != is_muted {
            member.muted = is_muted;
            self.changes.push_back(Change::Muted(call, is_muted));
        }
        true
    }

    /// A member mutes itself, or no more; whether it is muted now.
    pub fn toggle_mute(&mut self, call: CallId) -> Option<bool> {
        let is_muted = !self.members.iter().find(|it| it.call == call)?.muted;
        self.mute(call, is_muted);
        Some(is_muted)
    }

    /// Has a member leave. Whether it is there.
    pub fn remove(&mut self, call: CallId) -> bool {
        let is_there = self.members.iter().any(|it| it.call == call);
        self.changes.extend(is_there.then_some(Change::Leaves(call)));
        is_there
    }

    /// Lets nobody in but moderators, or everybody again. An empty room is not locked.
    pub fn lock(&mut self, is_locked: bool) {
        self.is_locked = is_locked && !self.members.is_empty();
    }

    /// Has everybody leave.
    pub fn end(&mut self) {
        let all = self.members.iter().map(|it| Change::Leaves(it.call));
        self.changes.extend(all);
    }

    /// What follows from what has happened.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }
}

/// Whether wrong PINs are forgotten whose first was pressed then.
const fn is_past(since_unix_ms: i64, unix_ms: i64) -> bool {
    unix_ms.saturating_sub(since_unix_ms) >= ROOM_WRONG_PINS_S as i64 * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Rules = Rules {
        members_max: 3,
        pin: None,
        moderator_pin: None,
        moderators: BTreeSet::new(),
        mutes_on_entry: false,
        waits_for_moderator: false,
        ends_with_moderator: false,
    };

    #[test]
    fn a_room_is_full_or_locked_until_it_is_empty() {
        check(PLAIN, "enter1 enter2 enter3 enter4 leave2 enter4", "in in in full - in");
        check(
            PLAIN,
            "lock enter1 lock enter2 moderator3 unlock enter2 lock leave1 leave2 leave3 enter4",
            "- in - locked in,begins - in - - - - in",
        );
    }

    #[test]
    fn a_room_waits_for_its_moderator_and_ends_with_the_last() {
        let rules = Rules { waits_for_moderator: true, ends_with_moderator: true, members_max: 9, ..PLAIN };
        check(
            rules,
            "enter1 moderator2 moderator3 leave2 enter4 leave3 leave1 leave4 enter1",
            "in,waits in,begins in - in leaves1,leaves4 - - in,waits",
        );
        check(PLAIN, "enter1 moderator2 leave2", "in in,begins -");
    }

    #[test]
    fn pins_cannot_be_tried_out_call_after_call() {
        let mut room = Room::new(PLAIN);
        let first = 1_800_000_000_000;
        let past = first + i64::from(ROOM_WRONG_PINS_S) * 1_000;
        for at in 1..i64::from(ROOM_WRONG_PINS_MAX) {
            room.note_wrong_pin(first + at - 1);
        }
        assert!(!room.is_besieged(past - 1));
        room.note_wrong_pin(past - 1);
        assert!(room.is_besieged(past - 1) && !room.is_besieged(past));
        room.note_wrong_pin(past);
        assert!(!room.is_besieged(past), "the others are past");
    }

    #[test]
    fn who_comes_in_muted_may_speak_up_and_moderators_may_from_the_beginning() {
        let rules = Rules { mutes_on_entry: true, ..PLAIN };
        check(
            rules,
            "enter1 moderator2 toggle1 toggle1 mute2 mute2 unmute1 mute7",
            "in,muted in,begins unmuted1 muted1 muted2 - unmuted1 nobody",
        );
        check(PLAIN, "enter1 enter2 remove1 remove7 end", "in in leaves1 nobody leaves1,leaves2");
    }

    /// Goes through `steps`, and compares what came of each.
    #[track_caller]
    fn check(rules: Rules, steps: &str, expected: &str) {
        let mut room = Room::new(rules);
        let mut log = vec![];
        for step in steps.split(' ') {
            let (what, who) = step.split_at(step.find(|it: char| it.is_ascii_digit()).unwrap_or(step.len()));
            let call = call(who.parse().unwrap_or(0));
            let mut seen = match what {
                "enter" | "moderator" => match room.enter(call, Pii::default(), what == "moderator", 0) {
                    Ok(is_muted) => {
                        let mut seen = vec!["in".to_owned()];
                        seen.extend(is_muted.then(|| "muted".to_owned()));
                        seen.extend(room.is_waiting().then(|| "waits".to_owned()));
                        seen
                    }
                    Err(refused) => vec![refused.name().to_owned()],
                },
                "leave" => told(room.leave(call)),
                "mute" => told(room.mute(call, true)),
                "unmute" => told(room.mute(call, false)),
                "toggle" => told(room.toggle_mute(call).is_some()),
                "remove" => told(room.remove(call)),
                "lock" => told({
                    room.lock(true);
                    true
                }),
                "unlock" => told({
                    room.lock(false);
                    true
                }),
                "end" => told({
                    room.end();
                    true
                }),
                other => panic!("{other}"),
            };
            let number = |it: CallId| u128::from_str_radix(it.to_string().trim_start_matches("call_"), 16).unwrap();
            while let Some(change) = room.poll_change() {
                seen.push(match change {
                    Change::Muted(call, true) => format!("muted{}", number(call)),
                    Change::Muted(call, false) => format!("unmuted{}", number(call)),
                    Change::Begins => "begins".to_owned(),
                    Change::Leaves(call) => format!("leaves{}", number(call)),
                });
            }
            log.push(if seen.is_empty() { "-".to_owned() } else { seen.join(",") });
        }
        assert_eq!(log.join(" "), expected);
    }

    fn told(is_there: bool) -> Vec<String> {
        if is_there { vec![] } else { vec!["nobody".to_owned()] }
    }

    fn call(number: u32) -> CallId {
        format!("call_{number:032x}").parse().unwrap()
    }
}
