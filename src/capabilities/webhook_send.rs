//! `webhook.send`: tells another program of something, signed as Standard Webhooks.
//!
//! The receiver knows a repetition by its `webhook-id`, which is the same for every attempt: so a lost answer is no more
//! than a try. Where to is guarded as with `http.request`.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::guarded::{Guarded, destination};
use super::{mark, read};
use crate::domain::{Attempt, Capability, Example, Kind, Repeat, Secret, Shape, Spec, Verdict};
use crate::outgoing;
use crate::shops::signature::sign_standard;

const MOST_OUT: usize = 64 << 10;

pub(super) struct WebhookSend {
    spec: Spec,
    guarded: Guarded,
}

#[derive(Deserialize)]
struct Input {
    url: String,
    r#type: String,
    #[serde(default)]
    data: Json,
    secret: String,
}

impl WebhookSend {
    pub(super) fn new() -> Self {
        let mut kind = Shape::text(128, "What happened, such as `order.held`.");
        kind["pattern"] = json!("^[a-zA-Z0-9_.-]+$");
        let spec = Spec {
            doc: "Tells another program on the public internet of something: a POST of `type`, `timestamp` and `data`, \
                  signed as Standard Webhooks (standardwebhooks.com).",
            repeat: Repeat::Key,
            input: Shape::object(
                &["url", "type", "secret"],
                &[
                    ("url", Shape::text(2000, "Where to, with `https://`.")),
                    ("type", kind),
                    ("data", Shape::any("What belongs to it; up to 64 KiB as JSON.")),
                    ("secret", Shape::text(64, "The name of one of the shop's secrets (`whsec_…`): signs it.")),
                ],
            ),
            output: Shape::object(&["status"], &[("status", Shape::whole(200, 299, "The HTTP status."))]),
            example: Example {
                input: json!({
                    "url": "https://erp.example/hooks", "type": "order.held", "data": { "order": "1042" },
                    "secret": "erp",
                }),
                answer: json!({ "status": 204 }),
            },
            deadline: Duration::from_secs(12),
            ..Spec::of("webhook.send", Kind::Write)
        };
        Self { spec, guarded: Guarded::default() }
    }

    async fn send(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { url, r#type, data, secret } = read(input)?;
        let (url, private) = destination(&url, &attempt.shop)?;
        if url.scheme() != "https" && !private {
            return Err(Verdict::refused("invalid_input", "what is signed travels over `https://` only"));
        }
        // The same in every attempt, as the id is: the receiver sees one message.
        let body = json!({ "type": r#type, "timestamp": attempt.facts.now.to_string(), "data": data }).to_string();
        if body.len() > MOST_OUT {
            return Err(Verdict::refused("invalid_input", format!("`data` is longer than {} KiB", MOST_OUT >> 10)));
        }
        let id = format!("msg_{}", mark::uuid(&attempt.key));
        let seconds = attempt.now.as_second();
        let secret = named(attempt, &secret)?;
        let signature = sign_standard(secret, &id, seconds, body.as_bytes()).ok_or_else(|| {
            Verdict::refused("no_secret", "the secret holds no key to sign with: it is `whsec_` and base64")
        })?;
        let request = self
            .guarded
            .client(private)?
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(Guarded::not_answered(&error, true)),
        };
        let (status, wait) = (response.status(), outgoing::retry_after(&response));
        let said = format!("the receiver answered {status}");
        Ok(match status.as_u16() {
            200..=299 => Verdict::Done(json!({ "status": status.as_u16() })),
            410 => Verdict::refused("gone", format!("{said}: it wants no more of these")),
            408 | 425 | 429 | 500.. => Verdict::RetryAfter(wait, said),
            _ => Verdict::refused("http_status", said),
        })
    }
}

fn named<'a>(attempt: &'a Attempt, name: &str) -> Result<&'a Secret, Verdict> {
    let shop = &attempt.shop;
    shop.secrets.get(name).ok_or_else(|| {
        let said = format!("the shop `{}` has no secret `{name}`; set it under `shop.{}.secrets`", shop.id, shop.id);
        Verdict::refused("no_secret", said)
    })
}

#[async_trait]
impl Capability for WebhookSend {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.send(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
