//! Header names: RFC 3261 §7.3.1, §7.3.3, §20 and the registry that grew from it. Compared without regard to case, with
//! the compact forms known; any other token is a name too.

use std::fmt;

use super::text::is_token;

macro_rules! header_names {
    ($($variant:ident $name:literal $($compact:literal)?,)*) => {
        /// The name of a header.
        #[derive(Clone, Debug)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
            /// Any other token; compared without regard to case.
            Other(Box<str>),
        }

        /// A name of the list above, as the header index keeps it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(crate) enum Known { $($variant,)* }

        const NAMES: &[(Known, &str)] = &[$((Known::$variant, $name),)*];

        impl HeaderName {
            /// The full name in its usual spelling.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $name,)* Self::Other(name) => name }
            }

            pub(crate) fn known(&self) -> Option<Known> {
                match self { $(Self::$variant => Some(Known::$variant),)* Self::Other(name) => Known::of(name.as_bytes()) }
            }
        }

        impl From<Known> for HeaderName {
            fn from(known: Known) -> Self {
                match known { $(Known::$variant => Self::$variant,)* }
            }
        }

        const fn compact(letter: u8) -> Option<Known> {
            match letter { $($($compact => Some(Known::$variant),)?)* _ => None }
        }
    };
}

header_names! {
    Accept "Accept",
    AcceptContact "Accept-Contact" b'a',
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" b'u',
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallId "Call-ID" b'i',
    CallInfo "Call-Info",
    Contact "Contact" b'm',
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" b'e',
    ContentLanguage "Content-Language",
    ContentLength "Content-Length" b'l',
    ContentType "Content-Type" b'c',
    CSeq "CSeq",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" b'o',
    Expires "Expires",
    FlowTimer "Flow-Timer",
    From "From" b'f',
    HistoryInfo "History-Info",
    Identity "Identity" b'y',
    InReplyTo "In-Reply-To",
    Join "Join",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAssertedIdentity "P-Asserted-Identity",
    Path "Path",
    PChargingVector "P-Charging-Vector",
    PEarlyMedia "P-Early-Media",
    PPreferredIdentity "P-Preferred-Identity",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    Reason "Reason",
    RecordRoute "Record-Route",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To" b'r',
    ReferredBy "Referred-By" b'b',
    RejectContact "Reject-Contact" b'j',
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    RequestDisposition "Request-Disposition" b'd',
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    RSeq "RSeq",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires" b'x',
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" b's',
    SubscriptionState "Subscription-State",
    Supported "Supported" b'k',
    Timestamp "Timestamp",
    To "To" b't',
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    UserToUser "User-to-User",
    Via "Via" b'v',
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

impl HeaderName {
    /// `None` unless the text is a token. Compact forms and odd case give the known name.
    pub fn parse(text: &str) -> Option<Self> {
        match Known::of(text.as_bytes()) {
            Some(known) => Some(known.into()),
            None => is_token(text).then(|| Self::Other(text.into())),
        }
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self.known(), other.known()) {
            (None, None) => self.as_str().eq_ignore_ascii_case(other.as_str()),
            (one, two) => one == two,
        }
    }
}

impl Eq for HeaderName {}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Known {
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        if let [letter] = name {
            return compact(letter.to_ascii_lowercase());
        }
        let index = *BY_SLOT.get(slot(name)?)?;
        let (known, spelling) = NAMES.get(usize::from(index))?;
        let same = spelling.as_bytes() == name || spelling.as_bytes().eq_ignore_ascii_case(name);
        same.then_some(*known)
    }
}

const SLOTS: usize = 256;
const NOBODY: u8 = u8::MAX;

/// Where each name is looked for: a perfect hash, which the compiler checks.
static BY_SLOT: [u8; SLOTS] = by_slot();

/// Distinguishes the names by their length, first, third and last letters.
#[inline]
const fn slot(name: &[u8]) -> Option<usize> {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return None;
    };
    let third = match name {
        [_, _, third, ..] => *third,
        _ => 0,
    };
    let lower = [*first | 0x20, third | 0x20, *last | 0x20];
    let [first, third, last] = [lower[0] as usize, lower[1] as usize, lower[2] as usize];
    let sum = first.wrapping_mul(91).wrapping_add(third.wrapping_mul(174)).wrapping_add(last.wrapping_mul(9));
    Some(sum.wrapping_add(name.len().wrapping_mul(74)) % SLOTS)
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "runs in the compiler, which would refuse"
)]
const fn by_slot() -> [u8; SLOTS] {
    let mut table = [NOBODY; SLOTS];
    let mut index = 0;
    while index < NAMES.len() {
        let Some(slot) = slot(NAMES[index].1.as_bytes()) else {
            break;
        };
        assert!(table[slot] == NOBODY, "two names share a slot: choose other factors");
        table[slot] = index as u8;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_compact() {
        for (_, name) in NAMES {
            let upper = HeaderName::parse(&name.to_ascii_uppercase());
            assert_eq!(upper.as_ref().map(HeaderName::as_str), Some(*name));
        }
        for (compact, full) in [("i", "Call-ID"), ("V", "via"), ("x", "Session-Expires"), ("Y", "identity")] {
            assert_eq!(HeaderName::parse(compact), HeaderName::parse(full), "{compact}");
        }
        assert_eq!(HeaderName::parse("x-Foo"), Some(HeaderName::Other("X-FOO".into())));
        assert_eq!(HeaderName::Other("cseq".into()), HeaderName::CSeq);
        assert_ne!(HeaderName::To, HeaderName::From);
        for bad in ["", "a b", "To:", "Tö", "To\0"] {
            assert_eq!(HeaderName::parse(bad), None, "{bad}");
        }
    }
}
