//! The order that a call is about, where its input does not say: the event's. And what the capabilities for orders
//! declare alike.

use serde_json::{Value as Json, json};

use crate::domain::{Attempt, Facts, Lookup, Makes, Order, Platform, RecordKind, Shape, Text, Verdict};

/// What comes of other tags.
pub(super) const MAKES_TAGS: &[Makes] = &[Makes { event: "order.updated", fields: &["tags"] }];

/// The schema of an input that says which order is meant.
pub(super) fn order_id() -> Json {
    Shape::addressing(Shape::text(128, "The platform's id of the order. Default: the event's order."))
}

/// The schema of tags to add or take off. Shopify takes 40 characters a tag and separates tags by commas.
pub(super) fn tags(description: &str) -> Json {
    let tag = json!({ "type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[^,\\s]([^,]*[^,\\s])?$" });
    let mut tags = Shape::list(tag, 50, description);
    tags["minItems"] = json!(1);
    tags
}

/// The schema of an answer's tags.
pub(super) fn tags_now() -> Json {
    Shape::list(json!({ "type": "string" }), 250, "All tags that it has now.")
}

/// The order that is meant and the tags that it had when the run's event was matched; `None` where its record is not
/// among the facts.
pub(super) fn tags_before(facts: &Facts, asked: Option<String>) -> Option<(String, Vec<Text>)> {
    let order = facts.context.order.as_ref()?;
    let own = order.id.as_deref()?;
    let id = asked.map_or_else(|| of_event(facts), |asked| Some(asked.trim().to_owned()))?;
    (id == own).then(|| (id, order.tags.clone()))
}

/// Whether a tag is among these. Tags know no case.
pub(super) fn has_tag(tags: &[Text], tag: &str) -> bool {
    tags.iter().any(|known| known.to_lowercase() == tag.to_lowercase())
}

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

/// The id of the order that is meant, where somebody says it.
pub(super) fn id_of(facts: &Facts, asked: Option<String>) -> Option<String> {
    asked.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).or_else(|| of_event(facts))
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

/// The order as it is now.
pub(super) async fn now(platform: &dyn Platform, id: &str) -> Result<Order, Verdict> {
    platform.order(id).await?.ok_or_else(|| Verdict::refused("not_found", format!("the shop has no order `{id}`")))
}

/// What a lookup comes to where the order cannot be read.
pub(super) fn not_seen(verdict: Verdict) -> Lookup {
    match verdict {
        Verdict::RetryAfter(_, why) | Verdict::Unknown(why) => Lookup::Later(why),
        Verdict::Refused(failure) => Lookup::Later(failure.to_string()),
        other => Lookup::Later(format!("the order could not be read: {other:?}")),
    }
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
