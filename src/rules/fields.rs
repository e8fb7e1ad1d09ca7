//! The typed load: from a node to what belongs in its place, or a finding.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;

use super::finding::{Code, Report, shown};
use super::keys::Keys;
use super::near::{ascii, nearest, write_ascii, write_nearest};
use super::yaml::{Data, Node};
use crate::domain::parse_duration;

/// Checks that `node` is a group of keys, that every key is known, and gives it back.
pub(super) fn group<'n>(report: &mut Report, node: &'n Node, what: &str, keys: Keys) -> Option<&'n Node> {
    let Data::Map(entries) = &node.data else {
        let known: Vec<String> = keys.iter().take(3).map(|key| format!("`{}:`", key.name)).collect();
        report
            .error(node.at.clone(), Code::WrongType, format!("{what} is {}, and keys belong here", node.what()))
            .hint(format!("such as {}", known.join(", ")));
        return None;
    };
    for name in entries.iter().map(|(key, _)| key).filter_map(|key| key.text().map(|name| (key, name))) {
        unknown_key(report, name, what, keys);
    }
    Some(node)
}

fn unknown_key(report: &mut Report, (key, name): (&Node, &str), what: &str, keys: Keys) {
    if keys.iter().any(|known| known.name == name) {
        return;
    }
    let names = || keys.iter().map(|known| known.name);
    let hint = write_nearest(name, names()).unwrap_or_else(|| {
        let all: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        format!("the keys here are {}", all.join(", "))
    });
    report.error(key.at.clone(), Code::UnknownKey, format!("{what} has no key `{}`", shown(name))).hint(hint);
}

/// The value of a key that must be there.
pub(super) fn required<'n>(
    report: &mut Report,
    node: &'n Node,
    name: &str,
    what: &str,
    hint: &str,
) -> Option<&'n Node> {
    let value = optional(node, name);
    if value.is_none() && !has_slip_of(node, name) {
        // Where the key stands without a value, there; else at the start of what lacks it.
        let at = node.key(name).map_or(node.at.start..node.at.start, |key| key.at.clone());
        report.error(at, Code::MissingKey, format!("{what} needs `{name}:`")).hint(hint);
    }
    value
}

/// Whether a key is there that is a slip of `name`: it is reported as an unknown one, and once is enough.
pub(super) fn has_slip_of(node: &Node, name: &str) -> bool {
    let Data::Map(entries) = &node.data else { return false };
    entries.iter().filter_map(|(key, _)| key.text()).any(|key| key != name && nearest(key, [name]).is_some())
}

/// The value of a key where there is one.
pub(super) fn optional<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name).filter(|value| !value.is_null())
}

/// A list's items.
pub(super) fn list<'n>(report: &mut Report, node: &'n Node, what: &str, hint: &str) -> &'n [Node] {
    match &node.data {
        Data::List(items) => items,
        _ => {
            report
                .error(node.at.clone(), Code::WrongType, format!("{what} is {}, and a list belongs here", node.what()))
                .hint(hint);
            &[]
        }
    }
}

/// A text; a number or a yes is not one, since YAML would drop what was written (`1.10`, `007`).
pub(super) fn text<'n>(report: &mut Report, node: &'n Node, what: &str) -> Option<&'n str> {
    let found = node.text().filter(|_| matches!(node.json(), Json::String(_)));
    if found.is_none() {
        report
            .error(node.at.clone(), Code::WrongType, format!("{what} is {}, and a text belongs here", node.what()))
            .maybe(node.text().filter(|text| !text.is_empty()).map(|text| format!("write \"{}\"", shown(text))));
    }
    found
}

/// An expression: whatever stands there, as it stands there.
pub(super) fn expression<'n>(report: &mut Report, node: &'n Node, what: &str) -> Option<&'n str> {
    if let Some(text) = node.text() {
        return Some(text);
    }
    let hint = match &node.data {
        Data::List(_) => "join several with `&&`".to_owned(),
        // `order.total: 50` is a key with a value.
        Data::Map(entries) => match entries.first().and_then(|(key, value)| Some((key.text()?, value.text()?))) {
            Some((key, value)) => format!("write `{} == {}`", shown(key), shown(value)),
            None => "write it in quotes".to_owned(),
        },
        Data::Scalar { .. } => String::new(),
    };
    report
        .error(node.at.clone(), Code::WrongType, format!("{what} is {}, and one expression belongs here", node.what()))
        .hint(hint);
    None
}

/// One of a few words.
pub(super) fn word<T: serde::de::DeserializeOwned>(
    report: &mut Report,
    node: &Node,
    what: &str,
    words: &[&str],
) -> Option<T> {
    let written = node.text().unwrap_or_default();
    let value = if words.contains(&written) { serde_json::from_value(written.into()).ok() } else { None };
    if value.is_none() {
        let all: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let hint = write_nearest(written, words.iter().copied());
        let said = if written.is_empty() { node.what().to_owned() } else { format!("`{}`", shown(written)) };
        report
            .error(node.at.clone(), Code::UnknownWord, format!("{what} cannot be {said}"))
            .hint(hint.unwrap_or_else(|| format!("write one of {}", all.join(", "))));
    }
    value
}

/// A length of time.
pub(super) fn span(report: &mut Report, node: &Node, what: &str) -> Option<Duration> {
    let written = node.text().unwrap_or_default();
    match parse_duration(written) {
        Ok(span) => Some(span),
        Err(how) => {
            report
                .error(
                    node.at.clone(),
                    Code::WrongType,
                    format!("{what} is not a length of time: `{}`", shown(written)),
                )
                .hint(write_ascii(written).unwrap_or(how));
            None
        }
    }
}

/// A text for people: one, or one by language.
pub(super) fn by_language(report: &mut Report, node: &Node, what: &str) -> BTreeMap<String, String> {
    let Data::Map(entries) = &node.data else {
        return text(report, node, what).map(|text| (String::new(), text.to_owned())).into_iter().collect();
    };
    let mut texts = BTreeMap::new();
    for (key, value) in entries {
        let language = key.text().unwrap_or_default();
        if !is_language(language) {
            report
                .error(key.at.clone(), Code::UnknownWord, format!("`{}` is not a language", shown(language)))
                .hint("write its code, such as `en`, `zh` or `pt-BR`");
        }
        if let Some(text) = text(report, value, what) {
            texts.insert(language.to_owned(), text.to_owned());
        }
    }
    texts
}

/// The outer shape of a BCP 47 tag.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let first = parts.next().is_some_and(|part| matches!(part.len(), 2..=3));
    let is_word = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    first && text.split('-').all(is_word)
}

/// A name that expressions can write: after `inputs.` or `steps.`.
pub(super) fn identifier(report: &mut Report, node: &Node, what: &str) -> Option<String> {
    let written = node.text().unwrap_or_default();
    if is_identifier(written) {
        return Some(written.to_owned());
    }
    let plain: String = written
        .chars()
        .map(|c| ascii(c).unwrap_or(c))
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let plain = plain.trim_matches('_').to_ascii_lowercase();
    let hint = if is_identifier(&plain) { plain } else { format!("{plain}_1").trim_start_matches('_').to_owned() };
    let hint = if is_identifier(&hint) { hint } else { "draft".to_owned() };
    report
        .error(node.at.clone(), Code::BadId, format!("{what} cannot be named `{}`", shown(written)))
        .hint(format!("expressions must be able to write it: letters, digits and `_`, such as `{hint}`"));
    None
}

/// Whether Rhai takes `name` behind a point.
fn is_identifier(name: &str) -> bool {
    let is_plain = name.len() <= 64 && name.is_ascii() && rhai::is_valid_identifier(name);
    // Rhai has a long list of reserved words, so it is asked.
    is_plain && rhai::Engine::new_raw().compile_expression(format!("x.{name}")).is_ok()
}

/// A rule's id.
pub(super) fn rule_id(report: &mut Report, node: &Node) -> Option<String> {
    let written = text(report, node, "the rule's id")?;
    let is_good = |id: &str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if is_good(written) {
        return Some(written.to_owned());
    }
    let plain: String = written
        .chars()
        .map(|c| ascii(c).unwrap_or(c).to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(64)
        .collect();
    let plain = plain.trim_matches('-');
    let hint = if is_good(plain) { plain } else { "small-return-reply" };
    report
        .error(node.at.clone(), Code::BadId, format!("`{}` is no rule id", shown(written)))
        .hint(format!("use 1 to 64 of a-z, 0-9 and `-`, such as `{hint}`"));
    None
}
