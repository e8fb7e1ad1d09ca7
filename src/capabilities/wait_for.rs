//! `wait_for`: goes on when something happens to an order, a customer or a conversation, or when the time is over.
//!
//! Which event answers is the engine's to find: of those to come, and of those since the run began.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use super::wait::{LONGEST, end_of};
use crate::domain::record::RecordType;
use crate::domain::{
    Answer, Awaits, Capability, EVENT_TYPES, EventType, Example, Facts, Kind, Records, Shape, Spec, Verdict, about,
};

pub(super) struct WaitFor(Spec);

#[derive(Deserialize)]
struct Input {
    event: String,
    within: String,
    order_id: Option<String>,
    customer_id: Option<String>,
    return_id: Option<String>,
    conversation_id: Option<String>,
}

impl WaitFor {
    pub(super) fn new() -> Self {
        let names = waitable();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let id = |description: &str| {
            let mut id = Shape::text(200, description);
            id["minLength"] = json!(1);
            id
        };
        let mut answer = vec![
            ("timed_out", Shape::flag("Whether it did not happen in time.")),
            ("event", Shape::any("What happened: its `id`, `type`, `subject` and `time`; nothing where nothing did.")),
        ];
        answer.extend(Records::FIELDS.iter().map(|field| (field.name, Shape::any(field.doc.trim()))));
        let mut output = Shape::object(&["timed_out"], &answer);
        output["mocks"] = json!(["timed_out"]);
        Self(Spec {
            doc: "Goes on when something happens, at once where it has happened since the run began, or when the time \
                  is over.",
            input: Shape::object(
                &["event", "within"],
                &[
                    (
                        "event",
                        Shape::one_of(
                            &names,
                            "What is waited for, written out: an event type such as `order.fulfilled`, or all of a \
                             kind: `order.*`.",
                        ),
                    ),
                    (
                        "within",
                        Shape::duration_up_to(
                            LONGEST,
                            "How long to wait, such as `7d`; a year at most. Then the answer is `timed_out`.",
                        ),
                    ),
                    ("order_id", id("Of which order. Default: the event's own order, else its customer.")),
                    ("customer_id", id("Of which customer.")),
                    ("return_id", id("Of which return.")),
                    ("conversation_id", id("In which conversation.")),
                ],
            ),
            output,
            example: Example {
                input: json!({ "event": "order.fulfilled", "order_id": "820982911946154508", "within": "7d" }),
                answer: json!({
                    "timed_out": false,
                    "event": {
                        "id": "ev_0c3k5m7q9s1t3", "type": "order.fulfilled", "subject": "order/820982911946154508",
                        "time": "2026-11-25T10:00:00Z",
                    },
                    "order": { "id": "820982911946154508", "name": "#1042", "fulfillment_status": "fulfilled" },
                }),
            },
            deadline: Duration::from_secs(1),
            ..Spec::of("wait_for", Kind::Control)
        })
    }

    fn awaits(facts: &Facts, now: Timestamp, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let until = end_of(now, "within", &input.within)?;
        let ids = [
            ("order", input.order_id),
            ("customer", input.customer_id),
            ("return", input.return_id),
            ("conversation", input.conversation_id),
        ];
        let mut given = Vec::new();
        for (kind, id) in ids.iter().filter_map(|(kind, id)| Some((kind, id.as_deref()?.trim()))) {
            if id.is_empty() {
                return Err(Verdict::refused("invalid_input", format!("`{kind}_id` is empty")));
            }
            given.push(format!("{kind}/{id}"));
        }
        let about = match given.as_slice() {
            [one] => one.clone(),
            [] => own(facts).ok_or_else(|| {
                let problem = format!(
                    "the event `{}` is about no order and no customer; say what is meant, such as `order_id`",
                    facts.event.kind
                );
                Verdict::refused("nothing_to_wait_for", problem)
            })?,
            _ => {
                let problem = format!("one thing can be waited for at a time, and here are {}", given.join(" and "));
                return Err(Verdict::refused("invalid_input", problem));
            }
        };
        Ok(Verdict::Await(Awaits::Event { kind: input.event, about }, until))
    }
}

/// What an event is about where the rule does not say: its order, else its customer.
fn own(facts: &Facts) -> Option<String> {
    let about = about(&facts.event, &facts.context);
    let of = |kind: &str| about.iter().find(|one| one.starts_with(kind)).cloned();
    of("order/").or_else(|| of("customer/"))
}

/// The types that tell of something which can be named, and their families.
fn waitable() -> Vec<String> {
    let named = |kind: &&EventType| kind.records.iter().any(|it| matches!(*it, "order" | "customer" | "message"));
    let kinds: Vec<&str> = EVENT_TYPES.iter().filter(named).map(|kind| kind.name).collect();
    let mut names: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
    for family in kinds.iter().filter_map(|kind| kind.split('.').next()) {
        let family = format!("{family}.*");
        if !names.contains(&family) {
            names.push(family);
        }
    }
    names
}

#[async_trait]
impl Capability for WaitFor {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, facts: &Facts, now: Timestamp, input: &Json) -> Verdict {
        Self::awaits(facts, now, input).unwrap_or_else(|verdict| verdict)
    }

    fn timed_out(&self, _input: &Json) -> Answer {
        Answer::Done(json!({ "timed_out": true }))
    }

    /// `timed_out`, or what is known of the event, such as `{ order: { total: "20.00 EUR" } }`.
    fn mocked(&self, input: &Json, mock: &Json) -> Option<Answer> {
        match mock {
            Json::String(word) if word == "timed_out" => Some(self.timed_out(input)),
            Json::Object(given) if !given.contains_key("error") => {
                let mut answer = serde_json::Map::from_iter([("timed_out".to_owned(), Json::Bool(false))]);
                answer.extend(given.clone());
                Some(Answer::Done(answer.into()))
            }
            _ => None,
        }
    }
}
