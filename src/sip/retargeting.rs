//! How a call came to where it is: History-Info (RFC 7044) and Diversion (RFC 5806).

use std::fmt;
use std::str::FromStr;

use smallvec::SmallVec;

use super::header_name::HeaderName;
use super::headers::Headers;
use super::name_addr::NameAddr;
use super::uri::Uri;
use crate::limits::HISTORY_LEVELS_MAX;

/// One entry of History-Info: whom a call was sent to.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    address: NameAddr,
    /// Its place in the tree of places where the call has been.
    pub index: HistoryIndex,
    /// How it came to be, and from which entry.
    pub from: Option<(Retargeting, HistoryIndex)>,
}

/// How an entry of History-Info came to be (RFC 7044 §10.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retargeting {
    /// `rc`: one of the places where the user of the entry before is registered.
    Contact,
    /// `mp`: somebody else.
    Mapped,
    /// `np`: the same, sent on.
    Unchanged,
}

/// The index of an entry: `1.2.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryIndex(SmallVec<[u32; 4]>);

/// One Diversion: who sent a call on.
#[derive(Clone, Debug)]
pub struct Diversion {
    address: NameAddr,
}

impl HistoryEntry {
    /// `None` unless there are an address and an index.
    pub fn parse(text: &str) -> Option<Self> {
        let address = NameAddr::parse(text).ok()?;
        let params = address.params();
        let index = params.value("index")?.parse().ok()?;
        let from = Retargeting::ALL.into_iter().find_map(|it| {
            let value = params.value(it.name())?;
            Some((it, value.parse().ok()?))
        });
        Some(Self { address, index, from })
    }

    /// Whom, without header fields.
    pub fn uri(&self) -> Uri {
        self.address.uri().without_headers()
    }

    /// The SIP status with which it gave the call away.
    pub fn status(&self) -> Option<u16> {
        let reason = self.address.uri().header("Reason")?;
        let reason = super::fields::ReasonValue::parse(&reason)?;
        reason.cause().filter(|_| reason.protocol.eq_ignore_ascii_case("SIP"))
    }

    /// Whether it is not for others to see.
    pub fn is_private(&self) -> bool {
        let privacy = self.address.uri().header("Privacy");
        privacy.is_some_and(|it| it.split([';', ',']).any(|it| !it.trim().eq_ignore_ascii_case("none")))
    }
}

impl Retargeting {
    const ALL: [Self; 3] = [Self::Contact, Self::Mapped, Self::Unchanged];

    /// The name of the parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contact => "rc",
            Self::Mapped => "mp",
            Self::Unchanged => "np",
        }
    }
}

impl HistoryIndex {
    /// `1`.
    pub fn first() -> Self {
        Self(SmallVec::from_slice(&[1]))
    }

    /// The place number `number` below this one; `None` if that is too deep.
    pub fn below(&self, number: u32) -> Option<Self> {
        let mut index = self.clone();
        index.0.push(number);
        (index.0.len() <= HISTORY_LEVELS_MAX).then_some(index)
    }
}

impl FromStr for HistoryIndex {
    type Err = MalformedIndex;

    fn from_str(text: &str) -> Result<Self, MalformedIndex> {
        let mut index = SmallVec::new();
        for number in text.split('.') {
            index.push(super::text::number(number).ok_or(MalformedIndex)?);
            if index.len() > HISTORY_LEVELS_MAX {
                return Err(MalformedIndex);
            }
        }
        Ok(Self(index))
    }
}

/// The text is not numbers with dots between them, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an index is numbers with dots between them")]
pub struct MalformedIndex;

impl fmt::Display for HistoryIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, number) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

impl Diversion {
    /// `None` unless there is an address.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { address: NameAddr::parse(text).ok()? })
    }

    /// Who sent the call on.
    pub const fn uri(&self) -> &Uri {
        self.address.uri()
    }

    /// Why: `unconditional`, `user-busy`, `no-answer` …
    pub fn reason(&self) -> Option<String> {
        Some(self.address.params().unquoted("reason")?.into_owned())
    }

    /// Whether it is not for others to see.
    pub fn is_private(&self) -> bool {
        let privacy = self.address.params().unquoted("privacy");
        privacy.is_some_and(|it| !it.eq_ignore_ascii_case("off"))
    }
}

impl Headers {
    /// History-Info (RFC 7044), in the order in which it is written; malformed entries are left out.
    pub fn history(&self) -> impl Iterator<Item = HistoryEntry> {
        self.list(&HeaderName::HistoryInfo).filter_map(HistoryEntry::parse)
    }

    /// Diversion (RFC 5806), the last one who sent the call on first; malformed ones are left out.
    pub fn diversions(&self) -> impl Iterator<Item = Diversion> {
        self.list(&HeaderName::Diversion).filter_map(Diversion::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_history() {
        check(
            "<sip:+4930@h?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22&Privacy=history>;index=1",
            Some(("sip:+4930@h", "1", None, Some(302), true)),
        );
        check(
            "\"B\" <sip:b@h;user=phone>;index=1.2.3;rc=1.2",
            Some(("sip:b@h;user=phone", "1.2.3", Some("rc 1.2"), None, false)),
        );
        check(
            "<sip:b@h?Reason=Q.850%3Bcause%3D17>;index=1.1;mp=1",
            Some(("sip:b@h", "1.1", Some("mp 1"), None, false)),
        );
        check("<sip:b@h?Privacy=none>;index=1.1;np=x", Some(("sip:b@h", "1.1", None, None, false)));
        for bad in
            ["", "<sip:b@h>", "<sip:b@h>;index=", "<sip:b@h>;index=1.", "<sip:b@h>;index=a", "sip:b@h?x=y;index=1"]
        {
            check(bad, None);
        }
        let deep = vec!["1"; HISTORY_LEVELS_MAX + 1].join(".");
        check(&format!("<sip:b@h>;index={deep}"), None);
        let deepest: HistoryIndex = deep.strip_suffix(".1").expect("is longer").parse().expect("may be so deep");
        assert_eq!((deepest.below(1), HistoryIndex::first().below(2)), (None, "1.2".parse().ok()));
    }

    type Read<'a> = (&'a str, &'a str, Option<&'a str>, Option<u16>, bool);

    #[track_caller]
    fn check(text: &str, expected: Option<Read<'_>>) {
        let entry = HistoryEntry::parse(text);
        let from = |it: &HistoryEntry| it.from.as_ref().map(|(how, from)| format!("{} {from}", how.name()));
        let found = entry.as_ref().map(|it| (it.uri().to_string(), it.index.to_string(), from(it)));
        let found = found.as_ref().zip(entry.as_ref());
        let found =
            found.map(|((uri, index, from), it)| (&**uri, &**index, from.as_deref(), it.status(), it.is_private()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn diversions() {
        let diversion =
            Diversion::parse("<sip:300@h>;reason=\"user-busy\";counter=1;privacy=full").expect("an address");
        let seen = (diversion.uri().as_str(), diversion.reason(), diversion.is_private());
        assert_eq!(seen, ("sip:300@h", Some("user-busy".to_owned()), true));
        assert!(
            Diversion::parse("<sip:300@h>;privacy=off").is_some_and(|it| !it.is_private() && it.reason().is_none())
        );
        assert!(Diversion::parse(";reason=x").is_none());
    }
}
