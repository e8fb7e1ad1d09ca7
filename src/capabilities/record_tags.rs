//! What tagging customers and products has in common: who is meant, what they had before.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::order::{has_tag, tags, tags_now};
use super::{order, read};
use crate::domain::{Attempt, Facts, RecordKey, RecordKind, Shape, Text, Verdict};

#[derive(Deserialize)]
struct Tags {
    tags: Vec<String>,
}

/// The schema of the input: tags, and which record is meant.
pub(super) fn input(kind: RecordKind) -> Json {
    let id = format!("{}_id", kind.as_str());
    Shape::object(
        &["tags"],
        &[("tags", tags("The labels, 40 characters each at most, without commas.")), (&id, record_id(kind))],
    )
}

/// The schema of which record is meant.
pub(super) fn record_id(kind: RecordKind) -> Json {
    let kind = kind.as_str();
    Shape::text(128, &format!("The platform's id of the {kind}. Default: the event's {kind}."))
}

/// The schema of the answer.
pub(super) fn output() -> Json {
    Shape::object(&["tags"], &[("tags", tags_now())])
}

/// The record that is meant: the input's, else the event's.
pub(super) fn id_of(facts: &Facts, kind: RecordKind, input: &Json) -> Option<String> {
    let asked = input.get(format!("{}_id", kind.as_str())).and_then(Json::as_str).map(str::trim);
    if let Some(asked) = asked.filter(|id| !id.is_empty()) {
        return Some(asked.to_owned());
    }
    let context = &facts.context;
    let mentioned = || facts.event.mentions.iter().find(|key| key.kind == kind).map(|key| &key.id);
    let known = match kind {
        RecordKind::Customer => {
            let buyer = || context.order.as_ref()?.customer.as_ref()?.id.as_ref();
            context.customer.as_ref().and_then(|it| it.id.as_ref()).or_else(buyer)
        }
        RecordKind::Product => {
            let of_level = || context.inventory.as_ref()?.product_id.as_ref();
            context.product.as_ref().and_then(|it| it.id.as_ref()).or_else(of_level)
        }
        RecordKind::Order => context.order.as_ref().and_then(|it| it.id.as_ref()),
        RecordKind::Inventory => context.inventory.as_ref().and_then(|it| it.id.as_ref()),
    };
    known.or_else(mentioned).map(ToString::to_string)
}

/// The same, for an attempt.
pub(super) fn id(attempt: &Attempt, kind: RecordKind, input: &Json) -> Result<String, Verdict> {
    id_of(&attempt.facts, kind, input).ok_or_else(|| {
        let (event, kind) = (&attempt.facts.event.kind, kind.as_str());
        let said = format!("the event `{event}` is not about a known {kind}; say which one is meant (`{kind}_id`)");
        Verdict::refused(&format!("no_{kind}"), said)
    })
}

pub(super) async fn add(attempt: &Attempt, kind: RecordKind, input: &Json) -> Result<Verdict, Verdict> {
    let (key, tags) = asked(attempt, kind, input)?;
    Ok(order::platform(attempt)?.add_tags(&key, &tags).await)
}

pub(super) async fn remove(attempt: &Attempt, kind: RecordKind, input: &Json) -> Result<Verdict, Verdict> {
    let (key, tags) = asked(attempt, kind, input)?;
    Ok(order::platform(attempt)?.remove_tags(&key, &tags).await)
}

fn asked(attempt: &Attempt, kind: RecordKind, input: &Json) -> Result<(RecordKey, Vec<String>), Verdict> {
    let Tags { tags } = read(input)?;
    Ok((RecordKey { kind, id: id(attempt, kind, input)?.into() }, tags))
}

/// The input that takes back what was added: those of the tags that it did not have before.
pub(super) fn added(facts: &Facts, kind: RecordKind, input: &Json) -> Option<Json> {
    changed(facts, kind, input, |before, tag| !has_tag(before, tag))
}

/// The input that takes back what was taken off: those of the tags that it had before.
pub(super) fn removed(facts: &Facts, kind: RecordKind, input: &Json) -> Option<Json> {
    changed(facts, kind, input, has_tag)
}

fn changed(facts: &Facts, kind: RecordKind, input: &Json, is_meant: fn(&[Text], &str) -> bool) -> Option<Json> {
    let Tags { tags } = read(input).ok()?;
    let context = &facts.context;
    let (own, before) = match kind {
        RecordKind::Customer => context.customer.as_ref().map(|it| (it.id.clone(), it.tags.clone()))?,
        RecordKind::Product => context.product.as_ref().map(|it| (it.id.clone(), it.tags.clone()))?,
        RecordKind::Order | RecordKind::Inventory => return None,
    };
    let id = id_of(facts, kind, input).filter(|id| own.as_deref() == Some(id))?;
    let tags: Vec<String> = tags.into_iter().filter(|tag| is_meant(&before, tag)).collect();
    (!tags.is_empty()).then(|| json!({ "tags": tags, format!("{}_id", kind.as_str()): id }))
}
