//! `http.request`: speaks to a web service that no capability knows.
//!
//! One capability for all methods, declared a write: whether a `GET` changes something, only its other side
//! knows. The rule must `allow` it, and outside live runs the stand-in answers.
//!
//! *Architecture Invariant*: public addresses only, unless the shop's `private_hosts` names `host:port`; no
//! redirects, no proxy, 10 s, 64 KiB out, 256 KiB in. Secrets travel by name, over TLS, and appear in no record.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::guarded::{Guarded, TIMEOUT, destination};
use super::read;
use crate::domain::{Attempt, Capability, Example, Failure, Kind, Repeat, Shape, Spec, Verdict};
use crate::outgoing;

const MOST_OUT: usize = 64 << 10;
const MOST_IN: usize = 256 << 10;
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Headers that are not a rule's to set: the connection's own, and those that would put a secret on record.
const NOT_YOURS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) struct HttpRequest {
    spec: Spec,
    guarded: Guarded,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Json>,
    #[serde(default)]
    secret: Option<String>,
}

impl HttpRequest {
    pub(super) fn new() -> Self {
        let headers = json!({
            "type": "object",
            "additionalProperties": { "type": "string", "maxLength": 2000 },
            "maxProperties": 32,
            "description": "Further headers.",
        });
        let spec = Spec {
            doc: "Sends a request to a web service on the public internet. An answer of 200 to 299 is the call's \
                  answer; any other is an error. Redirects are not followed.",
            repeat: Repeat::None,
            input: Shape::object(
                &["url"],
                &[
                    ("method", Shape::one_of(METHODS, "Default: GET.")),
                    ("url", Shape::text(2000, "Where to, with `https://`.")),
                    ("headers", headers),
                    ("body", Shape::any("What to send: a text as it is, anything else as JSON; up to 64 KiB.")),
                    (
                        "secret",
                        Shape::text(64, "The name of one of the shop's secrets: sent as `Authorization: Bearer`."),
                    ),
                ],
            ),
            output: Shape::object(
                &["status"],
                &[
                    ("status", Shape::whole(200, 299, "The HTTP status.")),
                    ("body", Shape::any("What came back, as text; up to 256 KiB.")),
                    ("json", Shape::any("What came back, read as JSON where it is JSON.")),
                    ("cut", Shape::flag("Whether what came back was longer, or broke off, and is left out.")),
                ],
            ),
            example: Example {
                input: json!({ "method": "POST", "url": "https://warehouse.example/pick", "body": { "order": "1042" },
                               "secret": "warehouse" }),
                answer: json!({ "status": 200, "body": "{\"queued\":true}", "json": { "queued": true } }),
            },
            deadline: TIMEOUT + Duration::from_secs(2),
            ..Spec::of("http.request", Kind::Write)
        };
        Self { spec, guarded: Guarded::default() }
    }

    async fn request(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let method = input.method.as_deref().unwrap_or("GET");
        if !METHODS.contains(&method) {
            return Err(Verdict::refused("invalid_input", format!("`method` must be one of {}", METHODS.join(", "))));
        }
        let (url, private) = destination(&input.url, &attempt.shop)?;
        let headers = headers(&input, &url, private, attempt)?;
        let body = body(input.body)?;
        let client = self.guarded.client(private)?;
        let reads = method == "GET";
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| Verdict::refused("invalid_input", error.to_string()))?;
        let sent = client.request(method, url).headers(headers).body(body).send().await;
        match sent {
            Ok(response) => Ok(answered(response, reads).await),
            Err(error) => Err(Guarded::not_answered(&error, reads)),
        }
    }
}

#[async_trait]
impl Capability for HttpRequest {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.request(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}

fn headers(input: &Input, url: &Url, private: bool, attempt: &Attempt) -> Result<HeaderMap, Verdict> {
    let wrong = |problem: String| Verdict::refused("invalid_input", problem);
    let mut headers = HeaderMap::new();
    // Harmless where it is not understood, and a guard against repeats where it is.
    if let Ok(key) = HeaderValue::from_str(&attempt.key) {
        headers.insert("idempotency-key", key);
    }
    match input.body {
        Some(Json::String(_)) => headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        Some(_) => headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json")),
        None => None,
    };
    for (name, value) in &input.headers {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(wrong(format!("`{}` is not the name of a header", name.escape_debug())));
        };
        if NOT_YOURS.contains(&parsed.as_str()) {
            return Err(wrong(format!("the header `{parsed}` cannot be set here; for a secret there is `secret`")));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| wrong(format!("the header `{parsed}` holds what may not stand in one")))?;
        headers.insert(parsed, value);
    }
    if let Some(name) = &input.secret {
        let shop = &attempt.shop;
        let secret = shop.secrets.get(name).ok_or_else(|| {
            let problem =
                format!("the shop `{}` has no secret `{name}`; set it under `shop.{}.secrets`", shop.id, shop.id);
            Verdict::refused("no_secret", problem)
        })?;
        if url.scheme() != "https" && !private {
            return Err(wrong("a secret travels over `https://` only".into()));
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", secret.reveal()))
            .map_err(|_| wrong(format!("the secret `{name}` holds what may not stand in a header")))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(headers)
}

fn body(body: Option<Json>) -> Result<String, Verdict> {
    let text = match body {
        None => String::new(),
        Some(Json::String(text)) => text,
        Some(json) => json.to_string(),
    };
    if text.len() > MOST_OUT {
        return Err(Verdict::refused("invalid_input", format!("`body` is longer than {} KiB", MOST_OUT >> 10)));
    }
    Ok(text)
}

async fn answered(response: Response, reads: bool) -> Verdict {
    let (status, wait) = (response.status(), outgoing::retry_after(&response));
    let said = format!("the service answered {status}");
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("json"));
    match status.as_u16() {
        408 | 425 | 429 | 503 => return Verdict::RetryAfter(wait, said),
        500.. if reads => return Verdict::RetryAfter(wait, said),
        // It broke while it worked, or something between us did: nobody can tell how far it came.
        500.. => return Verdict::Unknown(said),
        _ => {}
    }
    let body = match outgoing::read(response, MOST_IN).await {
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        Err(error) if !reads && status.is_success() => {
            tracing::debug!(%error, "http.request was done and its answer is left out");
            return Verdict::Done(json!({ "status": status.as_u16(), "cut": true }));
        }
        Err(outgoing::ReadError::Broken(problem)) if reads => return Verdict::RetryAfter(wait, problem),
        Err(error) => return Verdict::refused("answer_unreadable", format!("{said}, and {error}")),
    };
    if !status.is_success() {
        let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        let mut failure = Failure::new("http_status", format!("{said}{hint}"));
        failure.detail = json!({ "status": status.as_u16(), "body": body });
        return Verdict::Refused(failure);
    }
    let mut answer = json!({ "status": status.as_u16() });
    if let (true, Ok(json)) = (is_json, serde_json::from_str::<Json>(&body)) {
        answer["json"] = json;
    }
    answer["body"] = Json::String(body);
    Verdict::Done(answer)
}
