//! `order.get`: reads an order from the shop's platform, as it is now.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{order, read};
use crate::domain::record::RecordType;
use crate::domain::{Attempt, Capability, Example, Field, FieldKind, Kind, Order, Shape, Spec, Verdict};

pub(super) struct OrderGet(Spec);

#[derive(Deserialize)]
struct Input {
    id: Option<String>,
}

impl OrderGet {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Reads an order from the shop's platform, as it is now. The answer is the order, with the same fields \
                  as the event's, and whether it is cancelled, returned or paid back by now.",
            input: Shape::object(
                &[],
                &[("id", Shape::text(128, "The platform's id of it. Default: the event's order."))],
            ),
            output: record_schema(Order::FIELDS),
            example: Example {
                input: json!({ "id": "820982911946154508" }),
                answer: json!({
                    "id": "820982911946154508",
                    "number": "1042",
                    "name": "#1042",
                    "status": "open",
                    "financial_status": "paid",
                    "fulfillment_status": "unfulfilled",
                    "currency": "EUR",
                    "total": "48.00 EUR",
                    "customer": { "id": "115310627314723954", "email": "ana@example.com", "name": "Ana Lima" },
                    "lines": [{ "id": "866550311766439020", "sku": "MUG-1", "name": "Mug", "quantity": 2,
                                "unit_price": "24.00 EUR", "total": "48.00 EUR" }],
                    "tags": ["vip"],
                    "return_status": "none",
                    "refunded": "0.00 EUR",
                    "created_at": "2026-11-23T09:00:00Z"
                }),
            },
            deadline: Duration::from_secs(30),
            ..Spec::of("order.get", Kind::Read)
        })
    }

    async fn get(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let id = order::id(attempt, read::<Input>(input)?.id)?;
        let order = order::now(order::platform(attempt)?, &id).await?;
        let answer = serde_json::to_value(order).map(Verdict::Done);
        answer.map_err(|error| Verdict::refused("not_understood", error.to_string()))
    }
}

#[async_trait]
impl Capability for OrderGet {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::get(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}

/// The JSON Schema of a record as it is written down: a field that holds nothing is left out.
pub(super) fn record_schema(fields: &[Field]) -> Json {
    let properties: Map<String, Json> = fields
        .iter()
        .map(|field| {
            let mut schema = kind_schema(&field.kind);
            schema["description"] = json!(field.doc.trim());
            (field.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn kind_schema(kind: &FieldKind) -> Json {
    match kind {
        FieldKind::Bool => json!({ "type": "boolean" }),
        FieldKind::Int => json!({ "type": "integer" }),
        FieldKind::Decimal => json!({ "type": ["number", "string"] }),
        FieldKind::Text => json!({ "type": "string" }),
        FieldKind::Money => json!({ "type": "string", "format": "money" }),
        FieldKind::Time => json!({ "type": "string", "format": "date-time" }),
        FieldKind::List(kind) => json!({ "type": "array", "items": kind_schema(kind) }),
        FieldKind::Record(fields) => record_schema(fields),
    }
}
