//! Why a request is refused, and the answer that says so: RFC 3261 §8.2, §13.3.1.3, §21. This is the one place where a
//! refusal becomes a status and its header fields.

use crate::sip::{BuildError, HeaderName, Request, Response, StatusCode};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: it lacks or breaks something that this method needs; the reason phrase tells what.
    BadRequest(&'static str),
    /// 401: who sends it has to show who that is; the challenges.
    Unauthenticated(Vec<(HeaderName, String)>),
    /// 403: from where it comes, it may not.
    Forbidden,
    /// 404: nobody answers that number.
    NotFound,
    /// 405: we know the method but do not serve it.
    MethodNotAllowed,
    /// 408: the called side did not answer in time.
    TimedOut,
    /// 415: a body of this type is not read here; the types that are.
    UnsupportedMediaType(&'static str),
    /// 415: a body in this encoding is not read.
    UnsupportedEncoding,
    /// 416: the Request-URI is of a kind we do not serve.
    UnsupportedUriScheme,
    /// 420: these extensions are required and not known.
    BadExtension(Vec<String>),
    /// 422: the session would expire too soon.
    IntervalTooSmall {
        /// The least interval, in seconds.
        min_s: u32,
    },
    /// 480: the one who should answer is not there.
    TemporarilyUnavailable,
    /// 481: no dialog or transaction of that name.
    DoesNotExist,
    /// 482: the request came by a second path.
    LoopDetected,
    /// 483: it has been forwarded too often.
    TooManyHops,
    /// 486: nobody is free.
    Busy,
    /// 487: the caller gave up.
    Terminated,
    /// 488: no common ground for media; the warning code of RFC 3261 §20.43 and its text.
    NotAcceptable(u16, &'static str),
    /// 489: nothing is subscribed to this event.
    BadEvent,
    /// 491: a re-INVITE of ours is pending.
    RequestPending,
    /// 500: out of order, or an earlier request is still being answered.
    OutOfOrder {
        /// When to try again, in seconds, if that helps.
        retry_after_s: Option<u32>,
    },
    /// 500: something of ours failed.
    Failed,
    /// 501: nobody here knows the method.
    NotImplemented,
    /// 503: a limit is reached, or we shut down.
    Unavailable {
        /// When to try again, in seconds.
        retry_after_s: u32,
    },
    /// 603: understood and declined.
    Declined,
    /// What the other leg of a call was refused with; and its cause of ITU-T Q.850, if it told one (RFC 6432).
    Relayed(StatusCode, Option<u16>),
}

impl Refusal {
    /// The status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnsupportedUriScheme => StatusCode::UNSUPPORTED_URI_SCHEME,
            Self::BadExtension(_) => StatusCode::BAD_EXTENSION,
            Self::IntervalTooSmall { .. } => StatusCode::SESSION_INTERVAL_TOO_SMALL,
            Self::TemporarilyUnavailable => StatusCode::TEMPORARILY_UNAVAILABLE,
            Self::DoesNotExist => StatusCode::CALL_DOES_NOT_EXIST,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::TooManyHops => StatusCode::TOO_MANY_HOPS,
            Self::Busy => StatusCode::BUSY_HERE,
            Self::Terminated => StatusCode::REQUEST_TERMINATED,
            Self::NotAcceptable(..) => StatusCode::NOT_ACCEPTABLE_HERE,
            Self::BadEvent => StatusCode::BAD_EVENT,
            Self::RequestPending => StatusCode::REQUEST_PENDING,
            Self::OutOfOrder { .. } | Self::Failed => StatusCode::SERVER_INTERNAL_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Declined => StatusCode::DECLINE,
            Self::Relayed(status, _) => *status,
        }
    }

    /// The response to `request`, with `tag` as our To tag unless the request has one.
    pub(crate) fn reply(&self, request: &Request, tag: &str) -> Result<Response, BuildError> {
        let reply = Response::reply(request, self.status()).to_tag(request, tag);
        let reply = match self {
            Self::BadRequest(reason) => reply.reason(reason),
            Self::Unauthenticated(challenges) => {
                challenges.iter().fold(reply, |reply, (name, value)| reply.header(name.clone(), value))
            }
            Self::MethodNotAllowed | Self::NotImplemented => reply.header(HeaderName::Allow, ALLOW),
            Self::UnsupportedMediaType(accepted) => reply.header(HeaderName::Accept, accepted),
            Self::UnsupportedEncoding => reply.header(HeaderName::AcceptEncoding, "identity"),
            Self::BadExtension(tags) => reply.header(HeaderName::Unsupported, tags.join(", ")),
            Self::BadEvent => reply.header(HeaderName::AllowEvents, "refer"),
            Self::IntervalTooSmall { min_s } => reply.header(HeaderName::MinSe, min_s),
            Self::NotAcceptable(code, text) => {
                reply.header(HeaderName::Warning, format_args!("{code} {WARN_AGENT} \"{text}\""))
            }
            Self::OutOfOrder { retry_after_s: Some(seconds) } | Self::Unavailable { retry_after_s: seconds } => {
                reply.header(HeaderName::RetryAfter, seconds)
            }
            Self::Relayed(_, Some(cause)) => reply.header(HeaderName::Reason, format_args!("Q.850;cause={cause}")),
            Self::Forbidden
            | Self::NotFound
            | Self::TimedOut
            | Self::UnsupportedUriScheme
            | Self::TemporarilyUnavailable
            | Self::DoesNotExist
            | Self::LoopDetected
            | Self::TooManyHops
            | Self::Busy
            | Self::Terminated
            | Self::RequestPending
            | Self::OutOfOrder { retry_after_s: None }
            | Self::Failed
            | Self::Declined
            | Self::Relayed(_, None) => reply,
        };
        reply.build()
    }
}

/// The methods we serve; REFER and NOTIFY within dialogs only.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, PRACK, UPDATE, REFER, NOTIFY";

/// Who warns: a pseudonym (RFC 3261 §20.43), so that no address of ours is told.
const WARN_AGENT: &str = "hookswitch";
