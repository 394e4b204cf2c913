//! Secrets in SIP messages: digest answers (RFC 7616 §3.4), other credentials (RFC 3261 §20.28), passwords in URIs
//! (§19.1.1), media keys (RFC 4568, RFC 4567, RFC 8839 §5.4), digits that are pressed, and whatever names itself a password.
//!
//! It looks at bytes, not at what a parser made of them, so that malformed messages are no exception; in doubt it blanks
//! too much. A secret is overwritten in place: lengths stay true, and who reads the message sees where something was.

use std::ops::Range;

use bytes::Bytes;

use super::value_of;

/// The message with every secret in it overwritten by the letter `x`.
pub fn redacted(message: &[u8]) -> Bytes {
    let mut secrets = vec![];
    for line in lines(message) {
        let text = message.get(line.clone()).unwrap_or_default();
        secrets.extend(secrets_of_line(text).into_iter().map(|it| it.start + line.start..it.end + line.start));
    }
    if secrets.is_empty() {
        return Bytes::copy_from_slice(message);
    }
    let mut shown = message.to_vec();
    for secret in secrets {
        let bytes = shown.get_mut(secret).unwrap_or_default();
        for byte in bytes.iter_mut().filter(|it| !it.is_ascii_whitespace()) {
            *byte = MASK;
        }
    }
    shown.into()
}

/// Lines, each with those that continue it. In a body, too: it may hold a message or a part of one.
fn lines(message: &[u8]) -> Vec<Range<usize>> {
    let mut lines: Vec<Range<usize>> = vec![];
    let mut start = 0;
    while start < message.len() {
        let rest = message.get(start..).unwrap_or_default();
        let end = start + memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let continues = matches!(message.get(start), Some(b' ' | b'\t'));
        match lines.last_mut() {
            Some(last) if continues => last.end = end,
            // Between the two bytes of a line's end.
            _ if end == start => (),
            _ => lines.push(start..end),
        }
        start = end + 1;
    }
    lines
}

fn secrets_of_line(line: &[u8]) -> Vec<Range<usize>> {
    let mut secrets = vec![];
    if let Some(from) = KEY_LINES.iter().find_map(|it| starts_with(line, it).then_some(it.len())) {
        secrets.push(from..line.len());
    }
    // The whole body of an INFO that tells a digit.
    if let [byte] = line
        && (byte.is_ascii_digit() || matches!(byte, b'*' | b'#' | b'A'..=b'D' | b'a'..=b'd'))
    {
        secrets.push(0..1);
    }
    if starts_with(line, CRYPTO) {
        // The tag and the suite stay.
        let words = line.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(at, _)| at);
        secrets.push(words.take(2).last().unwrap_or(CRYPTO.len())..line.len());
    }
    if let Some(value) = value_of(line, &CREDENTIALS) {
        secrets.extend(shifted(credentials(value), offset(line, value)));
    }
    let name = memchr::memchr(b':', line).and_then(|it| line.get(..it)).unwrap_or_default();
    if SECRET_NAMES.iter().any(|it| find(name, it, 0).is_some()) {
        secrets.push(name.len() + 1..line.len());
    }
    secrets.extend(passwords_of_uris(line));
    for (word, ends) in SECRET_VALUES {
        let mut from = 0;
        while let Some(at) = find(line, word, from) {
            let start = at + word.len();
            let length = line.get(start..).unwrap_or_default().iter().position(|it| ends.contains(it));
            from = length.map_or(line.len(), |it| start + it);
            secrets.push(start..from);
        }
    }
    secrets
}

/// What is secret in the value of a header field that holds credentials or what follows from them.
fn credentials(value: &[u8]) -> Vec<Range<usize>> {
    let scheme = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let word = value.get(..scheme).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"digest") {
        return parameters(value, scheme);
    }
    // Authentication-Info has no scheme.
    if word.contains(&b'=') {
        return parameters(value, 0);
    }
    let behind = scheme..value.len();
    vec![behind]
}

/// The values of those parameters that are not known to be harmless.
fn parameters(value: &[u8], from: usize) -> Vec<Range<usize>> {
    let mut secrets = vec![];
    let mut at = from;
    while at < value.len() {
        let rest = value.get(at..).unwrap_or_default();
        let name_end = rest.iter().position(|it| matches!(it, b'=' | b',')).unwrap_or(rest.len());
        if rest.get(name_end) != Some(&b'=') {
            secrets.push(at..at + name_end);
            at += name_end + 1;
            continue;
        }
        let name = rest.get(..name_end).unwrap_or_default().trim_ascii();
        let start = at + name_end + 1;
        let (end, is_whole) = end_of_value(value, start);
        let is_harmless = is_whole && HARMLESS.iter().any(|it| it.eq_ignore_ascii_case(name));
        if !is_harmless {
            let quotes = usize::from(is_whole && value.get(start) == Some(&b'"'));
            secrets.push(start + quotes..end.saturating_sub(quotes));
        }
        at = end + 1;
    }
    secrets
}

/// Where a parameter's value ends, and whether it is a word, or text in one pair of quotes.
fn end_of_value(value: &[u8], start: usize) -> (usize, bool) {
    let mut quotes = 0;
    let mut is_escaped = false;
    let mut goes_on = false;
    for (at, byte) in value.iter().enumerate().skip(start) {
        let is_quoted = quotes % 2 == 1;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => quotes += 1,
            b',' if !is_quoted => return (at, quotes == 0 || quotes == 2 && !goes_on),
            it => goes_on |= !it.is_ascii_whitespace() && quotes >= 2,
        }
    }
    (value.len(), quotes == 0 || quotes == 2 && !goes_on)
}

/// Between the colon and the `@` of `sip:user:password@host`.
fn passwords_of_uris(line: &[u8]) -> Vec<Range<usize>> {
    let mut secrets = vec![];
    for scheme in [&b"sip:"[..], b"sips:", b"http://", b"https://"] {
        let mut from = 0;
        while let Some(at) = find(line, scheme, from) {
            let start = at + scheme.len();
            from = start;
            let rest = line.get(start..).unwrap_or_default();
            let end = rest.iter().position(|it| b"<>\", \t\r\n".contains(it)).unwrap_or(rest.len());
            let rest = rest.get(..end).unwrap_or_default();
            let Some(host) = memchr::memchr(b'@', rest) else { continue };
            let user = rest.get(..host).unwrap_or_default();
            if let Some(colon) = memchr::memchr(b':', user) {
                secrets.push(start + colon + 1..start + host);
            }
        }
    }
    secrets
}

fn shifted(ranges: Vec<Range<usize>>, by: usize) -> impl Iterator<Item = Range<usize>> {
    ranges.into_iter().map(move |it| it.start + by..it.end + by)
}

/// Where `part`, which ends with the visible end of `line`, begins in it.
fn offset(line: &[u8], part: &[u8]) -> usize {
    line.trim_ascii_end().len().saturating_sub(part.len())
}

fn starts_with(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix))
}

/// Where `word`, which is in lower case, comes next.
fn find(line: &[u8], word: &[u8], from: usize) -> Option<usize> {
    let rest = line.get(from..)?;
    rest.windows(word.len()).position(|it| it.eq_ignore_ascii_case(word)).map(|it| it + from)
}

const MASK: u8 = b'x';
const CREDENTIALS: [&[u8]; 4] =
    [b"authorization", b"proxy-authorization", b"authentication-info", b"proxy-authentication-info"];
/// Parameters of credentials that give nothing away without the digest.
const HARMLESS: [&[u8]; 14] = [
    b"username",
    b"username*",
    b"realm",
    b"nonce",
    b"nextnonce",
    b"uri",
    b"algorithm",
    b"opaque",
    b"qop",
    b"nc",
    b"cnonce",
    b"stale",
    b"userhash",
    b"domain",
];
/// Header fields with one of these in their name hold a secret.
const SECRET_NAMES: [&[u8]; 7] = [b"password", b"passwd", b"secret", b"token", b"api-key", b"apikey", b"cookie"];
/// Lines of a session description that are a key.
const KEY_LINES: [&[u8]; 5] = [b"k=", b"a=key-mgmt:", b"a=ice-pwd:", b"signal=", b"signal ="];
const CRYPTO: &[u8] = b"a=crypto:";
/// What comes behind these is secret up to one of the bytes: keys wherever they stand, and credentials that a URI would
/// have put into a request (RFC 3261 §19.1.1).
const SECRET_VALUES: [(&[u8], &[u8]); 3] =
    [(b"inline:", b" \t\r\n\"'<>;"), (b"authorization=", b" \t\r\n\"<>&"), (b"password=", b" \t\r\n\"<>&;,")];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &str) {
        let shown = redacted(message.as_bytes());
        assert_eq!(String::from_utf8_lossy(&shown), expected);
        assert_eq!(shown.len(), message.len());
    }

    #[test]
    fn digest_answers_go_and_the_rest_stays() {
        check(
            "REGISTER sip:x SIP/2.0\r\nAuthorization: Digest username=\"bob\", realm=\"r\", nonce=\"n,1\", uri=\"sip:x\", \
             response=\"0123abcd\", algorithm=MD5\r\nCSeq: 1 REGISTER\r\n\r\n",
            "REGISTER sip:x SIP/2.0\r\nAuthorization: Digest username=\"bob\", realm=\"r\", nonce=\"n,1\", uri=\"sip:x\", \
             response=\"xxxxxxxx\", algorithm=MD5\r\nCSeq: 1 REGISTER\r\n\r\n",
        );
        check(
            "proxy-authorization :digest response=abc,nc=00000001,\r\n\tauts=\"k\"\r\n",
            "proxy-authorization :digest response=xxx,nc=00000001,\r\n\tauts=\"x\"\r\n",
        );
        check(
            "Authentication-Info: nextnonce=\"n\",rspauth=\"abc\"\r\n",
            "Authentication-Info: nextnonce=\"n\",rspauth=\"xxx\"\r\n",
        );
        check("WWW-Authenticate: Digest nonce=\"abc\"\r\n", "WWW-Authenticate: Digest nonce=\"abc\"\r\n");
    }

    #[test]
    fn what_cannot_be_read_is_blanked_to_its_end() {
        check("Authorization: Basic dXNlcg==\n", "Authorization: Basic xxxxxxxx\n");
        check("Authorization: Bearer a\r\n b\r\nTo: c\r\n", "Authorization: Bearer x\r\n x\r\nTo: c\r\n");
        check("Authorization: Digest nonce=\"o, response=\"ab", "Authorization: Digest nonce=xxx xxxxxxxxxxxx");
        check("Authorization: Digest secret, realm=\"r\"", "Authorization: Digest xxxxxx, realm=\"r\"");
        check("Authorization: Digest response = \"ab\", nc=1", "Authorization: Digest response = xxxx, nc=1");
        check("Authorization:", "Authorization:");
        check("X-Api-Token: abc\r\nX: y", "X-Api-Token: xxx\r\nX: y");
    }

    #[test]
    fn digits_that_are_pressed_go() {
        check("INFO\r\n\r\nSignal=5\r\nDuration=160\r\n", "INFO\r\n\r\nSignal=x\r\nDuration=160\r\n");
        check("INFO\n\nDuration=160\nsignal = #", "INFO\n\nDuration=160\nsignal = x");
        check("INFO\r\n\r\n7", "INFO\r\n\r\nx");
        check("INFO\r\nCSeq: 7 INFO\r\n\r\n17", "INFO\r\nCSeq: 7 INFO\r\n\r\n17");
    }

    #[test]
    fn passwords_in_uris_go() {
        check("INVITE sip:bob:pw@host:5060 SIP/2.0\r\n", "INVITE sip:bob:xx@host:5060 SIP/2.0\r\n");
        check(
            "To: \"B\" <SIPS:bob:p%40w@host>;tag=a, <sip:host:5060>\r\n",
            "To: \"B\" <SIPS:bob:xxxxx@host>;tag=a, <sip:host:5060>\r\n",
        );
        check("m: <sip:b@h:5060;x=y>,<sip:c:d@h>", "m: <sip:b@h:5060;x=y>,<sip:c:x@h>");
        check(
            "Refer-To: <sip:b@h?Proxy-Authorization=Digest%20a&X=1>",
            "Refer-To: <sip:b@h?Proxy-Authorization=xxxxxxxxxx&X=1>",
        );
    }

    #[test]
    fn media_keys_go() {
        check(
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20 KDR=1\r\na=rtpmap:0 PCMU/8000\r\n",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 xxxxxxxxxxxxxxx xxxxx\r\na=rtpmap:0 PCMU/8000\r\n",
        );
        check("a=crypto:1\r\na=crypto:abc", "a=crypto:x\r\na=crypto:xxx");
        check("k=base64:abc\na=ice-pwd:abc\na=ice-ufrag:u", "k=xxxxxxxxxx\na=ice-pwd:xxx\na=ice-ufrag:u");
        check("{\"key\":\"inline:abc\"}", "{\"key\":\"inline:xxx\"}");
    }

    #[test]
    fn a_message_within_a_message_is_no_hiding_place() {
        check(
            "NOTIFY sip:x SIP/2.0\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK\r\nAuthorization: Digest response=\"ab\"",
            "NOTIFY sip:x SIP/2.0\r\nContent-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK\r\nAuthorization: Digest response=\"xx\"",
        );
    }

    #[test]
    fn nothing_else_changes() {
        let message = b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h:5060\r\n\0\xff\r\n\r\nv=0\r\n";
        assert_eq!(&redacted(message)[..], message);
        assert_eq!(redacted(b"").len(), 0);
    }
}
