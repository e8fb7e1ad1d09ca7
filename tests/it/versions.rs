//! Versions: what goes live when a file changes, what a mistake does not take out of force, going back, and what
//! becomes of the runs that wait.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::capabilities;
use storehand::domain::{OnChange, Origin, Role, RoleChange};
use storehand::engine::Registry;
use storehand::rules;
use storehand::store::{Changes, Decided, InForce, RuleVersion};

use crate::faults::{beside, say};
use crate::support::{TestApp, acme, order};

/// A rule that puts this tag on an order.
fn tagging(tag: &str, status: &str) -> String {
    format!(
        "id: tag\nstatus: {status}\ntriggers: [{{ event: order.created }}]\nallow: [order.tag]\n\
         steps:\n  - {{ id: tag, uses: order.tag, with: {{ tags: [{tag}] }} }}\n"
    )
}

/// A rule that tags an order below this total, waits an hour and writes this text.
fn waiting(below: i64, text: &str, on_change: &str) -> String {
    format!(
        "id: wait\nstatus: live\ntriggers: [{{ event: order.created }}]\non_change: {on_change}\n\
         allow: [order.tag, message.send]\nsteps:\n  \
         - {{ id: tag, uses: order.tag, with: {{ tags: [seen] }}, if: order.total < money(\"{below} EUR\") }}\n  \
         - {{ uses: wait, with: {{ for: 1h }} }}\n  \
         - {{ id: send, uses: message.send, with: {{ subject: Hi, text: {text} }} }}\n"
    )
}

/// The tags of an order that is placed now, sorted.
async fn tagged(it: &TestApp, number: u32) -> String {
    it.order(&order(number, 10)).await;
    it.settle().await;
    let mut tags = it.shop.orders().last().expect("an order").tags.clone();
    tags.sort();
    tags.join(" ")
}

fn texts(it: &TestApp) -> Vec<String> {
    it.shop.mails().iter().map(|mail| mail.text.clone()).collect()
}

fn says(rule: &Json) -> String {
    rule["says"].as_array().into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>().join("; ")
}

fn live(rule: &Json) -> String {
    rule["live"]["version"].as_str().unwrap_or_default().to_owned()
}

/// Saves a file and waits until what it says is in force.
async fn put(it: &TestApp, name: &str, id: &str, text: &str) -> Json {
    let before = it.rule(id).await["file_version"].clone();
    it.save(name, text);
    it.until(id, |rule| rule["refused"].is_null() && rule["file_version"] != before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_goes_live_and_a_mistake_in_it_takes_nothing_out_of_force() {
    let it = TestApp::start(&[("tag.yaml", &tagging("one", "live"))]).await;
    assert_eq!(tagged(&it, 1).await, "one");
    put(&it, "tag.yaml", "tag", &tagging("two", "live")).await;
    assert_eq!(tagged(&it, 2).await, "two");

    // A file that is not even YAML, beside one that is new and good.
    it.save("tag.yaml", "id: tag\nstatus: [live");
    it.save("more.yaml", &tagging("three", "live").replace("id: tag\nstatus", "id: more\nstatus"));
    let rule = it.until("tag", |rule| !rule["refused"].is_null()).await;
    assert_eq!(tagged(&it, 3).await, "three two", "the old version goes on, and the good file is in force");
    let told = says(&rule);
    assert!(told.contains("is live since 2026-11-23T09:00:00Z (file ") && told.contains("tag.yaml"), "{told}");
    assert!(told.contains("cannot be used, and what ran before goes on until it is mended: line 2: "), "{told}");

    // A process that finds it so at its start goes on with the version that was live last.
    let it = it.restart().await;
    assert_eq!(tagged(&it, 4).await, "three two");
    it.remove("more.yaml");
    it.until("more", |rule| rule["live"].is_null() && rule["status"] == "unusable" || rule["status"] == "gone").await;
    assert_eq!(tagged(&it, 5).await, "two", "a file that is gone takes its rule along");

    // The gate: tests that fail.
    let failing = "tests: [{ name: three it is, event: { type: order.created, data: { order: { id: \"1\" } } }, \
                   expect: { calls: [{ uses: order.tag, with: { tags: [four] } }] } }]\n";
    it.save("tag.yaml", &(tagging("three", "live") + failing));
    let is_gated = |rule: &Json| rule["refused"].as_str().is_some_and(|why| why.contains("three it is"));
    let rule = it.until("tag", is_gated).await;
    assert_eq!(tagged(&it, 6).await, "two");
    assert!(says(&rule).contains("test `three it is` fails: write 1, order.tag.tags[0]: "), "{rule:#}");
    put(&it, "tag.yaml", "tag", &(tagging("four", "live") + failing)).await;
    assert_eq!(tagged(&it, 7).await, "four");

    let (code, told, _) = it.storehand(&["rules", "history", "tag"]);
    let rows: Vec<&str> = told.lines().collect();
    assert_eq!(code, 0);
    assert!(rows.len() == 6 && rows[1..4].iter().all(|row| row.contains("live    file ")), "{told}");
    assert!(rows[5].contains("decides that, with `status: live`"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nobody_can_read_is_not_taken_for_one_that_is_gone() {
    let it = TestApp::start(&[("tag.yaml", &tagging("one", "live"))]).await;
    it.save("tag.yaml", "what is this\n");
    it.until("tag", |rule| !rule["refused"].is_null()).await;
    assert_eq!(tagged(&it, 1).await, "one");
    // The same id twice: nobody can tell which is meant.
    it.save("tag.yaml", &tagging("two", "live"));
    it.save("twin.yaml", &tagging("three", "live"));
    let rule = it.until("tag", |rule| rule["refused"].as_str().is_some_and(|why| why.contains("is taken"))).await;
    assert_eq!(tagged(&it, 2).await, "one", "{rule:#}");
    it.remove("twin.yaml");
    it.until("tag", |rule| rule["refused"].is_null()).await;
    assert_eq!(tagged(&it, 3).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_and_files_that_are_gone_start_no_runs_and_those_under_way_go_on() {
    let it = TestApp::start(&[("wait.yaml", &waiting(1000, "one", "finish_old"))]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    let rule = put(&it, "wait.yaml", "wait", &waiting(1000, "two", "cancel").replace("live", "draft")).await;
    assert!(
        says(&rule).starts_with("no version of `wait` is live; ") && says(&rule).contains("status: draft"),
        "{rule:#}"
    );
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting"]);
    let it = it.restart().await;
    it.advance(Duration::from_secs(3601)).await;
    assert_eq!((it.ends().await, texts(&it)), (vec!["done".to_owned()], vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_rolled_back_and_a_change_to_the_file_lifts_the_pin() {
    let it = TestApp::start(&[("tag.yaml", &tagging("one", "live"))]).await;
    let first = live(&it.rule("tag").await);
    let (status, told) = it.post("/v1/rules/tag/rollback", &json!({})).await;
    assert_eq!((status, told["detail"].as_str().is_some_and(|it| it.contains("the first"))), (409, true), "{told}");
    let second = live(&put(&it, "tag.yaml", "tag", &tagging("two", "live")).await);

    let (code, said, told) = it.storehand(&["rules", "rollback", "tag"]);
    assert_eq!(code, 2, "nobody is there to ask: {told}");
    assert!(
        said.contains(&format!("version {} of `tag` goes live in place of version {}", &first[..8], &second[..8])),
        "{said}"
    );
    assert!(said.contains("it stays so until a change is saved to ") && told.contains("--yes"), "{said}{told}");
    assert_eq!(live(&it.rule("tag").await), second);

    let (code, said, told) = it.storehand(&["rules", "rollback", "tag", "--yes"]);
    assert_eq!(code, 0, "{told}");
    assert!(said.contains("Done: version ") && said.contains("(rollback by first)"), "{said}");
    assert!(said.contains("that is pinned: ") && said.contains("any change saved to it lifts the pin"), "{said}");
    assert_eq!(tagged(&it, 1).await, "one");
    let it = it.restart().await;
    assert_eq!(tagged(&it, 2).await, "one", "a pin outlives the process");
    let (code, said, _) = it.storehand(&["rules", "list"]);
    assert_eq!(code, 0);
    let row = said.lines().nth(1).unwrap_or_default().to_owned();
    assert!(row.contains(&first[..8]) && row.contains("rollback by first"), "{said}");
    assert_eq!(it.post("/v1/rules/tag/rollback", &json!({})).await.0, 409, "there is nothing before the first");

    // What the file says is put live by name: the file decides again.
    let (code, said, _) = it.storehand(&["rules", "activate", "tag", &second[..6], "--yes"]);
    assert!(code == 0 && said.contains("says so too, and decides again from then on"), "{said}");
    let rule = it.rule("tag").await;
    assert_eq!((live(&rule), &rule["pin"]), (second.clone(), &Json::Null));
    assert_eq!(tagged(&it, 3).await, "two");

    assert_eq!(it.post("/v1/rules/tag/rollback", &json!({})).await.0, 200);
    let rule = put(&it, "tag.yaml", "tag", &tagging("three", "live")).await;
    assert!(rule["pin"].is_null() && says(&rule).contains("decides that, with `status: live`"), "{rule:#}");
    assert_eq!(tagged(&it, 4).await, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_live_is_said_so() {
    let failing = "tests: [{ name: never, event: { type: order.created, data: { order: { id: \"1\" } } }, \
                   expect: { calls: [] } }]\n";
    let draft = tagging("two", "draft").replace("id: tag\nstatus", "id: draft\nstatus") + failing;
    let it = TestApp::start(&[("tag.yaml", &tagging("one", "live")), ("draft.yaml", &draft)]).await;
    let version = live(&it.rule("tag").await);
    let detail = async |path: &str, body: Json| {
        let (status, told) = it.post(path, &body).await;
        (status, told["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, told) = detail("/v1/rules/tga/activate", json!({})).await;
    assert_eq!((status, told.as_str()), (404, "there is no rule `tga`; there are: draft, tag"));
    let (status, told) = detail("/v1/rules/tag/activate", json!({ "version": "zzz" })).await;
    assert_eq!((status, told), (404, format!("`tag` has no version `zzz`; it has {}", &version[..8])));
    let (status, told) = detail("/v1/rules/tag/activate", json!({})).await;
    assert!(status == 409 && told.starts_with("it is live already: version "), "{told}");
    let (status, told) = detail("/v1/rules/draft/rollback", json!({})).await;
    assert!(status == 409 && told.contains("never been live"), "{told}");
    let (status, told) = detail("/v1/rules/draft/activate", json!({})).await;
    assert!(status == 409 && told.contains("own tests fail does not go live: ") && told.contains("`never`"), "{told}");

    put(&it, "draft.yaml", "draft", &draft.replace(failing, "")).await;
    let (status, told) = detail("/v1/rules/draft/activate", json!({ "instead_of": "0123" })).await;
    assert!(status == 409 && told.starts_with("meanwhile no version of `draft` is live"), "{told}");
    assert_eq!(detail("/v1/rules/draft/activate", json!({})).await.0, 200);
    assert_eq!(tagged(&it, 1).await, "one two", "a person may put a draft live");

    put(&it, "tag.yaml", "tag", &tagging("three", "live")).await;
    say(&beside(&it).await, &format!("DELETE FROM rule_versions WHERE version = '{version}'")).await;
    let (status, told) = detail("/v1/rules/tag/rollback", json!({})).await;
    let was = format!("version {} of `tag`, in force since 2026-11-23T09:00:00Z (file ", &version[..8]);
    assert!(status == 409 && told.starts_with(&was) && told.contains("is not kept any more; kept are "), "{told}");
    it.remove("tag.yaml");
    it.until("tag", |rule| rule["status"] == "gone").await;
    let (status, told) = detail("/v1/rules/tag/activate", json!({ "version": version })).await;
    assert!(status == 409 && told.contains("put it back"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_runs_move_to_the_new_version_unless_it_leaves_out_what_they_have_done() {
    let it = TestApp::start(&[("wait.yaml", &waiting(1000, "one", "finish_old"))]).await;
    it.order(&order(1, 10)).await;
    it.order(&order(2, 500)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting", "waiting"]);
    it.advance(Duration::from_secs(1800)).await;

    let rule = put(&it, "wait.yaml", "wait", &waiting(200, "two", "migrate")).await;
    let runs = it.runs().await;
    assert_eq!(*runs[0].version, *live(&rule), "it has moved");
    assert_ne!(*runs[1].version, *live(&rule), "the new version does not tag it, and it is tagged");
    let told = it.rule("wait").await;
    let stayed = &told["stayed"][0];
    let why = "`order.tag` at `tag` was done, and version ";
    assert!(
        stayed["run"] == json!(runs[1].id) && stayed["why"].as_str().is_some_and(|it| it.starts_with(why)),
        "{told:#}"
    );
    let (_, said, _) = it.storehand(&["rules", "list"]);
    assert!(said.lines().nth(1).is_some_and(|row| row.ends_with("2, 1 on other versions")), "{said}");

    // The wait has not begun again: half an hour is left of it.
    let it = it.restart().await;
    it.advance(Duration::from_secs(1801)).await;
    assert_eq!(it.ends().await, ["done", "done"]);
    // Two customers: their mails go out in either order.
    let mut mails = texts(&it);
    mails.sort();
    assert_eq!(mails, ["one", "two"]);
    let tags = it.shop.calls().iter().filter(|call| call.what == "tagsAdd").count();
    assert_eq!(tags, 2, "nothing was done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_the_new_version_has_no_use_for_is_dropped() {
    let it = TestApp::start(&[("wait.yaml", &waiting(1000, "one", "finish_old"))]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    let at_once = waiting(1000, "two", "migrate").replace("  - { uses: wait, with: { for: 1h } }\n", "");
    put(&it, "wait.yaml", "wait", &at_once).await;
    assert_eq!((it.ends().await, texts(&it)), (vec!["done".to_owned()], vec!["two".to_owned()]));
    let paths: Vec<String> = it.runs().await[0].calls.iter().map(|call| call.path.clone()).collect();
    assert_eq!(paths, ["tag", "send"]);
    it.advance(Duration::from_secs(7200)).await;
    assert_eq!(texts(&it).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_decides_this_once_what_becomes_of_waiting_runs_and_lists_them_before() {
    let it = TestApp::start(&[("wait.yaml", &waiting(1000, "one", "cancel"))]).await;
    it.order(&order(1, 10)).await;
    it.order(&order(2, 500)).await;
    it.settle().await;
    let first = live(&it.rule("wait").await);
    let second = waiting(200, "two", "finish_old");
    let second_version = live(&put(&it, "wait.yaml", "wait", &second).await);
    assert!(it.runs().await.iter().all(|run| *run.version == *first), "they end as they began");
    assert_eq!(it.ends().await, ["waiting", "waiting"]);
    it.order(&order(3, 10)).await;
    it.settle().await;

    // Going back: the old version says `cancel`, the command says otherwise, and only the run on the second is meant.
    let (code, said, _) = it.storehand(&["rules", "rollback", "wait"]);
    assert!(code == 2 && said.contains("1 run is under way on other versions; as the version says, cancel:"), "{said}");
    let (code, said, _) = it.storehand(&["rules", "rollback", "wait", "--on-change", "migrate", "--yes"]);
    assert!(code == 0 && said.contains("1 run is under way on other versions; as asked, migrate:"), "{said}");
    assert!(said.contains("1 would move to the new version\n  0 would stay on theirs"), "{said}");
    it.settle().await;
    assert!(it.runs().await.iter().all(|run| *run.version == *first));

    let (code, said, _) =
        it.storehand(&["rules", "activate", "wait", &second_version, "--on-change", "migrate", "--yes"]);
    assert!(code == 0 && said.contains("2 would move to the new version\n  1 would stay on theirs"), "{said}");
    assert!(
        said.contains(&format!("{} on {}: `order.tag` at `tag` was done", it.runs().await[1].id, &first[..8])),
        "{said}"
    );
    it.settle().await;
    let (code, said, _) = it.storehand(&["rules", "rollback", "wait", "--yes"]);
    assert!(code == 0 && said.contains("each ends as cancelled"), "{said}");
    it.settle().await;
    assert_eq!(it.ends().await, ["cancelled", "waiting", "cancelled"]);
    it.advance(Duration::from_secs(3601)).await;
    assert_eq!((it.ends().await[1].clone(), texts(&it)), ("done".to_owned(), vec!["one".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_at_work_finishes_its_step_before_it_is_decided_about() {
    let it = TestApp::start(&[("wait.yaml", &waiting(1000, "one", "finish_old"))]).await;
    it.shop.fail_next("tagsAdd", [storehand::demo::Fault::Throttle]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["active"], "its write is to be tried again");
    put(&it, "wait.yaml", "wait", &waiting(1000, "two", "cancel")).await;
    assert_eq!(it.ends().await, ["active"]);
    let it = it.restart().await;
    it.settle().await;
    it.advance(Duration::from_secs(30)).await;
    assert_eq!(it.ends().await, ["cancelled"]);
    assert_eq!(it.shop.orders()[0].tags, ["seen"]);
    assert!(it.app.store.unfinished_changes(&acme()).await.expect("changes").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_waiting_runs_are_dealt_with_a_few_at_a_time_and_a_crash_in_between_loses_none() {
    // One customer gets all of their mails, which a fuse is there to prevent.
    let fuse = [("STOREHAND_SHOP__ACME__FUSES__PER_CUSTOMER", "off")];
    let it = TestApp::start_with(&[("wait.yaml", &waiting(1000, "one", "finish_old"))], &fuse).await;
    for number in 1..=300 {
        it.order(&order(number, if number % 100 == 0 { 500 } else { 10 })).await;
    }
    it.settle().await;
    assert_eq!(it.ends().await, vec!["waiting"; 300]);

    // The process ends while the runs are being dealt with: the change is on record, a third of them have moved.
    let text = waiting(200, "two", "migrate");
    let registry = Registry::new(capabilities::all(capabilities::Deps::default())).expect("capabilities");
    let read = rules::read(Path::new("wait.yaml"), &text, &|_| Ok(String::new()), registry.catalog());
    let rule = read.rule.expect("a rule");
    let (version, bundle) = (rule.version.clone(), rule.bundle());
    let kept = RuleVersion { rule: "wait".into(), version: version.clone(), bundle, since: it.now() };
    let change = RoleChange {
        id: 0,
        rule: "wait".into(),
        version: version.clone(),
        role: Role::Live,
        at: it.now(),
        origin: Origin::File("wait.yaml".into()),
        on_change: Some(OnChange::Migrate),
    };
    let put = InForce { versions: vec![kept], changes: vec![change], pins: Vec::new() };
    let change = it.app.store.put_in_force(&acme(), put).await.expect("on record")[0].id;
    let decided = it.runs().await.into_iter().take(99).map(|run| Decided {
        run: run.id,
        change,
        version: version.as_str().into(),
        lane: run.lane.clone(),
        stays: None,
    });
    let decided = Changes { decided: decided.collect(), ..Changes::default() };
    it.app.store.commit(&acme(), decided).await.expect("written");
    it.save("wait.yaml", &text);

    let it = it.restart().await;
    it.settle().await;
    let rule = it.rule("wait").await;
    let number = |it: &Json, name: &str| it[name].as_u64().unwrap_or_default();
    let mut counts: Vec<(u64, u64)> =
        rule["waiting"].as_array().expect("a list").iter().map(|it| (number(it, "runs"), number(it, "stay"))).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(3, 3), (297, 0)], "{rule:#}");
    assert!(it.app.store.unfinished_changes(&acme()).await.expect("changes").is_empty());
    assert_eq!(
        rule["history"].as_array().map(Vec::len),
        Some(2),
        "a start changes nothing that is as it was: {rule:#}"
    );
    it.advance(Duration::from_secs(3601)).await;
    assert_eq!(it.ends().await, vec!["done"; 300]);
    let texts = texts(&it);
    let count = |text: &str| texts.iter().filter(|it| *it == text).count();
    assert_eq!((count("one"), count("two")), (3, 297));
}
