//! A plugin's capability in a rule, through the real server: its calls are the run's own, granted, held, limited, waited
//! for, replayed and taken back as any other.

use std::time::Duration;

use storehand::demo::Fault;
use storehand::domain::{CallState, Mode};
use storehand::engine::replay::{Exported, replay};
use storehand::engine::rule_tests;
use storehand::plugins::{Folder, Installed};
use storehand::rules;

use super::*;
use crate::person::Person;
use crate::support::{TestApp, acme, order};

/// A plugin that asks these things one after another and is `"fine"`; where one is not done, it fails in its words.
pub(crate) fn asks(calls: &[(&str, &str)]) -> Vec<u8> {
    asks_then(calls, "(call $good (i32.const 1032) (i32.const 6))")
}

/// The same, with something before it.
pub(super) fn asks_after(before: &str, calls: &[(&str, &str)]) -> Vec<u8> {
    asks_between(before, calls, "(call $good (i32.const 1032) (i32.const 6))")
}

/// *Not now*: again in 90 s.
const LATER: &str = "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 90)) (i32.store (i32.const 28) (i32.const 1088))
    (i32.store (i32.const 32) (i32.const 6)) (i32.const 16)";

/// The same, with another end.
fn asks_then(calls: &[(&str, &str)], end: &str) -> Vec<u8> {
    asks_between("", calls, end)
}

fn asks_between(before: &str, calls: &[(&str, &str)], end: &str) -> Vec<u8> {
    let (mut body, mut data, mut at) = (String::new(), String::new(), 4096);
    let mut text = |text: &str| {
        let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        data += &format!("(data (i32.const {at}) \"{escaped}\")\n");
        let here = (at, text.len());
        at += text.len() + 8;
        here
    };
    for (capability, input) in calls {
        let ((name, name_len), (input, input_len)) = (text(capability), text(input));
        body += &format!(
            "(call $ask (i32.const {name}) (i32.const {name_len}) (i32.const {input}) (i32.const {input_len})
               (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then
               (i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 2))
               (i32.store (i32.const 24) (i32.load (i32.const 76))) (i32.store (i32.const 28) (i32.load (i32.const 80)))
               (return (i32.const 16))))\n"
        );
    }
    component(&format!("{before} {body} {end}"), &data)
}

pub(super) const TAGS: &[(&str, &str)] = &[
    ("order.tag", r#"{ "tags": ["one"] }"#),
    ("wait", r#"{ "for": "10m" }"#),
    ("order.tag", r#"{ "tags": ["two"] }"#),
];

pub(crate) const WANTS: &str =
    r#"{ capability = "order.tag", why = "Tags." }, { capability = "memory.add", why = "Counts." }"#;

pub(super) const RULE: &str = "
id: zoo
status: live
triggers: [{ event: order.created }]
allow: [the-zoo/zoo.ask, order.tag]
steps:
  - { id: zoo, uses: the-zoo/zoo.ask, with: {} }
  - { id: last, uses: order.tag, with: { tags: [\"{{ steps.zoo }}\"] } }
";

pub(super) const GRANTED: &str = "[shop.acme.plugins.the-zoo]\ngrant = [\"order.tag\", \"memory.add\"]\n";

pub(crate) fn install(data: &Path, version: &str, wants: &str, component: &[u8]) -> Installed {
    let text = manifest(wants, "").replace("1.0.0", version);
    Folder::within(data).install(&host(), folder(&text, component).path()).expect("it installs")
}

pub(super) async fn start(rule: &str, component: &[u8], granted: &str) -> TestApp {
    let prepare = |data: &Path| {
        install(data, "1.0.0", WANTS, component);
        std::fs::write(data.join("more.toml"), granted).expect("written");
    };
    TestApp::start_prepared(&[("zoo.yaml", rule)], &[], prepare).await
}

pub(super) async fn placed(it: &TestApp, number: u32) {
    it.order(&order(number, 10)).await;
    it.settle().await;
}

pub(super) fn tags(it: &TestApp, number: u32) -> Vec<String> {
    it.shop.orders().into_iter().find(|order| order.number == number).expect("the order").tags
}

pub(super) fn tagged(it: &TestApp) -> usize {
    it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count()
}

async fn paths(it: &TestApp) -> Vec<(String, String)> {
    let run = it.runs().await.remove(0);
    run.calls.iter().map(|call| (call.path.clone(), call.capability.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_over_a_restart_and_each_of_its_writes_is_made_once() {
    let it = start(RULE, &asks(TAGS), GRANTED).await;
    placed(&it, 1).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["waiting".to_owned()], vec!["one".to_owned()]));
    let it = it.restart().await;
    it.advance(Duration::from_secs(599)).await;
    assert_eq!(it.ends().await, ["waiting"]);
    it.advance(Duration::from_secs(2)).await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!((tags(&it, 1), tagged(&it)), (["one", "two", "fine"].map(str::to_owned).to_vec(), 3));
    let expected = [
        ("zoo", "the-zoo/zoo.ask"),
        ("zoo/1", "order.tag"),
        ("zoo/2", "wait"),
        ("zoo/3", "order.tag"),
        ("last", "order.tag"),
    ];
    assert_eq!(paths(&it).await, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
    let run = it.runs().await.remove(0);
    assert_eq!(run.calls[0].options.version.as_deref(), Some("1.0.0"));
    assert!(run.calls.iter().all(|call| call.state == CallState::Answered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_stays_on_the_version_that_it_began_with() {
    let it = start(RULE, &asks(TAGS), GRANTED).await;
    placed(&it, 1).await;
    let other = asks(&[("order.tag", r#"{ "tags": ["new"] }"#)]);
    install(it.data(), "2.0.0", WANTS, &other);
    let it = it.restart().await;
    placed(&it, 2).await;
    // And while the server runs.
    install(it.data(), "3.0.0", WANTS, &asks(&[("order.tag", r#"{ "tags": ["newest"] }"#)]));
    let taken_up = async {
        for number in 3.. {
            placed(&it, number).await;
            if tags(&it, number)[0] == "newest" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_up).await.expect("it is taken up");
    it.advance(Duration::from_secs(601)).await;
    assert!(it.ends().await.iter().all(|end| end == "done"));
    assert_eq!(tags(&it, 1), ["one", "two", "fine"]);
    assert_eq!(tags(&it, 2), ["new", "fine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shop_has_not_granted_fails_the_run_by_name() {
    let it = start(RULE, &asks(TAGS), "[shop.acme.plugins.the-zoo]\ngrant = [\"memory.add\"]\n").await;
    placed(&it, 1).await;
    let end = it.ends().await.remove(0);
    assert_eq!(end, "failed: the shop has not granted `order.tag` to the plugin `the-zoo` (plugin_failed)");
    let run = it.runs().await.remove(0);
    assert_eq!(
        run.calls[1].answer.as_ref().map(|it| matches!(it, Answer::Failed(it) if it.code == "denied")),
        Some(true)
    );
    assert_eq!(tagged(&it), 0);

    let it = start(RULE, &asks(TAGS), "").await;
    placed(&it, 1).await;
    let end = it.ends().await.remove(0);
    assert!(end.starts_with("failed: the shop has not granted the plugin `the-zoo` anything"), "{end}");
    assert_eq!((tagged(&it), paths(&it).await.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_writes_count_on_the_rule_and_are_held_with_it() {
    let limited = RULE.replace("allow:", "limits: { calls: 1/h }\nallow:");
    let it = start(&limited, &asks(&[TAGS[0], TAGS[2]]), GRANTED).await;
    placed(&it, 1).await;
    let end = it.ends().await.remove(0);
    assert!(end.contains("(plugin_failed)") && end.contains("1/h"), "{end}");
    assert_eq!(tags(&it, 1), ["one"]);

    let it = start(RULE, &asks(TAGS), GRANTED).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1).await;
    let (status, answer) = ana.tell(&it, "/v1/rules/zoo/pause", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    it.advance(Duration::from_secs(601)).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["waiting".to_owned()], vec!["one".to_owned()]));
    let (status, answer) = ana.tell(&it, "/v1/rules/zoo/resume", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    it.settle().await;
    assert_eq!((it.ends().await, tagged(&it)), (vec!["done".to_owned()], 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_shadow_it_writes_nothing() {
    let memory = ("memory.add", r#"{ "key": "the-zoo/n", "by": 5 }"#);
    let shadow = RULE.replace("status: live", "status: shadow");
    let it = start(&shadow, &asks(&[TAGS[0], memory, TAGS[1], TAGS[2]]), GRANTED).await;
    placed(&it, 1).await;
    it.advance(Duration::from_secs(601)).await;
    let run = it.runs().await.remove(0);
    assert_eq!((run.mode, it.ends().await), (Mode::Shadow, vec!["done".to_owned()]));
    assert_eq!((run.calls.len(), tagged(&it)), (6, 0));
    assert_eq!(it.app.store.remembered(&acme(), "the-zoo/n").await.expect("memory"), Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_it_is_made_again_by_a_retry_and_all_is_taken_back_by_an_undo() {
    let it = start(RULE, &asks(&[TAGS[0], TAGS[2]]), GRANTED).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("tagsAdd", [Fault::Status(403)]);
    placed(&it, 1).await;
    let end = it.ends().await.remove(0);
    assert!(end.starts_with("failed:") && end.contains("(plugin_failed)"), "{end}");
    let run = it.runs().await.remove(0).id;
    let (status, answer) = ana.tell(&it, &format!("/v1/runs/{run}/retry"), &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    it.settle().await;
    assert_eq!((it.ends().await, tags(&it, 1).len()), (vec!["done".to_owned()], 3));
    // Once for each, and the one that was refused.
    assert_eq!(tagged(&it), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_what_was_written_out_comes_to_the_same() {
    let it = start(RULE, &asks(TAGS), GRANTED).await;
    placed(&it, 1).await;
    it.advance(Duration::from_secs(601)).await;
    let run = it.runs().await.remove(0).id;
    let (status, exported) = it.get(&format!("/v1/runs/{run}/export")).await;
    assert_eq!(status, 200, "{exported}");
    let exported = Exported::read(&exported.to_string()).expect("it reads back");
    let plugins = Plugins::open(Folder::within(it.data()), Grants::default()).expect("plugins");
    let registry = storehand::app::unconnected_with(&plugins).expect("a registry");
    let replayed = replay(&exported, &registry).expect("it replays");
    assert_eq!((replayed.difference, replayed.calls), (None, 5));
}

#[test]
fn it_may_say_not_now_and_is_asked_again_later() {
    // Its memory is new each time, so it cannot know: it always says so, and is given up in the end.
    let host = host();
    let tests = |wants: &str, component: &[u8], retry: &str, expect: &str| {
        let late = plugin(&host, &manifest(wants, ""), component).expect("it compiles");
        let plugins = Plugins::of(host.clone(), vec![late], Grants::default(), None);
        let registry = storehand::app::unconnected_with(&plugins).expect("a registry");
        let text = format!(
            "id: z\nstatus: live\ntriggers: [{{ event: order.created }}]\nsteps:\n  - {{ id: z, uses: the-zoo/zoo.ask{retry} }}\ntests:\n  \
             - {{ name: t, event: {{ type: order.created }}, {expect} }}\n"
        );
        let read = rules::read(Path::new("z.yaml"), &text, &|_| Ok(String::new()), registry.catalog());
        let Some(rule) = read.rule else { panic!("{:#?}", read.findings) };
        rule_tests::run(&Arc::new(rule), &registry).remove(0).messages
    };
    // What it has changed would be changed once more.
    let wants = r#"{ capability = "memory.add", why = "Counts." }, { capability = "memory.get", why = "Looks." }"#;
    let key = r#"{ "key": "the-zoo/n" }"#;
    let said =
        tests(wants, &asks_then(&[("memory.add", key)], LATER), "", "advance: 1d, expect: { outcome: done }").remove(0);
    assert!(said.contains("it wants to be asked again after it has changed something"), "{said}");
    let looks = asks_then(&[("memory.get", key)], LATER);
    let said = tests(wants, &looks, ", retry: { attempts: 2 }", "advance: 1d, expect: { outcome: done }").remove(0);
    assert!(said.contains("given up after 2 attempts"), "{said}");
    let tests = |retry: &str, expect: &str| tests("", &component(LATER, ""), retry, expect);
    let retry = ", retry: { attempts: 3 }";
    assert_eq!(tests(retry, "advance: 179s, expect: { outcome: waiting }"), Vec::<String>::new());
    assert_eq!(tests(retry, "advance: 180s, expect: { outcome: failed }"), Vec::<String>::new());
    let said = tests(retry, "advance: 180s, expect: { outcome: done }").remove(0);
    assert!(said.contains("given up after 3 attempts: a line (retries_used_up)"), "{said}");
    assert_eq!(tests(retry, "mocks: { z: { x: 1 } }, expect: { outcome: done }"), Vec::<String>::new());
}

#[test]
fn a_rules_tests_run_it_or_mock_it_and_see_what_it_writes() {
    let host = host();
    let zoo = plugin(&host, &manifest(WANTS, ""), &asks(TAGS)).expect("it compiles");
    let registry = storehand::app::unconnected_with(&Plugins::of(host, vec![zoo], Grants::default(), None));
    let registry = registry.expect("a registry");
    let read = |text: &str| rules::read(Path::new("z.yaml"), text, &|_| Ok(String::new()), registry.catalog());
    let made = |tag: &str| format!("{{ uses: order.tag, with: {{ tags: [{tag}] }} }}");
    for (test, calls) in [
        ("advance: 10m", [made("one"), made("two"), made("fine")].join(", ")),
        ("mocks: { zoo: great }", made("great")),
        ("advance: 9m", made("one")),
        ("advance: 10m, mocks: { zoo/3: { error: refused } }", [made("one"), made("two")].join(", ")),
    ] {
        let outcome = if test.contains("9m") {
            "waiting"
        } else if test.contains("error") {
            "failed"
        } else {
            "done"
        };
        let text = format!(
            "{RULE}tests:\n  - {{ name: t, event: {{ type: order.created, data: {{ order: {{ id: \"1\" }} }} }}, {test}, expect: {{ outcome: {outcome}, calls: [{calls}] }} }}\n"
        );
        let read = read(&text);
        let Some(rule) = read.rule else { panic!("{:#?}", read.findings) };
        let reports = rule_tests::run(&Arc::new(rule), &registry);
        assert_eq!(reports[0].messages, Vec::<String>::new(), "{test}");
    }
    // What it may lead to must be allowed, by the plugin's name.
    let findings = read(&RULE.replace("the-zoo/zoo.ask, order.tag]", "order.tag]")).findings;
    assert!(
        findings.iter().any(|it| it.to_string().contains("this rule may not use `the-zoo/zoo.ask`")),
        "{findings:?}"
    );
    let findings = read(&RULE.replace("zoo.ask, with: {}", "zoo.ast, with: {}")).findings;
    assert!(findings.iter().any(|it| it.to_string().contains("zoo.ask")), "{findings:?}");
}

#[test]
fn a_folder_of_plugins_keeps_versions_apart_and_runs_only_code_that_it_has_made() {
    let data = tempfile::tempdir().expect("a folder");
    let host = host();
    let installed = install(data.path(), "1.0.0", WANTS, &asks(TAGS));
    assert_eq!((installed.manifest.version.as_str(), installed.is_current), ("1.0.0", true));
    let folder_of = Folder::within(data.path());
    let again = |text: &str, component: &[u8]| folder_of.install(&host, folder(text, component).path());
    let text = manifest(WANTS, "");
    again(&text, &asks(TAGS)).expect("the same again changes nothing");
    let error = again(&text, &asks(&TAGS[..1])).expect_err("another content").to_string();
    assert!(error.contains("the-zoo 1.0.0 is installed already, with another content"), "{error}");
    again(&text.replace("1.0.0", "1.1.0"), &asks(&TAGS[..1])).expect("a new version");
    let listed: Vec<(String, bool)> =
        folder_of.list().into_iter().map(|it| (it.manifest.version, it.is_current)).collect();
    assert_eq!(listed, [("1.0.0".to_owned(), false), ("1.1.0".to_owned(), true)]);

    // Somebody puts other machine code in the place of ours: it is not run, and made anew.
    let version = folder_of.path().join("the-zoo").join("1.1.0");
    let files = || {
        let entries = std::fs::read_dir(&version).expect("a folder").map(|entry| entry.expect("a file").path());
        entries.filter(|path| path.extension().is_some_and(|it| it == "cwasm")).collect::<Vec<_>>()
    };
    let code = files().remove(0);
    let good = std::fs::read(&code).expect("code");
    std::fs::write(&code, [&good[..], b"more"].concat()).expect("written");
    folder_of.load(&host, "the-zoo", "1.1.0").expect("it loads");
    assert_eq!(std::fs::read(&code).expect("code"), good, "it was made anew");
}
