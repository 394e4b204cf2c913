//! Session timers: RFC 4028. Two sides agree on an interval and on who refreshes; a session that is not refreshed ends.
//!
//! | at                              | refresher                | other side |
//! |---------------------------------|--------------------------|------------|
//! | half of the interval            | UPDATE or re-INVITE      |            |
//! | again, while it is not answered | the same, after a pause  |            |
//! | min(32 s, a third) before its end | BYE                    | BYE        |
//!
//! Each 2xx to an INVITE or UPDATE, of either side, agrees anew and starts the interval again.
//!
//! Deviations: a 2xx to a refresh of ours without Session-Expires leaves the terms as they are while we are the refresher
//! (§7.2 ends the timer then): the peer may have forgotten the header but not the timer. A Session-Expires that cannot be
//! read counts as absent.

use std::time::{Duration, Instant};

use crate::limits::{SESSION_INTERVAL_S_MAX, SESSION_INTERVAL_S_MIN};
use crate::sip::{HeaderName, Headers, Refresher, RequestBuilder, ResponseBuilder};
use crate::transport::refusal::Refusal;

/// What we want of session timers. A peer that asks for one gets it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimers {
    /// The interval that we ask for, and the longest we agree to, in seconds.
    pub interval_s: u32,
    /// The shortest interval that we agree to, in seconds: at least 90 (RFC 4028 §5).
    pub min_s: u32,
    /// Whether calls that come in get a timer if the peer knows timers and did not ask for one.
    pub inbound: bool,
    /// Whether calls of ours ask for a timer.
    pub outbound: bool,
}

/// What two sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) interval_s: u32,
    pub(crate) we_refresh: bool,
}

/// What our requests ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    interval_s: u32,
    min_s: u32,
}

/// The timer of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimer {
    terms: Terms,
    refresh_at: Option<Instant>,
    end_at: Instant,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Refresh the session.
    Refresh,
    /// Nobody refreshed it: end it.
    End,
}

impl Default for SessionTimers {
    /// Half an hour, as §4 recommends.
    fn default() -> Self {
        Self { interval_s: 1_800, min_s: MIN_SE_S, inbound: true, outbound: true }
    }
}

impl SessionTimers {
    /// What we agree to in answer to an INVITE or UPDATE with these `headers` (§9); `None` if there is to be no timer.
    /// `current` is what held until now.
    pub(crate) fn agree(self, headers: &Headers, current: Option<Terms>) -> Result<Option<Terms>, Refusal> {
        let is_known = knows_timers(headers);
        let min_s = self.min_s.max(MIN_SE_S);
        let peer_min_s = headers.min_se().and_then(Result::ok).unwrap_or(MIN_SE_S).min(SESSION_INTERVAL_S_MAX);
        let most_s = self.interval_s.max(min_s).max(peer_min_s);
        let we_refresh_now = current.map(|it| it.we_refresh);
        match headers.session_expires().and_then(Result::ok) {
            Some(asked) if asked.seconds < min_s && is_known => Err(Refusal::IntervalTooSmall { min_s }),
            Some(asked) => {
                let we_refresh = match asked.refresher {
                    _ if !is_known => true,
                    Some(Refresher::Uac) => false,
                    Some(Refresher::Uas) => true,
                    None => we_refresh_now.unwrap_or(false),
                };
                Ok(Some(Terms { interval_s: asked.seconds.clamp(min_s, most_s), we_refresh }))
            }
            None if current.is_some() => Ok(current),
            None if is_known && self.inbound => Ok(Some(Terms { interval_s: most_s, we_refresh: true })),
            None => Ok(None),
        }
    }

    /// What an INVITE of ours asks for.
    pub(crate) fn ask(self) -> Option<Asked> {
        let min_s = self.min_s.max(MIN_SE_S);
        self.outbound.then_some(Asked { interval_s: self.interval_s.max(min_s), min_s })
    }
}

impl Asked {
    /// What to ask for after a 422 with these `headers` (§7.3); `None` if asking again is of no use.
    pub(crate) fn after_refusal(self, headers: &Headers) -> Option<Self> {
        let min_s = headers.min_se()?.ok().filter(|it| *it > self.min_s && *it <= SESSION_INTERVAL_S_MAX)?;
        Some(Self { interval_s: self.interval_s.max(min_s), min_s })
    }

    /// Writes the header fields of a request (§7.1, §7.4). `current` is what holds now: who refreshes goes on doing so.
    pub(crate) fn write(self, builder: RequestBuilder, current: Option<Terms>) -> RequestBuilder {
        let interval_s = current.map_or(self.interval_s, |it| it.interval_s).max(self.min_s);
        let builder = match current.map(|it| it.we_refresh) {
            Some(true) => builder.header(HeaderName::SessionExpires, format_args!("{interval_s};refresher=uac")),
            Some(false) => builder.header(HeaderName::SessionExpires, format_args!("{interval_s};refresher=uas")),
            None => builder.header(HeaderName::SessionExpires, interval_s),
        };
        if self.min_s > MIN_SE_S { builder.header(HeaderName::MinSe, self.min_s) } else { builder }
    }
}

impl Terms {
    /// What a 2xx of the peer with these `headers` grants (§7.2).
    pub(crate) fn granted(headers: &Headers) -> Option<Self> {
        let granted = headers.session_expires()?.ok()?;
        let interval_s = granted.seconds.clamp(SESSION_INTERVAL_S_MIN, SESSION_INTERVAL_S_MAX);
        Some(Self { interval_s, we_refresh: granted.refresher != Some(Refresher::Uas) })
    }

    /// Writes the header fields of a 2xx of ours (§9). A peer that is to refresh has to know that.
    pub(crate) fn write(self, builder: ResponseBuilder) -> ResponseBuilder {
        let Self { interval_s, we_refresh } = self;
        if we_refresh {
            builder.header(HeaderName::SessionExpires, format_args!("{interval_s};refresher=uas"))
        } else {
            builder
                .header(HeaderName::SessionExpires, format_args!("{interval_s};refresher=uac"))
                .header(HeaderName::Require, "timer")
        }
    }

    /// What requests within the session ask for.
    pub(crate) const fn ask(self) -> Asked {
        Asked { interval_s: self.interval_s, min_s: MIN_SE_S }
    }
}

impl SessionTimer {
    /// A session that was begun or refreshed at `now`.
    pub(crate) fn start(terms: Terms, now: Instant) -> Self {
        let interval = Duration::from_secs(terms.interval_s.into());
        let early = (interval / 3).min(Duration::from_secs(END_EARLY_S));
        let refresh_at = terms.we_refresh.then(|| now + interval / 2);
        Self { terms, refresh_at, end_at: now + interval.saturating_sub(early) }
    }

    /// What is agreed on.
    pub(crate) const fn terms(&self) -> Terms {
        self.terms
    }

    /// What is due at `now`. A refresh is due again, after a pause, until the timer is started anew.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        if self.end_at <= now {
            return Some(Due::End);
        }
        self.refresh_at.take_if(|it| *it <= now)?;
        let pause = Duration::from_secs(self.terms.interval_s.into()) / 12;
        self.refresh_at = Some(now + pause.max(Duration::from_secs(PAUSE_S_MIN)));
        Some(Due::Refresh)
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.refresh_at.map_or(self.end_at, |it| it.min(self.end_at))
    }
}

/// Whether the sender of a message knows session timers.
fn knows_timers(headers: &Headers) -> bool {
    [HeaderName::Supported, HeaderName::Require].iter().any(|it| headers.lists(it, "timer"))
}

/// The least Min-SE, and what it is where it is not said (§5).
const MIN_SE_S: u32 = 90;

/// How long before its end a session that was not refreshed is ended (§10).
const END_EARLY_S: u64 = 32;

/// The least pause before another refresh, if one was refused.
const PAUSE_S_MIN: u64 = 5;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::Message;
    use crate::timer::Now;

    #[test]
    fn what_is_agreed_to() {
        let plain = SessionTimers::default();
        check(plain, "", None, "no timer");
        check(plain, "Supported: timer", None, "1800 ours");
        check(SessionTimers { inbound: false, ..plain }, "Supported: timer", None, "no timer");
        check(plain, "Supported: timer\r\nMin-SE: 3600", None, "3600 ours");
        check(plain, "Supported: timer\r\nSession-Expires: 90", None, "90 theirs");
        check(plain, "Supported: timer\r\nSession-Expires: 600;refresher=uas", None, "600 ours");
        check(plain, "k: timer\r\nx: 600;refresher=uac", None, "600 theirs");
        check(plain, "Supported: timer\r\nSession-Expires: 7200", None, "1800 theirs");
        check(plain, "Supported: timer\r\nSession-Expires: 89", None, "IntervalTooSmall { min_s: 90 }");
        check(plain, "Require: timer\r\nSession-Expires: 0", None, "IntervalTooSmall { min_s: 90 }");
        // A proxy asked for it, and the peer cannot refresh.
        check(plain, "Session-Expires: 600;refresher=uac", None, "600 ours");
        check(plain, "Session-Expires: 20", None, "90 ours");
        check(plain, "Supported: timer\r\nSession-Expires: soon", None, "1800 ours");
        let ours = Some(Terms { interval_s: 600, we_refresh: true });
        check(plain, "Supported: timer\r\nSession-Expires: 600", ours, "600 ours");
        check(plain, "Supported: timer\r\nSession-Expires: 600;refresher=uac", ours, "600 theirs");
        check(plain, "", ours, "600 ours");
    }

    #[test]
    fn a_refusal_raises_what_is_asked_once() {
        let asked = SessionTimers::default().ask().expect("on by default");
        let again = asked.after_refusal(&headers("Min-SE: 3600")).expect("asks again");
        assert_eq!(again, Asked { interval_s: 3_600, min_s: 3_600 });
        for useless in ["Min-SE: 3600", "Min-SE: 90", "", "Min-SE: 4294967295"] {
            assert_eq!(again.after_refusal(&headers(useless)), None, "{useless}");
        }
    }

    #[test]
    fn a_refresh_is_due_at_half_time_and_the_end_a_third_or_32_s_early() {
        run(
            1_800,
            true,
            &[
                "900 Refresh",
                "1050 Refresh",
                "1200 Refresh",
                "1350 Refresh",
                "1500 Refresh",
                "1650 Refresh",
                "1768 End",
            ],
        );
        run(90, true, &["45 Refresh", "52.5 Refresh", "60 End"]);
        run(90, false, &["60 End"]);
        run(1_800, false, &["1768 End"]);
    }

    #[track_caller]
    fn run(interval_s: u32, we_refresh: bool, expected: &[&str]) {
        let start = Now::origin().instant;
        let mut timer = SessionTimer::start(Terms { interval_s, we_refresh }, start);
        let mut log = vec![];
        loop {
            let now = timer.poll_timeout();
            assert_eq!(timer.handle_timeout(now - Duration::from_millis(1)), None, "early calls do nothing");
            let due = timer.handle_timeout(now).expect("its time has come");
            log.push(format!("{} {due:?}", (now - start).as_secs_f64()));
            if due == Due::End {
                break;
            }
        }
        assert_eq!(log, expected);
    }

    #[track_caller]
    fn check(config: SessionTimers, lines: &str, current: Option<Terms>, expected: &str) {
        let found = match config.agree(&headers(lines), current) {
            Ok(None) => "no timer".to_owned(),
            Ok(Some(it)) => format!("{} {}", it.interval_s, if it.we_refresh { "ours" } else { "theirs" }),
            Err(refusal) => format!("{refusal:?}"),
        };
        assert_eq!(found, expected, "{lines}");
    }

    fn headers(lines: &str) -> Headers {
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        );
        Message::parse(Bytes::from(text)).expect("an INVITE").headers().clone()
    }
}
