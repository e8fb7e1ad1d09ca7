//! `order.hold`: keeps what is left to send of an order from being sent. Each call has a hold of its own, which is put on
//! once however often it is tried.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{mark, order, read};
use crate::domain::{Attempt, Capability, Example, Facts, Hold, HoldReason, Kind, Makes, Repeat, Shape, Spec, Verdict};

/// What comes of a hold and of its end.
pub(super) const MAKES: &[Makes] = &[Makes { event: "order.updated", fields: &["fulfillment_status"] }];

pub(super) struct OrderHold(Spec);

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    reason: HoldReason,
    note: Option<String>,
    order_id: Option<String>,
}

impl OrderHold {
    pub(super) fn new() -> Self {
        let reasons = ["payment", "fraud", "address", "inventory", "other"];
        Self(Spec {
            doc: "Keeps what is left to send of an order from being sent, until `order.release` or a person lets it go.",
            repeat: Repeat::Key,
            input: Shape::object(
                &[],
                &[
                    ("reason", Shape::one_of(&reasons, "Why, for the shop's own records. Default: other.")),
                    ("note", Shape::text(200, "Why, for people in the shop.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(
                &["held", "handle"],
                &[
                    ("held", Shape::whole(1, 1000, "How many parts of the order are held.")),
                    ("handle", Shape::text(64, "The name of this hold: `order.release` takes it off by it.")),
                ],
            ),
            example: Example {
                input: json!({ "reason": "fraud", "note": "Two countries", "order_id": "820982911946154508" }),
                answer: json!({ "held": 1, "handle": "storehand-3f9a2c7d1b04" }),
            },
            deadline: Duration::from_secs(45),
            makes: MAKES,
            inverse: Some(inverse),
            ..Spec::of("order.hold", Kind::Write)
        })
    }

    async fn hold(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { reason, note, order_id } = read(input)?;
        let id = order::id(attempt, order_id)?;
        let hold = Hold { reason, note, handle: mark::handle(&attempt.key) };
        Ok(order::platform(attempt)?.hold_order(&id, &hold).await)
    }
}

/// Takes this hold off, and no other.
fn inverse(facts: &Facts, input: &Json, answer: &Json) -> Option<(&'static str, Json)> {
    let id = order::id_of(facts, read::<Input>(input).ok()?.order_id)?;
    let handle = answer.get("handle")?.as_str()?;
    Some(("order.release", json!({ "order_id": id, "handle": handle })))
}

#[async_trait]
impl Capability for OrderHold {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::hold(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
