//! `order.untag`: takes labels off an order. Taking one off twice is taking it off once.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{order, read};
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Repeat, Shape, Spec, Verdict};

pub(super) struct OrderUntag(Spec);

#[derive(Deserialize)]
struct Input {
    tags: Vec<String>,
    order_id: Option<String>,
}

impl OrderUntag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Takes tags off an order. Tags that it does not have are passed over.",
            repeat: Repeat::Key,
            input: Shape::object(
                &["tags"],
                &[
                    ("tags", order::tags("The labels to take off, 40 characters each at most, without commas.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(&["tags"], &[("tags", order::tags_now())]),
            example: Example {
                input: json!({ "tags": ["waits for stock"], "order_id": "820982911946154508" }),
                answer: json!({ "tags": ["vip"] }),
            },
            deadline: Duration::from_secs(15),
            makes: order::MAKES_TAGS,
            inverse: Some(inverse),
            ..Spec::of("order.untag", Kind::Write)
        })
    }

    async fn untag(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let id = order::id(attempt, input.order_id)?;
        Ok(order::platform(attempt)?.untag_order(&id, &input.tags).await)
    }
}

/// Adds again what the order had before.
fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    let input: Input = read(input).ok()?;
    let (id, before) = order::tags_before(facts, input.order_id)?;
    let tags: Vec<String> = input.tags.into_iter().filter(|tag| order::has_tag(&before, tag)).collect();
    (!tags.is_empty()).then(|| ("order.tag", json!({ "tags": tags, "order_id": id })))
}

#[async_trait]
impl Capability for OrderUntag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::untag(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
