//! `customer.note`: adds a line to the shop's own note about a customer.
//!
//! As with an order's note (`order.note`): the platform can only write the whole, and the line ends with a mark of the
//! call, by which a repeat finds that it is there.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::mark::mark;
use super::{order, read, record_tags};
use crate::domain::{Attempt, Capability, Example, Kind, Lookup, RecordKind, Repeat, Shape, Spec, Verdict};

pub(super) struct CustomerNote(Spec);

#[derive(Deserialize)]
struct Input {
    text: String,
}

impl CustomerNote {
    pub(super) fn new() -> Self {
        let mut text = Shape::text(500, "What to note, in one line.");
        text["minLength"] = json!(1);
        text["pattern"] = json!("^[^\\r\\n]*\\S[^\\r\\n]*$");
        Self(Spec {
            doc: "Adds a line to the shop's own note about a customer, with a short mark at its end by which Storehand \
                  knows it again. A change that a person makes to the note in the same instant can be lost.",
            repeat: Repeat::Lookup,
            input: Shape::object(
                &["text"],
                &[("text", text), ("customer_id", record_tags::record_id(RecordKind::Customer))],
            ),
            output: Shape::object(&["note"], &[("note", Shape::text(20_000, "The whole note now."))]),
            example: Example {
                input: json!({ "text": "Asked twice about the blue mug", "customer_id": "115310627314723954" }),
                answer: json!({ "note": "Asked twice about the blue mug [storehand 3f9a2c7d1b04]" }),
            },
            deadline: Duration::from_secs(30),
            ..Spec::of("customer.note", Kind::Write)
        })
    }

    async fn now(attempt: &Attempt, id: &str) -> Result<String, Verdict> {
        let none = || Verdict::refused("not_found", format!("the shop has no customer `{id}`"));
        order::platform(attempt)?.customer_note(id).await?.ok_or_else(none)
    }

    async fn note(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { text } = read(input)?;
        let id = record_tags::id(attempt, RecordKind::Customer, input)?;
        let note = Self::now(attempt, &id).await?;
        let mark = mark(&attempt.key);
        if note.contains(&mark) {
            return Ok(Verdict::Done(json!({ "note": note })));
        }
        let lines = [note.trim_end(), &format!("{} {mark}", text.trim())];
        let note = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        Ok(order::platform(attempt)?.write_customer_note(&id, &note).await)
    }

    async fn look(attempt: &Attempt, input: &Json) -> Result<Lookup, Verdict> {
        let note = Self::now(attempt, &record_tags::id(attempt, RecordKind::Customer, input)?).await?;
        let is_there = note.contains(&mark(&attempt.key));
        Ok(if is_there { Lookup::Happened(json!({ "note": note })) } else { Lookup::DidNot })
    }
}

#[async_trait]
impl Capability for CustomerNote {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::note(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }

    async fn lookup(&self, attempt: &Attempt, input: &Json) -> Lookup {
        Self::look(attempt, input).await.unwrap_or_else(order::not_seen)
    }
}
