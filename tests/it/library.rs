//! The rules that ship: they check, their own tests pass, editors take them, and they speak both languages.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use storehand::capabilities::{Deps, all};
use storehand::engine::{Registry, rule_tests};
use storehand::rules::{Status, json_schema, load_folder};

#[test]
fn they_are_good_and_fit_the_schema_for_editors() {
    let registry = Arc::new(Registry::new(all(Deps::default())).expect("capabilities"));
    let loaded = load_folder(Path::new("rules"), registry.catalog());
    let found: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found, Vec::<String>::new(), "neither mistakes nor warnings");
    assert!(loaded.rules.len() == loaded.files && loaded.files >= 38, "{} of {}", loaded.rules.len(), loaded.files);
    let schema = json_schema(registry.catalog());
    jsonschema::meta::validate(&schema).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for rule in &loaded.rules {
        let json: Json = serde_yaml::from_str(&std::fs::read_to_string(&rule.file).expect("file")).expect("yaml");
        let unfit: Vec<String> =
            validator.iter_errors(&json).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert_eq!(unfit, Vec::<String>::new(), "{}", rule.file.display());
        assert!(!rule.tests.is_empty(), "{} has no tests", rule.id);
        for report in rule_tests::run(rule, &registry) {
            assert!(report.passed, "{}: {}: {:#?}", rule.id, report.name, report.messages);
        }
    }
}

#[test]
fn the_readme_says_how_many_there_are_and_which_are_live() {
    let registry = Registry::new(all(Deps::default())).expect("capabilities");
    let readme = std::fs::read_to_string("README.md").expect("the README");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let rules = load_folder(Path::new("rules"), registry.catalog()).rules;
    let says = format!("[rules/](rules/README.md) holds {} rules", rules.len());
    assert!(readme.contains(&says), "README does not say `{says}`");
    let (_, named) = readme.split_once("Live as they come are ").expect("README says which are live");
    let named: BTreeSet<&str> =
        named.split_once(';').map_or("", |(named, _)| named).split('`').skip(1).step_by(2).collect();
    let live: BTreeSet<&str> =
        rules.iter().filter(|rule| rule.status == Status::Live).map(|rule| rule.id.as_str()).collect();
    assert_eq!(named, live);
}

#[test]
fn they_speak_both_languages() {
    let registry = Registry::new(all(Deps::default())).expect("capabilities");
    for rule in load_folder(Path::new("rules"), registry.catalog()).rules {
        let languages = |texts: &std::collections::BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
        assert_eq!(languages(&rule.name), ["en", "zh"], "{}", rule.id);
        let names: BTreeSet<&str> = rule.inputs.iter().map(|input| input.name.as_str()).collect();
        for input in &rule.inputs {
            assert_eq!(languages(&input.label), ["en", "zh"], "{}: {}", rule.id, input.name);
            // A customer's text has its twin, and the rule uses both.
            if let Some(name) = input.name.strip_suffix("_en") {
                let twin = format!("{name}_zh");
                assert!(names.contains(twin.as_str()), "{}: {}", rule.id, input.name);
                for name in [&input.name, &twin] {
                    assert!(rule.text.matches(&format!("inputs.{name}")).count() == 1, "{}: {name}", rule.id);
                }
            }
        }
        // What a rule writes to a customer by itself, it can write in Chinese.
        let writes_to_customers = rule.allow.iter().any(|name| name == "message.send") && !names.contains("team");
        assert!(!writes_to_customers || rule.text.contains("_zh"), "{}", rule.id);
        assert!(matches!(rule.status, Status::Live | Status::Draft), "{}", rule.id);
    }
}
