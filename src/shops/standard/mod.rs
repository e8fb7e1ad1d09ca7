//! CloudEvents 1.0 signed as Standard Webhooks: how an integrator's own system, or a platform that we have no
//! source for, reports what happened. Behind `POST /v1/events` and `/hooks/{shop}/standard`.
//!
//! Structured, batch and binary mode. `type` is one of our event types (any other is kept as unhandled), `data`
//! holds neutral records by name: `{"order": {"id": "1042", "total": "20.00 EUR"}}`. The delivery key is `source`
//! and `id`, as CloudEvents defines sameness. A message's `order_refs` are read out of its subject and text where the
//! sender does not give them.
//!
//! Standard Webhooks signs the body and not the headers. In binary mode the type and the source stand in headers,
//! so prefer structured mode where the way to here is not trusted.
//!
//! *Architecture Invariant*: a known type always comes with the record that it is about, or at least names it in
//! `subject`; a misspelt record is refused and not dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::domain::record::RecordType;
use crate::domain::{
    Delivery, EVENT_TYPES, EventType, NewEvent, Received, Record, RecordKey, RecordKind, Records, Refused, Reply,
    Secrets, Source, Value, Verified,
};
use crate::shops::order_numbers::order_numbers;
use crate::shops::read::body;
use crate::shops::signature;

/// Receives CloudEvents.
#[derive(Debug)]
pub struct Standard;

/// Most events in one batch.
const MOST: usize = 1000;

impl Source for Standard {
    fn name(&self) -> &'static str {
        "standard"
    }

    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused> {
        let verified = delivery.verify(|delivery| signature::check_standard(delivery, secrets))?;
        let content_type = delivery.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let mode = content_type.split(';').next().unwrap_or_default().trim();
        let text = verified.text()?;
        let events = match mode {
            "application/cloudevents+json" => vec![body::<CloudEvent<'_>>(text)?.event(&verified, text)?],
            "application/cloudevents-batch+json" => batch(&verified, text)?,
            _ if delivery.header("ce-specversion").is_some() => {
                vec![binary(&delivery, mode, text)?.event(&verified, text)?]
            }
            _ => {
                return Err(malformed(format!(
                    "the content type `{mode}` is not a CloudEvent's; send `application/cloudevents+json`, \
                     `application/cloudevents-batch+json`, or the `ce-*` headers with `application/json`"
                )));
            }
        };
        Ok(Received { events, reply: Reply::OK })
    }
}

fn malformed(problem: String) -> Refused {
    Refused::Malformed(problem)
}

/// A CloudEvent as it is written. Its extensions stay in the payload.
#[derive(Debug, Deserialize)]
struct CloudEvent<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

fn batch(verified: &Verified<'_>, text: &str) -> Result<Vec<NewEvent>, Refused> {
    let batch: Vec<&RawValue> = body(text)?;
    if batch.len() > MOST {
        return Err(malformed(format!("the batch has {} events; send at most {MOST} at once", batch.len())));
    }
    let read = |text: &str| body::<CloudEvent<'_>>(text)?.event(verified, text);
    let numbered = |(i, event): (usize, &RawValue)| {
        read(event.get()).map_err(|error| malformed(format!("event {} of the batch: {error}", i + 1)))
    };
    batch.into_iter().enumerate().map(numbered).collect()
}

fn binary<'a>(delivery: &Delivery<'_>, mode: &str, text: &'a str) -> Result<CloudEvent<'a>, Refused> {
    if mode != "application/json" && !mode.ends_with("+json") && !text.is_empty() {
        return Err(malformed(format!("the content type `{mode}` is not JSON; send `application/json`")));
    }
    let header = |name: &str| delivery.header(name).map(percent_decoded);
    let needed = |name: &str| header(name).ok_or_else(|| malformed(format!("the header `{name}` is missing")));
    let time = header("ce-time").map(|text| {
        text.parse().map_err(|_| malformed(format!("the header `ce-time` holds `{text}`, which is not a time")))
    });
    Ok(CloudEvent {
        specversion: needed("ce-specversion")?,
        id: needed("ce-id")?,
        source: needed("ce-source")?,
        kind: needed("ce-type")?,
        subject: header("ce-subject"),
        time: time.transpose()?,
        data: if text.is_empty() { None } else { Some(body(text)?) },
    })
}

/// CloudEvents' HTTP binding writes what is not printable ASCII in headers as `%` and two hex digits a byte.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let value = after.get(..2).and_then(|digits| hex::decode(digits).ok());
        match value.as_deref() {
            Some(&[value]) if byte == b'%' => {
                decoded.push(value);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl CloudEvent<'_> {
    fn event(self, verified: &Verified<'_>, payload: &str) -> Result<NewEvent, Refused> {
        if self.specversion != "1.0" {
            return Err(malformed(format!("`specversion` is `{}`; send `1.0`", self.specversion)));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if value.is_empty() || value.len() > 255 || value.contains(|c: char| c.is_control() || c.is_whitespace()) {
                return Err(malformed(format!("`{name}` must be 1 to 255 bytes without spaces")));
            }
        }
        let known = EVENT_TYPES.iter().find(|known| known.name == self.kind);
        let mut records = match (known, self.data) {
            (Some(_), Some(data)) => records(data.get())?,
            _ => Records::default(),
        };
        let subject = match known {
            Some(known) => self.subject_of(known, &records)?,
            None => self.subject.clone().unwrap_or_else(|| self.kind.clone()),
        };
        if records.customer.is_none() {
            records.customer = records.order.as_ref().and_then(|order| order.customer.clone());
        }
        if let Some(message) = records.message.as_mut().filter(|message| message.order_refs.is_empty()) {
            let texts = [message.subject.as_deref(), message.text.as_deref()].map(Option::unwrap_or_default);
            Arc::make_mut(message).order_refs = order_numbers(&texts.join("\n"));
        }
        let key = format!("{} {}", self.source, self.id);
        let mut event = verified.event(known.map(|known| known.name), &self.kind, &subject, key, payload.into());
        event.time = self.time.unwrap_or(event.time);
        event.mentions = mentions(&records, mention(&subject));
        event.records = records;
        Ok(event)
    }

    /// The subject of an event whose type we know: as given, else from the record that the type is about.
    fn subject_of(&self, known: &EventType, records: &Records) -> Result<String, Refused> {
        let given = self.subject.clone().filter(|subject| !subject.trim().is_empty());
        let Some(&about) = known.records.first() else {
            return Ok(given.unwrap_or_else(|| self.kind.clone()));
        };
        match records.get(about) {
            Some(Value::Record(record)) => match record.get("id") {
                Some(Value::Text(id)) if !id.trim().is_empty() => {
                    Ok(given.unwrap_or_else(|| format!("{}/{id}", record.label())))
                }
                // A message need not have an id of its own: the event's serves.
                _ if about == "message" => Ok(given.unwrap_or_else(|| format!("message/{}", self.id))),
                _ => Err(malformed(format!("`data.{about}.id` is missing"))),
            },
            _ => match given {
                Some(subject) if mention(&subject).is_some_and(|key| key.kind.as_str() == about) => Ok(subject),
                _ => Err(malformed(format!("a `{}` needs `data.{about}`", self.kind))),
            },
        }
    }
}

/// Reads `data`. A name that is no record is refused: a misspelt one would silently be nothing.
fn records(data: &str) -> Result<Records, Refused> {
    let unreadable = |path: &str, error: &serde_json::Error| {
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        malformed(format!("`{path}` cannot be read: {said} (ids and money are texts: \"1042\", \"20.00 EUR\")"))
    };
    let names: BTreeMap<String, IgnoredAny> = serde_json::from_str(data).map_err(|error| unreadable("data", &error))?;
    if let Some(name) = names.keys().find(|name| Records::FIELDS.iter().all(|field| field.name != name.as_str())) {
        let known: Vec<&str> = Records::FIELDS.iter().map(|field| field.name).collect();
        let name: String = name.chars().take(80).collect();
        return Err(malformed(format!("`data.{name}` is no record; there are {}", known.join(", "))));
    }
    let mut json = serde_json::Deserializer::from_str(data);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| unreadable(&format!("data.{}", error.path()), error.inner()))
}

/// `order/1042` names a record.
fn mention(subject: &str) -> Option<RecordKey> {
    let (kind, id) = subject.split_once('/')?;
    let kinds = [RecordKind::Order, RecordKind::Customer, RecordKind::Product, RecordKind::Inventory];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
    (!id.is_empty()).then(|| RecordKey { kind, id: id.into() })
}

/// The records that the event speaks of and does not bring.
fn mentions(records: &Records, named: Option<RecordKey>) -> Vec<RecordKey> {
    let order_ids = [
        records.returned.as_ref().and_then(|it| it.order_id.clone()),
        records.refund.as_ref().and_then(|it| it.order_id.clone()),
        records.dispute.as_ref().and_then(|it| it.order_id.clone()),
    ];
    let orders = order_ids.into_iter().flatten().map(|id| RecordKey { kind: RecordKind::Order, id });
    let mut mentions: Vec<RecordKey> = Vec::new();
    for key in orders.chain(named) {
        let brought = matches!(records.get(key.kind.as_str()), Some(Value::Record(_)));
        if !brought && !mentions.contains(&key) {
            mentions.push(key);
        }
    }
    mentions
}
