//! `memory.add`, `memory.get`, `memory.set`: the shop's own small state. What they say is done by the engine, in
//! the transaction that records the answer, so each happens exactly once.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::read;
use crate::domain::{Capability, Example, Facts, Kind, MemoryOp, Shape, Spec, Verdict};

/// Largest value, in bytes of JSON.
const MOST_BYTES: usize = 16 << 10;

fn key() -> Json {
    let mut key = Shape::text(200, "The name of the value, such as `customer/115/coupons`.");
    key["minLength"] = json!(1);
    key
}

/// What the three declare alike.
fn declared(name: &'static str, doc: &'static str, input: Json, output: Json, example: Example) -> Spec {
    let deadline = Duration::from_secs(1);
    Spec { doc, input, output, example, deadline, ..Spec::of(name, Kind::Memory) }
}

pub(super) struct Get(Spec);

#[derive(Deserialize)]
struct GetInput {
    key: String,
}

impl Get {
    pub(super) fn new() -> Self {
        Self(declared(
            "memory.get",
            "Reads a value that a rule of this shop has remembered; nothing where there is none.",
            Shape::object(&["key"], &[("key", key())]),
            Shape::object(&["value"], &[("value", Shape::any("What is remembered, or null."))]),
            Example { input: json!({ "key": "coupons/115" }), answer: json!({ "value": 2 }) },
        ))
    }
}

#[async_trait]
impl Capability for Get {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, input: &Json) -> Verdict {
        read(input).map_or_else(|verdict| verdict, |GetInput { key }| Verdict::Memory(MemoryOp::Get { key }))
    }
}

pub(super) struct Set(Spec);

#[derive(Deserialize)]
struct SetInput {
    key: String,
    value: Json,
    // A given `null` means "only if nothing is remembered": it must not read as absent.
    #[serde(default, deserialize_with = "given")]
    only_if: Option<Json>,
}

fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Set {
    pub(super) fn new() -> Self {
        let only_if = "Remember only where this is the value so far; null: where there is none yet.";
        Self(declared(
            "memory.set",
            "Remembers a value for later runs of this shop's rules; null forgets it.",
            Shape::object(
                &["key", "value"],
                &[
                    ("key", key()),
                    ("value", Shape::any("What to remember: up to 16 KiB.")),
                    ("only_if", Shape::any(only_if)),
                ],
            ),
            Shape::object(
                &["stored", "value"],
                &[
                    ("stored", Shape::flag("Whether it was remembered: `only_if` held.")),
                    ("value", Shape::any("What is remembered now.")),
                ],
            ),
            Example {
                input: json!({ "key": "vip/115", "value": true, "only_if": null }),
                answer: json!({ "stored": true, "value": true }),
            },
        ))
    }
}

#[async_trait]
impl Capability for Set {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, input: &Json) -> Verdict {
        match read(input) {
            Ok(SetInput { value, .. }) if value.to_string().len() > MOST_BYTES => {
                let problem = format!("`value` is longer than {} KiB", MOST_BYTES >> 10);
                Verdict::refused("invalid_input", problem)
            }
            Ok(SetInput { key, value, only_if }) => Verdict::Memory(MemoryOp::Set { key, value, only_if }),
            Err(verdict) => verdict,
        }
    }
}

pub(super) struct Add(Spec);

#[derive(Deserialize)]
struct AddInput {
    key: String,
    by: Option<Json>,
}

impl Add {
    pub(super) fn new() -> Self {
        let number = |description: &str| json!({ "type": ["number", "string"], "description": description });
        Self(declared(
            "memory.add",
            "Adds to a number that is remembered; it begins at 0. Many runs may add at once and none is lost.",
            Shape::object(
                &["key"],
                &[("key", key()), ("by", number("How much to add; below 0 takes away. Default: 1."))],
            ),
            Shape::object(&["value"], &[("value", number("The sum."))]),
            Example { input: json!({ "key": "coupons/115", "by": 1 }), answer: json!({ "value": 3 }) },
        ))
    }
}

#[async_trait]
impl Capability for Add {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn work_out(&self, _facts: &Facts, _now: Timestamp, input: &Json) -> Verdict {
        let AddInput { key, by } = match read(input) {
            Ok(input) => input,
            Err(verdict) => return verdict,
        };
        // A JSON number is read by its digits, so that 0.1 is 0.1.
        let by = match by {
            None => Some(Decimal::ONE),
            Some(Json::Number(number)) => decimal(&number.to_string()),
            Some(Json::String(text)) => decimal(text.trim()),
            Some(_) => None,
        };
        match by {
            Some(by) => Verdict::Memory(MemoryOp::Add { key, by }),
            None => Verdict::refused("invalid_input", "`by` is not a number"),
        }
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}
