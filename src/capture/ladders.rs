//! Whose messages they are: by Call-ID (RFC 3261 §8.1.1.4), which is the same for all messages of a dialog.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Message, call_id};
use crate::identity::CallId;
use crate::limits::{
    CAPTURE_BYTES_MAX, CAPTURE_CALL_BYTES_MAX, CAPTURE_CALL_MESSAGES_MAX, CAPTURE_CALLS_MAX, CAPTURE_LINGER_MS,
    CAPTURE_SETTLE_MS, CAPTURE_UNKNOWN_MAX, CAPTURE_UNKNOWN_MESSAGES_MAX, CAPTURE_UNKNOWN_MS,
};
use crate::timer::{Deadlines, Now};

/// How much is kept. What is beyond is dropped and counted; the first messages of a call are the ones that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderLimits {
    /// Bytes of one call's messages.
    pub call_bytes: usize,
    /// Messages of one call.
    pub call_messages: u32,
    /// Bytes of all messages that wait to be given back.
    pub bytes: usize,
    /// Calls that are followed, those included that ended a short while ago.
    pub calls: usize,
}

impl Default for LadderLimits {
    fn default() -> Self {
        Self {
            call_bytes: CAPTURE_CALL_BYTES_MAX,
            call_messages: CAPTURE_CALL_MESSAGES_MAX,
            bytes: CAPTURE_BYTES_MAX,
            calls: CAPTURE_CALLS_MAX,
        }
    }
}

/// What became of the messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LadderCounts {
    /// Messages given back.
    pub kept: u64,
    /// Messages of calls that were beyond a limit.
    pub dropped: u64,
    /// Bytes of messages that wait to be given back.
    pub waiting_bytes: u64,
    /// Calls that are followed.
    pub calls: u64,
}

/// A part of a call's ladder, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The call.
    pub call: CallId,
    /// Counts the parts of the call from zero.
    pub number: u32,
    /// Its messages, in order, with their secrets.
    pub messages: Vec<Message>,
    /// How many messages of the call were not kept until now.
    pub not_kept: u64,
}

/// The ladders of all calls, as far as they are not given back. Messages of a call are given back soon after the first of
/// them came, so that an idle call holds none, and a crash costs the latest ones only.
#[derive(Debug)]
pub struct Ladders {
    limits: LadderLimits,
    calls: BTreeMap<CallId, Ladder>,
    by_call_id: HashMap<Box<[u8]>, CallId>,
    deadlines: Deadlines<CallId>,
    /// INVITEs that are nobody's yet, and what followed: their caller may have to show a password first.
    unknown: HashMap<Box<[u8]>, Vec<Message>>,
    unknown_order: VecDeque<(Instant, Box<[u8]>)>,
    bytes: usize,
    counts: LadderCounts,
    parts: VecDeque<Part>,
}

/// One call's.
#[derive(Debug, Default)]
struct Ladder {
    call_ids: Vec<Box<[u8]>>,
    waiting: Vec<Message>,
    settle_at: Option<Instant>,
    forget_at: Option<Instant>,
    parts: u32,
    messages: u32,
    bytes: usize,
    not_kept: u64,
    is_not_kept_told: bool,
}

impl Ladder {
    fn poll_timeout(&self) -> Option<Instant> {
        self.settle_at.into_iter().chain(self.forget_at).min()
    }
}

impl Ladders {
    /// Nothing was seen yet.
    pub fn new(limits: LadderLimits) -> Self {
        Self {
            limits,
            calls: BTreeMap::new(),
            by_call_id: HashMap::new(),
            deadlines: Deadlines::new(),
            unknown: HashMap::new(),
            unknown_order: VecDeque::new(),
            bytes: 0,
            counts: LadderCounts::default(),
            parts: VecDeque::new(),
        }
    }

    /// The messages with this Call-ID are those of `call`; a call may have several. A Call-ID that two calls claim
    /// belongs to the later one.
    pub fn bind(&mut self, call: CallId, call_id: &[u8], now: Now) {
        if !self.calls.contains_key(&call) && self.calls.len() >= self.limits.calls {
            return;
        }
        let ladder = self.calls.entry(call).or_default();
        if ladder.call_ids.iter().any(|it| **it == *call_id) {
            return;
        }
        ladder.call_ids.push(call_id.into());
        self.by_call_id.insert(call_id.into(), call);
        for message in self.unknown.remove(call_id).unwrap_or_default() {
            self.bytes = self.bytes.saturating_sub(message.data.len());
            self.keep(call, message, now);
        }
    }

    /// A message was sent or received. Returns the call that it belongs to, if that is known.
    pub fn handle_message(&mut self, message: Message, now: Now) -> Option<CallId> {
        let id = call_id(&message.data)?;
        if let Some(call) = self.by_call_id.get(id).copied() {
            self.keep(call, message, now);
            return Some(call);
        }
        let has_room = self.bytes + message.data.len() <= self.limits.bytes;
        if let Some(before) = self.unknown.get_mut(id) {
            if has_room && before.len() < CAPTURE_UNKNOWN_MESSAGES_MAX {
                self.bytes += message.data.len();
                before.push(message);
            }
        } else if has_room && message.data.starts_with(b"INVITE ") {
            let id: Box<[u8]> = id.into();
            self.forget_unknown(|length, _| length >= CAPTURE_UNKNOWN_MAX);
            let until = now.instant + Duration::from_millis(CAPTURE_UNKNOWN_MS);
            self.unknown_order.push_back((until, id.clone()));
            self.bytes += message.data.len();
            self.unknown.insert(id, vec![message]);
        }
        None
    }

    /// The call is over. What still comes belongs to it for as long as messages are repeated.
    pub fn end(&mut self, call: CallId, now: Now) {
        if let Some(ladder) = self.calls.get_mut(&call) {
            ladder.forget_at = Some(now.instant + Duration::from_millis(CAPTURE_LINGER_MS));
            self.deadlines.set(call, ladder.poll_timeout());
        }
    }

    /// Everything that waits is given back, because the program ends.
    pub fn finish(&mut self) {
        let waiting: Vec<_> =
            self.calls.iter().filter(|(_, it)| !it.waiting.is_empty()).map(|(call, _)| *call).collect();
        for call in waiting {
            self.give_back(call);
        }
    }

    /// Advances time. A call before [`Self::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(call) = self.deadlines.pop_due(now.instant) {
            let Some(ladder) = self.calls.get(&call) else { continue };
            let is_over = ladder.forget_at.is_some_and(|it| it <= now.instant);
            self.give_back(call);
            if is_over {
                self.forget(call);
            }
        }
        self.forget_unknown(|_, until| until <= now.instant);
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next().into_iter().chain(self.unknown_order.front().map(|(until, _)| *until)).min()
    }

    /// The next part to store, or `None` once drained.
    pub fn poll_part(&mut self) -> Option<Part> {
        self.parts.pop_front()
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> LadderCounts {
        let count = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        LadderCounts { waiting_bytes: count(self.bytes), calls: count(self.calls.len()), ..self.counts }
    }

    fn keep(&mut self, call: CallId, message: Message, now: Now) {
        let Some(ladder) = self.calls.get_mut(&call) else { return };
        let length = message.data.len();
        let is_room = ladder.messages < self.limits.call_messages
            && ladder.bytes + length <= self.limits.call_bytes
            && self.bytes + length <= self.limits.bytes;
        if is_room {
            ladder.messages += 1;
            ladder.bytes += length;
            self.bytes += length;
            ladder.waiting.push(message);
        } else {
            ladder.not_kept += 1;
            ladder.is_not_kept_told = false;
            self.counts.dropped += 1;
        }
        let settle_at = now.instant + Duration::from_millis(CAPTURE_SETTLE_MS);
        if is_room && ladder.settle_at.is_none() {
            ladder.settle_at = Some(settle_at);
            self.deadlines.set(call, ladder.poll_timeout());
        }
    }

    fn give_back(&mut self, call: CallId) {
        let Some(ladder) = self.calls.get_mut(&call) else { return };
        ladder.settle_at = None;
        let messages = std::mem::take(&mut ladder.waiting);
        if !messages.is_empty() || (ladder.not_kept > 0 && !ladder.is_not_kept_told) {
            self.bytes = self.bytes.saturating_sub(messages.iter().map(|it| it.data.len()).sum());
            self.counts.kept += u64::try_from(messages.len()).unwrap_or(u64::MAX);
            let number = ladder.parts;
            ladder.parts += 1;
            ladder.is_not_kept_told = true;
            self.parts.push_back(Part { call, number, messages, not_kept: ladder.not_kept });
        }
        self.deadlines.set(call, ladder.poll_timeout());
    }

    fn forget(&mut self, call: CallId) {
        let Some(ladder) = self.calls.remove(&call) else { return };
        self.deadlines.set(call, None);
        for call_id in ladder.call_ids {
            if self.by_call_id.get(&call_id) == Some(&call) {
                self.by_call_id.remove(&call_id);
            }
        }
    }

    /// Forgets the oldest of what is nobody's for as long as `is_due`, which is asked with how many there are.
    fn forget_unknown(&mut self, is_due: impl Fn(usize, Instant) -> bool) {
        while self.unknown_order.front().is_some_and(|(until, _)| is_due(self.unknown_order.len(), *until)) {
            let Some((_, id)) = self.unknown_order.pop_front() else { return };
            for message in self.unknown.remove(&id).unwrap_or_default() {
                self.bytes = self.bytes.saturating_sub(message.data.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::Direction;
    use crate::transport::{Flow, TransportKind};

    const LIMITS: LadderLimits = LadderLimits { call_bytes: 200, call_messages: 3, bytes: 400, calls: 2 };

    fn call(number: u8) -> CallId {
        format!("call_{number:032x}").parse().unwrap()
    }

    /// Works through a script, one line an input: `AT bind CALL ID`, `AT TEXT ID` for a message, `AT end CALL`, and
    /// `AT tick`; `AT` is in milliseconds. Compares the parts that come back, one a line.
    #[track_caller]
    fn check(script: &str, expected: &str) -> Ladders {
        let origin = Now::origin();
        let mut ladders = Ladders::new(LIMITS);
        let mut shown = vec![];
        for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let words: Vec<_> = line.split(' ').collect();
            let at: u64 = words[0].parse().unwrap();
            let now = origin + Duration::from_millis(at);
            match words[1..] {
                ["bind", of, id] => ladders.bind(call(of.parse().unwrap()), id.as_bytes(), now),
                ["end", of] => ladders.end(call(of.parse().unwrap()), now),
                ["tick"] => ladders.handle_timeout(now),
                ["finish"] => ladders.finish(),
                [text, id] => {
                    let address = "192.0.2.1:5060".parse().unwrap();
                    let flow = Flow { kind: TransportKind::Udp, local: address, remote: address };
                    let data = Bytes::from(format!("{text} \r\nCall-ID: {id}\r\n\r\n"));
                    let message = Message { unix_us: at, direction: Direction::Sent, flow, data };
                    ladders.handle_message(message, now);
                }
                _ => panic!("{line}"),
            }
            while let Some(part) = ladders.poll_part() {
                let texts: Vec<_> = part.messages.iter().map(|it| first_word(&it.data)).collect();
                let (call, number) = (part.call.to_string(), part.number);
                let not_kept = if part.not_kept > 0 { format!(" -{}", part.not_kept) } else { String::new() };
                shown.push(format!("{at} {}/{number} {}{not_kept}", call.trim_start_matches(CALL), texts.join(" ")));
            }
        }
        assert_eq!(shown, expected.lines().map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>());
        ladders
    }

    const CALL: &str = "call_0000000000000000000000000000000";

    fn first_word(data: &[u8]) -> String {
        String::from_utf8_lossy(data).split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn a_call_is_given_back_in_parts() {
        let ladders = check(
            "
            0 bind 1 a
            0 INVITE a
            10 100 a
            500 bind 1 b
            500 INVITE b
            500 OPTIONS c
            999 tick
            1000 tick
            60000 BYE a
            60000 end 1
            61000 tick
            70000 200 a
            71000 tick
            100000 tick
            100001 200 a
            110000 finish
            ",
            "
            1000 1/0 INVITE 100 INVITE
            100000 1/1  -2
            ",
        );
        assert_eq!(ladders.counts(), LadderCounts { kept: 3, dropped: 2, ..LadderCounts::default() });
    }

    #[test]
    fn what_came_before_it_was_known_whose_it_is() {
        let ladders = check(
            "
            0 INVITE a
            1 401 a
            2 ACK a
            3 REGISTER r
            10 bind 1 a
            20 finish
            30 INVITE b
            6000 tick
            6001 bind 2 b
            6002 200 b
            6003 bind 3 c
            6004 INVITE c
            7002 tick
            ",
            "
            20 1/0 INVITE 401 ACK
            7002 2/0 200
            ",
        );
        assert_eq!((ladders.counts().waiting_bytes, ladders.counts().calls), (23, 2));
    }
}
