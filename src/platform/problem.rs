//! Errors of the HTTP API, as RFC 9457 wants them: `application/problem+json` with a `code` that never changes its
//! meaning.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An error as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(skip)]
    status: StatusCode,
    /// For programs: what is wrong, of [`CODES`].
    code: &'static str,
    /// For people: what is wrong with this request.
    detail: String,
}

impl Problem {
    /// No key, or not one of ours.
    pub fn unauthorized() -> Self {
        let detail = "an API key is needed: Authorization: Bearer KEY".to_owned();
        Self { status: StatusCode::UNAUTHORIZED, code: "unauthorized", detail }
    }

    /// Too many wrong keys were shown lately.
    pub fn too_many_failures() -> Self {
        let detail = "too many requests with wrong keys; those with right keys are served".to_owned();
        Self { status: StatusCode::TOO_MANY_REQUESTS, code: "too_many_failures", detail }
    }

    /// There is no such thing, or it is somebody else's.
    pub fn not_found(what: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", detail: format!("there is no such {what}") }
    }

    /// A parameter cannot be used.
    pub fn invalid_parameter(name: &str, expected: &str) -> Self {
        let detail = format!("{name}: expected {expected}");
        Self { status: StatusCode::BAD_REQUEST, code: "invalid_parameter", detail }
    }

    /// What is asked for does not fit what the thing is doing.
    pub fn conflict(detail: &str) -> Self {
        Self { status: StatusCode::CONFLICT, code: "conflict", detail: detail.to_owned() }
    }

    /// The sides of a call have to agree first.
    pub fn no_consent() -> Self {
        let detail = "recording needs the consent of those who talk: say \"consent\": \"given\" if they have given it";
        Self { status: StatusCode::CONFLICT, code: "no_consent", detail: detail.to_owned() }
    }

    /// Whoever is to be called cannot be reached; the SIP status that says so.
    pub fn unreachable(sip_status: u16) -> Self {
        let detail = format!("nobody can be called there: SIP {sip_status}");
        Self { status: StatusCode::BAD_GATEWAY, code: "unreachable", detail }
    }

    /// Too much is going on.
    pub fn busy() -> Self {
        let detail = "the server has too much to do; try again".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "busy", detail }
    }

    /// There are no such bytes.
    pub fn no_such_range(bytes: u64) -> Self {
        let detail = format!("there are {bytes} bytes");
        Self { status: StatusCode::RANGE_NOT_SATISFIABLE, code: "no_such_range", detail }
    }

    /// Something of ours failed; the log knows what.
    pub fn internal() -> Self {
        let detail = "the server could not do it; its log says why".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", detail }
    }
}

/// Every code there is.
pub const CODES: [&str; 10] = [
    "busy",
    "conflict",
    "internal",
    "invalid_parameter",
    "no_consent",
    "no_such_range",
    "not_found",
    "too_many_failures",
    "unauthorized",
    "unreachable",
];

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    #[serde(flatten)]
    problem: &'a Problem,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = Body { r#type: "about:blank", title, status: self.status.as_u16(), problem: &self };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
