//! The order that a call is about, where its input does not say: the event's.

use crate::domain::{Attempt, Facts, Platform, RecordKind, Verdict};

/// The id of the order that is meant.
pub(super) fn id(attempt: &Attempt, asked: Option<String>) -> Result<String, Verdict> {
    if let Some(id) = asked.filter(|id| !id.trim().is_empty()) {
        return Ok(id.trim().to_owned());
    }
    of_event(&attempt.facts).ok_or_else(|| {
        Verdict::refused(
            "no_order",
            format!("the event `{}` is not about an order; say which one is meant", attempt.facts.event.kind),
        )
    })
}

/// The event's order: the one in its context, else the one that it names and nobody knows.
fn of_event(facts: &Facts) -> Option<String> {
    let context = &facts.context;
    let known = [
        context.order.as_ref().and_then(|it| it.id.as_ref()),
        context.returned.as_ref().and_then(|it| it.order_id.as_ref()),
        context.refund.as_ref().and_then(|it| it.order_id.as_ref()),
        context.dispute.as_ref().and_then(|it| it.order_id.as_ref()),
    ];
    let mentioned = facts.event.mentions.iter().find(|key| key.kind == RecordKind::Order).map(|key| &key.id);
    known.into_iter().flatten().next().or(mentioned).map(ToString::to_string)
}

/// The shop's platform.
pub(super) fn platform(attempt: &Attempt) -> Result<&dyn Platform, Verdict> {
    attempt.shop.platform.as_deref().ok_or_else(|| {
        Verdict::refused(
            "no_platform",
            format!(
                "the shop `{0}` is not connected to its platform; set `shop.{0}.shopify` in the configuration",
                attempt.shop.id
            ),
        )
    })
}
