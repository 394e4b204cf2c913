//! What a message is matched to its transaction by: RFC 3261 §17.1.3, §17.2.3 and §8.2.2.2.

use std::fmt::Write as _;
use std::sync::Arc;

use super::token::MAGIC_COOKIE;
use crate::sip::{Method, Request, Response};

/// Matches a request to its server transaction: branch, sent-by and method, where ACK counts as the INVITE.
///
/// A branch without the cookie of RFC 3261 does not name a transaction by itself, so it is replaced by what RFC 2543
/// matched by: Call-ID, From tag, CSeq number and the whole Via. The To tag is left out, because the ACK has one that
/// the INVITE had not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerKey {
    /// The branch, a line end and the sent-by in lower case.
    name: Arc<str>,
    method: Method,
}

/// Matches a response to its client transaction: our branch and the method of the CSeq.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey {
    branch: Arc<str>,
    method: Method,
}

/// Where a request outside a dialog began: two requests that share it, but not their key, came by two paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    call_id: Arc<str>,
    from_tag: Arc<str>,
    cseq: u32,
    method: Method,
}

impl ServerKey {
    /// The key of the transaction that `request` starts or belongs to.
    pub(crate) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let via = headers.top_via();
        let mut name = String::with_capacity(KEY_BYTES);
        match via.branch() {
            Some(branch) if branch.starts_with(MAGIC_COOKIE) => name.push_str(branch),
            Some(_) | None => {
                let from_tag = headers.from().tag().unwrap_or_default();
                write!(name, "{} {from_tag} {} {via}", headers.call_id(), headers.cseq().number)
                    .expect("a string takes what is written to it");
            }
        }
        // No part of a Via holds one.
        name.push('\n');
        let sent_by = name.len();
        write!(name, "{}", via.host()).expect("a string takes what is written to it");
        if let Some(port) = via.port() {
            write!(name, ":{port}").expect("a string takes what is written to it");
        }
        name.get_mut(sent_by..).unwrap_or_default().make_ascii_lowercase();
        let is_ack = *request.method() == Method::Ack;
        let method = if is_ack { Method::Invite } else { request.method().clone() };
        Self { name: name.into(), method }
    }

    /// The key of the INVITE that a CANCEL with this key is about.
    pub(crate) fn of_invite(&self) -> Self {
        Self { method: Method::Invite, ..self.clone() }
    }
}

impl ClientKey {
    /// The key of the transaction that our `request` starts; `None` if it lacks a branch.
    pub(crate) fn of_request(request: &Request) -> Option<Self> {
        let branch = request.headers().top_via().branch()?.into();
        Some(Self { branch, method: request.method().clone() })
    }

    /// The key of the transaction that `response` belongs to.
    pub(crate) fn of_response(response: &Response) -> Option<Self> {
        let branch = response.headers().top_via().branch()?.into();
        Some(Self { branch, method: response.headers().cseq().method.clone() })
    }
}

impl Origin {
    /// The origin of a request outside a dialog; `None` within one.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let headers = request.headers();
        if headers.to().tag().is_some() {
            return None;
        }
        Some(Self {
            call_id: headers.call_id().into(),
            from_tag: headers.from().tag().unwrap_or_default().into(),
            cseq: headers.cseq().number,
            method: request.method().clone(),
        })
    }
}

/// What most keys have room in.
const KEY_BYTES: usize = 96;
