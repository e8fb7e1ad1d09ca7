//! `order.tag`: adds the shop's own labels to an order. Adding one twice is adding it once.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{order, read};
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Repeat, Shape, Spec, Verdict};

pub(super) struct OrderTag(Spec);

#[derive(Deserialize)]
struct Input {
    tags: Vec<String>,
    order_id: Option<String>,
}

impl OrderTag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Adds tags to an order. Tags that it has already stay as they are.",
            repeat: Repeat::Key,
            input: Shape::object(
                &["tags"],
                &[
                    ("tags", order::tags("The labels to add, 40 characters each at most, without commas.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(&["tags"], &[("tags", order::tags_now())]),
            example: Example {
                input: json!({ "tags": ["big order"], "order_id": "820982911946154508" }),
                answer: json!({ "tags": ["big order", "vip"] }),
            },
            deadline: Duration::from_secs(15),
            makes: order::MAKES_TAGS,
            inverse: Some(inverse),
            ..Spec::of("order.tag", Kind::Write)
        })
    }

    async fn tag(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let id = order::id(attempt, input.order_id)?;
        Ok(order::platform(attempt)?.tag_order(&id, &input.tags).await)
    }
}

/// Takes off again what the order did not have before.
fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    let input: Input = read(input).ok()?;
    let (id, before) = order::tags_before(facts, input.order_id)?;
    let tags: Vec<String> = input.tags.into_iter().filter(|tag| !order::has_tag(&before, tag)).collect();
    (!tags.is_empty()).then(|| ("order.untag", json!({ "tags": tags, "order_id": id })))
}

#[async_trait]
impl Capability for OrderTag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::tag(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
