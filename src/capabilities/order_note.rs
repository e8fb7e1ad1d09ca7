//! `order.note`: adds a line to an order's note.
//!
//! A platform can only write the whole note, so it is read, added to and written. The line ends with a mark of the
//! call, by which a repeat finds that it is there. What a person writes into the note between our reading and our
//! writing is lost: no platform offers a way to write only if nothing has changed.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::mark::mark;
use super::{order, read};
use crate::domain::{Attempt, Capability, Example, Kind, Lookup, Makes, Repeat, Shape, Spec, Verdict};

pub(super) struct OrderNote(Spec);

#[derive(Deserialize)]
struct Input {
    text: String,
    order_id: Option<String>,
}

impl OrderNote {
    pub(super) fn new() -> Self {
        let mut text = Shape::text(500, "What to note, in one line.");
        text["minLength"] = json!(1);
        text["pattern"] = json!("^[^\\r\\n]*\\S[^\\r\\n]*$");
        Self(Spec {
            doc: "Adds a line to an order's note, with a short mark at its end by which Storehand knows it again. A change \
                  that a person makes to the note in the same instant can be lost.",
            repeat: Repeat::Lookup,
            input: Shape::object(&["text"], &[("text", text), ("order_id", order::order_id())]),
            output: Shape::object(&["note"], &[("note", Shape::text(20_000, "The whole note now."))]),
            example: Example {
                input: json!({ "text": "Waits for stock until Friday", "order_id": "820982911946154508" }),
                answer: json!({ "note": "Please ring twice\nWaits for stock until Friday [storehand 3f9a2c7d1b04]" }),
            },
            deadline: Duration::from_secs(30),
            makes: &[Makes { event: "order.updated", fields: &["note"] }],
            ..Spec::of("order.note", Kind::Write)
        })
    }

    async fn note(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { text, order_id } = read(input)?;
        let id = order::id(attempt, order_id)?;
        let platform = order::platform(attempt)?;
        let note = order::now(platform, &id).await?.note.unwrap_or_default();
        let mark = mark(&attempt.key);
        if note.contains(&mark) {
            return Ok(Verdict::Done(json!({ "note": note })));
        }
        let lines = [note.trim_end(), &format!("{} {mark}", text.trim())];
        let note = lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        Ok(platform.write_note(&id, &note).await)
    }

    async fn look(attempt: &Attempt, input: &Json) -> Result<Lookup, Verdict> {
        let id = order::id(attempt, read::<Input>(input)?.order_id)?;
        let note = order::now(order::platform(attempt)?, &id).await?.note.unwrap_or_default();
        let is_there = note.contains(&mark(&attempt.key));
        Ok(if is_there { Lookup::Happened(json!({ "note": note })) } else { Lookup::DidNot })
    }
}

#[async_trait]
impl Capability for OrderNote {
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
