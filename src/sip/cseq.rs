//! CSeq (RFC 3261 §20.16) and RAck (RFC 3262 §7.2), which names one.

use std::fmt;

use super::method::Method;
use super::text::{number, trim};

/// Orders the requests of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// `None` unless it is a number below 2^31 and a method.
    pub fn parse(text: &str) -> Option<Self> {
        let text = trim(text);
        let (first, method) = text.split_at_checked(text.bytes().position(super::text::is_blank_byte)?)?;
        let number = number::<u32>(first).filter(|it| *it < 1 << 31)?;
        Some(Self { number, method: Method::parse(trim(method))? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Which reliable provisional response a PRACK acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The CSeq of the response.
    pub cseq: CSeq,
}

impl RAck {
    /// `None` unless it is an RSeq and a CSeq.
    pub fn parse(text: &str) -> Option<Self> {
        let (rseq, cseq) = trim(text).split_once(super::text::is_blank)?;
        Some(Self { rseq: number(rseq)?, cseq: CSeq::parse(cseq)? })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let invite = |number| Some(CSeq { number, method: Method::Invite });
        assert_eq!(CSeq::parse("1 INVITE"), invite(1));
        assert_eq!(CSeq::parse(" 0009\t  INVITE "), invite(9));
        assert_eq!(CSeq::parse("2147483647 INVITE"), invite(2_147_483_647));
        for bad in ["", "1", "INVITE", "2147483648 INVITE", "-1 INVITE", "+1 INVITE", "1INVITE", "1 INV ITE", "1 ("] {
            assert_eq!(CSeq::parse(bad), None, "{bad}");
        }
        let rack = RAck::parse("776656 1 INVITE").expect("valid");
        assert_eq!((rack.rseq, rack.to_string().as_str()), (776_656, "776656 1 INVITE"));
        assert_eq!(RAck::parse("1 INVITE"), None);
    }
}
