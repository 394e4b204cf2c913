//! What is looked at before a request is served: RFC 3261 §8.2.1 to §8.2.3, in that order, and §16.3 for its hops.

use crate::sip::{HeaderName, MediaType, Method, Request, Scheme};
use crate::transport::refusal::Refusal;

/// What the body of a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none, or one that its sender does not insist on.
    None,
    /// A session description.
    Sdp,
    /// Something that the method has to look at.
    Other,
}

/// Looks at a request other than ACK and CANCEL. `supported` are the extensions we know. What is in its body is for the method to judge.
pub(crate) fn inspect(request: &Request, supported: &str) -> Result<Body, Refusal> {
    let headers = request.headers();
    let is_in_dialog = headers.to().tag().is_some();
    match request.method() {
        Method::Invite | Method::Options | Method::Bye | Method::Info | Method::Update | Method::Prack => (),
        Method::Refer | Method::Notify if is_in_dialog => (),
        // Nobody outside of a call has us call others, and there is nothing here that reports to us.
        Method::Refer => return Err(Refusal::Forbidden),
        Method::Notify => return Err(Refusal::DoesNotExist),
        Method::Ack | Method::Cancel | Method::Register | Method::Subscribe | Method::Message | Method::Publish => {
            return Err(Refusal::MethodNotAllowed);
        }
        Method::Other(_) => return Err(Refusal::NotImplemented),
    }
    if request.uri().scheme() == Scheme::Other {
        return Err(Refusal::UnsupportedUriScheme);
    }
    if *request.method() == Method::Invite && headers.max_forwards() == Some(0) {
        return Err(Refusal::TooManyHops);
    }
    let unknown: Vec<_> = headers
        .require()
        .filter(|it| !supported.split(", ").any(|known| known.eq_ignore_ascii_case(it)))
        .map(str::to_owned)
        .collect();
    if !unknown.is_empty() {
        return Err(Refusal::BadExtension(unknown));
    }
    let body = body_of(request)?;
    if body != Body::None && headers.list(&HeaderName::ContentEncoding).any(|it| !it.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::UnsupportedEncoding);
    }
    Ok(body)
}

fn body_of(request: &Request) -> Result<Body, Refusal> {
    let headers = request.headers();
    if request.body().is_empty() {
        return Ok(Body::None);
    }
    let content_type = headers.content_type().ok_or(Refusal::UnsupportedMediaType(SDP))?;
    let content_type: MediaType<'_> = content_type.or(Err(Refusal::BadRequest("Malformed Content-Type")))?;
    if content_type.is("application", "sdp") {
        return Ok(Body::Sdp);
    }
    // RFC 3261 §20.11.
    let disposition = headers.get(&HeaderName::ContentDisposition).unwrap_or_default();
    let is_optional = disposition.split(';').skip(1).any(|it| {
        let (name, value) = it.split_once('=').unwrap_or((it, ""));
        name.trim().eq_ignore_ascii_case("handling") && value.trim().eq_ignore_ascii_case("optional")
    });
    let method = request.method();
    if matches!(method, Method::Info | Method::Notify) {
        Ok(Body::Other)
    } else if matches!(method, Method::Invite | Method::Update | Method::Prack) && !is_optional {
        Err(Refusal::UnsupportedMediaType(SDP))
    } else {
        Ok(Body::None)
    }
}

/// The one type of body that sessions are described in.
pub(crate) const SDP: &str = "application/sdp";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::Message;

    #[test]
    fn what_is_not_served_is_refused_with_the_reason() {
        check("INVITE sip:a@b", "", "", Ok(Body::None));
        check("INVITE tel:+4930", "Content-Type: Application/SDP;x=y", "v=0", Ok(Body::Sdp));
        check("REGISTER sip:b", "", "", Err(405));
        check("MESSAGE sip:a@b", "", "", Err(405));
        check("REFER sip:a@b", "", "", Err(403));
        check("NOTIFY sip:a@b", "", "", Err(481));
        check("PRACK sip:a@b", "", "", Ok(Body::None));
        check("GUESS sip:a@b", "Require: x", "", Err(501));
        check("INVITE soap.beep://a/b", "", "", Err(416));
        check("INVITE sip:a@b", "Max-Forwards: 0", "", Err(483));
        check("OPTIONS sip:a@b", "Max-Forwards: 0", "", Ok(Body::None));
        check("INVITE sip:a@b", "Require: 100rel, timer", "", Ok(Body::None));
        check("INVITE sip:a@b", "Require: 100rel, path", "", Err(420));
        check("INVITE sip:a@b", "Supported: 100rel", "", Ok(Body::None));
        check("INVITE sip:a@b", "Content-Type: application/isup", "x", Err(415));
        check("INVITE sip:a@b", "", "x", Err(415));
        check("INVITE sip:a@b", "Content-Type: nonsense", "x", Err(400));
        check(
            "INVITE sip:a@b",
            "Content-Type: text/plain\r\nContent-Disposition: x; handling=optional",
            "x",
            Ok(Body::None),
        );
        check("INVITE sip:a@b", "Content-Type: application/sdp\r\nContent-Encoding: gzip", "x", Err(415));
        check("INVITE sip:a@b", "Content-Type: application/sdp\r\nContent-Encoding: identity", "x", Ok(Body::Sdp));
        check("OPTIONS sip:a@b", "Content-Type: text/plain", "x", Ok(Body::None));
        check("INFO sip:a@b", "Content-Type: application/dtmf", "5", Ok(Body::Other));
    }

    #[track_caller]
    fn check(start: &str, lines: &str, body: &str, expected: Result<Body, u16>) {
        let (method, _) = start.split_once(' ').expect("a method");
        let lines = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
        let text = format!(
            "{start} SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\n{lines}\r\n{body}"
        );
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
            panic!("{start} is a request");
        };
        assert_eq!(inspect(&request, "100rel, timer").map_err(|it| it.status().code()), expected, "{start} {lines}");
    }
}
