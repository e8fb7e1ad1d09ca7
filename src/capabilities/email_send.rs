//! `email.send`: a mail to an address that the rule names: the shop's own people, a supplier.
//!
//! As with `message.send`, SMTP takes no key: where the server's answer is lost, a person decides.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{email, read};
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Outgoing, Repeat, Shape, Spec, Verdict};

pub(super) struct EmailSend(Spec);

#[derive(Deserialize)]
struct Input {
    to: String,
    subject: String,
    text: String,
}

impl EmailSend {
    pub(super) fn new() -> Self {
        let text = |most, description| {
            let mut text = Shape::text(most, description);
            text["minLength"] = json!(1);
            text
        };
        Self(Spec {
            doc: "Sends a mail to an address of your choice. For an answer to the event's customer there is \
                  `message.send`.",
            repeat: Repeat::None,
            input: Shape::object(
                &["to", "subject", "text"],
                &[
                    ("to", text(254, "An e-mail address.")),
                    ("subject", text(200, "The subject line.")),
                    ("text", text(20_000, "What to write, plain text.")),
                ],
            ),
            output: Shape::object(&["message_id"], &[("message_id", Shape::text(998, "The mail's Message-ID."))]),
            example: Example {
                input: json!({
                    "to": "buyer@acme.example", "subject": "Cups are running low", "text": "5 are left of CUP-1.",
                }),
                answer: json!({ "message_id": "0f343b0931126a20f133d67c2b018a3b@acme.example" }),
            },
            deadline: Duration::from_secs(60),
            ..Spec::of("email.send", Kind::Write)
        })
    }

    async fn send(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { to, subject, text } = read(input)?;
        email::answers_no_machine(&attempt.facts, &to)?;
        let message_id = email::message_id(&attempt.key);
        let mail = Outgoing { to, subject, text, message_id, in_reply_to: None, references: Vec::new() };
        Ok(email::mailer(attempt)?.send(&mail).await)
    }
}

#[async_trait]
impl Capability for EmailSend {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn reaches(&self, _facts: &Facts, input: &Json) -> Option<String> {
        input.get("to").and_then(Json::as_str).filter(|to| !to.trim().is_empty()).map(str::to_owned)
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::send(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
