//! Echoes: an event that only tells of what we did ourselves.
//!
//! A platform reports every change of a record, ours among them. Such a report is an echo where the record differs from
//! the one that we knew, and in nothing but fields that writes of ours have changed of late, by what they have changed
//! them: a tag that somebody else has added in the same delivery is no echo. It is matched like any other event, and
//! rules see it as `event.echo`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::desk::Desk;
use super::known::Known;
use super::registry::Registry;
use crate::domain::{Answer, Call, CallState, Event, Facts, RecordKey, RecordKind, RunId, Spec, Text};
use crate::store::StoreError;

/// How long after a write a report of it may come: platforms try a delivery again for hours.
const LATEST: std::time::Duration = std::time::Duration::from_secs(6 * 3600);

/// Own writes to one record that are looked at.
const WRITES: usize = 50;

/// The events that writes of ours bring about, each with the fields that they change.
pub(super) type Echoes = BTreeMap<&'static str, BTreeSet<&'static str>>;

/// What the capabilities declare.
pub(super) fn echoes(registry: &Registry) -> Echoes {
    let mut echoes = Echoes::new();
    for made in registry.catalog().capabilities.values().flat_map(|spec| spec.makes) {
        echoes.entry(made.event).or_default().extend(made.fields);
    }
    echoes
}

/// What a write changes at the platform, as `order/1042`: what its input names, else what its event is about.
pub(super) fn about(spec: &Spec, facts: &Facts, input: &Json) -> Option<String> {
    let kind = kind_of(spec.makes.first()?.event)?;
    let named = input.get(format!("{}_id", kind.as_str())).and_then(Json::as_str).map(str::trim);
    let mentioned = || facts.event.mentions.iter().find(|key| key.kind == kind).map(|key| key.id.clone());
    let id = match named.filter(|id| !id.is_empty()) {
        Some(id) => id.into(),
        None => record_of(&facts.context, kind).and_then(|(id, _)| id).or_else(mentioned)?,
    };
    Some(format!("{}/{id}", kind.as_str()))
}

fn kind_of(event: &str) -> Option<RecordKind> {
    let family = event.split('.').next()?;
    [RecordKind::Order, RecordKind::Customer, RecordKind::Product, RecordKind::Inventory]
        .into_iter()
        .find(|kind| kind.as_str() == family)
}

/// The record of this kind, with its id and when the platform last changed it.
fn record_of(records: &crate::domain::Records, kind: RecordKind) -> Option<(Option<Text>, Option<Timestamp>)> {
    match kind {
        RecordKind::Order => records.order.as_ref().map(|it| (it.id.clone(), it.updated_at)),
        RecordKind::Customer => records.customer.as_ref().map(|it| (it.id.clone(), it.updated_at)),
        RecordKind::Product => records.product.as_ref().map(|it| (it.id.clone(), it.updated_at)),
        RecordKind::Inventory => records.inventory.as_ref().map(|it| (it.id.clone(), it.updated_at)),
    }
}

/// A field of a record as it was known and as an event tells it.
struct Differs {
    field: String,
    was: Json,
    is: Json,
}

impl Desk {
    /// The write of which alone this event tells.
    pub(super) async fn echo_of(&self, event: &Event, known: &Known) -> Result<Option<Text>, StoreError> {
        let Some(fields) = self.echoes.get(&*event.kind) else { return Ok(None) };
        let Some((key, differences)) = differences(event, known) else { return Ok(None) };
        if differences.is_empty() || !differences.iter().all(|one| fields.contains(one.field.as_str())) {
            return Ok(None);
        }
        let about = format!("{}/{}", key.kind.as_str(), key.id);
        let writes = self.parts.store.own_writes(&self.parts.shop.id, &about, WRITES).await?;
        let since = event.received.saturating_sub(LATEST).unwrap_or(Timestamp::MIN);
        let own: Vec<&(RunId, Call)> = writes.iter().filter(|(_, call)| has_happened(call, since)).collect();
        let explains = |one: &Differs| self.explained(event, one, &own);
        let newest = own.iter().find(|(_, call)| differences.iter().any(|one| self.touches(event, one, call)));
        let echo = newest.filter(|_| differences.iter().all(explains));
        Ok(echo.map(|(run, call)| format!("{run}/{}", call.path).into()))
    }

    /// Whether a write changes this field.
    fn touches(&self, event: &Event, one: &Differs, call: &Call) -> bool {
        let makes = self.parts.registry.get(&call.capability).map_or(&[][..], |capability| capability.spec().makes);
        makes.iter().any(|made| *made.event == *event.kind && made.fields.contains(&one.field.as_str()))
    }

    /// Whether our own writes account for all that is different in a field.
    fn explained(&self, event: &Event, one: &Differs, own: &[&(RunId, Call)]) -> bool {
        let asked: Vec<Option<&Json>> = own
            .iter()
            .filter(|(_, call)| self.touches(event, one, call))
            .map(|(_, call)| call.input.get(&one.field))
            .collect();
        !asked.is_empty() && accounts_for(one, &asked)
    }
}

/// Whether what was asked accounts for what is different: of a list, each item that came or went; of anything else, the
/// value that it has now. A write whose input does not name the field says nothing of the value.
fn accounts_for(one: &Differs, asked: &[Option<&Json>]) -> bool {
    if asked.contains(&None) {
        return true;
    }
    let items = |list: &Json| -> Option<BTreeSet<String>> {
        match list {
            Json::Null => Some(BTreeSet::new()),
            // Labels know no case.
            Json::Array(items) => Some(items.iter().map(|item| item.to_string().to_lowercase()).collect()),
            _ => None,
        }
    };
    match (items(&one.was), items(&one.is)) {
        (Some(was), Some(is)) => {
            let own: BTreeSet<String> = asked.iter().flatten().filter_map(|list| items(list)).flatten().collect();
            was.symmetric_difference(&is).all(|item| own.contains(item))
        }
        _ => asked.contains(&Some(&one.is)),
    }
}

/// Whether a write has happened by now, or may have; lately.
fn has_happened(call: &Call, since: Timestamp) -> bool {
    match (call.state, &call.answer) {
        (CallState::Answered, Some(Answer::Done(_))) => call.answered.is_some_and(|at| at >= since),
        (CallState::Started | CallState::Lost | CallState::Unknown, _) => true,
        _ => false,
    }
}

/// What an event tells of its own record that was not known; `None` where nothing was known of it, or newer.
fn differences(event: &Event, known: &Known) -> Option<(RecordKey, Vec<Differs>)> {
    let kind = kind_of(&event.kind)?;
    let (id, modified) = record_of(&event.records, kind)?;
    let key = RecordKey { kind, id: id? };
    let (before, received, was) = known.newest(&key)?;
    if (before, received) > (modified.unwrap_or(event.received), event.received) {
        return None;
    }
    let told = match kind {
        RecordKind::Order => serde_json::to_value(event.records.order.as_ref()),
        RecordKind::Customer => serde_json::to_value(event.records.customer.as_ref()),
        RecordKind::Product => serde_json::to_value(event.records.product.as_ref()),
        RecordKind::Inventory => serde_json::to_value(event.records.inventory.as_ref()),
    };
    let (Ok(Json::Object(told)), Json::Object(was)) = (told, was) else {
        return None;
    };
    Some((key, compared(&was, &told)))
}

fn compared(was: &Map<String, Json>, told: &Map<String, Json>) -> Vec<Differs> {
    let fields: BTreeSet<&String> = was.keys().chain(told.keys()).collect();
    let of = |map: &Map<String, Json>, field: &str| map.get(field).map(without_times).unwrap_or_default();
    let differs = |field: &String| {
        let (was, is) = (of(was, field), of(told, field));
        (was != is && !is_time(field)).then(|| Differs { field: field.clone(), was, is })
    };
    fields.into_iter().filter_map(differs).collect()
}

/// What a platform counts along with every change.
fn is_time(field: &str) -> bool {
    field == "updated_at"
}

fn without_times(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let kept = map.iter().filter(|(field, _)| !is_time(field));
            Json::Object(kept.map(|(field, value)| (field.clone(), without_times(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differs(was: Json, is: Json) -> Differs {
        Differs { field: "tags".into(), was, is }
    }

    #[test]
    fn what_came_and_went_must_be_what_was_asked() {
        let (one, two, none) = (json!(["Big"]), json!(["new", "seen"]), Json::Null);
        let tags = |was: &Json, is: Json| differs(was.clone(), is);
        assert!(accounts_for(&tags(&none, json!(["big"])), &[Some(&one)]), "labels know no case");
        assert!(accounts_for(&tags(&json!(["vip"]), json!(["big", "new", "vip"])), &[Some(&one), Some(&two)]));
        assert!(accounts_for(&tags(&json!(["big", "vip"]), json!(["vip"])), &[Some(&one)]), "taken off");
        assert!(!accounts_for(&tags(&none, json!(["big", "urgent"])), &[Some(&one)]), "somebody else's");
        assert!(!accounts_for(&tags(&json!(["vip"]), json!(["big"])), &[Some(&one)]), "somebody took one off");
        assert!(accounts_for(&differs(json!("a"), json!("b")), &[Some(&json!("b"))]));
        assert!(!accounts_for(&differs(json!("a"), json!("c")), &[Some(&json!("b"))]));
        assert!(accounts_for(&differs(json!("a"), json!("c")), &[None]), "it says nothing of the value");
    }

    #[test]
    fn times_make_no_difference_wherever_they_stand() {
        let map = |value: Json| value.as_object().cloned().expect("a map");
        let was = map(json!({ "tags": [], "updated_at": 1, "customer": { "id": "1", "updated_at": 1 } }));
        let told =
            map(json!({ "tags": ["a"], "updated_at": 2, "customer": { "id": "1", "updated_at": 2 }, "note": "n" }));
        let fields: Vec<String> = compared(&was, &told).into_iter().map(|one| one.field).collect();
        assert_eq!(fields, ["note", "tags"]);
    }
}
