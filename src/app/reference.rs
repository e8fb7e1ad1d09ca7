//! The reference: everything that a rule may use and that a setting may say, as one page of Markdown. It is made of what
//! the checker, the door and the configuration themselves read, so it cannot say what is not so.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::config;
use crate::domain::{
    Catalog, EVENT_TYPES, Envelope, ErrorCode, FAILURES, Field, FieldKind, Kind, PROBLEMS, Repeat, Spec,
    record::RecordType,
};
use crate::rules::{self, Keys};

const HEAD: &str = "\
# Reference

Made by `storehand schema --reference`; a test keeps it current. How to begin: [README.md](README.md).

- [Rule files](#rule-files): every key
- [Capabilities](#capabilities): what a rule may do or ask
- [Events](#events): what a rule may listen to
- [Records](#records): what expressions find in them
- [Functions](#functions): what expressions and scripts may call
- [Findings](#findings): what `storehand rules check` says
- [Failures](#failures): why a call was not done
- [Problems](#problems): what the API answers
- [Settings](#settings): with their defaults
";

/// The whole page.
pub fn reference(catalog: &Catalog) -> String {
    let mut page = HEAD.to_owned();
    rule_files(&mut page);
    heading(
        &mut page,
        "Capabilities",
        "A step `uses` one, a script asks it with `ask(\"NAME\", #{ … })`. Writes must stand under the rule's `allow`.",
    );
    catalog.capabilities.values().for_each(|spec| capability(&mut page, spec));
    heading(
        &mut page,
        "Events",
        "`order.*` listens to all of a kind. The records are there once the event is enriched, as far as the shop knows them.",
    );
    events(&mut page);
    heading(
        &mut page,
        "Records",
        "Every field may be missing: it is nothing then, and a comparison with nothing does not hold.",
    );
    records(&mut page, catalog);
    heading(
        &mut page,
        "Functions",
        "Where a form says *of a variable*, it changes what a script's variable holds; the others give something new.",
    );
    functions(&mut page);
    heading(&mut page, "Findings", "`storehand rules check` prints each with file, line, column and the way out.");
    named(&mut page, rules::FINDINGS.iter().map(|it| (it.name, it.doc)));
    heading(
        &mut page,
        "Failures",
        "What `on_error` and a script's `catch` see as `code`, and what a failed run ends with.",
    );
    codes(&mut page, FAILURES);
    heading(
        &mut page,
        "Problems",
        "The API answers what it cannot do with a problem document (RFC 9457): `code`, `title`, `detail`, `hint`.",
    );
    codes(&mut page, PROBLEMS);
    heading(&mut page, "Settings", "The file that is built into the program.");
    let _ = write!(page, "\n```toml\n{}```\n", config::DEFAULTS);
    page
}

fn heading(page: &mut String, title: &str, about: &str) {
    let _ = write!(page, "\n## {title}\n\n{about}\n");
}

fn rule_files(page: &mut String) {
    heading(page, "Rule files", "A rule is a YAML file. `storehand schema` prints the same for editors.");
    for (title, keys) in rules::KEYS {
        let _ = write!(page, "\n### {title}\n");
        table(page, keys);
    }
}

fn table(page: &mut String, keys: Keys) {
    named(page, keys.iter().map(|key| (key.name, key.doc)));
}

/// A table of names with what they mean.
fn named<'a>(page: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    page.push_str("\n| | |\n|---|---|\n");
    for (name, doc) in rows {
        let _ = writeln!(page, "| `{name}` | {} |", cell(doc));
    }
}

/// What stands in a table must not end its cell.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

fn codes(page: &mut String, codes: &[ErrorCode]) {
    named(page, codes.iter().map(|code| (code.name, code.doc)));
}

fn capability(page: &mut String, spec: &Spec) {
    let Spec { name, doc, kind, repeat, deadline, example, .. } = spec;
    let _ = write!(page, "\n### {name}\n\n{doc}\n\n");
    let kind = match kind {
        Kind::Read => "A read".to_owned(),
        Kind::Write => format!(
            "A write. {}",
            match repeat {
                Repeat::Key => "A repeat is harmless, so after a crash it is made again",
                Repeat::Lookup => "After a crash it is looked up whether it happened",
                Repeat::None => "After a crash nobody can tell whether it happened: it is left `unknown` for a person",
            }
        ),
        Kind::Control => "Decides when the run goes on".to_owned(),
        Kind::Memory => "The shop's own small state".to_owned(),
        Kind::Instant => "Answered at once".to_owned(),
    };
    let _ = write!(page, "{kind}.");
    if matches!(spec.kind, Kind::Read | Kind::Write) {
        let _ = write!(page, " One attempt takes at most {} s.", deadline.as_secs());
    }
    if let Some(amount) = spec.amount {
        let _ = write!(page, " The money in `{amount}` counts against limits.");
    }
    if !spec.makes.is_empty() {
        let events: Vec<String> = spec.makes.iter().map(|makes| format!("`{}`", makes.event)).collect();
        let _ = write!(page, " The platform then reports {}.", events.join(", "));
    }
    if spec.inverse.is_some() {
        page.push_str(" `storehand rules undo` can take it back.");
    }
    page.push('\n');
    fields(page, "Input", &spec.input);
    fields(page, "Answer", &spec.output);
    let _ = write!(page, "\n```yaml\n- uses: {name}\n  with: {}\n# answers {}\n```\n", example.input, example.answer);
}

/// The properties of an object's schema.
fn fields(page: &mut String, title: &str, schema: &Json) {
    let Some(properties) = schema["properties"].as_object().filter(|it| !it.is_empty()) else { return };
    let is_required = |name: &str| schema["required"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
    let _ = write!(page, "\n| {title} | | |\n|---|---|---|\n");
    for (name, schema) in properties {
        let must = if title == "Input" && is_required(name) { ", required" } else { "" };
        let doc = cell(schema["description"].as_str().unwrap_or_default());
        let _ = writeln!(page, "| `{name}` | {}{must} | {doc} |", cell(&kind_of(schema)));
    }
}

/// What a schema lets through, in a word or two.
fn kind_of(schema: &Json) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|it| format!("`{}`", it.as_str().unwrap_or_default())).collect();
        return words.join(", ");
    }
    if schema["format"] == "duration" {
        let longest = schema["longest"].as_str().map(|it| format!(" up to {it}")).unwrap_or_default();
        return format!("a length of time{longest}");
    }
    let name = |kind: &str| match kind {
        "string" => schema["maxLength"].as_u64().map_or("text".to_owned(), |most| format!("text of up to {most}")),
        "integer" => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(least), Some(i64::MAX)) => format!("{least} or more"),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "whole number".to_owned(),
        },
        "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => {
            let most = schema["maxItems"].as_u64().map(|most| format!(" of up to {most}")).unwrap_or_default();
            format!("list{most}")
        }
        "object" => "map".to_owned(),
        other => other.to_owned(),
    };
    match &schema["type"] {
        Json::String(kind) => name(kind),
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).map(name).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn events(page: &mut String) {
    page.push_str("\n| event | records | |\n|---|---|---|\n");
    for event in EVENT_TYPES {
        let records: Vec<String> = event.records.iter().map(|it| format!("`{it}`")).collect();
        let _ = writeln!(page, "| `{}` | {} | {} |", event.name, records.join(" "), cell(event.doc));
    }
}

fn records(page: &mut String, catalog: &Catalog) {
    record(page, "event", "The event itself.", Envelope::FIELDS);
    for field in catalog.records() {
        if let FieldKind::Record(fields) = field.kind {
            record(page, field.name, field.doc, fields);
        }
    }
}

fn record(page: &mut String, name: &str, doc: &str, fields: &'static [Field]) {
    let _ = write!(page, "\n### `{name}`\n\n{}\n\n| | | |\n|---|---|---|\n", doc.trim());
    rows(page, "", fields);
}

/// The fields of a record, with those of what is within it; a customer stands on a page of its own.
fn rows(page: &mut String, before: &str, fields: &'static [Field]) {
    for field in fields {
        let (many, mut kind) = ("list of ", field.kind);
        let mut words = String::new();
        while let FieldKind::List(of) = kind {
            words.push_str(many);
            kind = *of;
        }
        words.push_str(match kind {
            FieldKind::Bool => "true or false",
            FieldKind::Int => "whole number",
            FieldKind::Decimal => "number",
            FieldKind::Text => "text",
            FieldKind::Money => "money",
            FieldKind::Time => "time",
            FieldKind::List(_) | FieldKind::Record(_) => "record",
        });
        let _ = writeln!(page, "| `{before}{}` | {words} | {} |", field.name, cell(field.doc));
        if let FieldKind::Record(within) = kind
            && field.name != "customer"
        {
            let list = if matches!(field.kind, FieldKind::List(_)) { "[]" } else { "" };
            rows(page, &format!("{before}{}{list}.", field.name), within);
        }
    }
}

fn functions(page: &mut String) {
    for group in rules::FUNCTIONS {
        let _ = write!(page, "\n### {}\n\n| | | |\n|---|---|---|\n", group.title);
        for function in group.functions {
            let (text, gives) = function.example;
            let example = if text.is_empty() { String::new() } else { format!("`{}` gives `{gives}`", cell(text)) };
            let _ = writeln!(page, "| `{}` | {} | {example} |", cell(function.form), cell(function.doc));
        }
    }
}
