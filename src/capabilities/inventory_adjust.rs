//! `inventory.adjust`: adds to a stock level or takes from it. The platform takes our key, so it does so once.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{mark, order, read, record_tags};
use crate::domain::{
    Adjustment, Attempt, Capability, Example, Facts, Kind, Makes, RecordKind, Repeat, Shape, Spec, StockReason, Verdict,
};

pub(super) struct InventoryAdjust(Spec);

#[derive(Deserialize)]
struct Input {
    by: i64,
    #[serde(default)]
    reason: StockReason,
}

impl InventoryAdjust {
    pub(super) fn new() -> Self {
        let mut by = Shape::whole(-100_000, 100_000, "How many come in; below 0, how many go out.");
        by["not"] = json!({ "const": 0 });
        let reasons = ["correction", "received", "restock", "damaged", "shrinkage"];
        Self(Spec {
            doc: "Adds to how many of a stock level can be sold, or takes from it.",
            repeat: Repeat::Key,
            input: Shape::object(
                &["by"],
                &[
                    ("by", by),
                    ("reason", Shape::one_of(&reasons, "Why, for the shop's own records. Default: correction.")),
                    (
                        "inventory_id",
                        Shape::text(128, "The platform's id of the level, `item:place`. Default: the event's level."),
                    ),
                ],
            ),
            output: Shape::object(
                &["by"],
                &[
                    ("by", Shape::whole(-100_000, 100_000, "How many came in; below 0, how many went out.")),
                    ("available", Shape::whole(i64::MIN, i64::MAX, "How many can be sold now, where it is said.")),
                ],
            ),
            example: Example {
                input: json!({ "by": -1, "reason": "damaged", "inventory_id": "271878346596884015:24826418" }),
                answer: json!({ "by": -1, "available": 11 }),
            },
            deadline: Duration::from_secs(30),
            makes: &[Makes { event: "inventory.changed", fields: &["available"] }],
            inverse: Some(inverse),
            ..Spec::of("inventory.adjust", Kind::Write)
        })
    }

    async fn adjust(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { by, reason } = read(input)?;
        let level_id = record_tags::id(attempt, RecordKind::Inventory, input)?;
        let adjustment = Adjustment { level_id, by, reason };
        Ok(order::platform(attempt)?.adjust_stock(&adjustment, &mark::uuid(&attempt.key)).await)
    }
}

/// As many the other way.
fn inverse(facts: &Facts, input: &Json, _answer: &Json) -> Option<(&'static str, Json)> {
    let Input { by, .. } = read(input).ok()?;
    let id = record_tags::id_of(facts, RecordKind::Inventory, input)?;
    Some(("inventory.adjust", json!({ "by": by.checked_neg()?, "inventory_id": id })))
}

#[async_trait]
impl Capability for InventoryAdjust {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::adjust(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
