//! `product.tag`: adds the shop's own labels to a product. Adding one twice is adding it once.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::record_tags;
use crate::domain::{Attempt, Capability, Example, Facts, Kind, Makes, RecordKind, Repeat, Spec, Verdict};

pub(super) struct ProductTag(Spec);

impl ProductTag {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Adds tags to a product. Tags that it has already stay as they are.",
            repeat: Repeat::Key,
            input: record_tags::input(RecordKind::Product),
            output: record_tags::output(),
            example: Example {
                input: json!({ "tags": ["last chance"], "product_id": "788032119674292922" }),
                answer: json!({ "tags": ["mens", "last chance"] }),
            },
            deadline: Duration::from_secs(15),
            makes: &[Makes { event: "product.updated", fields: &["tags"] }],
            inverse: Some(inverse),
            ..Spec::of("product.tag", Kind::Write)
        })
    }
}

fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    Some(("product.untag", record_tags::added(facts, RecordKind::Product, input)?))
}

#[async_trait]
impl Capability for ProductTag {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        record_tags::add(attempt, RecordKind::Product, input).await.unwrap_or_else(|verdict| verdict)
    }
}
