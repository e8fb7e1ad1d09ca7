//! `product.update`: writes fields of a product in the place of what is there. Writing the same twice is writing it once.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::order_get::record_schema;
use super::{order, read, record_tags};
use crate::domain::record::RecordType;
use crate::domain::{
    Attempt, Capability, Example, Facts, Kind, Makes, Product, ProductChange, RecordKind, Repeat, Shape, Spec, Verdict,
};

pub(super) struct ProductUpdate(Spec);

impl ProductUpdate {
    pub(super) fn new() -> Self {
        let named = |most, description| {
            let mut text = Shape::text(most, description);
            text["minLength"] = json!(1);
            text
        };
        let mut input = Shape::object(
            &[],
            &[
                ("title", named(255, "What people call it.")),
                ("description", named(50_000, "The shop's text about it, as HTML.")),
                ("vendor", named(255, "Who makes it.")),
                ("kind", named(255, "What kind of thing it is.")),
                ("status", Shape::one_of(&["active", "draft", "archived"], "Whether customers see it.")),
                ("product_id", record_tags::record_id(RecordKind::Product)),
            ],
        );
        let fields = ["title", "description", "vendor", "kind", "status"];
        input["anyOf"] = fields.iter().map(|field| json!({ "required": [field] })).collect();
        Self(Spec {
            doc: "Writes the fields that are given of a product, in the place of what is there. The others stay.",
            repeat: Repeat::Key,
            input,
            output: record_schema(Product::FIELDS),
            example: Example {
                input: json!({ "status": "draft", "product_id": "788032119674292922" }),
                answer: json!({
                    "id": "788032119674292922", "title": "Example T-Shirt", "vendor": "Acme", "status": "draft",
                    "tags": ["mens"], "updated_at": "2026-11-23T09:00:00Z",
                }),
            },
            deadline: Duration::from_secs(30),
            makes: &[Makes { event: "product.updated", fields: &["title", "description", "vendor", "kind", "status"] }],
            inverse: Some(inverse),
            ..Spec::of("product.update", Kind::Write)
        })
    }

    async fn update(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let change: ProductChange = read(input)?;
        if change == ProductChange::default() {
            return Err(Verdict::refused("invalid_input", "no field is given that could be written"));
        }
        let id = record_tags::id(attempt, RecordKind::Product, input)?;
        Ok(order::platform(attempt)?.update_product(&id, &change).await)
    }
}

/// Writes again what was there before, as far as the event's record says it.
fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    let change: ProductChange = read(input).ok()?;
    let before = facts.context.product.as_ref()?;
    let id = record_tags::id_of(facts, RecordKind::Product, input).filter(|id| before.id.as_deref() == Some(id))?;
    let mut back = json!({ "product_id": id });
    for (field, written, was) in [
        ("title", &change.title, &before.title),
        ("description", &change.description, &before.description),
        ("vendor", &change.vendor, &before.vendor),
        ("kind", &change.kind, &before.kind),
        ("status", &change.status, &before.status),
    ] {
        if let (Some(written), Some(was)) = (written, was)
            && **was != **written
        {
            back[field] = json!(was);
        }
    }
    (back.as_object()?.len() > 1).then_some(("product.update", back))
}

#[async_trait]
impl Capability for ProductUpdate {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::update(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
