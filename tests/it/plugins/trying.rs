//! A rule that uses a plugin, tried over what has happened, and taken back.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::engine::replay::{Exported, replay};
use storehand::plugins::{Folder, Grants, Plugins};

use super::rules::{GRANTED, RULE, TAGS, asks, asks_after, placed, start, tagged, tags};
use crate::person::Person;
use crate::support::{TestApp, acme, order};
use crate::trying::{beside, on_disk};

/// Something that a backtest must leave alone, beside the tags.
const COUNTS: (&str, &str) = ("memory.add", r#"{ "key": "the-zoo/n", "by": 5 }"#);

/// Every file of the installed plugins, with what is in it.
fn plugins_on_disk(it: &TestApp) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    fn gather(folder: &std::path::Path, files: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                gather(&path, files);
            } else {
                files.push((path.clone(), std::fs::read(&path).expect("a file")));
            }
        }
    }
    let mut files = Vec::new();
    gather(&it.data().join("plugins"), &mut files);
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_runs_the_plugin_and_writes_nothing() {
    // So far the rule only tagged: what the plugin asks, nobody has asked yet.
    let plain =
        RULE.replace("  - { id: zoo, uses: the-zoo/zoo.ask, with: {} }\n", "").replace("{{ steps.zoo }}", "fine");
    let it = start(&plain, &asks(&[TAGS[0], COUNTS, TAGS[1], TAGS[2]]), GRANTED).await;
    placed(&it, 1).await;
    placed(&it, 2).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["done".to_owned(); 2], vec!["fine".to_owned()]));
    // The server copies its log into the file a moment after the last write.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (before, installed, reached) = (on_disk(&it), plugins_on_disk(&it), it.shop.calls().len());

    let args = ["rules", "backtest", "zoo.yaml", "--since", "2026-11-01", "--against", "live", "--json"];
    let said = beside(&it, &[("zoo.yaml", RULE)], &args);
    assert_eq!(said.code, 1, "it differs: {}{}", said.out, said.err);
    let report = said.json();
    assert_eq!(report["differing"]["count"], 2, "{report:#}");
    let shown = &report["differing"]["shown"][0]["sides"];
    let of = |side: usize| -> Vec<&Json> {
        let writes = shown[side]["writes"].as_array().expect("writes");
        writes.iter().map(|write| &write["with"]["tags"][0]).collect()
    };
    let (mut sides, mut with, mut without) = ([of(0), of(1)], 0, 1);
    if sides[0].len() < sides[1].len() {
        (with, without) = (1, 0);
        sides.swap(0, 1);
    }
    assert_eq!(sides, [vec![&json!("one"), &json!("two"), &json!("fine")], vec![&json!("fine")]]);
    let calls = |side: usize, name: &str| {
        let of = &report["sides"][side]["calls"][name];
        (of["count"].as_u64(), of["on_record"].as_u64(), of["stand_ins"].as_u64())
    };
    // What was tagged before is on record; what only the plugin asks, stand-ins answer.
    assert_eq!(calls(with, "order.tag"), (Some(6), Some(2), Some(4)));
    assert_eq!(calls(without, "order.tag"), (Some(2), Some(2), Some(0)));
    assert_eq!(report["sides"][with]["ends"]["done"], 2, "{report:#}");

    assert_eq!(it.shop.calls().len(), reached, "nothing reached the shop");
    assert!(on_disk(&it) == before, "nothing was written");
    assert!(plugins_on_disk(&it) == installed, "nor beside the plugins");
    assert_eq!(it.app.store.remembered(&acme(), "the-zoo/n").await.expect("memory"), Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_plugin_wrote_is_taken_back_with_the_rest_of_its_rule() {
    let it = start(RULE, &asks(TAGS), GRANTED).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1).await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(
        (it.ends().await, tags(&it, 1)),
        (vec!["done".to_owned()], ["one", "two", "fine"].map(str::to_owned).to_vec())
    );

    let found = ana.ask(&it, "/v1/rules/zoo/undo?since=1h").await;
    let writes = found["writes"].as_array().expect("writes");
    let inverses: Vec<(&Json, &Json)> =
        writes.iter().map(|write| (&write["path"], &write["inverse"]["input"]["tags"])).collect();
    let expected =
        [("last", "fine"), ("zoo/3", "two"), ("zoo/1", "one")].map(|(path, tag)| (json!(path), json!([tag])));
    assert_eq!(inverses, expected.each_ref().map(|(path, tags)| (path, tags)));

    let answer = ana.does(&it, "/v1/rules/zoo/undo?since=1h", &json!({})).await;
    it.settle().await;
    assert!(answer["runs"][0]["what"].as_str().is_some_and(|it| it.starts_with("3 writes are taken back")), "{answer}");
    assert_eq!((tags(&it, 1), tagged(&it)), (Vec::<String>::new(), 3));
    assert_eq!(it.ends().await, ["done", "done"]);
    let back = it.runs().await.remove(1);
    let paths: Vec<&str> = back.calls.iter().map(|call| call.path.as_str()).collect();
    assert_eq!(paths, ["undo/last", "undo/zoo/3", "undo/zoo/1"], "the last first, and no plugin is run for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_taken_back_as_far_as_it_came() {
    let it = start(RULE, &asks(TAGS), GRANTED).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1).await;
    assert_eq!((it.ends().await, tags(&it, 1)), (vec!["waiting".to_owned()], vec!["one".to_owned()]));
    let answer = ana.does(&it, "/v1/rules/zoo/undo?since=1h", &json!({})).await;
    it.settle().await;
    assert!(answer["runs"][0]["what"].as_str().is_some_and(|it| it.starts_with("1 write is taken back")), "{answer}");
    // It waits for its lane no longer than the run itself does: the wait has left it.
    assert_eq!(tags(&it, 1), Vec::<String>::new());
}

/// Breaks off where it is asked with more than 22 bytes.
const BREAKS: &str =
    "(if (i32.gt_u (i32.load (i32.add (local.get $args) (i32.const 12))) (i32.const 22)) (then unreachable))";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_put_off_comes_out_the_same_when_it_is_replayed() {
    let rule = RULE.replace("with: {} }", "with: { total: \"{{ order.total }}\" } }");
    let it = start(&rule, &asks_after(BREAKS, TAGS), GRANTED).await;
    for number in 1..=5 {
        it.order(&order(number, 100_000)).await;
    }
    it.settle().await;
    assert!(it.ends().await.iter().all(|end| end.contains("plugin_broke")), "{:?}", it.ends().await);
    // By now it is suspended, and a run that it would serve well waits.
    placed(&it, 6).await;
    let paths = |run: &storehand::domain::Run| run.calls.iter().map(|call| call.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&it.runs().await[5]), ["zoo", "zoo/pause-1"]);
    let it = it.restart().await;
    it.advance(Duration::from_secs(61)).await;
    it.advance(Duration::from_secs(601)).await;
    let run = it.runs().await.remove(5);
    assert_eq!(it.ends().await[5], "done");
    assert_eq!(paths(&run), ["zoo", "zoo/pause-1", "zoo/1", "zoo/2", "zoo/3", "last"]);

    let (status, exported) = it.get(&format!("/v1/runs/{}/export", run.id)).await;
    assert_eq!(status, 200, "{exported}");
    let plugins = Plugins::open(Folder::within(it.data()), Grants::default()).expect("plugins");
    let registry = storehand::app::unconnected_with(&plugins).expect("a registry");
    let replayed = |text: &str| replay(&Exported::read(text).expect("it reads back"), &registry).expect("it replays");
    let text = exported.to_string();
    let came = replayed(&text);
    assert_eq!((came.difference, came.calls), (None, 6));
    // And where it did take another way, that is seen all the same.
    let other = replayed(&text.replace(r#""tags":["two"]"#, r#""tags":["other"]"#));
    assert!(other.difference.is_some_and(|it| it.recorded.contains("other")), "another way");
}
