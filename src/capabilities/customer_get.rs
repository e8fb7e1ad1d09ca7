//! `customer.get`: reads a customer from the shop's platform, as they are now.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::order_get::record_schema;
use super::{order, record_tags};
use crate::domain::record::RecordType;
use crate::domain::{Attempt, Capability, Customer, Example, Kind, RecordKind, Shape, Spec, Verdict};

pub(super) struct CustomerGet(Spec);

impl CustomerGet {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Reads a customer from the shop's platform, as they are now. The answer is the customer, with the same \
                  fields as the event's, and how often they have ordered by now.",
            input: Shape::object(&[], &[("customer_id", record_tags::record_id(RecordKind::Customer))]),
            output: record_schema(Customer::FIELDS),
            example: Example {
                input: json!({ "customer_id": "115310627314723954" }),
                answer: json!({
                    "id": "115310627314723954", "email": "ana@example.com", "name": "Ana Lima", "first_name": "Ana",
                    "locale": "pt-PT", "tags": ["friend"], "orders_count": 3, "updated_at": "2026-11-23T09:00:00Z",
                }),
            },
            deadline: Duration::from_secs(30),
            ..Spec::of("customer.get", Kind::Read)
        })
    }

    async fn get(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let id = record_tags::id(attempt, RecordKind::Customer, input)?;
        let none = || Verdict::refused("not_found", format!("the shop has no customer `{id}`"));
        let customer = order::platform(attempt)?.customer(&id).await?.ok_or_else(none)?;
        let answer = serde_json::to_value(customer).map(Verdict::Done);
        answer.map_err(|error| Verdict::refused("not_understood", error.to_string()))
    }
}

#[async_trait]
impl Capability for CustomerGet {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::get(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
