//! `message.send`: writes to the customer. By e-mail for now.
//!
//! SMTP takes no key: where the server's answer is lost, nobody can tell whether the mail went out, and a person
//! decides.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::catalogues::Catalogues;
use super::held_text::{HeldTo, customers_language, rules_shape};
use super::{email, read};
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Outgoing, Repeat, Shape, Spec, Verdict};
use crate::models::policy::Policy;

pub(super) struct MessageSend {
    spec: Spec,
    catalogues: Arc<Catalogues>,
}

#[derive(Deserialize)]
struct Input {
    text: String,
    subject: Option<String>,
    to: Option<String>,
    #[serde(default)]
    policy: Vec<Policy>,
}

impl MessageSend {
    pub(super) fn new(catalogues: Arc<Catalogues>) -> Self {
        let mut text = Shape::text(20_000, "What to write, plain text.");
        text["minLength"] = json!(1);
        let spec = Spec {
            doc: "Writes to the event's customer by e-mail: an answer within the conversation, where the event is their e-mail. What a machine wrote is not answered.",
            repeat: Repeat::None,
            input: Shape::object(
                &["text"],
                &[
                    ("text", text),
                    (
                        "subject",
                        Shape::text(
                            200,
                            "The subject line. Default: `Re:` and theirs, else the shop's name and the order's.",
                        ),
                    ),
                    ("to", Shape::addressing(Shape::text(254, "An e-mail address. Default: the event's customer's."))),
                    (
                        "policy",
                        rules_shape(
                            "What text and subject are held to before they go out, whoever wrote or edited them last",
                        ),
                    ),
                ],
            ),
            output: Shape::object(&["message_id"], &[("message_id", Shape::text(998, "The mail's Message-ID."))]),
            example: Example {
                input: json!({ "text": "Hello Ana, we have your return request and answer today." }),
                answer: json!({ "message_id": "0f343b0931126a20f133d67c2b018a3b@acme.example" }),
            },
            deadline: Duration::from_secs(60),
            ..Spec::of("message.send", Kind::Write)
        };
        Self { spec, catalogues }
    }

    async fn send(&self, attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        if !input.policy.is_empty() {
            let language = input.policy.contains(&Policy::Language).then(|| customers_language(attempt)).flatten();
            let held = HeldTo::new(input.policy, language, attempt, &self.catalogues).await?;
            held.let_out(&input.text)?;
            if let Some(subject) = &input.subject {
                held.let_out(subject)?;
            }
        }
        let facts = &attempt.facts;
        let channel = facts.context.message.as_ref().and_then(|message| message.channel.as_deref());
        if let (None, Some(channel)) = (&input.to, channel.filter(|channel| *channel != "email")) {
            let problem =
                format!("the customer wrote by `{channel}`, and only e-mail can be sent; give `to` an address");
            return Err(Verdict::refused("channel_not_supported", problem));
        }
        let to = input.to.or_else(|| email::customers_address(facts)).ok_or_else(|| {
            let problem = "the customer's e-mail address is not known, neither from the event nor from the shop";
            Verdict::refused("no_address", problem)
        })?;
        email::answers_no_machine(facts, &to)?;
        let mailer = email::mailer(attempt)?;
        let mail = Outgoing {
            to,
            subject: input.subject.unwrap_or_else(|| email::subject(attempt)),
            text: input.text,
            message_id: email::message_id(&attempt.key),
            in_reply_to: email::received(facts).and_then(|message| email::mail_id(message.id.as_deref())),
            references: email::received(facts).map(email::thread).unwrap_or_default(),
        };
        Ok(mailer.send(&mail).await)
    }
}

#[async_trait]
impl Capability for MessageSend {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reaches(&self, facts: &Facts, input: &Json) -> Option<String> {
        let to = input.get("to").and_then(Json::as_str).filter(|to| !to.trim().is_empty()).map(str::to_owned);
        let customer = || facts.context.customer.as_ref()?.id.as_ref().map(ToString::to_string);
        to.or_else(|| email::customers_address(facts)).or_else(customer)
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        self.send(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
