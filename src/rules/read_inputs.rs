//! What may be tuned in a rule without reading it.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::fields::{self, by_language, group, list, optional, required, span, text, word};
use super::finding::{Code, Report, shown};
use super::keys;
use super::near::write_ascii;
use super::rule::{Input, InputKind};
use super::yaml::{Data, Node};
use crate::domain::{Money, Value};

/// Reads the inputs.
pub(super) fn inputs(report: &mut Report, node: &Node) -> Vec<Input> {
    let Data::Map(entries) = &node.data else {
        report
            .error(node.at.clone(), Code::WrongType, format!("`inputs` is {}, and keys belong here", node.what()))
            .hint("such as `limit: { type: money, default: \"50 EUR\" }`");
        return Vec::new();
    };
    entries.iter().filter_map(|(key, value)| input(report, key, value)).collect()
}

fn input(report: &mut Report, key: &Node, node: &Node) -> Option<Input> {
    let name = fields::identifier(report, key, "an input")?;
    let kinds = ["text", "integer", "number", "money", "duration", "boolean", "list"];
    let hint = "write `type:` and one of `text`, `integer`, `number`, `money`, `duration`, `boolean`, `list`";
    // An input with mistakes still exists: naming it elsewhere is not another one.
    let mut input = Input { name, kind: InputKind::Text, value: Value::Nothing, label: BTreeMap::new() };
    let Some(node) = group(report, node, "an input", keys::INPUT) else { return Some(input) };
    let kind = required(report, node, "type", "an input", hint)
        .and_then(|node| word::<InputKind>(report, node, "an input's type", &kinds));
    if let Some(kind) = kind {
        input.kind = kind;
        input.value = optional(node, "default").map_or(Value::Nothing, |node| default(report, node, kind));
    }
    input.label = optional(node, "label").map(|node| by_language(report, node, "a label")).unwrap_or_default();
    Some(input)
}

fn default(report: &mut Report, node: &Node, kind: InputKind) -> Value {
    let written = node.text().unwrap_or_default();
    let json = node.json();
    let (value, wanted, hint) = match kind {
        InputKind::Text => {
            return text(report, node, "a text input").map_or(Value::Nothing, |text| Value::Text(text.into()));
        }
        InputKind::Duration => {
            return span(report, node, "the default").map_or(Value::Nothing, |_| Value::Text(written.trim().into()));
        }
        InputKind::List => {
            let items = list(report, node, "the default", "write it as a list: `[one, two]`");
            let texts = items.iter().filter_map(|item| text(report, item, "an item of the default"));
            return Value::List(texts.map(|text| Value::Text(text.into())).collect());
        }
        InputKind::Integer => (json.as_i64().map(Value::Int), "a whole number", without_quotes(written)),
        // From what is written, not from a binary fraction near it.
        InputKind::Number => (
            json.as_number().and_then(|_| Decimal::from_str_exact(written).ok()).map(Value::Decimal),
            "a number",
            without_quotes(written),
        ),
        InputKind::Boolean => {
            (json.as_bool().map(Value::Bool), "true or false", Some("write true or false".to_owned()))
        }
        InputKind::Money => match written.parse::<Money>() {
            Ok(money) => (Some(Value::Money(money)), "", None),
            Err(_) if json.is_number() => {
                (None, "an amount of money", Some(format!("say of what, in quotes: \"{written} EUR\"")))
            }
            Err(error) => (None, "an amount of money", Some(error.to_string())),
        },
    };
    value.unwrap_or_else(|| {
        let said = if written.is_empty() { node.what().to_owned() } else { format!("`{}`", shown(written)) };
        report
            .error(node.at.clone(), Code::WrongType, format!("the default is {said}, and {wanted} belongs here"))
            .maybe(write_ascii(written).or(hint));
        Value::Nothing
    })
}

/// The hint for a number that was written as a text, or with a decimal comma.
fn without_quotes(written: &str) -> Option<String> {
    let number = written.trim().replace(',', ".");
    number.parse::<f64>().ok().map(|_| format!("write {number} without quotes"))
}
