//! `order.tag`: adds the shop's own labels to an order. Adding one twice is adding it once.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{order, read};
use crate::domain::{Attempt, Capability, Example, Kind, Repeat, Shape, Spec, Verdict};

pub(super) struct OrderTag(Spec);

#[derive(Deserialize)]
struct Input {
    tags: Vec<String>,
    order_id: Option<String>,
}

impl OrderTag {
    pub(super) fn new() -> Self {
        // Shopify takes 40 characters a tag and separates tags by commas.
        let tag = json!({ "type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[^,\\s]([^,]*[^,\\s])?$" });
        let mut tags = Shape::list(tag, 50, "The labels to add, 40 characters each at most, without commas.");
        tags["minItems"] = json!(1);
        Self(Spec {
            name: "order.tag",
            doc: "Adds tags to an order. Tags that it has already stay as they are.",
            kind: Kind::Write,
            repeat: Repeat::Key,
            input: Shape::object(
                &["tags"],
                &[
                    ("tags", tags),
                    ("order_id", Shape::text(128, "The platform's id of the order. Default: the event's order.")),
                ],
            ),
            output: Shape::object(
                &["tags"],
                &[("tags", Shape::list(json!({ "type": "string" }), 250, "All tags that the order has now."))],
            ),
            example: Example {
                input: json!({ "tags": ["big order"], "order_id": "820982911946154508" }),
                answer: json!({ "tags": ["big order", "vip"] }),
            },
            deadline: Duration::from_secs(15),
        })
    }

    async fn tag(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let input: Input = read(input)?;
        let id = order::id(attempt, input.order_id)?;
        Ok(order::platform(attempt)?.tag_order(&id, &input.tags).await)
    }
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
