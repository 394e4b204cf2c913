//! Headers of a few parts: Content-Type (RFC 3261 §20.15), Retry-After (§20.33), Reason (RFC 3326), Session-Expires
//! (RFC 4028), Replaces (RFC 3891).

use std::borrow::Cow;
use std::fmt;

use super::params::Params;
use super::text::{is_token, number, trim};

/// `type/subtype;parameters`.
#[derive(Clone, Copy, Debug)]
pub struct MediaType<'a> {
    /// `application`.
    pub kind: &'a str,
    /// `sdp`.
    pub subtype: &'a str,
    /// What follows.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// `None` unless there are two tokens.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (essence, params) = with_params(text)?;
        let (kind, subtype) = essence.split_once('/')?;
        let (kind, subtype) = (trim(kind), trim(subtype));
        (is_token(kind) && is_token(subtype)).then_some(Self { kind, subtype, params })
    }

    /// Whether this is `kind/subtype`, without regard to case and parameters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub struct RetryAfter<'a> {
    /// Not before so many seconds.
    pub seconds: u32,
    /// `duration`: how long it can be reached then.
    pub params: Params<'a>,
}

impl<'a> RetryAfter<'a> {
    /// A comment in parentheses is skipped.
    pub fn parse(text: &'a str) -> Option<Self> {
        let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let (seconds, rest) = text.split_at_checked(end)?;
        let mut rest = trim(rest);
        if rest.starts_with('(') {
            rest = trim(rest.get(comment_length(rest)?..)?);
        }
        let params = match rest {
            "" => "",
            rest => trim(rest.strip_prefix(';')?),
        };
        Some(Self { seconds: number(seconds)?, params: Params::new(params) })
    }
}

/// Bytes of the comment that `text` starts with: parentheses nest (RFC 3261 §25.1).
fn comment_length(text: &str) -> Option<usize> {
    let (mut depth, mut is_escaped) = (0_u32, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => (),
        }
    }
    None
}

/// Why a request was sent or a response given.
#[derive(Clone, Copy, Debug)]
pub struct ReasonValue<'a> {
    /// `SIP`, `Q.850` …
    pub protocol: &'a str,
    /// `cause` and `text`.
    pub params: Params<'a>,
}

impl<'a> ReasonValue<'a> {
    /// `None` unless the protocol is a token.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (protocol, params) = with_params(text)?;
        is_token(protocol).then_some(Self { protocol, params })
    }

    /// The code, in the protocol's numbers.
    pub fn cause(&self) -> Option<u16> {
        self.params.value("cause").and_then(number)
    }

    /// The words.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.unquoted("text")
    }
}

/// How long a session lives without a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval.
    pub seconds: u32,
    /// Who refreshes, if it is said.
    pub refresher: Option<Refresher>,
}

/// Who refreshes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// Its receiver.
    Uas,
}

impl SessionExpires {
    /// `None` unless it is a number, and a refresher that is `uac` or `uas`.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, params) = with_params(text)?;
        let refresher = match params.get("refresher") {
            None => None,
            Some(Some(it)) if it.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(Some(it)) if it.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return None,
        };
        Some(Self { seconds: number(seconds)?, refresher })
    }
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            None => Ok(()),
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
        }
    }
}

/// The dialog that an INVITE is to take the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaces {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the side that receives the INVITE.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Only if it is not confirmed yet.
    pub early_only: bool,
}

impl Replaces {
    /// `None` unless there are a Call-ID and one tag of each kind.
    pub fn parse(text: &str) -> Option<Self> {
        let (call_id, params) = with_params(text)?;
        let once = |name: &str| {
            let mut all = params.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
            let value = all.next()?.1?;
            (all.next().is_none() && is_token(value)).then(|| value.to_owned())
        };
        if call_id.is_empty() || call_id.contains(super::text::is_blank) {
            return None;
        }
        let (to_tag, from_tag) = (once("to-tag")?, once("from-tag")?);
        Some(Self { call_id: call_id.to_owned(), to_tag, from_tag, early_only: params.contains("early-only") })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.early_only { ";early-only" } else { "" };
        write!(f, "{};to-tag={};from-tag={}{early}", self.call_id, self.to_tag, self.from_tag)
    }
}

/// What stands before the first semicolon, and well-formed parameters after it.
fn with_params(text: &str) -> Option<(&str, Params<'_>)> {
    let (before, params) = match text.split_once(';') {
        Some((before, params)) => (before, Some(Params::new(trim(params)))),
        None => (text, None),
    };
    match params {
        Some(params) => params.is_well_formed().then_some((trim(before), params)),
        None => Some((trim(before), Params::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let sdp = MediaType::parse("Application / SDP ; charset=\"utf-8\"").expect("valid");
        assert!(sdp.is("application", "sdp") && !sdp.is("text", "sdp"));
        assert_eq!(sdp.params.unquoted("charset").as_deref(), Some("utf-8"));
        for bad in ["", "application", "application/", "a/b/c", "a b/c", "a/b;", "a/b;x=\"y"] {
            assert!(MediaType::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn retry_after() {
        let seconds = |text| RetryAfter::parse(text).map(|it| it.seconds);
        assert_eq!(
            (seconds("18000;duration=3600"), seconds("120 (I'm in a (long) \\) meeting)")),
            (Some(18_000), Some(120))
        );
        assert_eq!(RetryAfter::parse("5 (x) ;duration=6").and_then(|it| it.params.value("duration")), Some("6"));
        assert_eq!((seconds("0"), seconds("949302838503028349304023988")), (Some(0), None));
        assert_eq!((seconds(""), seconds("-1"), seconds("5 (x"), seconds("5 x")), (None, None, None, None));
    }

    #[test]
    fn reasons() {
        let reason = ReasonValue::parse("Q.850;cause=16;text=\"Normal; clearing\"").expect("valid");
        assert_eq!((reason.protocol, reason.cause()), ("Q.850", Some(16)));
        assert_eq!(reason.text().as_deref(), Some("Normal; clearing"));
        assert!(ReasonValue::parse("SIP ;cause=x").is_some_and(|it| it.cause().is_none()));
        assert!(ReasonValue::parse(";cause=1").is_none());
    }

    #[test]
    fn session_intervals() {
        let expect = |seconds, refresher| Some(SessionExpires { seconds, refresher });
        assert_eq!(SessionExpires::parse("1800"), expect(1800, None));
        assert_eq!(SessionExpires::parse("90 ; Refresher = UAS"), expect(90, Some(Refresher::Uas)));
        assert_eq!(
            SessionExpires::parse("90;refresher=uac").map(|it| it.to_string()).as_deref(),
            Some("90;refresher=uac")
        );
        for bad in ["", "x", "-1", "4294967296", "90;refresher", "90;refresher=me"] {
            assert_eq!(SessionExpires::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dialogs_to_replace() {
        let replaces = Replaces::parse("98732@h ;from-tag=r33;to-tag=f00;early-only").expect("valid");
        assert_eq!((replaces.from_tag.as_str(), replaces.to_tag.as_str(), replaces.early_only), ("r33", "f00", true));
        assert_eq!(replaces.to_string(), "98732@h;to-tag=f00;from-tag=r33;early-only");
        for bad in
            ["", "a;to-tag=1", "a;to-tag=1;from-tag=2;to-tag=3", ";to-tag=1;from-tag=2", "a b;to-tag=1;from-tag=2"]
        {
            assert_eq!(Replaces::parse(bad), None, "{bad}");
        }
    }
}
