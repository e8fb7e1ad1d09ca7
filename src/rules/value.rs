//! Values on their way into the script language and out of it: [`Value`], JSON, and Rhai's `Dynamic`.
//!
//! Records go in as one shared pointer whose fields are read by name, never as a converted copy.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rhai::{Dynamic, Map};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Number, Value as Json};

use super::bounds::MAX_TEXT;
use crate::domain::{self, Money, Record, Value};

/// A record inside an expression.
#[derive(Clone, Debug)]
pub(crate) struct RecordRef(pub(crate) Arc<dyn Record>);

/// How deep a value may nest on its way out.
const MAX_DEPTH: usize = 32;
/// How large a value may be on its way out, in bytes.
const MAX_JSON: usize = 2 * MAX_TEXT;
/// What a JSON value takes beside its text, in bytes.
const NODE: usize = 32;

/// A value as expressions see it.
pub(crate) fn to_dynamic(value: Value) -> Dynamic {
    match value {
        Value::Nothing => Dynamic::UNIT,
        Value::Bool(it) => it.into(),
        Value::Int(it) => it.into(),
        Value::Decimal(it) => it.into(),
        Value::Text(it) => (&*it).into(),
        Value::Money(it) => Dynamic::from(it),
        Value::Time(it) => Dynamic::from(it),
        Value::List(items) => Dynamic::from_array(items.into_iter().map(to_dynamic).collect()),
        Value::Record(it) => Dynamic::from(RecordRef(it)),
    }
}

/// A JSON answer as expressions see it: whole numbers stay whole, other numbers become decimals (as text where
/// they are too large for one), texts stay texts.
pub(crate) fn from_json(json: &Json) -> Dynamic {
    match json {
        Json::Null => Dynamic::UNIT,
        Json::Bool(it) => (*it).into(),
        Json::Number(it) => number(it),
        Json::String(it) => it.as_str().into(),
        Json::Array(items) => Dynamic::from_array(items.iter().map(from_json).collect()),
        Json::Object(map) => Dynamic::from_map(map_from_json(map)),
    }
}

/// A JSON object as expressions see it.
pub(crate) fn map_from_json(map: &serde_json::Map<String, Json>) -> Map {
    map.iter().map(|(key, value)| (key.as_str().into(), from_json(value))).collect()
}

fn number(number: &Number) -> Dynamic {
    if let Some(whole) = number.as_i64() {
        return whole.into();
    }
    let text = number.to_string();
    match Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text)) {
        Ok(decimal) => decimal.into(),
        Err(_) => text.into(),
    }
}

/// A value as capabilities get it.
///
/// Money becomes `"20.00 EUR"`, a moment RFC 3339, a record its JSON; a decimal becomes a JSON number where that
/// is exact, else text.
///
/// # Errors
/// A sentence, where a value has no JSON form (a function), nests too deep or is too large: a list may name one
/// record ten thousand times, and each becomes a JSON of its own.
pub(crate) fn to_json(value: &Dynamic) -> Result<Json, String> {
    json_at(value, 0, &mut Room(MAX_JSON))
}

/// The bytes that a JSON may still take.
struct Room(usize);

impl Room {
    /// Takes room for one value with so much text in it.
    fn take(&mut self, text: usize) -> Result<(), String> {
        let left = self.0.checked_sub(text.saturating_add(NODE));
        self.0 = left.ok_or_else(|| format!("a value is larger than {} KB", MAX_JSON / 1024))?;
        Ok(())
    }
}

fn json_at(value: &Dynamic, depth: usize, room: &mut Room) -> Result<Json, String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value nests deeper than {MAX_DEPTH} levels"));
    }
    room.take(0)?;
    if value.is_unit() {
        return Ok(Json::Null);
    }
    if let Ok(it) = value.as_bool() {
        return Ok(it.into());
    }
    if let Ok(it) = value.as_int() {
        return Ok(it.into());
    }
    if let Ok(it) = value.as_decimal() {
        return Ok(json_decimal(it));
    }
    if let Ok(it) = value.as_immutable_string_ref() {
        room.take(it.len())?;
        return Ok(it.as_str().into());
    }
    if let Ok(it) = value.as_char() {
        return Ok(it.to_string().into());
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| json_at(item, depth + 1, room)).collect();
    }
    if let Ok(map) = value.as_map_ref() {
        let pairs = map.iter().map(|(key, value)| {
            room.take(key.len())?;
            Ok((key.to_string(), json_at(value, depth + 1, room)?))
        });
        return pairs.collect::<Result<serde_json::Map<_, _>, String>>().map(Json::Object);
    }
    if let Some(it) = value.read_lock::<RecordRef>() {
        return record_json(&*it.0, room);
    }
    match plain(value) {
        Some(text) => Ok(text.into()),
        None => Err(format!("a {} cannot be handed on", value.type_name())),
    }
}

fn json_decimal(decimal: Decimal) -> Json {
    let decimal = decimal.normalize();
    if let Some(whole) = decimal.is_integer().then(|| decimal.to_i64()).flatten() {
        return whole.into();
    }
    decimal
        .to_f64()
        .filter(|float| Decimal::from_str(&float.to_string()).is_ok_and(|back| back == decimal))
        .and_then(Number::from_f64)
        .map_or_else(|| decimal.to_string().into(), Json::Number)
}

fn record_json(record: &dyn Record, room: &mut Room) -> Result<Json, String> {
    let mut object = serde_json::Map::new();
    for field in record.fields() {
        let value = record.get(field.name).map(|value| value_json(&value, room)).transpose()?.flatten();
        if let Some(value) = value {
            room.take(field.name.len())?;
            object.insert(field.name.to_owned(), value);
        }
    }
    Ok(Json::Object(object))
}

/// `None` for nothing: a record's JSON leaves out what is missing.
fn value_json(value: &Value, room: &mut Room) -> Result<Option<Json>, String> {
    room.take(0)?;
    Ok(Some(match value {
        Value::Nothing => return Ok(None),
        Value::Bool(it) => (*it).into(),
        Value::Int(it) => (*it).into(),
        Value::Decimal(it) => json_decimal(*it),
        Value::Text(it) => {
            room.take(it.len())?;
            it.as_ref().into()
        }
        Value::Money(it) => it.to_string().into(),
        Value::Time(it) => it.to_string().into(),
        Value::List(items) if items.is_empty() => return Ok(None),
        Value::List(items) => {
            let items = items.iter().map(|item| value_json(item, room)).filter_map(Result::transpose);
            Json::Array(items.collect::<Result<_, String>>()?)
        }
        // Records do not nest without end: their types do not.
        Value::Record(it) => record_json(&**it, room)?,
    }))
}

/// A value as people read it: in a mail, in a why-not. Nothing is the empty text. What is longer than [`MAX_TEXT`] is
/// cut off somewhere behind that; who cannot do with less looks at the length.
pub(crate) fn show(value: &Dynamic) -> String {
    let mut text = String::new();
    write_shown(value, &mut text);
    text
}

fn write_shown(value: &Dynamic, text: &mut String) {
    if text.len() > MAX_TEXT || value.is_unit() {
        return;
    }
    if let Ok(it) = value.as_immutable_string_ref() {
        return text.push_str(&it);
    }
    if let Ok(items) = value.as_array_ref() {
        for (i, item) in items.iter().enumerate() {
            text.push_str(if i > 0 { ", " } else { "" });
            write_shown(item, text);
        }
        return;
    }
    if let Ok(it) = value.as_decimal() {
        return text.push_str(&it.to_string());
    }
    if let Ok(it) = value.as_char() {
        return text.push(it);
    }
    match plain(value) {
        Some(it) => text.push_str(&it),
        None => text.push_str(&to_json(value).map_or_else(|error| error, |json| json.to_string())),
    }
}

/// The value types of ours that read as text.
fn plain(value: &Dynamic) -> Option<String> {
    if let Some(it) = value.read_lock::<Money>() {
        return Some(it.to_string());
    }
    if let Some(it) = value.read_lock::<Timestamp>() {
        return Some(it.to_string());
    }
    value.read_lock::<SignedDuration>().map(|it| show_duration(*it))
}

/// A field's value as people read it in a why-not; `None` for nothing.
pub(crate) fn show_value(value: &Value) -> Option<String> {
    match value {
        Value::Nothing => None,
        Value::List(items) => {
            let mut text = String::from("[");
            for (i, item) in items.iter().enumerate() {
                let _ = write!(text, "{}{}", if i > 0 { ", " } else { "" }, show_value(item).unwrap_or_default());
            }
            Some(text + "]")
        }
        Value::Text(it) => Some(it.to_string()),
        Value::Record(it) => {
            let name = ["name", "number", "id"].iter().find_map(|field| show_value(&it.get(field)?));
            Some(format!("{} {}", it.label(), name.unwrap_or_default()).trim_end().to_owned())
        }
        other => Some(show(&to_dynamic(other.clone()))),
    }
}

/// The units in which a duration is written, longest first, with their milliseconds.
const UNITS: &[(&str, i64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `10m`, `24h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    domain::parse_duration(text).ok().and_then(|it| SignedDuration::try_from(it).ok())
}

/// Writes a duration as [`parse_duration`] reads it: in the longest unit that fits exactly.
fn show_duration(duration: SignedDuration) -> String {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let (name, unit) = UNITS.iter().find(|(_, unit)| millis % unit == 0).unwrap_or(&("ms", 1));
    format!("{}{name}", millis / unit)
}
