//! What a rule does: its steps, or its script.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path};

use super::expr::{EarlierStep, Expr, Template};
use super::fields::{self, group, list, optional, required, span, text, word};
use super::finding::{Code, Finding, Report, shown};
use super::input::{self, Extent};
use super::keys;
use super::mistakes::Names;
use super::names::{PlainInput, Ty};
use super::near::{write_ascii, write_nearest};
use super::rule::{APPROVAL, AWAITS, OnError, OnViolation, Step, With};
use super::script::Script;
use super::yaml::{Data, Node};
use crate::domain::{Catalog, Retry, Spec, is_of_kind};

/// The capabilities that a rule uses, the writes that it may use, and the events that it waits for.
pub(super) struct Uses<'a> {
    pub(super) allow: &'a [String],
    pub(super) used: BTreeSet<String>,
    pub(super) awaits: BTreeSet<String>,
}

/// How long a person has who is shown a text that broke the policy.
const APPROVAL_TIMEOUT: &str = "24h";

/// A run makes at most so many calls.
const MOST_STEPS: usize = 1_000;

/// Reads the steps.
pub(super) fn steps(report: &mut Report, node: &Node, names: Names<'_>, uses: &mut Uses<'_>) -> Vec<Step> {
    let items = list(report, node, "`steps`", "begin each step with `- uses:`");
    if items.is_empty() && matches!(node.data, Data::List(_)) {
        report
            .error(node.at.clone(), Code::MissingKey, "a rule without a step does nothing")
            .hint("add a step: `- uses: log`");
    }
    if let Some(first) = items.get(MOST_STEPS) {
        report
            .error(first.at.clone(), Code::Syntax, format!("a rule has at most {MOST_STEPS} steps"))
            .hint("what is repeated so often is better a script");
        return Vec::new();
    }
    let ids = ids(report, items);
    let mut steps = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let before: Vec<EarlierStep> = earlier(&ids[..index], items);
        let later: Vec<String> = ids[index..].iter().flatten().cloned().collect();
        let names = Names { steps: &before, later: &later, ..names };
        let id = ids[index].clone().unwrap_or_else(|| (index + 1).to_string());
        steps.extend(step(report, item, id, names, uses));
    }
    steps
}

/// The steps that have an id, of those before another.
fn earlier(ids: &[Option<String>], items: &[Node]) -> Vec<EarlierStep> {
    let named = ids.iter().zip(items).filter_map(|(id, item)| Some((id.clone()?, item)));
    named.map(|(id, item)| EarlierStep { id, is_list: item.get("for_each").is_some() }).collect()
}

/// The id of each step that has one.
fn ids(report: &mut Report, items: &[Node]) -> Vec<Option<String>> {
    let mut ids: Vec<Option<String>> = Vec::new();
    for node in items.iter().map(|item| optional(item, "id")) {
        let id = node.and_then(|node| fields::identifier(report, node, "a step"));
        if let (Some(node), Some(id)) = (node, &id)
            && let Some(first) = ids.iter().position(|other| other.as_ref() == Some(id))
        {
            let line = report.line(items[first].at.start);
            report
                .error(node.at.clone(), Code::BadId, format!("two steps are named `{id}`"))
                .hint(format!("the other is on line {line}; their answers need names of their own"));
        }
        ids.push(id);
    }
    ids
}

fn step(report: &mut Report, node: &Node, id: String, names: Names<'_>, uses: &mut Uses<'_>) -> Option<Step> {
    let node = group(report, node, "a step", keys::STEP)?;
    let capability = required(report, node, "uses", "a step", "name a capability, such as `uses: message.send`")
        .and_then(|node| Some((node, text(report, node, "`uses`")?)));
    let spec = capability.and_then(|(node, name)| self::capability(report, node, name, names.catalog));
    let each = optional(node, "for_each");
    let for_each = each.and_then(|node| for_each(report, node, names));
    // Whatever is wrong with the list, its items have a name.
    let item = each.map(|_| for_each.as_ref().map_or(Ty::Any, |list| list.gives.items()));
    let names = Names { item: item.as_ref(), ..names };
    let with = optional(node, "with");
    if let (Some((uses_node, name)), Some(spec)) = (capability, spec) {
        uses.used.insert(name.to_owned());
        uses.awaits.extend(spec.awaits.iter().cloned());
        if spec.must_be_allowed() && !uses.allow.iter().any(|allowed| allowed == name) {
            not_allowed(report, uses_node.at.clone(), name);
        }
        input::check(report, with, uses_node, &spec.input, &format!("`{name}`"), Extent::Whole);
        if name == AWAITS {
            uses.awaits.extend(with.and_then(|with| awaited(report, with, names.catalog)));
        }
    }
    let violation = optional(node, "on_violation");
    if let (Some(node), Some((_, name)), Some(spec)) = (violation, capability, spec)
        && spec.must_be_allowed()
    {
        // With what it puts in the place of an answer, nothing would have been done.
        let what = format!(
            "`on_violation` has no meaning on `{name}`: it puts another text in the place of one that was written"
        );
        report
            .error(node.at.clone(), Code::UnknownKey, what)
            .hint("put it on the step that writes the text (`model.write`); what goes wrong here is for `on_error`");
    }
    let on_violation = violation.and_then(|node| on_violation(report, node, names));
    if matches!(on_violation, Some(OnViolation::Approval { .. })) {
        uses.used.insert(APPROVAL.to_owned());
    }
    Some(Step {
        id,
        uses: capability.map(|(_, name)| name.to_owned()).unwrap_or_default(),
        for_each,
        with: match with {
            Some(with) => input::build(report, with, names),
            None => With::Plain(serde_json::json!({})),
        },
        when: optional(node, "if").and_then(|node| names.expr(report, node, "`if`")),
        retry: optional(node, "retry").and_then(|node| retry(report, node)),
        on_error: optional(node, "on_error").and_then(|node| on_error(report, node, names)),
        on_violation,
        line: report.line(node.at.start),
    })
}

fn for_each(report: &mut Report, node: &Node, names: Names<'_>) -> Option<Expr> {
    if let Data::List(_) = node.data {
        report
            .error(node.at.clone(), Code::WrongType, "`for_each` is a list of YAML, and an expression belongs here")
            .hint("write the list in quotes: `for_each: '[\"a\", \"b\"]'`");
        return None;
    }
    let list = names.expr(report, node, "`for_each`")?;
    if !list.gives.may_be_list() {
        report
            .error(
                node.at.clone(),
                Code::Expression,
                format!("`for_each` wants a list, and this is {}", list.gives.name()),
            )
            .hint("name a list, such as `order.lines`");
        return None;
    }
    Some(list)
}

/// The event that a step waits for. One that is missing, or no text, is what the capability's schema finds.
fn awaited(report: &mut Report, with: &Node, catalog: &Catalog) -> Option<String> {
    let event = with.get("event")?;
    let name = event.text()?;
    if Template::is_template(name) {
        report
            .error(event.at.clone(), Code::UnknownEvent, "the event that is waited for is written out, not filled in")
            .hint("write its name, such as `event: order.fulfilled`; where it depends, use a step with `if` for each");
        return None;
    }
    is_event(name, catalog).then(|| name.to_owned())
}

/// Whether there is such an event, or a kind of them. Where there is none, the capability's schema says so.
fn is_event(name: &str, catalog: &Catalog) -> bool {
    catalog.events().iter().any(|known| is_of_kind(known.name, name))
}

fn not_allowed(report: &mut Report, at: std::ops::Range<usize>, name: &str) {
    report
        .error(at, Code::NotAllowed, format!("this rule may not use `{name}`, which changes something outside"))
        .hint(format!("where it should, list it: `allow: [{name}]`"));
}

/// The capability of this name.
pub(super) fn capability<'a>(report: &mut Report, node: &Node, name: &str, catalog: &'a Catalog) -> Option<&'a Spec> {
    let spec = catalog.capabilities.get(name);
    if spec.is_none() {
        unknown_capability(report, node.at.clone(), name, catalog);
    }
    spec
}

fn unknown_capability(report: &mut Report, at: std::ops::Range<usize>, name: &str, catalog: &Catalog) {
    let known = || catalog.capabilities.keys().map(String::as_str);
    // A list written with `，` is one long name.
    let hint = if name.len() > 40 { None } else { write_nearest(name, known()) };
    report.error(at, Code::UnknownCapability, format!("there is no capability `{}`", shown(name))).hint(
        hint.or_else(|| write_ascii(name)).unwrap_or_else(|| {
            let all: Vec<String> = known().map(|name| format!("`{name}`")).collect();
            format!("there are {}", all.join(", "))
        }),
    );
}

fn retry(report: &mut Report, node: &Node) -> Option<Retry> {
    let node = group(report, node, "`retry`", keys::RETRY)?;
    let usual = Retry::default();
    let attempts = optional(node, "attempts").map_or(Some(usual.attempts), |node| {
        let attempts = node.json().as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=20).contains(n));
        if attempts.is_none() {
            report
                .error(node.at.clone(), Code::WrongType, "`attempts` is a whole number from 1 to 20")
                .hint("write `attempts: 5`");
        }
        attempts
    });
    let first = optional(node, "first").map_or(Some(usual.first), |node| span(report, node, "`first`"));
    let max = optional(node, "max")
        .map_or(Some(usual.max.max(first.unwrap_or_default())), |node| span(report, node, "`max`"));
    let (attempts, first, max) = (attempts?, first?, max?);
    if max < first {
        let at = node.get("max").map_or(node.at.clone(), |max| max.at.clone());
        report
            .error(at, Code::WrongType, "the longest pause, `max`, is shorter than the first")
            .hint("make `max` at least as long as `first`");
    }
    Some(Retry { attempts, first, max })
}

fn on_error(report: &mut Report, node: &Node, names: Names<'_>) -> Option<OnError> {
    if let Data::Map(_) = node.data {
        let node = group(report, node, "`on_error`", keys::ON_ERROR)?;
        let answer = required(report, node, "use", "`on_error`", "write the answer to go on with: `use: { … }`")?;
        return Some(OnError::Use(input::build(report, answer, names)));
    }
    let word: String = word(report, node, "`on_error`", &["continue", "stop"])?;
    Some(if word == "stop" { OnError::Stop } else { OnError::Continue })
}

fn on_violation(report: &mut Report, node: &Node, names: Names<'_>) -> Option<OnViolation> {
    if let Data::Map(_) = node.data {
        let node = group(report, node, "`on_violation`", keys::ON_VIOLATION)?;
        let hint = "write the text to send instead: `fallback: \"…\"`, or who is asked: `approval: support`";
        let approval = optional(node, "approval");
        let fallback = match approval {
            Some(_) => optional(node, "fallback"),
            None => Some(required(report, node, "fallback", "`on_violation`", hint)?),
        };
        let fallback = fallback.and_then(|fallback| {
            let written = text(report, fallback, "`fallback`")?;
            names.template(report, fallback, written)
        });
        let timeout = optional(node, "timeout");
        let Some(approval) = approval else {
            if let Some(timeout) = timeout {
                report
                    .error(timeout.at.clone(), Code::UnknownKey, "`timeout` is for `approval`, which is not there")
                    .hint("leave it out, or say who is asked: `approval: support`");
            }
            return fallback.map(OnViolation::Fallback);
        };
        let to = text(report, approval, "`approval`")?.to_owned();
        let timeout = match timeout {
            Some(node) => span(report, node, "`timeout`").and_then(|_| node.text()).map(str::to_owned)?,
            None => APPROVAL_TIMEOUT.to_owned(),
        };
        return Some(OnViolation::Approval { to, timeout, fallback });
    }
    word::<String>(report, node, "`on_violation`", &["fail"]).map(|_| OnViolation::Fail)
}

/// A script's text and what was found in it.
pub(super) struct ReadScript {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) findings: Vec<Finding>,
}

/// Reads the script that `node` names.
pub(super) fn script(
    report: &mut Report,
    node: &Node,
    files: &dyn Fn(&str) -> io::Result<String>,
    rule: &Path,
    names: Names<'_>,
    uses: &mut Uses<'_>,
) -> Option<(Option<Script>, ReadScript)> {
    let name = text(report, node, "`script`")?;
    if !name.ends_with(".rhai") {
        report
            .error(node.at.clone(), Code::Unreadable, format!("`{}` is not a script", shown(name)))
            .hint("name a file that ends in `.rhai`, beside this one");
        return None;
    }
    let text = beside(report, node, name, files)?;
    let mut inner = Report::new(&rule.with_file_name(name), &text);
    let script = match Script::compile(name, &text, &names.scope()) {
        Ok(script) => Some(script),
        Err(mistakes) => {
            for mistake in mistakes {
                let at = mistake.offset..mistake.offset.saturating_add(mistake.len);
                inner.error(at, Code::Expression, mistake.message).maybe(mistake.hint);
            }
            None
        }
    };
    for (asked, offset) in script.iter().flat_map(Script::asks) {
        let at = *offset..offset.saturating_add(asked.len());
        match names.catalog.capabilities.get(asked) {
            None => unknown_capability(&mut inner, at, asked, names.catalog),
            Some(spec) => {
                uses.used.insert(asked.clone());
                uses.awaits.extend(spec.awaits.iter().cloned());
                if spec.must_be_allowed() && !uses.allow.contains(asked) {
                    not_allowed(&mut inner, at, asked);
                }
            }
        }
    }
    for input in script.iter().flat_map(Script::inputs) {
        plain_input(&mut inner, input, names.catalog);
    }
    let awaited = script.iter().flat_map(Script::awaits).map(|(event, _)| event);
    uses.awaits.extend(awaited.filter(|event| is_event(event, names.catalog)).cloned());
    Some((script, ReadScript { name: name.to_owned(), text, findings: inner.finish() }))
}

/// Holds what a script asks in plain texts against the schema of its capability.
fn plain_input(report: &mut Report, input: &PlainInput, catalog: &Catalog) {
    let Some(spec) = catalog.capabilities.get(&input.capability) else { return };
    let node = |(text, offset): &(String, usize)| Node::of_text(text, *offset..offset.saturating_add(text.len()));
    for [key, text] in &input.texts {
        let (key, text) = (node(key), node(text));
        // Each by itself, so that it is found where it stands.
        let one = Node { at: text.at.clone(), data: Data::Map(vec![(key, text)]) };
        input::check(report, Some(&one), &one, &spec.input, &format!("`{}`", spec.name), Extent::Part);
    }
}

/// Reads a file that lies beside the rule, or in a folder beside it.
pub(super) fn beside(
    report: &mut Report,
    node: &Node,
    name: &str,
    files: &dyn Fn(&str) -> io::Result<String>,
) -> Option<String> {
    let is_below = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below || name.is_empty() {
        report
            .error(node.at.clone(), Code::Unreadable, format!("`{}` does not lie beside the rule", shown(name)))
            .hint("name a file in the rule's own folder or below it, without `..` and without a leading `/`");
        return None;
    }
    match files(name) {
        Ok(text) => Some(text),
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => format!("there is no `{}` beside the rule", shown(name)),
                _ => format!("`{}` cannot be read: {error}", shown(name)),
            };
            report
                .error(node.at.clone(), Code::Unreadable, why)
                .hint("the path is relative to the rule's file, and a file is UTF-8 text of at most 1 MiB");
            None
        }
    }
}
