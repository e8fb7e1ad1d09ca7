//! Errors as problem documents (RFC 9457).

use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What went wrong, and what to do about it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    hint: String,
    // In a box, since few have one and every handler's result has room for a problem.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    /// A problem of a kind: `code` is stable, `title` is the same for all of its kind.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str) -> Self {
        Self { status, code, title, detail: String::new(), hint: String::new(), header: None }
    }

    /// The status that it is answered with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong this time.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// What to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }

    /// A header that this kind of answer must have, such as `Retry-After`.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some(Box::new((name, value))), ..self }
    }

    /// Something failed in here. What it was goes to the log, not to whoever asked.
    pub fn internal(cause: &str) -> Self {
        tracing::error!(cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something failed in here")
            .detail("the request was not carried out")
            .hint("try again; the log of this process says what failed")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.title, self.detail, self.hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:storehand:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
        });
        for (name, text) in [("detail", self.detail), ("hint", self.hint)] {
            if !text.is_empty() {
                body[name] = text.into();
            }
        }
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if let Some((name, value)) = self.header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
