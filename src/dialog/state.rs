//! The state of a dialog: RFC 3261 §12. Who the two sides are, where requests go, and in which order they come.
//!
//! Deviation: requests go out on the flow on which the peer's last request came, instead of to the address that the route
//! set or the remote target resolves to (§8.1.2): behind a network address translator no other address works. If that
//! was a stream and it is gone, the next hop is tried if it is an address.

use std::net::SocketAddr;

use crate::limits::ROUTE_SET_MAX;
use crate::sip::{HeaderName, Method, NameAddr, Request, RequestBuilder, Response, Uri};
use crate::transaction::MAX_FORWARDS;
use crate::transport::Flow;

/// One side's view of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: Box<str>,
    pub(crate) local_tag: Box<str>,
    pub(crate) remote_tag: Box<str>,
    /// From of our requests, with our tag.
    local: Box<str>,
    /// To of our requests, with the peer's tag.
    remote: Box<str>,
    remote_target: Uri,
    route_set: Vec<NameAddr>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// Whether the peer serves UPDATE, as it last said.
    pub(crate) takes_update: bool,
    /// Where requests go out.
    pub(crate) flow: Flow,
}

/// Why a message cannot make or change a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPeer {
    /// There is no usable Contact.
    #[error("Missing Contact")]
    Contact,
    /// A Record-Route cannot be read, or there are too many.
    #[error("Malformed Record-Route")]
    RecordRoute,
}

/// The request comes out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl Dialog {
    /// The dialog that our answer to `request` makes (§12.1.1). `local_tag` is ours.
    pub(crate) fn from_request(request: &Request, local_tag: &str, flow: Flow) -> Result<Self, InvalidPeer> {
        let headers = request.headers();
        let route_set = headers.record_routes().or(Err(InvalidPeer::RecordRoute))?;
        if route_set.len() > ROUTE_SET_MAX {
            return Err(InvalidPeer::RecordRoute);
        }
        Ok(Self {
            call_id: headers.call_id().into(),
            local_tag: local_tag.into(),
            remote_tag: headers.from().tag().unwrap_or_default().into(),
            local: format!("{};tag={local_tag}", headers.to()).into(),
            remote: headers.from().as_str().into(),
            remote_target: contact_of(headers)?,
            route_set: route_set.iter().map(NameAddr::detached).collect(),
            local_cseq: 0,
            remote_cseq: Some(headers.cseq().number),
            takes_update: headers.allows(&Method::Update).unwrap_or(false),
            flow,
        })
    }

    /// The dialog that `response` to our `request` makes (§12.1.2).
    pub(crate) fn from_response(request: &Request, response: &Response, flow: Flow) -> Result<Self, InvalidPeer> {
        let headers = response.headers();
        let mut route_set = headers.record_routes().or(Err(InvalidPeer::RecordRoute))?;
        if route_set.len() > ROUTE_SET_MAX {
            return Err(InvalidPeer::RecordRoute);
        }
        route_set.reverse();
        // A 2xx without Contact breaks §12.1.1; the URI we called is the best guess then.
        let remote_target = contact_of(headers).unwrap_or_else(|_missing| request.uri().detached());
        let request = request.headers();
        Ok(Self {
            call_id: request.call_id().into(),
            local_tag: request.from().tag().unwrap_or_default().into(),
            remote_tag: headers.to().tag().unwrap_or_default().into(),
            local: request.from().as_str().into(),
            remote: headers.to().as_str().into(),
            remote_target,
            route_set: route_set.iter().map(NameAddr::detached).collect(),
            local_cseq: request.cseq().number,
            remote_cseq: None,
            takes_update: headers.allows(&Method::Update).unwrap_or(false),
            flow,
        })
    }

    /// Whether `request` from the peer is within this dialog, once our tag matched (§12.2.2).
    pub(crate) fn is_of(&self, request: &Request) -> bool {
        let headers = request.headers();
        headers.call_id() == &*self.call_id && headers.from().tag().unwrap_or_default() == &*self.remote_tag
    }

    /// Takes the number of a request from the peer, which must be higher than the one before (§12.2.2).
    pub(crate) fn advance(&mut self, cseq: u32) -> Result<(), OutOfOrder> {
        if self.remote_cseq.is_some_and(|it| cseq <= it) {
            return Err(OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        Ok(())
    }

    /// Takes the Contact of a target refresh request or its response (§12.2); the old one stays if there is none.
    pub(crate) fn refresh_target(&mut self, headers: &crate::sip::Headers) {
        if let Ok(target) = contact_of(headers) {
            self.remote_target = target;
        }
        if let Some(takes_update) = headers.allows(&Method::Update) {
            self.takes_update = takes_update;
        }
    }

    /// Goes on counting where the early dialog of the same peer stopped; route set and target are those of the 2xx
    /// (§13.2.2.4).
    pub(crate) fn go_on_from(&mut self, early: &Self) {
        self.local_cseq = self.local_cseq.max(early.local_cseq);
        self.remote_cseq = early.remote_cseq;
        self.flow = early.flow;
    }

    /// Begins a request within the dialog (§12.2.1.1), numbered one higher than the one before. `via` is its top Via.
    pub(crate) fn request(&mut self, method: Method, via: &str) -> RequestBuilder {
        self.local_cseq += 1;
        self.request_numbered(method, self.local_cseq, via)
    }

    /// The number of the next request, where one is sent again with credentials.
    pub(crate) const fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// Begins the ACK of the 2xx to our INVITE numbered `cseq` (§13.2.2.4).
    pub(crate) fn ack(&self, cseq: u32, via: &str) -> RequestBuilder {
        self.request_numbered(Method::Ack, cseq, via)
    }

    /// The Refer-To that has somebody take our place opposite the peer (RFC 3891 §6).
    pub(crate) fn as_refer_to(&self) -> String {
        let Self { call_id, local_tag, remote_tag, .. } = self;
        let replaces = format!("{call_id};to-tag={remote_tag};from-tag={local_tag}");
        format!("{}?Replaces={}", self.remote_target, escape(&replaces))
    }

    /// Where to connect to if the stream of [`Self::flow`] is gone: the next hop, if it is an address.
    pub(crate) fn next_hop(&self) -> Option<SocketAddr> {
        let uri = self.route_set.first().map_or(&self.remote_target, NameAddr::uri);
        let ip = uri.host()?.ip()?;
        Some(SocketAddr::new(ip, uri.port().unwrap_or_else(|| self.flow.kind.default_port())))
    }

    fn request_numbered(&self, method: Method, cseq: u32, via: &str) -> RequestBuilder {
        let first_is_strict = self.route_set.first().filter(|it| !it.uri().is_loose_route());
        let target = first_is_strict.map_or(&self.remote_target, NameAddr::uri);
        let mut builder = Request::builder(method.clone(), target)
            .header(HeaderName::Via, via)
            .header(HeaderName::MaxForwards, MAX_FORWARDS);
        for route in self.route_set.iter().skip(usize::from(first_is_strict.is_some())) {
            builder = builder.header(HeaderName::Route, route);
        }
        if first_is_strict.is_some() {
            builder = builder.header(HeaderName::Route, format_args!("<{}>", self.remote_target));
        }
        builder
            .header(HeaderName::From, &self.local)
            .header(HeaderName::To, &self.remote)
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, format_args!("{cseq} {method}"))
    }
}

/// Writes `value` so that it can stand in the headers of a URI (RFC 3261 §19.1.1).
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// The URI of the one Contact that a peer of a dialog names (§12.1.1); it must be SIP, without headers (§19.1.5).
fn contact_of(headers: &crate::sip::Headers) -> Result<Uri, InvalidPeer> {
    let contacts = headers.contacts().or(Err(InvalidPeer::Contact))?;
    let contact = contacts.first().filter(|it| it.uri().is_sip()).ok_or(InvalidPeer::Contact)?;
    Ok(contact.uri().without_headers().detached())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::{Message, StatusCode};
    use crate::transport::TransportKind;

    #[test]
    fn a_called_dialog_keeps_the_order_of_the_record_routes() {
        let mut dialog = Dialog::from_request(&invite("<sip:p1;lr>, <sip:p2;lr>"), "ours", flow()).expect("a dialog");
        check(
            dialog.request(Method::Bye, "SIP/2.0/UDP 192.0.2.1;branch=b"),
            "BYE sip:alice@198.51.100.7:5070;ob SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.1;branch=b
             Max-Forwards: 70
             Route: <sip:p1;lr>
             Route: <sip:p2;lr>
             From: <sip:bob@192.0.2.1>;tag=ours
             To: \"Alice\" <sip:alice@example.org>;tag=theirs
             Call-ID: c
             CSeq: 1 BYE
             Content-Length: 0",
        );
    }

    #[test]
    fn a_strict_router_gets_the_target_as_last_route() {
        let mut dialog = Dialog::from_request(&invite("<sip:p1>, <sip:p2;lr>"), "ours", flow()).expect("a dialog");
        check(
            dialog.request(Method::Bye, "SIP/2.0/UDP 192.0.2.1;branch=b"),
            "BYE sip:p1 SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.1;branch=b
             Max-Forwards: 70
             Route: <sip:p2;lr>
             Route: <sip:alice@198.51.100.7:5070;ob>
             From: <sip:bob@192.0.2.1>;tag=ours
             To: \"Alice\" <sip:alice@example.org>;tag=theirs
             Call-ID: c
             CSeq: 1 BYE
             Content-Length: 0",
        );
    }

    #[test]
    fn a_calling_dialog_reverses_the_record_routes() {
        let invite = invite("<sip:p1;lr>, <sip:p2;lr>");
        let response = Response::reply(&invite, StatusCode::OK)
            .to_tag(&invite, "far")
            .copy(invite.headers(), &HeaderName::RecordRoute)
            .header(HeaderName::Contact, "<sip:bob@203.0.113.9>")
            .build()
            .expect("a response");
        let dialog = Dialog::from_response(&invite, &response, flow()).expect("a dialog");
        check(
            dialog.ack(7, "SIP/2.0/UDP 192.0.2.1;branch=b"),
            "ACK sip:bob@203.0.113.9 SIP/2.0
             Via: SIP/2.0/UDP 192.0.2.1;branch=b
             Max-Forwards: 70
             Route: <sip:p2;lr>
             Route: <sip:p1;lr>
             From: \"Alice\" <sip:alice@example.org>;tag=theirs
             To: <sip:bob@192.0.2.1>;tag=far
             Call-ID: c
             CSeq: 7 ACK
             Content-Length: 0",
        );
    }

    #[test]
    fn requests_go_to_the_target_as_last_refreshed() {
        let mut dialog = Dialog::from_request(&invite("<sip:p1;lr>"), "ours", flow()).expect("a dialog");
        assert!(!dialog.takes_update);
        let update = |lines: &str| {
            let text = format!(
                "UPDATE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2\r\n\
                 From: <sip:alice@example.org>;tag=theirs\r\nTo: <sip:bob@192.0.2.1>;tag=ours\r\nCall-ID: c\r\n\
                 CSeq: 8 UPDATE\r\n{lines}\r\n"
            );
            Message::parse(Bytes::from(text)).expect("an UPDATE").headers().clone()
        };
        dialog.refresh_target(&update("Contact: <sip:alice@203.0.113.5>\r\nAllow: INVITE, UPDATE\r\n"));
        let target = |dialog: &mut Dialog| {
            let request = dialog.request(Method::Update, "SIP/2.0/UDP 192.0.2.1;branch=b").build().expect("a request");
            request.uri_str().to_owned()
        };
        assert_eq!((target(&mut dialog).as_str(), dialog.takes_update), ("sip:alice@203.0.113.5", true));
        for useless in ["", "Contact: *\r\n", "Contact: <tel:1>\r\n"] {
            dialog.refresh_target(&update(useless));
            assert_eq!((target(&mut dialog).as_str(), dialog.takes_update), ("sip:alice@203.0.113.5", true));
        }
    }

    #[test]
    fn a_refer_to_names_the_dialog_from_the_side_of_the_peer() {
        let dialog = Dialog::from_request(&invite("<sip:p1;lr>"), "ours", flow()).expect("a dialog");
        let refer_to = dialog.as_refer_to();
        assert_eq!(refer_to, "sip:alice@198.51.100.7:5070;ob?Replaces=c%3Bto-tag%3Dtheirs%3Bfrom-tag%3Dours");
        let uri = Uri::parse(&refer_to).expect("a URI");
        let replaces = uri.header("Replaces").and_then(|it| crate::sip::Replaces::parse(&it)).expect("is there");
        assert_eq!((replaces.to_tag.as_str(), replaces.from_tag.as_str()), ("theirs", "ours"));
    }

    #[test]
    fn numbers_only_grow() {
        let mut dialog = Dialog::from_request(&invite("<sip:p1;lr>"), "ours", flow()).expect("a dialog");
        assert_eq!((dialog.advance(7), dialog.advance(6)), (Err(OutOfOrder), Err(OutOfOrder)));
        assert_eq!((dialog.advance(9), dialog.advance(8)), (Ok(()), Err(OutOfOrder)));
    }

    #[track_caller]
    fn check(builder: RequestBuilder, expected: &str) {
        let text = builder.build().expect("a request").to_bytes();
        let found: Vec<_> = std::str::from_utf8(&text).expect("text").lines().filter(|it| !it.is_empty()).collect();
        let expected: Vec<_> = expected.lines().map(str::trim).collect();
        assert_eq!(found, expected);
    }

    fn invite(record_routes: &str) -> Request {
        let text = format!(
            "INVITE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
             Record-Route: {record_routes}\r\nFrom: \"Alice\" <sip:alice@example.org>;tag=theirs\r\n\
             To: <sip:bob@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\
             Contact: <sip:alice@198.51.100.7:5070;ob?Route=%3Csip:evil%3E>;+x=1\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn flow() -> Flow {
        let [local, remote] = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|it| it.parse().expect("an address"));
        Flow { kind: TransportKind::Udp, local, remote }
    }
}
