//! What was refused, in the API's form.

use axum::Json as JsonBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json, json};

use crate::models::{Again, ModelError};

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    /// The option that it is about.
    param: Option<String>,
    retry_after_s: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, message: message.into(), param: None, retry_after_s: None }
    }

    /// The request is wrong.
    pub(super) fn invalid(param: Option<&str>, message: impl Into<String>) -> Self {
        let invalid = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_value", message);
        Self { param: param.map(str::to_owned), ..invalid }
    }

    /// An option that is known and cannot be done.
    pub(super) fn unsupported(param: &'static str, hint: &str) -> Self {
        let message = format!("`{param}` is not supported by this server: {hint}");
        let kind = "invalid_request_error";
        Self {
            param: Some(param.to_owned()),
            ..Self::new(StatusCode::BAD_REQUEST, kind, "unsupported_parameter", message)
        }
    }

    /// A request from outside its bounds or its form, before it was read: too large, too slow.
    pub(super) fn unread(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", "body_not_read", message)
    }

    pub(super) fn no_model(what: &str) -> Self {
        let message = format!(
            "this server has no {what}: `storehand model fetch` gets it, and `storehand doctor` says what is wrong"
        );
        let missing = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message);
        Self { param: Some("model".into()), ..missing }
    }

    pub(super) fn other_model(asked: &str, known: &str) -> Self {
        let asked: String = asked.chars().take(80).collect();
        let message = format!("there is no model `{asked}` here for this; there is `{known}`");
        let missing = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", "model_not_found", message);
        Self { param: Some("model".into()), ..missing }
    }

    /// The answer broke off in here.
    pub(super) fn broken_off() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "model_failed", "the answer broke off")
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> Json {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        let message = error.to_string();
        let invalid = |code| Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message.clone());
        match error {
            ModelError::Request(_) => invalid("invalid_value"),
            ModelError::PromptTooLong { .. } => invalid("context_length_exceeded"),
            ModelError::QueueFull { retry_after, .. } => Self {
                retry_after_s: Some(retry_after.as_secs().clamp(1, 600)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded", message)
            },
            ModelError::Upstream { again: Again::After(wait), .. } => Self {
                retry_after_s: Some(wait.as_secs().clamp(1, 600)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded", message)
            },
            // Who asks knows that it is an upstream: they have named it.
            ModelError::Upstream { .. } | ModelError::NotInForm { .. } => {
                tracing::warn!(error = message, "an upstream failed on a request of the API");
                Self::new(StatusCode::BAD_GATEWAY, "server_error", "upstream_failed", message)
            }
            ModelError::TooLate { .. } => Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "timeout", message),
            // What it was goes to the log, as with every failure in here.
            _ => {
                tracing::error!(error = message, "the model failed on a request of the API");
                let message = "the model failed on this request; the server's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "model_failed", message)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, JsonBody(self.body())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
