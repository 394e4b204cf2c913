//! User-to-User (RFC 7433, 7434): what the far application sends along with a call, such as the number of a ticket.

use super::header_name::HeaderName;
use super::headers::Headers;
use super::params::Params;
use super::text::{quoted, trim, unescape_quoted};

/// One User-to-User.
#[derive(Clone, Debug)]
pub struct UserToUser<'a> {
    /// What is sent.
    pub content: Vec<u8>,
    /// `purpose`, `content`, `encoding`.
    pub params: Params<'a>,
}

impl<'a> UserToUser<'a> {
    /// `None` if it is empty, or says that it is hexadecimal and is not.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = trim(text);
        let (content, rest) = match quoted(text) {
            Some((inner, rest)) => (unescape_quoted(inner), trim(rest)),
            None => {
                let (content, rest) = text.split_at_checked(text.find(';').unwrap_or(text.len())).unwrap_or((text, ""));
                (trim(content).into(), rest)
            }
        };
        let params = Params::new(trim(rest.strip_prefix(';').unwrap_or("")));
        let is_hexadecimal =
            params.value("encoding").map_or_else(|| is_hex(&content), |it| it.eq_ignore_ascii_case("hex"));
        let content = if is_hexadecimal { from_hex(&content)? } else { content.as_bytes().to_vec() };
        (!content.is_empty()).then_some(Self { content, params })
    }

    /// The text in it: of what networks interwork with ISDN the first byte is left out, which names a protocol (ITU-T Q.931
    /// §4.5.30). `None` if it is no printable text.
    pub fn text(&self) -> Option<&str> {
        let without = self.content.get(1..).filter(|_| self.content.first().is_some_and(|it| *it < 0x20));
        let text = std::str::from_utf8(without.unwrap_or(&self.content)).ok()?;
        (!text.chars().any(char::is_control)).then_some(text)
    }

    /// The content, two hexadecimal digits a byte.
    pub fn hex(&self) -> String {
        self.content.iter().map(|it| format!("{it:02x}")).collect()
    }
}

impl Headers {
    /// User-to-User; malformed ones are left out.
    pub fn user_to_user(&self) -> impl Iterator<Item = UserToUser<'_>> {
        self.list(&HeaderName::UserToUser).filter_map(UserToUser::parse)
    }
}

/// As RFC 7433 wants it unless another encoding is named.
fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let pair = |it: &[u8]| match it {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents() {
        check("48656c6c6f;encoding=hex;purpose=x", Some(("48656c6c6f", Some("Hello"))));
        check("0448656c6c6f;encoding=hex;content=isdn-uui", Some(("0448656c6c6f", Some("Hello"))));
        check("ticket-17;encoding=ascii", Some(("7469636b65742d3137", Some("ticket-17"))));
        check("\"a; \\\"b\\\"\" ;encoding=ascii", Some(("613b20226222", Some("a; \"b\""))));
        check("ticket-17", Some(("7469636b65742d3137", Some("ticket-17"))));
        check("04ff00", Some(("04ff00", None)));
        for bad in ["", ";encoding=hex", "4;encoding=hex", "xy;encoding=hex"] {
            check(bad, None);
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, Option<&str>)>) {
        let found = UserToUser::parse(text).map(|it| (it.hex(), it.text().map(str::to_owned)));
        assert_eq!(found.as_ref().map(|(hex, text)| (&**hex, text.as_deref())), expected, "{text}");
    }
}
