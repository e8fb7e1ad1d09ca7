//! `product.untag`: takes the shop's own labels off a product.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::record_tags;
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Makes, RecordKind, Repeat, Spec, Verdict};

pub(super) struct ProductUntag(Spec);

impl ProductUntag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Takes tags off a product. Tags that it does not have are passed over.",
            repeat: Repeat::Key,
            input: record_tags::input(RecordKind::Product),
            output: record_tags::output(),
            example: Example {
                input: json!({ "tags": ["last chance"], "product_id": "788032119674292922" }),
                answer: json!({ "tags": ["mens"] }),
            },
            deadline: Duration::from_secs(15),
            makes: &[Makes { event: "product.updated", fields: &["tags"] }],
            inverse: Some(inverse),
            ..Spec::of("product.untag", Kind::Write)
        })
    }
}

fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    Some(("product.tag", record_tags::removed(facts, RecordKind::Product, input)?))
}

#[async_trait]
impl Capability for ProductUntag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        record_tags::remove(attempt, RecordKind::Product, input).await.unwrap_or_else(|verdict| verdict)
    }
}
