//! What an upstream's refusals and failures mean, for people and for whoever may try again. None holds its key.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value as Json;

use super::{Upstream, wire};
use crate::domain::Secret;
use crate::models::error::{Again, ModelError};
use crate::outgoing;

/// What is read of an error, in bytes.
const LARGEST_ERROR: usize = 64 << 10;
/// When to come again where it is not said.
const AGAIN: Duration = Duration::from_secs(5);

impl Upstream {
    /// What an answer that is none means.
    pub(super) async fn refusal(&self, response: Response) -> ModelError {
        let (status, wait) = (response.status(), outgoing::retry_after(&response));
        let body = outgoing::read(response, LARGEST_ERROR).await.unwrap_or_default();
        let said = serde_json::from_slice(&body).map(|error| self.said(&error)).unwrap_or_default();
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let name = self.name();
        let (why, again) = match status {
            // What servers say here may hold parts of the key.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                (format!("does not let us in ({status}); look at `model.upstreams.{name}.api_key`"), Again::Never)
            }
            StatusCode::NOT_FOUND => {
                let model = &self.settings.model;
                (format!("has no model `{model}`, or its API is elsewhere ({status}){said}"), Again::Never)
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                (format!("has enough to do ({status})"), Again::After(wait.unwrap_or(AGAIN)))
            }
            _ if status.is_server_error() => {
                (format!("failed ({status}){said}"), wait.map_or(Again::Later, Again::After))
            }
            _ if status.is_redirection() => (
                format!("answers from elsewhere ({status}), and redirects are not followed: correct `url`"),
                Again::Never,
            ),
            _ => (format!("refuses the request ({status}){said}"), Again::Never),
        };
        self.error(why, again)
    }

    /// A server's own words, which may repeat what it was shown.
    pub(super) fn said(&self, error: &Json) -> String {
        wire::said(error, self.settings.api_key.as_ref().map(Secret::reveal))
    }

    pub(super) fn error(&self, why: impl Into<String>, again: Again) -> ModelError {
        ModelError::Upstream { name: self.name().to_owned(), why: why.into(), again }
    }

    /// No answer, or not all of one.
    pub(super) fn broke(&self, error: &reqwest::Error) -> ModelError {
        self.error(format!("did not answer: {}", outgoing::plain(error)), Again::Later)
    }
}
