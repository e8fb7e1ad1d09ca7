//! What can be seen only when rules are looked at together: the same id twice, the same write twice, and rules
//! that may trigger each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::exclude::{self, Bound};
use super::finding::{Code, Finding, Report};
use super::rule::{Body, Condition, Rule, Status, With};
use super::schedule::Schedule;
use crate::domain::{Catalog, Kind, Makes, Value};

/// A rule is kept for each id; of two, the first.
pub(super) fn unique(rules: Vec<Rule>, findings: &mut Vec<Finding>) -> Vec<Arc<Rule>> {
    let mut kept: Vec<Arc<Rule>> = Vec::new();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for rule in rules {
        if let Some(first) = by_id.get(&rule.id) {
            let first = kept[*first].file.display().to_string();
            let mut report = report(&rule);
            report
                .error(id_line(&rule), Code::DuplicateRule, format!("the id `{}` is taken", rule.id))
                .hint(format!("{first} has it; rename one of them"));
            findings.extend(report.finish());
            continue;
        }
        by_id.insert(rule.id.clone(), kept.len());
        kept.push(Arc::new(rule));
    }
    kept
}

/// Warnings about live rules that get in each other's way.
pub(super) fn warnings(rules: &[Arc<Rule>], catalog: &Catalog) -> Vec<Finding> {
    let live: Vec<&Rule> = rules.iter().map(AsRef::as_ref).filter(|rule| rule.status == Status::Live).collect();
    let mut findings = same_writes(&live, catalog);
    findings.extend(loops(&live, catalog));
    findings
}

/// A write of a rule and where it stands.
#[derive(Clone)]
struct Write<'a> {
    rule: &'a Rule,
    capability: &'a str,
    /// Its input, where it has one that can be looked at: not in a script.
    with: Option<&'a With>,
    /// The whole of it, where it is the same for every event.
    known: Option<Rc<Json>>,
    /// What must hold for its rule to run.
    bounds: Rc<[Bound<'a>]>,
    line: Option<usize>,
}

fn writes<'a>(rule: &'a Rule, catalog: &'a Catalog) -> Vec<Write<'a>> {
    let is_write = |name: &str| catalog.capabilities.get(name).is_some_and(|spec| spec.kind == Kind::Write);
    let bounds: Rc<[Bound<'a>]> = exclude::bounds(rule).into();
    let write = |capability: &'a str, with: Option<&'a With>, line| {
        let known = with.and_then(|with| known(with, rule)).map(Rc::new);
        Write { rule, capability, with, known, bounds: bounds.clone(), line }
    };
    let of = |name: &'a str, with, line| {
        // What a plugin writes in its turn, and with what, only it knows.
        let implied = catalog.capabilities.get(name).map_or(&[][..], |spec| &spec.implies);
        let implied: Vec<_> = implied.iter().map(|it| write(it.as_str(), None, line)).collect();
        implied.into_iter().chain([write(name, with, line)])
    };
    let all: Vec<Write<'a>> = match &rule.body {
        Body::Steps(steps) => steps.iter().flat_map(|step| of(&step.uses, Some(&step.with), Some(step.line))).collect(),
        Body::Script(script) => script.asks().iter().flat_map(|(name, _)| of(name, None, None)).collect(),
    };
    all.into_iter().filter(|write| is_write(write.capability)).collect()
}

fn hears(rule: &Rule, kind: &str) -> bool {
    rule.triggers.iter().any(|trigger| trigger.hears(kind))
}

/// Two rules that write the same for one event: the customer gets two mails. Left out where both inputs are known
/// and differ: two different tags are two different writes; and where they are meant for others: a mail to the team and
/// one to the customer; and where no event can fulfil the conditions of both.
fn same_writes(live: &[&Rule], catalog: &Catalog) -> Vec<Finding> {
    let mut by_event: BTreeMap<(&str, &str), Vec<Write<'_>>> = BTreeMap::new();
    for write in live.iter().flat_map(|rule| writes(rule, catalog)) {
        // A rule hears no schedule but its own.
        let events = catalog.events().iter().filter(|event| event.name != Schedule::DUE);
        for event in events.filter(|event| hears(write.rule, event.name)) {
            let at = (event.name, write.capability);
            by_event.entry(at).or_default().push(write.clone());
        }
    }
    let mut findings = Vec::new();
    let mut said = BTreeSet::new();
    for ((event, capability), writes) in by_event {
        for (index, second) in writes.iter().enumerate() {
            let is_same = |first: &&Write<'_>| {
                first.rule.id != second.rule.id
                    && !differ(first, second, &catalog.capabilities[capability].input)
                    && !exclude::exclude(&first.bounds, &second.bounds)
            };
            // One other rule is enough to say, and once a rule and capability.
            let Some(first) = writes[..index].iter().find(is_same) else { continue };
            if said.insert((second.rule.id.as_str(), capability)) {
                let message = format!("`{}` may also use `{capability}` for the same `{event}`", first.rule.id);
                let hint = "where one event must not bring both, add a condition to one of them";
                findings.extend(warning(second.rule, second.line, Code::SameWrite, message, hint));
            }
        }
    }
    findings
}

/// Whether two uses of a capability are known to be two different things.
fn differ(first: &Write<'_>, second: &Write<'_>, schema: &Json) -> bool {
    if first.with.is_none() || second.with.is_none() {
        return false;
    }
    if let (Some(one), Some(other)) = (&first.known, &second.known) {
        return one != other;
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut addresses = properties.filter(|(_, schema)| schema["addresses"] == true).map(|(name, _)| name.as_str());
    addresses.any(|name| match (part(first, name), part(second, name)) {
        (Some(one), Some(other)) => matches!((one, other), (Some(one), Some(other)) if one != other),
        // Who is meant where nobody is named is hardly ever named.
        (one, other) => one.is_some() != other.is_some(),
    })
}

/// One key of an input, as far as it is known; `None` where it is not given.
fn part(write: &Write<'_>, name: &str) -> Option<Option<Json>> {
    match write.with? {
        With::Map(map) => map.get(name).map(|it| known(it, write.rule)),
        With::Plain(Json::Object(map)) => map.get(name).map(|it| Some(it.clone())),
        _ => None,
    }
}

/// An input, where it is the same for every event: plain, but for texts that are one of the rule's own inputs.
fn known(with: &With, rule: &Rule) -> Option<Json> {
    match with {
        With::Plain(json) => Some(json.clone()),
        With::Template(template) => {
            let name = template.text().trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("inputs.")?;
            match &rule.inputs.iter().find(|input| input.name == name)?.value {
                Value::Text(text) => Some(Json::from(&**text)),
                _ => None,
            }
        }
        With::List(items) => items.iter().map(|item| known(item, rule)).collect(),
        With::Map(map) => {
            let pairs = map.iter().map(|(key, value)| Some((key.clone(), known(value, rule)?)));
            pairs.collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
        }
    }
}

/// Rules whose writes bring about the events that they, or each other, listen to.
fn loops(live: &[&Rule], catalog: &Catalog) -> Vec<Finding> {
    // What a rule turns into what: an edge between event types.
    let mut edges: Vec<(&Rule, Option<usize>, &str, &Makes)> = Vec::new();
    for write in live.iter().flat_map(|rule| writes(rule, catalog)) {
        let makes = catalog.capabilities.get(write.capability).map_or(&[][..], |spec| spec.makes);
        for made in makes.iter().filter(|made| !looks_at(write.rule, made, catalog)) {
            let heard = catalog.events().iter().filter(|event| hears(write.rule, event.name));
            edges.extend(heard.map(|event| (write.rule, write.line, event.name, made)));
        }
    }
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(here) = open.pop() {
            if here == to {
                return true;
            }
            let next = edges.iter().filter(|edge| edge.2 == here).map(|edge| edge.3.event);
            open.extend(next.filter(|next| seen.insert(next)));
        }
        false
    };
    let mut said = BTreeSet::new();
    let in_loop = edges.iter().filter(|(_, _, heard, made)| reaches(made.event, heard));
    in_loop
        .filter(|(rule, ..)| said.insert(rule.id.as_str()))
        .flat_map(|(rule, line, heard, made)| {
            let message =
                format!("this may run without end: it listens to `{heard}` and brings about `{}`", made.event);
            let field = field_of(made, catalog).unwrap_or_default().join(".");
            let such = match made.fields {
                ["tags"] => format!(", such as `not: '\"big-order\" in {field}'`"),
                _ => format!(": one on `{field}`, which it changes"),
            };
            let hint = format!(
                "add a condition that is false once it has acted{such}; or `not: event.echo`, which leaves out what \
                 only tells of our own writes"
            );
            warning(rule, *line, Code::Loop, message, &hint)
        })
        .collect()
}

/// The first field that a write changes, as expressions name it: `order.tags`.
fn field_of(made: &Makes, catalog: &Catalog) -> Option<[&'static str; 2]> {
    let event = catalog.events().iter().find(|event| event.name == made.event)?;
    Some([event.records.first()?, made.fields.first()?])
}

/// A condition on what the write changes, or on whether the event only echoes it, is what ends such a loop; whether it
/// does cannot be known here.
fn looks_at(rule: &Rule, made: &Makes, catalog: &Catalog) -> bool {
    fn looks(condition: &Condition, record: &str, fields: &[&str]) -> bool {
        match condition {
            Condition::Clause { expr, .. } => expr.paths.iter().any(|path| match path.as_slice() {
                [root, field] if root == "event" && field == "echo" => true,
                [root, field, ..] => root == record && fields.contains(&field.as_str()),
                _ => false,
            }),
            Condition::All(inner) | Condition::Any(inner) => inner.iter().any(|it| looks(it, record, fields)),
            Condition::Not(inner) => looks(inner, record, fields),
        }
    }
    let [record, _] = field_of(made, catalog).unwrap_or_default();
    rule.conditions.iter().any(|condition| looks(condition, record, made.fields))
}

fn report(rule: &Rule) -> Report {
    Report::new(&rule.file, &rule.text)
}

/// The bytes of the line on which the rule says its id.
fn id_line(rule: &Rule) -> std::ops::Range<usize> {
    let at = if rule.text.starts_with("id:") { Some(0) } else { rule.text.find("\nid:").map(|at| at + 1) };
    let at = at.unwrap_or_default();
    at..at + rule.text[at..].lines().next().unwrap_or_default().len()
}

fn warning(rule: &Rule, line: Option<usize>, code: Code, message: String, hint: &str) -> Vec<Finding> {
    let mut report = report(rule);
    let at = match line.and_then(|line| report.line_at(line)) {
        Some(at) => at,
        None => id_line(rule),
    };
    report.warning(at, code, message).hint(hint);
    report.finish()
}
