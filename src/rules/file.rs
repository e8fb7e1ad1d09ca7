//! A rule's file, read and checked: every mistake of it in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::fields::{self, by_language, group, list, optional, required, text, word};
use super::finding::{Code, Finding, Report, Severity};
use super::keys;
use super::mistakes::Names;
use super::near::{nearest, write_ascii};
use super::read_steps::{self, ReadScript, Uses};
use super::read_tests::{self, Subject};
use super::rule::{Body, OnChange, Overlap, Rule, RuleTest, Status};
use super::yaml::{self, Data, Node};
use super::{read_inputs, read_when, tuning};
use crate::domain::{Catalog, EventType, Kind, Limits, ParseRateError, Spec};

/// What came of a file.
#[derive(Debug)]
pub struct Read {
    /// The rule, unless there is an error among the findings.
    pub rule: Option<Rule>,
    /// All that was found.
    pub findings: Vec<Finding>,
}

/// Reads and checks a rule's file. `files` reads what lies beside it: its script and the fixtures of its tests.
pub fn read(file: &Path, text: &str, files: &dyn Fn(&str) -> io::Result<String>, catalog: &Catalog) -> Read {
    read_as(file, text, files, catalog, read_tests::tests)
}

/// Reads a version of a rule again, out of what [`Rule::bundle`] gave. Its tests are left out: their fixtures are
/// not kept.
///
/// # Errors
/// What is wrong with it now, though it was good when it was kept: a capability has gone, or has changed its input.
pub(super) fn read_kept(kept: &str, catalog: &Catalog) -> Result<Rule, String> {
    let (text, script) = kept.split_once(SCRIPT_FOLLOWS).unwrap_or((kept, ""));
    let script = script.split_once('\n').map_or("", |(_, script)| script);
    let read = read_as(Path::new("kept.yaml"), text, &|_| Ok(script.to_owned()), catalog, |_, _, _| Vec::new());
    read.rule.ok_or_else(|| read.findings.iter().map(ToString::to_string).collect())
}

/// Stands in [`Rule::text`] between the file and its script; the script's name follows on the same line. To YAML
/// it begins a second document, which no rule file has.
const SCRIPT_FOLLOWS: &str = "\n--- # script: ";

type ReadTests = fn(&mut Report, &Node, &Subject<'_>) -> Vec<RuleTest>;

fn read_as(
    file: &Path,
    text: &str,
    files: &dyn Fn(&str) -> io::Result<String>,
    catalog: &Catalog,
    read_tests: ReadTests,
) -> Read {
    // Some editors begin a file with a mark that YAML has no use for.
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let mut report = Report::new(file, text);
    let wide = wide_colons(text);
    let root = match yaml::parse(&mut report) {
        Some(root) if matches!(root.data, Data::Map(_)) => root,
        _ if !wide.is_empty() => {
            // Whatever else YAML says of such a file leads astray.
            let mut report = Report::new(file, text);
            for at in wide {
                report
                    .error(at..at + '：'.len_utf8(), Code::FullWidth, "a full-width colon, which YAML takes for text")
                    .hint("write `:` and a space");
            }
            return Read { rule: None, findings: report.finish() };
        }
        Some(root) => {
            group(&mut report, &root, "a rule", keys::RULE);
            return Read { rule: None, findings: report.finish() };
        }
        None => return Read { rule: None, findings: report.finish() },
    };
    if text.contains(SCRIPT_FOLLOWS) {
        report
            .error(0..0, Code::Syntax, "a second document begins in this file, and a file holds one rule")
            .maybe(None);
    }
    let (rule, inner) = rule(&mut report, &root, file, files, catalog, read_tests);
    let mut findings = report.finish();
    findings.extend(inner);
    let has_errors = findings.iter().any(|finding| finding.severity == Severity::Error);
    Read { rule: rule.filter(|_| !has_errors), findings }
}

/// Where a full-width colon stands behind what would be a key.
fn wide_colons(text: &str) -> Vec<usize> {
    let mut start = 0;
    let mut found = Vec::new();
    for line in text.split_inclusive('\n') {
        let name = line.trim_start_matches([' ', '-', '\t']);
        let key = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if key.len() < name.len() && key.starts_with('：') {
            found.push(start + line.len() - key.len());
        }
        start += line.len();
    }
    found
}

/// The rule, as far as it could be read, and what was found in its script.
fn rule(
    report: &mut Report,
    root: &Node,
    file: &Path,
    files: &dyn Fn(&str) -> io::Result<String>,
    catalog: &Catalog,
    read_tests: ReadTests,
) -> (Option<Rule>, Vec<Finding>) {
    group(report, root, "a rule", keys::RULE);
    let id = required(report, root, "id", "a rule", "add `id:` with a name of your choice")
        .and_then(|node| fields::rule_id(report, node));
    let name = optional(root, "name").map(|node| by_language(report, node, "the rule's name")).unwrap_or_default();
    let statuses: Vec<&str> = keys::STATUS.iter().map(|key| key.name).collect();
    let status = optional(root, "status").map_or(Some(Status::Draft), |node| word(report, node, "`status`", &statuses));
    let inputs = optional(root, "inputs").map(|node| read_inputs::inputs(report, node)).unwrap_or_default();
    let triggers =
        required(report, root, "triggers", "a rule", "say what it listens to: `triggers: [{ event: order.created }]`")
            .map(|node| read_when::triggers(report, node, catalog))
            .unwrap_or_default();
    let heard: Vec<&EventType> =
        catalog.events().iter().filter(|kind| triggers.iter().any(|trigger| trigger.hears(kind.name))).collect();
    // Without a good trigger nothing is known of the records, and every name would be a mistake.
    let events = if heard.is_empty() { catalog.events().iter().collect() } else { heard };
    let names = Names { catalog, events: &events, inputs: &inputs, steps: &[], item: None, later: &[] };
    let conditions =
        optional(root, "conditions").map(|node| read_when::conditions(report, node, names)).unwrap_or_default();
    let key = optional(root, "key").and_then(|node| names.expr(report, node, "`key`"));
    let overlap = optional(root, "overlap").map_or(Some(Overlap::default()), |node| {
        word(report, node, "`overlap`", &["queue", "parallel", "restart", "skip"])
    });
    let on_change = optional(root, "on_change").map_or(Some(OnChange::default()), |node| {
        word(report, node, "`on_change`", &["finish_old", "migrate", "cancel"])
    });
    let limits = optional(root, "limits").map(|node| limits(report, node)).unwrap_or_default();
    let allow = optional(root, "allow").map(|node| allow(report, node, catalog)).unwrap_or_default();

    let mut uses = Uses { allow: &allow, used: BTreeSet::new(), awaits: BTreeSet::new() };
    let (body, script) = body(report, root, file, files, names, &mut uses);
    let Uses { used, awaits, .. } = uses;
    if body.is_some() {
        unused_allow(report, root, &allow, &used, catalog);
        unused_limits(report, root, &used, catalog);
    }
    let subject = Subject { triggers: &triggers, body: body.as_ref(), used: &used, catalog, files };
    let tests = optional(root, "tests").map(|node| read_tests(report, node, &subject)).unwrap_or_default();

    let text = match &script {
        Some(ReadScript { name, text, .. }) => format!("{}{SCRIPT_FOLLOWS}{name}\n{text}", report.text()),
        None => report.text().to_string(),
    };
    let version = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
    let rule = || {
        Some(Rule {
            id: id?,
            name,
            status: status?,
            values: tuning::values(&inputs),
            tuning: BTreeMap::new(),
            inputs,
            triggers,
            conditions,
            key,
            overlap: overlap?,
            on_change: on_change?,
            limits,
            allow,
            awaits: awaits.into_iter().collect(),
            body: body?,
            tests,
            file: file.to_owned(),
            text,
            version,
        })
    };
    (rule(), script.map(|script| script.findings).unwrap_or_default())
}

fn limits(report: &mut Report, node: &Node) -> Limits {
    if group(report, node, "`limits`", keys::LIMITS).is_none() {
        return Limits::default();
    }
    Limits {
        calls: rate(report, node, "calls"),
        money: rate(report, node, "money"),
        per_customer: rate(report, node, "per_customer"),
    }
}

fn rate<T: FromStr<Err = ParseRateError>>(report: &mut Report, node: &Node, name: &str) -> Option<T> {
    let node = optional(node, name)?;
    let Some(written) = node.text() else {
        report
            .error(node.at.clone(), Code::WrongType, format!("`{name}` is {}, and a text belongs here", node.what()))
            .hint("write how much within how long, such as `200/h`, `2/7d` or `500 EUR/d`");
        return None;
    };
    let read = written.parse::<T>();
    if let Err(error) = &read {
        let error = error.to_string();
        let (what, hint) = error.split_once("; ").unwrap_or((&error, ""));
        report
            .error(node.at.clone(), Code::WrongType, format!("`{name}`: {what}"))
            .hint(write_ascii(written).unwrap_or_else(|| hint.to_owned()));
    }
    read.ok()
}

/// A limit that nothing counts against protects nobody, and its author believes that it does.
fn unused_limits(report: &mut Report, root: &Node, used: &BTreeSet<String>, catalog: &Catalog) {
    let (Some(key), Some(limits)) = (root.key("limits"), root.get("limits")) else { return };
    let specs = used.iter().filter_map(|name| catalog.capabilities.get(name));
    // What a plugin's capability leads to counts as the rule's own.
    let specs = specs.flat_map(|spec| spec.implies.iter().filter_map(|it| catalog.capabilities.get(it)).chain([spec]));
    let writes: Vec<&Spec> = specs.filter(|spec| spec.kind == Kind::Write).collect();
    if writes.is_empty() && matches!(limits.data, Data::Map(_)) {
        report
            .warning(key.at.clone(), Code::UnusedLimit, "this rule makes no writes, and limits count nothing else")
            .hint("take them out");
    } else if let Some(key) = limits.key("money").filter(|_| writes.iter().all(|spec| spec.amount.is_none())) {
        report
            .warning(key.at.clone(), Code::UnusedLimit, "nothing that this rule does moves money")
            .hint("take it out; `calls` limits how often it acts");
    }
}

fn allow(report: &mut Report, node: &Node, catalog: &Catalog) -> Vec<String> {
    let items = list(report, node, "`allow`", "write it as a list: `allow: [message.send]`");
    let mut allow = Vec::new();
    for item in items {
        let Some(name) = text(report, item, "an item of `allow`") else { continue };
        let Some(spec) = read_steps::capability(report, item, name, catalog) else {
            // What was meant is allowed from here on, so that one slip is one mistake.
            let known = || catalog.capabilities.keys().map(String::as_str);
            let meant = name.split([',', '，', '、']).filter_map(|part| nearest(part, known()));
            allow.extend(meant.map(str::to_owned));
            continue;
        };
        if !spec.must_be_allowed() {
            report
                .warning(
                    item.at.clone(),
                    Code::UnusedAllow,
                    format!("`{name}` changes nothing outside and is always allowed"),
                )
                .hint("take it out of `allow`");
        }
        allow.push(name.to_owned());
    }
    allow
}

/// A right that nothing uses is a right that somebody can misuse later.
fn unused_allow(report: &mut Report, root: &Node, allow: &[String], used: &BTreeSet<String>, catalog: &Catalog) {
    let Some(Node { data: Data::List(items), .. }) = root.get("allow") else { return };
    for (name, item) in
        allow.iter().filter_map(|name| Some((name, items.iter().find(|item| item.text() == Some(name))?)))
    {
        let is_write = catalog.capabilities.get(name).is_some_and(Spec::must_be_allowed);
        if is_write && !used.contains(name) {
            report
                .warning(item.at.clone(), Code::UnusedAllow, format!("nothing in this rule uses `{name}`"))
                .hint("take it out of `allow`");
        }
    }
}

/// What a rule does, and what was found where a script does it.
fn body(
    report: &mut Report,
    root: &Node,
    file: &Path,
    files: &dyn Fn(&str) -> io::Result<String>,
    names: Names<'_>,
    uses: &mut Uses<'_>,
) -> (Option<Body>, Option<ReadScript>) {
    match (optional(root, "steps"), optional(root, "script")) {
        (Some(steps), None) => (Some(Body::Steps(read_steps::steps(report, steps, names, uses))), None),
        (None, Some(node)) => match read_steps::script(report, node, files, file, names, uses) {
            Some((script, read)) => (script.map(Body::Script), Some(read)),
            None => (None, None),
        },
        (Some(_), Some(script)) => {
            report
                .error(script.at.clone(), Code::UnknownKey, "a rule has `steps` or a `script`, not both")
                .hint("keep one of them");
            (None, None)
        }
        (None, None) => {
            let key = root.key("steps").or(root.key("script"));
            let at = key.map_or(root.at.start..root.at.start, |key| key.at.clone());
            report
                .error(at, Code::MissingKey, "a rule needs `steps:` or `script:`")
                .hint("say what it does: `steps:` and below it `- uses: …`");
            (None, None)
        }
    }
}
