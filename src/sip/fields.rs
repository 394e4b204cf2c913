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
