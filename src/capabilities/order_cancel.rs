//! `order.cancel`: cancels an order. One that is cancelled already is what was wanted.
//!
//! Platforms do it once and take no key: where an answer is lost, we look whether the order is cancelled.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{order, read};
use crate::domain::{
    Attempt, CancelReason, Cancellation, Capability, Example, Kind, Lookup, Makes, Platform, Repeat, Shape, Spec,
    Verdict,
};

pub(super) struct OrderCancel(Spec);

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    reason: CancelReason,
    #[serde(default = "yes")]
    restock: bool,
    #[serde(default)]
    notify: bool,
    order_id: Option<String>,
}

fn yes() -> bool {
    true
}

impl OrderCancel {
    pub(super) fn new() -> Self {
        let reasons = ["customer", "declined", "fraud", "inventory", "staff", "other"];
        Self(Spec {
            doc: "Cancels an order, which cannot be taken back. One that is cancelled already stays as it is. Money that \
                  was paid is not given back by it.",
            repeat: Repeat::Lookup,
            input: Shape::object(
                &[],
                &[
                    ("reason", Shape::one_of(&reasons, "Why, for the shop's own records. Default: other.")),
                    ("restock", Shape::flag("Whether its goods go back into stock. Default: true.")),
                    ("notify", Shape::flag("Whether the platform writes to the customer about it. Default: false.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(
                &["status"],
                &[(
                    "status",
                    Shape::one_of(
                        &["cancelled", "cancelling"],
                        "`cancelling` where the platform has taken it and does it within some seconds.",
                    ),
                )],
            ),
            example: Example {
                input: json!({ "reason": "declined", "notify": true, "order_id": "820982911946154508" }),
                answer: json!({ "status": "cancelled" }),
            },
            deadline: Duration::from_secs(45),
            makes: &[
                Makes { event: "order.cancelled", fields: CHANGED },
                Makes { event: "order.updated", fields: CHANGED },
                Makes { event: "inventory.changed", fields: &["available"] },
            ],
            ..Spec::of("order.cancel", Kind::Write)
        })
    }

    async fn cancel(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { reason, restock, notify, order_id } = read(input)?;
        let id = order::id(attempt, order_id)?;
        let platform = order::platform(attempt)?;
        if is_cancelled(platform, &id).await? {
            return Ok(done());
        }
        match platform.cancel_order(&id, &Cancellation { reason, restock, notify }).await {
            // Somebody else was faster, or an earlier attempt was, which the platform had not finished.
            Verdict::Refused(failure) if !is_cancelled(platform, &id).await? => Ok(Verdict::Refused(failure)),
            Verdict::Refused(_) => Ok(done()),
            verdict => Ok(verdict),
        }
    }

    async fn look(attempt: &Attempt, input: &Json) -> Result<Lookup, Verdict> {
        let id = order::id(attempt, read::<Input>(input)?.order_id)?;
        let cancelled = is_cancelled(order::platform(attempt)?, &id).await?;
        Ok(if cancelled { Lookup::Happened(json!({ "status": "cancelled" })) } else { Lookup::DidNot })
    }
}

/// What of an order differs when it is cancelled.
const CHANGED: &[&str] = &["status", "cancelled_at", "financial_status"];

async fn is_cancelled(platform: &dyn Platform, id: &str) -> Result<bool, Verdict> {
    Ok(order::now(platform, id).await?.status.as_deref() == Some("cancelled"))
}

fn done() -> Verdict {
    Verdict::Done(json!({ "status": "cancelled" }))
}

#[async_trait]
impl Capability for OrderCancel {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::cancel(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }

    async fn lookup(&self, attempt: &Attempt, input: &Json) -> Lookup {
        Self::look(attempt, input).await.unwrap_or_else(order::not_seen)
    }
}
