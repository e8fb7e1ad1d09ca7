//! A backtest's report, for people.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::local;
use crate::cli::out::{self, counted};
use crate::domain::Currency;
use crate::engine::backtest::{Difference, Outcome, Report, Totals};
use crate::rules::WhyNot;

/// Reasons and failures that are shown of each version.
const SHOWN: usize = 8;

/// The most characters of a write's input.
const INPUT: usize = 160;

/// The whole report. `names` are what the versions are called: a file, `live`, a version.
pub(super) fn text(report: &Report, names: &[String], zone: &TimeZone) -> String {
    let mut told =
        format!("rule {}, events from {} to {}\n", report.rule, local(report.since, zone), local(report.until, zone));
    let heads: Vec<String> = report.sides.iter().zip(names).map(|(side, name)| head(side, name)).collect();
    let mut columns = vec![""];
    columns.extend(heads.iter().map(String::as_str));
    told += "\n";
    told += &out::table(&columns, &rows(report));
    told += "\n";
    for (side, head) in report.sides.iter().zip(&heads) {
        let of = if report.sides.len() > 1 { format!(" ({head})") } else { String::new() };
        reasons(&mut told, side, &of);
    }
    if let Some(differing) = &report.differing {
        let more = match differing.count as usize - differing.shown.len() {
            0 => String::new(),
            _ => format!("; the first {} of them (`--limit-shown` shows more)", differing.shown.len()),
        };
        let _ = match differing.count {
            0 => writeln!(told, "\nEvery event comes out the same."),
            1 => writeln!(told, "\n1 event comes out otherwise:"),
            count => writeln!(told, "\n{count} events come out otherwise{more}:"),
        };
        differing.shown.iter().for_each(|one| difference(&mut told, one, &heads));
    }
    let mut notes = report.notes.clone();
    if report.never_matched > 0 {
        notes.push(format!("left out, since not matched yet: {}", counted(report.never_matched, "event")));
    }
    if let Some(unread) = &report.unread {
        let (count, event, why) = (counted(unread.count, "event"), unread.event, &unread.why);
        notes.push(format!("left out, since not to be read: {count}, {event} among them: {why}"));
    }
    if !notes.is_empty() {
        told += "\nNote:\n";
        notes.iter().for_each(|note| told += &format!("  {note}\n"));
    }
    told.truncate(told.trim_end().len());
    told
}

fn head(side: &Totals, name: &str) -> String {
    let version: String = side.version.chars().take(8).collect();
    if side.version.starts_with(name) { version } else { format!("{name} {version}") }
}

/// The totals, a column a version.
fn rows(report: &Report) -> Vec<Vec<String>> {
    let sides = &report.sides;
    let mut rows = Vec::new();
    let mut row = |name: &str, cell: &dyn Fn(&Totals) -> String| {
        let cells: Vec<String> = sides.iter().map(cell).collect();
        // What neither has is not worth a line.
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    row("events", &|_| report.looked_at.to_string());
    row("matched", &|side| side.matched.to_string());
    for end in ["done", "waiting", "declined", "skipped", "replaced", "cancelled", "failed", "diverged"] {
        row(&format!("  {end}"), &|side| side.ends.get(end).map_or_else(String::new, ToString::to_string));
    }
    let mut capabilities: Vec<&String> = sides.iter().flat_map(|side| side.calls.keys()).collect();
    capabilities.sort();
    capabilities.dedup();
    for name in capabilities {
        row(name, &|side| {
            let Some(calls) = side.calls.get(name) else { return String::new() };
            let parts = [
                (calls.on_record, "on record"),
                (calls.performed, "written now"),
                (calls.stand_ins, if calls.stand_ins == 1 { "example" } else { "examples" }),
                (calls.refused, "refused"),
            ];
            let parts: Vec<String> =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
            let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
            format!("{}{parts}", calls.count)
        });
    }
    let mut money: Vec<(&str, Currency)> =
        sides.iter().flat_map(|side| &side.money).map(|it| (it.uses.as_str(), it.total.currency)).collect();
    money.sort_unstable();
    money.dedup();
    for (uses, currency) in money {
        row(&format!("money of {uses}"), &|side| {
            let it = side.money.iter().find(|it| it.uses == uses && it.total.currency == currency);
            it.map_or_else(String::new, |it| format!("{}, at most {} at once", it.total, it.most))
        });
    }
    row("messages to customers", &|side| match side.messages.count {
        0 => String::new(),
        count => {
            let customers = counted(side.messages.customers, "customer");
            format!("{count} to {customers}, at most {} to one", side.messages.most)
        }
    });
    rows
}

fn reasons(told: &mut String, side: &Totals, of: &str) {
    if !side.why_not.is_empty() {
        let _ = writeln!(told, "\nDid not match{of}:");
    }
    for one in side.why_not.iter().take(SHOWN) {
        let _ = writeln!(told, "  {:>8}  {}", one.count, clause(&one.why));
        let _ = writeln!(told, "            such as {}{}", one.event, saw(&one.why));
    }
    if side.why_not.len() > SHOWN {
        let _ = writeln!(told, "            and {} more reasons (`--json` lists them)", side.why_not.len() - SHOWN);
    }
    if !side.failures.is_empty() {
        let _ = writeln!(told, "\nFailed{of}:");
    }
    for one in side.failures.iter().take(SHOWN) {
        let _ = writeln!(told, "  {:>8}  {} ({}), such as on {}", one.count, one.message, one.code, one.event);
    }
    if side.failures.len() > SHOWN {
        let _ = writeln!(told, "            and {} more (`--json` lists them)", side.failures.len() - SHOWN);
    }
}

fn difference(told: &mut String, one: &Difference, heads: &[String]) {
    let _ = writeln!(told, "  {} {} {}", one.event, one.kind, one.subject);
    let wide = heads.iter().map(String::len).max().unwrap_or(0);
    for (outcome, head) in one.sides.iter().zip(heads) {
        let lines = lines(outcome);
        for (at, line) in lines.iter().enumerate() {
            let head = if at == 0 { head.as_str() } else { "" };
            let _ = writeln!(told, "    {head:wide$}  {line}");
        }
    }
}

fn lines(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::NotHeard => vec!["does not listen to it".into()],
        Outcome::NotMatched(why) => vec![format!("did not match: {}{}", clause(why), saw(why))],
        Outcome::Ran { writes, end, failure, .. } => {
            let mut lines: Vec<String> = writes
                .iter()
                .map(|write| format!("{} {}", write.capability, out::shortened(&write.input.to_string(), INPUT)))
                .collect();
            let why = failure.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let nothing = if lines.is_empty() { "wrote nothing; " } else { "" };
            lines.push(format!("{nothing}{end}{why}"));
            lines
        }
    }
}

fn clause(why: &WhyNot) -> String {
    format!("line {}: {}", why.line, why.clause)
}

fn saw(why: &WhyNot) -> String {
    let mut saw: Vec<String> = why.saw.iter().map(|(name, value)| format!("{name} was {value}")).collect();
    saw.extend(why.error.clone());
    if saw.is_empty() { String::new() } else { format!(" ({})", saw.join(", ")) }
}
