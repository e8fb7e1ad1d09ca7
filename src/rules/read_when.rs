//! When a rule runs: its triggers and conditions.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::tz::TimeZone;

use super::fields::{group, has_slip_of, list, optional, required, text, word};
use super::finding::{Code, Report, shown};
use super::keys;
use super::mistakes::Names;
use super::near::{write_ascii, write_nearest};
use super::rule::{Condition, Trigger};
use super::schedule::{Missed, Schedule, Times, WrongTimes};
use super::yaml::{Data, Node};
use crate::domain::{Catalog, is_of_kind};

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
    let node = group(report, node, "a trigger", keys::TRIGGER)?;
    match (optional(node, "schedule"), node.key("event")) {
        (Some(times), None) => return schedule(report, node, times).map(Trigger::Schedule),
        (Some(_), Some(event)) => {
            report
                .error(event.at.clone(), Code::UnknownKey, "a trigger has an `event` or a `schedule`, not both")
                .hint("make two triggers of it: begin the second with `- `");
            return None;
        }
        // A slip of it is reported already.
        (None, None) if has_slip_of(node, "schedule") => return None,
        (None, _) => {}
    }
    for key in ["time_zone", "missed"].into_iter().filter_map(|name| node.key(name)) {
        let name = key.text().unwrap_or_default();
        report
            .error(key.at.clone(), Code::UnknownKey, format!("`{name}` belongs to a `schedule`, and there is none"))
            .hint("take it out");
    }
    let hint = "name an event type, such as `event: order.created`, or times: `schedule: \"0 9 * * 1\"`";
    let event = required(report, node, "event", "a trigger", hint)?;
    let name = text(report, event, "`event`")?;
    if [Schedule::DUE, "schedule.*"].contains(&name) {
        report
            .error(event.at.clone(), Code::UnknownEvent, format!("`{name}` comes of a rule's own schedule alone"))
            .hint("say when: `schedule: \"0 9 * * 1\"` in the place of `event:`");
        return None;
    }
    is_known_event(report, event.at.clone(), name, catalog).then(|| Trigger::Event(name.to_owned()))
}

/// Looks whether there is such an event, or a kind of them, and says what is meant where there is none.
fn is_known_event(report: &mut Report, at: Range<usize>, name: &str, catalog: &Catalog) -> bool {
    if catalog.events().iter().any(|known| is_of_kind(known.name, name)) {
        return true;
    }
    let known = || catalog.events().iter().map(|known| known.name).filter(|known| *known != Schedule::DUE);
    let families: BTreeSet<&str> = known().filter_map(|known| known.split('.').next()).collect();
    let families: Vec<String> = families.into_iter().map(|family| format!("{family}.*")).collect();
    let names = known().chain(families.iter().map(String::as_str));
    let hint = match (name, write_nearest(name, names)) {
        ("*", _) => Some(format!("name a kind: {}", families.join(", "))),
        (_, Some(hint)) => Some(hint),
        // `orders/create` is how platforms call it; `order` alone is a kind.
        _ => families
            .iter()
            .map(|family| (family, family.trim_end_matches(".*")))
            .find(|(_, kind)| name.starts_with(kind))
            .map(|(family, kind)| {
                let of_kind: Vec<&str> = known().filter(|known| known.starts_with(kind)).collect();
                format!("write {}, or `{family}` for all of them", of_kind.join(", "))
            }),
    };
    report
        .error(at, Code::UnknownEvent, format!("there is no event type `{}`", shown(name)))
        .maybe(hint.or_else(|| write_ascii(name)));
    false
}

fn schedule(report: &mut Report, node: &Node, times: &Node) -> Option<Schedule> {
    let read = text(report, times, "`schedule`").and_then(|written| match Times::read(written) {
        Ok(read) => Some(read),
        Err(WrongTimes { message, hint }) => {
            report.error(times.at.clone(), Code::Schedule, message).hint(write_ascii(written).unwrap_or(hint));
            None
        }
    });
    let zone = optional(node, "time_zone").map_or(Some(None), |node| time_zone(report, node).map(Some));
    let missed = optional(node, "missed")
        .map_or(Some(Missed::default()), |node| word(report, node, "`missed`", &["once", "skip"]));
    Some(Schedule::new(read?, zone?, missed?))
}

fn time_zone(report: &mut Report, node: &Node) -> Option<TimeZone> {
    let name = text(report, node, "`time_zone`")?;
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|known| known.as_str().to_owned()).collect();
    let known = || known.iter().map(String::as_str);
    // People say the town.
    let town = known().find(|known| known.rsplit('/').next().is_some_and(|town| town.eq_ignore_ascii_case(name)));
    let hint = town.map(|town| format!("write `{town}`")).or_else(|| write_nearest(name, known()));
    report
        .error(node.at.clone(), Code::Schedule, format!("there is no time zone `{}`", shown(name)))
        .hint(hint.unwrap_or_else(|| "name a town, such as `Europe/Berlin` or `Asia/Shanghai`, or `UTC`".to_owned()));
    None
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
