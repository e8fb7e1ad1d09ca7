//! `customer.untag`: takes the shop's own labels off a customer.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::record_tags;
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Makes, RecordKind, Repeat, Spec, Verdict};

pub(super) struct CustomerUntag(Spec);

impl CustomerUntag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Takes tags off a customer. Tags that they do not have are passed over.",
            repeat: Repeat::Key,
            input: record_tags::input(RecordKind::Customer),
            output: record_tags::output(),
            example: Example {
                input: json!({ "tags": ["new"], "customer_id": "115310627314723954" }),
                answer: json!({ "tags": ["friend"] }),
            },
            deadline: Duration::from_secs(15),
            makes: &[Makes { event: "customer.updated", fields: &["tags"] }],
            inverse: Some(inverse),
            ..Spec::of("customer.untag", Kind::Write)
        })
    }
}

fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    Some(("customer.tag", record_tags::removed(facts, RecordKind::Customer, input)?))
}

#[async_trait]
impl Capability for CustomerUntag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        record_tags::remove(attempt, RecordKind::Customer, input).await.unwrap_or_else(|verdict| verdict)
    }
}
