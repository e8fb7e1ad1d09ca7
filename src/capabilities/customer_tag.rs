//! `customer.tag`: adds the shop's own labels to a customer. Adding one twice is adding it once.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::record_tags;
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Makes, RecordKind, Repeat, Spec, Verdict};

pub(super) struct CustomerTag(Spec);

impl CustomerTag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Adds tags to a customer. Tags that they have already stay as they are.",
            repeat: Repeat::Key,
            input: record_tags::input(RecordKind::Customer),
            output: record_tags::output(),
            example: Example {
                input: json!({ "tags": ["vip"], "customer_id": "115310627314723954" }),
                answer: json!({ "tags": ["friend", "vip"] }),
            },
            deadline: Duration::from_secs(15),
            makes: &[Makes { event: "customer.updated", fields: &["tags"] }],
            inverse: Some(inverse),
            ..Spec::of("customer.tag", Kind::Write)
        })
    }
}

fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    Some(("customer.untag", record_tags::added(facts, RecordKind::Customer, input)?))
}

#[async_trait]
impl Capability for CustomerTag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        record_tags::add(attempt, RecordKind::Customer, input).await.unwrap_or_else(|verdict| verdict)
    }
}
