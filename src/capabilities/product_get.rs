//! `product.get`: reads a product from the shop's platform, as it is now.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::order_get::record_schema;
use super::{order, record_tags};
use crate::domain::record::RecordType;
use crate::domain::{Attempt, Capability, Example, Kind, Product, RecordKind, Shape, Spec, Verdict};

pub(super) struct ProductGet(Spec);

impl ProductGet {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Reads a product from the shop's platform, as it is now. The answer is the product, with the same \
                  fields as the event's, and the price of its first variant.",
            input: Shape::object(&[], &[("product_id", record_tags::record_id(RecordKind::Product))]),
            output: record_schema(Product::FIELDS),
            example: Example {
                input: json!({ "product_id": "788032119674292922" }),
                answer: json!({
                    "id": "788032119674292922", "title": "Example T-Shirt", "description": "An example T-Shirt",
                    "vendor": "Acme", "kind": "Shirts", "status": "active", "tags": ["mens"],
                    "skus": ["example-shirt-s", "example-shirt-m"], "price": "19.99 EUR",
                    "updated_at": "2026-11-23T09:00:00Z",
                }),
            },
            deadline: Duration::from_secs(30),
            ..Spec::of("product.get", Kind::Read)
        })
    }

    async fn get(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let id = record_tags::id(attempt, RecordKind::Product, input)?;
        let none = || Verdict::refused("not_found", format!("the shop has no product `{id}`"));
        let product = order::platform(attempt)?.product(&id).await?.ok_or_else(none)?;
        let answer = serde_json::to_value(product).map(Verdict::Done);
        answer.map_err(|error| Verdict::refused("not_understood", error.to_string()))
    }
}

#[async_trait]
impl Capability for ProductGet {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::get(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
