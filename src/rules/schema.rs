//! The JSON Schema of rule files, for editors: made from the tables that the checker reads.

use serde_json::{Map, Value as Json, json};

use super::keys::{self, Keys};
use super::schedule::Schedule;
use crate::domain::{Catalog, Kind, Spec};

/// The JSON Schema (2020-12) of a rule file: completion and checking in any editor that knows JSON Schema.
pub fn json_schema(catalog: &Catalog) -> Json {
    let mut rule = object(keys::RULE, &["id", "triggers"], |name| match name {
        "id" => json!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" }),
        "name" => json!({ "$ref": "#/$defs/by_language" }),
        "status" => words(keys::STATUS),
        "inputs" => json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/input" } }),
        "triggers" => json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/trigger" } }),
        "conditions" => json!({ "type": "array", "items": { "$ref": "#/$defs/condition" } }),
        "key" => expression(),
        "overlap" => json!({ "enum": ["queue", "parallel", "restart", "skip"], "default": "queue" }),
        "on_change" => json!({ "enum": ["finish_old", "migrate", "cancel"], "default": "finish_old" }),
        "limits" => object(keys::LIMITS, &[], |name| match name {
            "money" => json!({ "type": "string", "pattern": "/" }),
            _ => json!({ "type": "string", "pattern": "^[0-9]+/[0-9]*(s|m|h|d|w)$" }),
        }),
        "allow" => json!({ "type": "array", "items": capabilities(catalog, Spec::must_be_allowed) }),
        "steps" => json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/step" } }),
        "script" => json!({ "type": "string", "pattern": "\\.rhai$" }),
        "tests" => json!({ "type": "array", "items": { "$ref": "#/$defs/test" } }),
        _ => json!({}),
    });
    rule["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    rule["title"] = "A Storehand rule".into();
    rule["oneOf"] = json!([{ "required": ["steps"] }, { "required": ["script"] }]);
    rule["$defs"] = json!({
        "by_language": {
            "anyOf": [{ "type": "string" }, { "type": "object", "additionalProperties": { "type": "string" } }]
        },
        "duration": duration(),
        "input": object(keys::INPUT, &["type"], |name| match name {
            "type" => json!({ "enum": ["text", "integer", "number", "money", "duration", "boolean", "list"] }),
            "label" => json!({ "$ref": "#/$defs/by_language" }),
            _ => json!({}),
        }),
        "trigger": trigger(catalog),
        "condition": condition(),
        "step": step(catalog),
        "test": test(catalog),
    });
    rule
}

/// An object with these keys, each with its sentence.
fn object(keys: Keys, required: &[&str], schema: impl Fn(&str) -> Json) -> Json {
    let properties: Map<String, Json> = keys
        .iter()
        .map(|key| {
            let mut schema = schema(key.name);
            schema["description"] = key.doc.into();
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// One of some words, each with its sentence.
fn words(keys: Keys) -> Json {
    let words: Vec<Json> = keys.iter().map(|key| json!({ "const": key.name, "description": key.doc })).collect();
    json!({ "oneOf": words })
}

/// YAML reads `true` and `5` as what they are, and they are expressions as well.
fn expression() -> Json {
    json!({ "type": ["string", "boolean", "number"] })
}

fn duration() -> Json {
    json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d|w)$" })
}

fn trigger(catalog: &Catalog) -> Json {
    let mut trigger = object(keys::TRIGGER, &[], |name| match name {
        "event" => events(catalog),
        "schedule" => json!({ "type": "string", "pattern": "^\\s*\\S+(\\s+\\S+){4}\\s*$" }),
        "missed" => json!({ "enum": ["once", "skip"], "default": "once" }),
        _ => json!({ "type": "string" }),
    });
    trigger["oneOf"] = json!([{ "required": ["event"] }, { "required": ["schedule"] }]);
    trigger["dependentRequired"] = json!({ "time_zone": ["schedule"], "missed": ["schedule"] });
    trigger
}

fn events(catalog: &Catalog) -> Json {
    let known = || catalog.events().iter().filter(|event| event.name != Schedule::DUE);
    let types = known().map(|event| json!({ "const": event.name, "description": event.doc }));
    let mut families: Vec<&str> = known().filter_map(|event| event.name.split('.').next()).collect();
    families.dedup();
    let families = families
        .iter()
        .map(|family| json!({ "const": format!("{family}.*"), "description": format!("Every `{family}` event.") }));
    json!({ "oneOf": types.chain(families).collect::<Vec<Json>>() })
}

fn capabilities(catalog: &Catalog, which: impl Fn(&Spec) -> bool) -> Json {
    let known = catalog.capabilities.values().filter(|spec| which(spec));
    json!({ "oneOf": known.map(|spec| json!({ "const": spec.name, "description": spec.doc })).collect::<Vec<Json>>() })
}

fn condition() -> Json {
    let several = json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/condition" } });
    let mut group = object(keys::CONDITION, &[], |name| match name {
        "not" => json!({ "anyOf": [{ "$ref": "#/$defs/condition" }] }),
        _ => several.clone(),
    });
    group["minProperties"] = 1.into();
    group["maxProperties"] = 1.into();
    json!({ "anyOf": [expression(), group] })
}

fn step(catalog: &Catalog) -> Json {
    let mut step = object(keys::STEP, &["uses"], |name| match name {
        "id" => json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
        "uses" => capabilities(catalog, |_| true),
        "if" => expression(),
        "for_each" => json!({ "type": "string" }),
        "retry" => object(keys::RETRY, &[], |name| match name {
            "attempts" => json!({ "type": "integer", "minimum": 1, "maximum": 20 }),
            _ => json!({ "$ref": "#/$defs/duration" }),
        }),
        "on_error" => {
            json!({ "anyOf": [{ "enum": ["continue", "stop"] }, object(keys::ON_ERROR, &["use"], |_| json!({}))] })
        }
        "on_violation" => json!({ "anyOf": [
            { "const": "fail" },
            object(keys::ON_VIOLATION, &[], |name| match name {
                "timeout" => json!({ "$ref": "#/$defs/duration" }),
                _ => json!({ "type": "string" }),
            }),
        ] }),
        _ => json!({}),
    });
    // What may stand under `with` follows from `uses`.
    let inputs = catalog.capabilities.values().map(|spec| {
        let has_required = spec.input["required"].as_array().is_some_and(|required| !required.is_empty());
        let required: &[&str] = if has_required { &["with"] } else { &[] };
        json!({
            "if": { "properties": { "uses": { "const": spec.name } } },
            "then": { "properties": { "with": with_templates(&spec.input) }, "required": required },
        })
    });
    step["allOf"] = inputs.collect();
    step
}

/// A capability's input as it may stand in a file: in place of any value a text with `{{ }}`.
fn with_templates(schema: &Json) -> Json {
    let Json::Object(schema) = schema else { return schema.clone() };
    let mut here = Map::new();
    for (keyword, value) in schema {
        let value = match (keyword.as_str(), value) {
            ("properties", Json::Object(properties)) => {
                Json::Object(properties.iter().map(|(name, schema)| (name.clone(), or_template(schema))).collect())
            }
            ("items" | "additionalProperties", Json::Object(_)) => or_template(value),
            _ => value.clone(),
        };
        here.insert(keyword.clone(), value);
    }
    Json::Object(here)
}

fn or_template(schema: &Json) -> Json {
    let mut either = json!({ "anyOf": [with_templates(schema), { "type": "string", "pattern": "\\{\\{" }] });
    // An editor shows the sentence of the outer one.
    if let Some(doc) = schema.get("description") {
        either["description"] = doc.clone();
    }
    either
}

fn test(catalog: &Catalog) -> Json {
    let any = || capabilities(catalog, |_| true);
    let event = object(keys::EVENT, &["type"], |name| match name {
        "type" => json!({ "enum": catalog.events().iter().map(|event| event.name).collect::<Vec<_>>() }),
        "data" => json!({ "type": "object" }),
        _ => json!({ "type": "string" }),
    });
    let call = object(keys::EXPECTED_CALL, &["uses"], |name| match name {
        "uses" => capabilities(catalog, |spec| spec.kind == Kind::Write),
        _ => json!({ "type": "object" }),
    });
    let expect = object(keys::EXPECT, &[], |name| match name {
        "calls" => json!({ "type": "array", "items": call }),
        "never" => json!({ "type": "array", "items": any() }),
        "matched" => json!({ "type": "boolean" }),
        "why_not" => json!({ "type": "string", "minLength": 1 }),
        _ => json!({ "enum": ["done", "failed", "declined", "waiting"] }),
    });
    object(keys::TEST, &["name", "event", "expect"], |name| match name {
        "name" => json!({ "type": "string" }),
        "event" => json!({ "anyOf": [{ "type": "string" }, event] }),
        "mocks" => json!({ "type": "object" }),
        "advance" => json!({ "$ref": "#/$defs/duration" }),
        _ => expect.clone(),
    })
}
