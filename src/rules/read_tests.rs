//! The tests that a rule carries.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::fields::{group, list, optional, required, span, text, word};
use super::finding::{Code, Report, shown};
use super::input::{self, Extent};
use super::keys;
use super::near::write_nearest;
use super::read_steps::{beside, capability};
use super::rule::{APPROVAL, APPROVAL_PART, Body, Expect, ExpectedCall, OnViolation, RuleTest, Step, Trigger};
use super::steps::MOST_ITEMS;
use super::yaml::{Data, Node};
use crate::domain::{Catalog, EventId, Field, FieldKind, Kind, Money, Records, Spec};

/// What a test may speak of.
pub(super) struct Subject<'a> {
    pub(super) triggers: &'a [Trigger],
    /// `None` where it could not be read.
    pub(super) body: Option<&'a Body>,
    /// The capabilities that the rule uses.
    pub(super) used: &'a BTreeSet<String>,
    pub(super) catalog: &'a Catalog,
    pub(super) files: &'a dyn Fn(&str) -> io::Result<String>,
}

/// Reads the tests.
pub(super) fn tests(report: &mut Report, node: &Node, subject: &Subject<'_>) -> Vec<RuleTest> {
    let items = list(report, node, "`tests`", "begin each test with `- name:`");
    items.iter().filter_map(|item| test(report, item, subject)).collect()
}

fn test(report: &mut Report, node: &Node, subject: &Subject<'_>) -> Option<RuleTest> {
    let node = group(report, node, "a test", keys::TEST)?;
    let name = required(report, node, "name", "a test", "say what it shows")
        .and_then(|node| text(report, node, "a test's name"));
    let event = required(report, node, "event", "a test", "name a fixture, such as `event: fixtures/order-1042.json`")
        .and_then(|node| event(report, node, subject));
    let mocks = optional(node, "mocks").map(|node| mocks(report, node, subject)).unwrap_or_default();
    let advance = optional(node, "advance").map_or(Some(Default::default()), |node| span(report, node, "`advance`"));
    let expect =
        required(report, node, "expect", "a test", "say what must come of it, such as `expect: { calls: [] }`")
            .and_then(|node| expect(report, node, subject));
    if let (Some(event), Some(expect)) = (&event, &expect) {
        unheard(report, node, event, expect, subject);
    }
    let line = report.line(node.at.start);
    Some(RuleTest { name: name?.to_owned(), event: event?, mocks, advance: advance?, expect: expect?, line })
}

/// A test whose event the rule does not listen to shows nothing, unless that is what it shows.
fn unheard(report: &mut Report, test: &Node, event: &Json, expect: &Expect, subject: &Subject<'_>) {
    let kind = event["type"].as_str().unwrap_or_default();
    let is_known = subject.catalog.events().iter().any(|known| known.name == kind);
    let is_shown = expect.matched == Some(false) && expect.why_not.is_none();
    if is_known && !subject.triggers.iter().any(|trigger| trigger.hears(kind)) && !is_shown {
        let event = test.get("event").unwrap_or(test);
        let at = event.get("type").unwrap_or(event).at.clone();
        report
            .error(at, Code::Test, format!("the rule does not listen to `{}`", shown(kind)))
            .hint("use an event of the rule's own triggers, or expect `matched: false`");
    }
}

fn event(report: &mut Report, node: &Node, subject: &Subject<'_>) -> Option<Json> {
    if let Data::Map(_) = node.data {
        let node = group(report, node, "an event", keys::EVENT)?;
        let event = node.json();
        for Wrong { pointer, message, hint } in wrong_event(&event, subject.catalog) {
            let at = node.at_pointer(&pointer);
            let at = if pointer.is_empty() { node.at.start..node.at.start } else { at.at.clone() };
            report.error(at, Code::Test, message).maybe(hint);
        }
        return Some(event);
    }
    let name = text(report, node, "`event`")?;
    if name.parse::<EventId>().is_ok() {
        let message = "a rule's own tests come out the same everywhere, and this event is in one store only";
        report.error(node.at.clone(), Code::Test, message).hint(format!(
            "`storehand rules test FILE --events {name}` tries the rule on it; for a test of its own, write its `data` \
             (`storehand events show {name}`) into a fixture"
        ));
        return None;
    }
    let json = beside(report, node, name, subject.files)?;
    match serde_json::from_str(&json) {
        Ok(event) => {
            for Wrong { pointer, message, hint } in wrong_event(&event, subject.catalog) {
                let place = if pointer.is_empty() { String::new() } else { format!(" at `{pointer}`") };
                report.error(node.at.clone(), Code::Test, format!("{}{place}: {message}", shown(name))).maybe(hint);
            }
            Some(event)
        }
        Err(error) => {
            report
                .error(node.at.clone(), Code::Test, format!("`{}` is not JSON: {error}", shown(name)))
                .hint("a fixture is a CloudEvents event: `{ \"type\": …, \"subject\": …, \"data\": { … } }`");
            None
        }
    }
}

/// What is wrong with an event, and where in it.
struct Wrong {
    pointer: String,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(pointer: &str, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { pointer: pointer.to_owned(), message: message.into(), hint }
    }
}

fn wrong_event(event: &Json, catalog: &Catalog) -> Vec<Wrong> {
    let Some(fields) = event.as_object() else {
        return vec![Wrong::new("", "an event is an object with `type` and `data`", None)];
    };
    let mut wrong = Vec::new();
    match fields.get("type").map(|kind| (kind, kind.as_str())) {
        Some((_, Some(kind))) if catalog.events().iter().any(|known| known.name == kind) => {}
        Some((_, Some(kind))) => wrong.push(Wrong::new(
            "/type",
            format!("there is no event type `{}`", shown(kind)),
            write_nearest(kind, catalog.events().iter().map(|known| known.name)),
        )),
        Some((_, None)) => wrong.push(Wrong::new("/type", "the type is a text", None)),
        None => {
            let hint = "add `type`, such as `order.created`".to_owned();
            wrong.push(Wrong::new("", "the event has no `type`", Some(hint)));
        }
    }
    for name in ["subject", "source", "origintopic"] {
        if fields.get(name).is_some_and(|value| !value.is_string()) {
            wrong.push(Wrong::new(&format!("/{name}"), format!("`{name}` is a text"), None));
        }
    }
    if fields.get("time").is_some_and(|time| time.as_str().is_none_or(|time| time.parse::<Timestamp>().is_err())) {
        wrong.push(Wrong::new("/time", "`time` is not a moment", Some("write `2026-11-23T09:00:00Z`".to_owned())));
    }
    if let Some(data) = fields.get("data") {
        wrong_record(data, catalog.records(), "/data", "data", &mut wrong);
        // Whatever the tables above did not see, the records themselves do.
        if wrong.is_empty()
            && let Err(error) = serde_json::from_value::<Records>(data.clone())
        {
            wrong.push(Wrong::new("/data", error.to_string(), None));
        }
    }
    wrong
}

fn wrong_record(value: &Json, fields: &[Field], pointer: &str, what: &str, wrong: &mut Vec<Wrong>) {
    let Some(entries) = value.as_object() else {
        wrong.push(Wrong::new(pointer, format!("`{what}` is a group of fields"), None));
        return;
    };
    for (name, value) in entries {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        match fields.iter().find(|field| field.name == name) {
            Some(field) => wrong_value(value, field.kind, &pointer, name, wrong),
            None => wrong.push(Wrong::new(
                &pointer,
                format!("`{what}` has no `{}`", shown(name)),
                write_nearest(name, fields.iter().map(|field| field.name)),
            )),
        }
    }
}

fn wrong_value(value: &Json, kind: FieldKind, pointer: &str, name: &str, wrong: &mut Vec<Wrong>) {
    let quoted = || value.as_number().map(|number| format!("write \"{number}\""));
    let fits = match kind {
        _ if value.is_null() => true,
        FieldKind::Record(fields) => return wrong_record(value, fields, pointer, name, wrong),
        FieldKind::List(inner) => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                wrong_value(item, *inner, &format!("{pointer}/{index}"), name, wrong);
            }
            value.is_array()
        }
        FieldKind::Bool => value.is_boolean(),
        FieldKind::Int => value.is_i64(),
        FieldKind::Decimal => value.is_number() || value.is_string(),
        FieldKind::Text => value.is_string(),
        FieldKind::Time => value.as_str().is_some_and(|time| time.parse::<Timestamp>().is_ok()),
        FieldKind::Money => value.as_str().is_some_and(|money| money.parse::<Money>().is_ok()),
    };
    if !fits {
        let (wanted, hint) = match kind {
            FieldKind::Money => ("an amount of money", Some("write it as \"50.00 EUR\"".to_owned())),
            FieldKind::Time => ("a moment", Some("write it as \"2026-11-23T09:00:00Z\"".to_owned())),
            FieldKind::Text => ("a text", quoted()),
            FieldKind::Int => ("a whole number", None),
            FieldKind::List(_) => ("a list", None),
            FieldKind::Bool => ("true or false", None),
            FieldKind::Decimal | FieldKind::Record(_) => ("a number", None),
        };
        wrong.push(Wrong::new(pointer, format!("`{name}` is {wanted}"), hint));
    }
}

fn mocks(report: &mut Report, node: &Node, subject: &Subject<'_>) -> BTreeMap<String, Json> {
    let Data::Map(entries) = &node.data else {
        report
            .error(node.at.clone(), Code::WrongType, format!("`mocks` is {}, and keys belong here", node.what()))
            .hint("such as `mocks: { draft: { text: \"Hello\" } }`");
        return BTreeMap::new();
    };
    let steps = match subject.body {
        Some(Body::Steps(steps)) => steps.as_slice(),
        _ => &[],
    };
    let mut mocks = BTreeMap::new();
    for (key, value) in entries {
        let Some(name) = key.text() else { continue };
        let step = mocked(steps, name);
        let is_approval = name.ends_with(APPROVAL_PART) && name.contains('/');
        let uses = step.map_or(name, |step| if is_approval { APPROVAL } else { step.uses.as_str() });
        if step.is_some() || subject.used.contains(uses) {
            if let Some(spec) = subject.catalog.capabilities.get(uses) {
                mock(report, key, value, uses, &spec.output);
            }
            mocks.insert(name.to_owned(), value.json());
        } else if is_of_script(name, subject) || is_of_plugin(name, steps, subject) {
            mocks.insert(name.to_owned(), value.json());
        } else {
            let mut known: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
            if let Some(Body::Script(script)) = subject.body {
                known.extend(script.ids());
            }
            known.extend(subject.used.iter().map(String::as_str));
            let step = name.split_once('/').and_then(|(id, _)| steps.iter().find(|step| step.id == id));
            let hint = step.map(|Step { id, for_each, .. }| match for_each {
                Some(_) => format!("the items are `{id}/1` to `{id}/{MOST_ITEMS}`; `{id}` answers all of them"),
                None => format!("the step has no `for_each:`; write `{id}`"),
            });
            let what = if steps.is_empty() { "id of a call" } else { "step" };
            report
                .error(
                    key.at.clone(),
                    Code::Test,
                    format!("`{}` is no {what} and no capability of this rule", shown(name)),
                )
                .maybe(hint.or_else(|| write_nearest(name, known)));
        }
    }
    mocks
}

/// Holds a mock against what its capability answers. Some answers have a word that stands for them, which the schema
/// names: `ok: approved`.
fn mock(report: &mut Report, key: &Node, value: &Node, uses: &str, answer: &Json) {
    let what = format!("the answer of `{uses}`");
    let words: Vec<&str> = answer["mocks"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    match value.json() {
        Json::Object(given) if given.contains_key("error") => {}
        Json::Object(_) => input::check(report, Some(value), key, answer, &what, Extent::Part),
        Json::String(word) if words.contains(&word.as_str()) => {}
        Json::String(word) if !words.is_empty() => {
            let all: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            report
                .error(value.at.clone(), Code::Test, format!("{what} cannot be `{}`", shown(&word)))
                .hint(write_nearest(&word, words).unwrap_or_else(|| format!("write {}, or its keys", all.join(", "))));
        }
        _ => {}
    }
}

/// Whether a mock may answer a call of the rule's script.
fn is_of_script(name: &str, subject: &Subject<'_>) -> bool {
    match subject.body {
        Some(Body::Script(script)) => !subject.catalog.capabilities.contains_key(name) && script.may_ask_at(name),
        Some(Body::Steps(_)) => false,
        // What is wrong with it is said already.
        None => true,
    }
}

/// Whether a mock may answer what a plugin asks: by its path below the plugin's step, or by its capability.
fn is_of_plugin(name: &str, steps: &[Step], subject: &Subject<'_>) -> bool {
    let below = name.split_once('/').and_then(|(id, _)| steps.iter().find(|step| step.id == id));
    let is_plugins = |uses: &str| subject.catalog.capabilities.get(uses).is_some_and(Spec::is_plugins);
    let asks = || subject.catalog.capabilities.contains_key(name) && subject.used.iter().any(|uses| is_plugins(uses));
    below.map_or_else(asks, |step| is_plugins(&step.uses))
}

/// The step that a mock answers: all of it by its id, one item of its list by `ID/2`, what a person says to its text by
/// `ID/approval`.
fn mocked<'s>(steps: &'s [Step], name: &str) -> Option<&'s Step> {
    let (id, item) = match name.split_once('/') {
        Some((id, item)) => (id, Some(item)),
        None => (name, None),
    };
    let is_approval = |step: &Step| matches!(step.on_violation, Some(OnViolation::Approval { .. }));
    if let Some(APPROVAL_PART) = item {
        return steps.iter().find(|step| step.id == id && is_approval(step));
    }
    let is_item = |item: &str| !item.starts_with(['0', '+']) && item.parse().is_ok_and(|n: usize| n <= MOST_ITEMS);
    let step = steps.iter().find(|step| step.id == id)?;
    item.is_none_or(|item| step.for_each.is_some() && is_item(item)).then_some(step)
}

fn expect(report: &mut Report, node: &Node, subject: &Subject<'_>) -> Option<Expect> {
    let node = group(report, node, "`expect`", keys::EXPECT)?;
    let calls =
        optional(node, "calls").map_or(&[][..], |node| list(report, node, "`calls`", "begin each call with `- uses:`"));
    let calls: Vec<ExpectedCall> = calls.iter().filter_map(|item| expected_call(report, item, subject)).collect();
    let never =
        optional(node, "never").map_or(&[][..], |node| list(report, node, "`never`", "such as `[message.send]`"));
    let never: Vec<String> = never
        .iter()
        .filter_map(|item| {
            let name = text(report, item, "an item of `never`")?;
            capability(report, item, name, subject.catalog)?;
            Some(name.to_owned())
        })
        .collect();
    let matched = optional(node, "matched").and_then(|node| {
        let matched = node.json().as_bool();
        if matched.is_none() {
            report.error(node.at.clone(), Code::WrongType, "`matched` is true or false").hint("write `matched: false`");
        }
        matched
    });
    let why_not = optional(node, "why_not").and_then(|node| Some((node, text(report, node, "`why_not`")?)));
    if let Some((node, written)) = why_not {
        if written.trim().is_empty() {
            report
                .error(node.at.clone(), Code::Test, "an empty `why_not` occurs in every condition")
                .hint("write a part of the condition, such as `order.total`");
        } else if matched == Some(true) {
            report
                .error(node.at.clone(), Code::Test, "a rule that runs has no `why_not`")
                .hint("leave out `matched: true`, or `why_not`");
        }
    }
    let matched = if why_not.is_some() { Some(false) } else { matched };
    let outcome = optional(node, "outcome")
        .and_then(|node| word(report, node, "`outcome`", &["done", "failed", "declined", "waiting"]));
    if matched == Some(false) && (!calls.is_empty() || outcome.is_some()) {
        report
            .error(
                node.at.start..node.at.start,
                Code::Test,
                "a rule that does not run makes no calls and has no outcome",
            )
            .hint("leave out `matched: false` and `why_not`, or the rest");
    }
    if matches!(&node.data, Data::Map(entries) if entries.is_empty()) {
        report
            .error(node.at.clone(), Code::Test, "a test that expects nothing cannot fail")
            .hint("write `calls: []` where no write must be made");
    }
    Some(Expect { calls, never, matched, why_not: why_not.map(|(_, text)| text.to_owned()), outcome })
}

fn expected_call(report: &mut Report, node: &Node, subject: &Subject<'_>) -> Option<ExpectedCall> {
    let node = group(report, node, "an expected call", keys::EXPECTED_CALL)?;
    let uses = required(report, node, "uses", "an expected call", "name the capability, such as `message.send`")?;
    let name = text(report, uses, "`uses`")?;
    let spec = capability(report, uses, name, subject.catalog)?;
    if spec.kind != Kind::Write {
        report
            .error(uses.at.clone(), Code::Test, format!("`{name}` is not a write, and `calls` lists the writes"))
            .hint("leave it out, or give it an answer of your own in `mocks`");
    } else if !subject.used.contains(name) && subject.body.is_some() {
        let used = subject.used.iter().map(String::as_str);
        report
            .error(uses.at.clone(), Code::Test, format!("nothing in this rule uses `{name}`"))
            .maybe(write_nearest(name, used));
    }
    let with = optional(node, "with");
    if let Some(with) = with {
        input::check(report, Some(with), uses, &spec.input, &format!("`{name}`"), Extent::Part);
    }
    Some(ExpectedCall { uses: name.to_owned(), with: with.map_or_else(|| serde_json::json!({}), Node::json) })
}
