//! `order.release`: lets an order be sent that was held. Letting it go twice is letting it go once.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::order_hold::MAKES;
use super::{order, read};
use crate::domain::{Attempt, Capability, Example, Kind, Repeat, Shape, Spec, Verdict};

pub(super) struct OrderRelease(Spec);

#[derive(Deserialize)]
struct Input {
    handle: Option<String>,
    order_id: Option<String>,
}

impl OrderRelease {
    pub(super) fn new() -> Self {
        Self(Spec {
            doc: "Lets an order be sent that Storehand holds. Holds of people and of other programs stay.",
            repeat: Repeat::Key,
            input: Shape::object(
                &[],
                &[
                    ("handle", Shape::text(64, "Which hold, as `order.hold` named it. Default: all of Storehand's.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(
                &["released"],
                &[("released", Shape::whole(0, 1000, "How many holds were taken off; 0 where there was none."))],
            ),
            example: Example { input: json!({ "order_id": "820982911946154508" }), answer: json!({ "released": 1 }) },
            deadline: Duration::from_secs(45),
            makes: MAKES,
            ..Spec::of("order.release", Kind::Write)
        })
    }

    async fn release(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { handle, order_id } = read(input)?;
        let id = order::id(attempt, order_id)?;
        Ok(order::platform(attempt)?.release_order(&id, handle.as_deref()).await)
    }
}

#[async_trait]
impl Capability for OrderRelease {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::release(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
