//! Rule files, good and bad, against what is found in them. A new fixture is a new test.
//!
//! `tests/fixtures/rules/bad/x.yaml` stands beside `x.findings.txt`, what `rules check` prints for it, and
//! `good/x.yaml` must have none. After a change that is meant, `UPDATE_FIXTURES=1 cargo test --lib rules::fixtures` writes the
//! texts anew; read the difference before it is committed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::{Catalog, Example, Kind, Makes, Shape, Spec};

fn spec(name: &'static str, kind: Kind, input: Json, output: Json) -> (String, Spec) {
    let example = Example { input: json!({}), answer: json!({}) };
    let spec = Spec { doc: "Does something.", input, output, example, ..Spec::of(name, kind) };
    (name.to_owned(), spec)
}

/// A catalog of this test's own, so that its fixtures do not change with the real one.
fn catalog() -> Catalog {
    let text = |most| Shape::text(most, "A text.");
    let any = || Shape::any("Anything.");
    let mut capabilities = BTreeMap::from([
        spec(
            "order.tag",
            Kind::Write,
            Shape::object(
                &["tags"],
                &[
                    ("tags", Shape::list(text(40), 20, "The tags to add.")),
                    ("order_id", Shape::text(64, "Which order; the event's where it is not given.")),
                ],
            ),
            Shape::object(&["tags"], &[("tags", Shape::list(text(40), 250, "All tags now."))]),
        ),
        spec("order.get", Kind::Read, Shape::object(&["id"], &[("id", text(64))]), any()),
        spec(
            "message.send",
            Kind::Write,
            Shape::object(
                &["text"],
                &[
                    ("text", Shape::text(10_000, "What the customer reads.")),
                    ("subject", text(200)),
                    (
                        "to",
                        Shape::addressing(Shape::text(320, "An address; the event's customer where it is not given.")),
                    ),
                ],
            ),
            Shape::object(&["message_id"], &[("message_id", text(200))]),
        ),
        spec(
            "model.write",
            Kind::Read,
            Shape::object(
                &["prompt"],
                &[
                    ("prompt", Shape::text(8_000, "What to write.")),
                    (
                        "policy",
                        Shape::list(Shape::one_of(&["given_facts_only", "no_refund_promise"], "A rule."), 8, "Rules."),
                    ),
                    ("language", text(20)),
                    ("max_tokens", Shape::whole(1, 1_024, "How long it may be.")),
                ],
            ),
            Shape::object(&["text"], &[("text", text(10_000)), ("fallback", Shape::flag("Whether it is ours."))]),
        ),
        spec("memory.get", Kind::Memory, Shape::object(&["key"], &[("key", text(200))]), any()),
        spec(
            "memory.add",
            Kind::Memory,
            Shape::object(&["key", "by"], &[("key", text(200)), ("by", json!({ "type": "number" }))]),
            any(),
        ),
        spec(
            "wait",
            Kind::Control,
            Shape::object(&["for"], &[("for", Shape::duration("How long, such as `10m`."))]),
            any(),
        ),
        spec("gift.send", Kind::Write, Shape::object(&["worth"], &[("worth", text(40))]), any()),
        spec("log", Kind::Instant, Shape::object(&["message"], &[("message", text(1_000))]), any()),
    ]);
    for (name, spec) in &mut capabilities {
        match name.as_str() {
            "order.tag" => spec.makes = &[Makes { event: "order.updated", fields: &["tags"] }],
            "gift.send" => spec.amount = Some("worth"),
            _ => {}
        }
    }
    Catalog { capabilities }
}

/// Reads a rule that needs nothing beside it.
fn alone(text: &str) -> Read {
    read(Path::new("x.yaml"), text, &|_| Err(io::Error::from(io::ErrorKind::NotFound)), &catalog())
}

fn rendered(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new("tests/fixtures/rules").join(folder))
        .expect("folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {folder}");
    files
}

#[test]
fn bad_files_are_told_what_is_wrong_where_and_what_to_write() {
    let mut wrong = Vec::new();
    for file in fixtures("bad") {
        let found = rendered(&load(std::slice::from_ref(&file), &catalog()).findings);
        let beside = file.with_extension("findings.txt");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            fs::write(&beside, &found).expect("write");
        }
        if found.is_empty() || fs::read_to_string(&beside).ok().as_deref() != Some(&found) {
            wrong.push(format!("--- {} now says:\n{found}", beside.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn good_files_are_good() {
    for file in fixtures("good") {
        let loaded = load(std::slice::from_ref(&file), &catalog());
        assert_eq!(rendered(&loaded.findings), "", "{}", file.display());
        assert_eq!(loaded.rules.len(), 1, "{}", file.display());
        assert_eq!(unfit(&file), Vec::<String>::new(), "{}", file.display());
    }
}

/// What in a file does not fit the schema for editors.
fn unfit(file: &Path) -> Vec<String> {
    let validator = jsonschema::validator_for(&json_schema(&catalog())).expect("a schema");
    let json: Json = serde_yaml::from_str(&fs::read_to_string(file).expect("file")).expect("yaml");
    validator.iter_errors(&json).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

#[test]
fn the_schema_for_editors_finds_slips() {
    let schema = json_schema(&catalog());
    jsonschema::meta::validate(&schema).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let good = json!({
        "id": "x", "triggers": [{ "event": "order.*" }, { "schedule": "0 9 * * 1", "missed": "skip" }],
        "limits": { "calls": "200/h", "money": "5 EUR/d" }, "allow": ["order.tag"],
        "conditions": [true, "order.total > inputs.limit", { "not": { "any": ["a", "b"] } }],
        "steps": [
            { "uses": "model.write", "with": { "prompt": "x", "max_tokens": "{{ inputs.most }}" } },
            { "uses": "order.tag", "with": { "tags": ["{{ order.name }}"] }, "on_error": "continue" },
        ],
    });
    assert!(validator.is_valid(&good), "{:?}", validator.iter_errors(&good).next());
    for (pointer, bad) in [
        ("/id", json!("Big Order")),
        ("/triggers/0/event", json!("order.create")),
        ("/triggers/0/event", json!("schedule.due")),
        ("/triggers/0", json!({ "event": "order.paid", "missed": "once" })),
        ("/triggers/1", json!({ "event": "order.paid", "schedule": "0 9 * * 1" })),
        ("/triggers/1/schedule", json!("0 0 9 * * 1")),
        ("/limits/calls", json!("200")),
        ("/allow/0", json!("model.write")),
        ("/steps/0/uses", json!("model.wirte")),
        ("/steps/0/with/max_tokens", json!("many")),
        ("/steps/1/with", json!({ "tag": "x" })),
        ("/steps/1/on_error", json!("retry")),
        ("/conditions/2", json!({ "none": [] })),
    ] {
        let mut rule = good.clone();
        *rule.pointer_mut(pointer).expect("there") = bad;
        assert!(!validator.is_valid(&rule), "{pointer}");
    }
}

#[test]
fn a_kept_version_reads_back_as_the_same_rule() {
    let catalog = catalog();
    for rule in load_folder(Path::new("rules"), &catalog).rules {
        let again = from_bundle(&rule.bundle(), &catalog).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((&again.id, &again.version, &again.text), (&rule.id, &rule.version, &rule.text));
        assert!(again.tests.is_empty());
    }
}

#[test]
fn a_version_changes_with_its_script() {
    let yaml = "id: x\ntriggers: [{ event: order.paid }]\nscript: x.rhai\n";
    let version = |script: &'static str| {
        let read = read(Path::new("x.yaml"), yaml, &|_| Ok(script.to_owned()), &catalog());
        read.rule.unwrap_or_else(|| panic!("{}", rendered(&read.findings))).version
    };
    assert_ne!(version("ask(\"log\", #{ message: \"a\" });"), version("ask(\"log\", #{ message: \"b\" });"));
    assert_eq!(version("1").len(), 16);
}

#[test]
fn what_editors_add_does_not_matter() {
    let yaml = "id: x\ntriggers: [{ event: order.paid }]\nsteps:\n  - uses: log\n    with: { message: hi }\n";
    assert!(alone(yaml).rule.is_some());
    assert!(alone(&format!("\u{FEFF}{yaml}")).rule.is_some());
    assert!(alone(&yaml.replace('\n', "\r\n")).rule.is_some());
    assert!(alone(&format!("---\n{yaml}...\n")).rule.is_some());
}

#[test]
fn a_folder_is_looked_at_as_a_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let rule = |id: &str, event: &str, tag: &str| {
        format!(
            "id: {id}\nstatus: live\ntriggers: [{{ event: {event} }}]\nallow: [order.tag]\nsteps:\n  - uses: order.tag\n    with: {{ tags: [{tag}] }}\n"
        )
    };
    let write = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, text).expect("write");
    };
    write("a.yaml", rule("a", "order.created", "big").as_bytes());
    write("deep/er/b.yml", rule("b", "order.*", "big").as_bytes());
    write("c.yaml", rule("c", "order.created", "small").as_bytes());
    write("d.yaml", rule("a", "order.paid", "paid").as_bytes());
    write("gbk.yaml", b"id: x\nname: \xCD\xCB\xBB\xF5\n");
    write("fixtures/not-a-rule.yaml", b"[");
    write(".hidden.yaml", b"[");
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("deep/loop")).expect("link");
    write("large.yaml", &vec![b' '; 2 << 20]);
    let loaded = load_folder(folder.path(), &catalog());
    assert_eq!(loaded.files, 6);
    let found: Vec<String> = loaded
        .findings
        .iter()
        .map(|it| {
            let file = Path::new(&it.file).file_name().and_then(|name| name.to_str()).expect("name");
            format!("{file}:{} {} {}", it.line, it.code, it.message)
        })
        .collect();
    let wanted = [
        "gbk.yaml:1 unreadable this cannot be read: it is not UTF-8: line 2 holds other bytes",
        "large.yaml:1 unreadable this cannot be read: it is larger than 1 MiB",
        "d.yaml:1 duplicate-rule the id `a` is taken",
        "b.yml:6 same-write `a` may also use `order.tag` for the same `order.created`",
        "b.yml:6 loop this may run without end: it listens to `order.updated` and brings about `order.updated`",
    ];
    assert_eq!(found, wanted);
    let set = RuleSet::new(loaded.rules.clone(), &catalog());
    let listening = |kind: &str| {
        set.listening(kind, "order/1")
            .iter()
            .flat_map(|it| &it.rules)
            .map(|(rule, _)| rule.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(listening("order.created"), ["a", "b", "c"]);
    assert_eq!(listening("order.paid"), ["b"]);
    assert_eq!(listening("return.requested"), Vec::<String>::new());
    assert_eq!(set.get("b").and_then(|it| it.live.as_ref()).map(|rule| rule.clauses()), Some(Vec::new()));
    assert_eq!(set.in_force().count(), 3);
}

#[test]
fn writes_that_are_meant_for_others_are_not_the_same() {
    let rule = |id: &str, step: &str| {
        format!(
            "id: {id}\nstatus: live\ninputs:\n  tag: {{ type: text, default: rush }}\n  team: {{ type: text, default: \
             team@example.com }}\ntriggers: [{{ event: order.created }}]\nallow: [order.tag, message.send]\nsteps:\n  - {step}\n"
        )
    };
    let mail = |with: &str| format!("{{ uses: message.send, with: {{ text: \"{{{{ order.name }}}}\"{with} }} }}");
    let tag = |with: &str| format!("{{ uses: order.tag, with: {{ tags: [{with}] }} }}");
    for (first, second, same) in [
        (mail(""), mail(""), true),
        (mail(""), mail(", subject: Hello"), true),
        (mail(""), mail(", to: \"{{ inputs.team }}\""), false),
        (mail(", to: \"{{ inputs.team }}\""), mail(", to: team@example.com"), true),
        (mail(", to: \"{{ inputs.team }}\""), mail(", to: boss@example.com"), false),
        (mail(", to: \"{{ inputs.team }}\""), mail(", to: \"{{ customer.email }}\""), true),
        (tag("\"{{ inputs.tag }}\""), tag("rush"), true),
        (tag("\"{{ inputs.tag }}\""), tag("vip"), false),
        (tag("\"{{ order.name }}\""), tag("vip"), true),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        for (name, step) in [("a", &first), ("b", &second)] {
            fs::write(folder.path().join(format!("{name}.yaml")), rule(name, step)).expect("write");
        }
        let loaded = load_folder(folder.path(), &catalog());
        assert!(loaded.unusable.is_empty(), "{:?}", loaded.findings);
        assert_eq!(loaded.findings.iter().any(|it| it.code == Code::SameWrite), same, "{first} and {second}");
    }
}

#[test]
fn rules_that_never_run_on_the_same_event_write_nothing_twice() {
    let rule = |id: &str, condition: &str| {
        format!(
            "id: {id}\nstatus: live\ninputs:\n  limit: {{ type: money, default: 50 EUR }}\n  more: {{ type: money, default: 80 EUR \
             }}\n  yen: {{ type: money, default: 50 JPY }}\ntriggers: [{{ event: order.created }}]\nconditions: ['{condition}']\nallow: \
             [message.send]\nsteps:\n  - {{ uses: message.send, with: {{ text: \"{{{{ order.name }}}}\" }} }}\n"
        )
    };
    for (first, second, together) in [
        ("order.total <= inputs.limit", "order.total > inputs.limit", false),
        ("order.total >= inputs.limit", "order.total < inputs.limit", false),
        ("order.total <= inputs.limit", "order.total >= inputs.limit", true),
        ("order.total < inputs.limit", "order.total >= inputs.more", false),
        ("order.total < inputs.more", "order.total >= inputs.limit", true),
        ("order.total == inputs.limit", "order.total > inputs.limit", false),
        ("order.total == inputs.limit", "order.total >= inputs.limit", true),
        ("order.total < inputs.limit", "order.total >= inputs.yen", true),
        ("order.total <= inputs.limit", "order.subtotal > inputs.limit", true),
        ("order.status == \"open\"", "order.status == \"closed\"", false),
        ("order.status == \"open\"", "order.status != \"open\"", false),
        ("order.status == \"open\"", "order.status != \"closed\"", true),
        ("order.status != \"open\"", "order.status != \"closed\"", true),
        ("order.total <= inputs.limit || order.note == ()", "order.total > inputs.limit", true),
    ] {
        let folder = tempfile::tempdir().expect("folder");
        for (name, condition) in [("a", first), ("b", second)] {
            fs::write(folder.path().join(format!("{name}.yaml")), rule(name, condition)).expect("write");
        }
        let loaded = load_folder(folder.path(), &catalog());
        assert!(loaded.unusable.is_empty(), "{:?}", loaded.findings);
        let said = loaded.findings.iter().any(|it| it.code == Code::SameWrite);
        assert_eq!(said, together, "{first} and {second}");
    }
}

/// A rule that uses all of the format, to be damaged.
const WHOLE: &str = include_str!("../../tests/fixtures/rules/good/everything.yaml");

proptest! {
    #[test]
    fn never_panics_on_arbitrary_text(text in any::<String>()) {
        let _ = alone(&text);
    }

    #[test]
    fn never_panics_on_a_damaged_rule(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..30, "[-a-z0-9 :{}\\[\\]\"'|>&*!#.，：“\n\t]{0,6}"), 1..4),
    ) {
        let mut text = WHOLE.to_owned();
        for (at, len, put) in cuts {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((start + len).min(text.len())).max(start);
            text.replace_range(start..end, &put);
        }
        let read = alone(&text);
        let errors = read.findings.iter().any(|it| it.severity == Severity::Error);
        prop_assert_eq!(read.rule.is_none(), errors);
        let lines = text.matches('\n').count() + 1;
        for finding in &read.findings {
            prop_assert!((1..=lines).contains(&finding.line));
            let _ = finding.to_string();
        }
    }
}
