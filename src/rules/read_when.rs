//! When a rule runs: its triggers and conditions.

use std::collections::BTreeSet;
use std::ops::Range;

use super::fields::{group, list, required, text};
use super::finding::{Code, Report, shown};
use super::keys;
use super::mistakes::Names;
use super::near::{write_ascii, write_nearest};
use super::rule::{Condition, Trigger, names};
use super::yaml::{Data, Node};
use crate::domain::Catalog;

/// Reads the triggers.
pub(super) fn triggers(report: &mut Report, node: &Node, catalog: &Catalog) -> Vec<Trigger> {
    let hint = "write `triggers:` and below it `- event: order.created`";
    let items = list(report, node, "`triggers`", hint);
    if items.is_empty() && matches!(node.data, Data::List(_)) {
        report.error(node.at.clone(), Code::MissingKey, "a rule without a trigger never runs").hint(hint);
    }
    items.iter().filter_map(|item| trigger(report, item, catalog)).collect()
}

fn trigger(report: &mut Report, node: &Node, catalog: &Catalog) -> Option<Trigger> {
    let node = group(report, node, "a trigger", keys::TRIGGER, keys::TRIGGER_LATER)?;
    if node.get("schedule").is_some() {
        return None;
    }
    let event = required(report, node, "event", "a trigger", "name an event type: `event: order.created`")?;
    let name = text(report, event, "`event`")?;
    is_known_event(report, event.at.clone(), name, catalog).then(|| Trigger::Event(name.to_owned()))
}

/// Looks whether there is such an event, or a kind of them, and says what is meant where there is none.
pub(super) fn is_known_event(report: &mut Report, at: Range<usize>, name: &str, catalog: &Catalog) -> bool {
    if catalog.events().iter().any(|known| names(name, known.name)) {
        return true;
    }
    let families: BTreeSet<&str> = catalog.events().iter().filter_map(|known| known.name.split('.').next()).collect();
    let families: Vec<String> = families.into_iter().map(|family| format!("{family}.*")).collect();
    let known = catalog.events().iter().map(|known| known.name).chain(families.iter().map(String::as_str));
    let hint = match (name, write_nearest(name, known)) {
        ("*", _) => Some(format!("name a kind: {}", families.join(", "))),
        (_, Some(hint)) => Some(hint),
        // `orders/create` is how platforms call it; `order` alone is a kind.
        _ => families
            .iter()
            .map(|family| (family, family.trim_end_matches(".*")))
            .find(|(_, kind)| name.starts_with(kind))
            .map(|(family, kind)| {
                let known = catalog.events().iter().map(|known| known.name);
                let of_kind: Vec<&str> = known.filter(|known| known.starts_with(kind)).collect();
                format!("write {}, or `{family}` for all of them", of_kind.join(", "))
            }),
    };
    report
        .error(at, Code::UnknownEvent, format!("there is no event type `{}`", shown(name)))
        .maybe(hint.or_else(|| write_ascii(name)));
    false
}

/// Reads the conditions.
pub(super) fn conditions(report: &mut Report, node: &Node, names: Names<'_>) -> Vec<Condition> {
    let items = list(report, node, "`conditions`", "begin each condition with `- `");
    items.iter().filter_map(|item| condition(report, item, names)).collect()
}

fn condition(report: &mut Report, node: &Node, names: Names<'_>) -> Option<Condition> {
    let Data::Map(entries) = &node.data else {
        let expr = names.expr(report, node, "a condition")?;
        return Some(Condition::Clause { expr, line: report.line(node.at.start) });
    };
    let word = entries.first().and_then(|(key, value)| Some((key.text()?, value)));
    match (word, entries.len()) {
        (Some(("all", value)), 1) => Some(Condition::All(some(report, value, names, "`all`")?)),
        (Some(("any", value)), 1) => Some(Condition::Any(some(report, value, names, "`any`")?)),
        (Some(("not", value)), 1) if matches!(value.data, Data::List(_)) => {
            report
                .error(value.at.clone(), Code::WrongType, "`not` takes one condition, not a list")
                .hint("write `not: { any: [ … ] }` where none may hold, `not: { all: [ … ] }` where not all may");
            None
        }
        (Some(("not", value)), 1) => condition(report, value, names).map(|inner| Condition::Not(Box::new(inner))),
        (Some(("all" | "any" | "not", _)), _) => {
            report
                .error(entries[1].0.at.clone(), Code::UnknownKey, "one condition holds one of `all`, `any` and `not`")
                .hint("begin the next condition with `- `");
            None
        }
        (Some((name, value)), _) if value.text().is_none() => {
            let words = || keys::CONDITION.iter().map(|key| key.name);
            report.error(node.at.clone(), Code::UnknownKey, format!("a condition has no key `{}`", shown(name))).hint(
                write_nearest(name, words()).unwrap_or_else(|| "the keys here are `all`, `any`, `not`".to_owned()),
            );
            None
        }
        _ => names
            .expr(report, node, "a condition")
            .map(|expr| Condition::Clause { expr, line: report.line(node.at.start) }),
    }
}

/// The conditions below `all:` or `any:`; without one, nobody could say what it means.
fn some(report: &mut Report, node: &Node, names: Names<'_>, what: &str) -> Option<Vec<Condition>> {
    let items = list(report, node, what, "begin each condition with `- `");
    if items.is_empty() && matches!(node.data, Data::List(_)) {
        report
            .error(node.at.clone(), Code::MissingKey, format!("{what} needs a condition"))
            .hint("add one, or leave it out");
        return None;
    }
    Some(items.iter().filter_map(|item| condition(report, item, names)).collect())
}
