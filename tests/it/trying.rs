//! Trying a rule before it is live: backtests over what a real server has recorded, beside it, and with nothing
//! reaching the shop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;
use storehand::demo::Fault;

use crate::support::{TestApp, order};

/// What a command came to.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs the program beside the server, with a configuration that names its store and the rule files `rules`.
pub(crate) fn beside(it: &TestApp, rules: &[(&str, &str)], args: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in rules {
        std::fs::write(folder.path().join(name), text).expect("a rule");
    }
    let store = it.file();
    let config = format!(
        "[store]\nurl = \"sqlite://{}\"\n[model]\nenabled = \"off\"\n[shop.acme]\ncurrency = \"EUR\"\n\
         [shop.acme.sources.shopify]\nsecrets = [\"env:NOT_SET_HERE\"]\n",
        store.display()
    );
    std::fs::write(folder.path().join("storehand.toml"), config).expect("a configuration");
    storehand(folder.path(), args, &[])
}

/// Asks the server.
fn ask(it: &TestApp, args: &[&str]) -> Said {
    let token = it.app.first_token.as_ref().expect("the first token").reveal().to_owned();
    let url = format!("http://{}", it.app.address);
    storehand(&std::env::temp_dir(), args, &[("STOREHAND_TOKEN", &token), ("STOREHAND_URL", &url)])
}

fn storehand(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_storehand"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("storehand");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code().expect("no signal"), out: text(output.stdout), err: text(output.stderr) }
}

/// The file of data and what belongs to it, as bytes.
pub(crate) fn on_disk(it: &TestApp) -> Vec<(PathBuf, Vec<u8>)> {
    let file = it.file();
    ["", "-wal"]
        .map(|end| PathBuf::from(format!("{}{end}", file.display())))
        .map(|path| (path.clone(), std::fs::read(path).unwrap_or_default()))
        .to_vec()
}

/// The text with `ev_…`, `run_…` and `…` in place of ids, which are others each time.
fn without_ids(text: &str) -> String {
    let mut parts = Vec::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let (word, end) = part.split_at(part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').len());
        let kind = ["ev_", "run_"].into_iter().find(|kind| word.len() == kind.len() + 13 && word.starts_with(kind));
        let is_digest = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        parts.push(match kind {
            Some(kind) => format!("{kind}…{end}"),
            None if is_digest => format!("…{end}"),
            None => format!("{word}{end}"),
        });
    }
    parts.concat()
}

const TAG: &str = "
id: tag
status: live
triggers: [{ event: order.created }]
conditions: ['order.total >= money(\"100 EUR\")']
allow: [order.tag, message.send]
steps:
  - { id: tag, uses: order.tag, with: { tags: [big] } }
  - { uses: wait, with: { for: 10m } }
  - { id: send, uses: message.send, with: { subject: Thanks, text: \"Hello {{ customer.first_name }}\" } }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_held_against_the_live_version() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    for (number, total) in [(1, 50), (2, 150), (3, 300)] {
        it.order(&order(number, total)).await;
    }
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["done", "done"]);
    // The server copies its log into the file a moment after the last write.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (before, reached) = (on_disk(&it), it.shop.calls().len());

    let changed = TAG.replace("100 EUR", "200 EUR");
    let args = ["rules", "backtest", "tag.yaml", "--since", "2026-11-01", "--against", "live", "--json"];
    let said = beside(&it, &[("tag.yaml", &changed)], &args);
    assert_eq!(said.code, 1, "it differs: {}{}", said.out, said.err);
    let report = said.json();
    assert_eq!((&report["looked_at"], &report["never_matched"]), (&3.into(), &0.into()));
    let of = |side: usize| {
        let totals = &report["sides"][side];
        (totals["matched"].as_u64(), totals["ends"]["done"].as_u64(), totals["messages"]["count"].as_u64())
    };
    assert_eq!((of(0), of(1)), ((Some(1), Some(1), Some(1)), (Some(2), Some(2), Some(2))));
    let differing = &report["differing"];
    assert_eq!(differing["count"], 1, "{differing:#}");
    let one = &differing["shown"][0];
    let second = it.runs().await[0].event.clone();
    assert_eq!(
        (one["event"].as_str(), one["subject"].as_str()),
        (Some(&*second.id.to_string()), Some(&*second.subject))
    );
    assert_eq!(one["sides"][0]["did"], "not_matched");
    assert_eq!(one["sides"][0]["saw"][0], serde_json::json!(["order.total", "150.00 EUR"]));
    assert_eq!(one["sides"][1]["writes"][0], serde_json::json!({ "uses": "order.tag", "with": { "tags": ["big"] } }));
    assert_eq!(one["sides"][1]["end"], "done");
    // The same writes were asked and answered live, by another version.
    assert_eq!(report["sides"][0]["calls"]["order.tag"]["on_record"], 1);
    assert_eq!(report["sides"][1]["calls"]["message.send"]["on_record"], 2);

    assert_eq!(it.shop.calls().len(), reached, "nothing reached the shop");
    assert!(on_disk(&it) == before, "nothing was written");

    let same = beside(
        &it,
        &[("tag.yaml", TAG)],
        &["rules", "backtest", "tag.yaml", "--since", "2026-11-01", "--against", "live"],
    );
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.contains("Every event comes out the same."), "{}", same.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_reads_well() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    for (number, total) in [(1, 50), (2, 150), (3, 300)] {
        it.order(&order(number, total)).await;
    }
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;
    let changed = TAG.replace("100 EUR", "200 EUR").replace("tags: [big]", "tags: [huge]");
    let args = ["rules", "backtest", "tag.yaml", "--since", "2026-11-01", "--until", "2026-11-24", "--against", "live"];
    let said = beside(&it, &[("tag.yaml", &changed)], &args);
    insta::assert_snapshot!(without_ids(&said.out));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_a_version_see_each_other_in_memory_and_lanes() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    // Three orders of one customer, four minutes apart, and one much later.
    for number in 1..=3 {
        it.order(&order(number, 150)).await;
        it.advance(Duration::from_secs(240)).await;
    }
    it.advance(Duration::from_secs(3600)).await;
    it.order(&order(4, 150)).await;
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;

    let counting = |overlap: &str| {
        format!(
            "id: count\nstatus: draft\ntriggers: [{{ event: order.created }}]\nkey: customer.id\noverlap: {overlap}\n\
             allow: [order.tag]\nsteps:\n  - {{ uses: wait, with: {{ for: 10m }} }}\n  - {{ id: n, uses: memory.add, \
             with: {{ key: n, by: 1 }} }}\n  - {{ uses: order.tag, with: {{ tags: [\"n {{{{ steps.n.value }}}}\"] }} }}\n"
        )
    };
    let report = |overlap: &str| {
        let args = ["rules", "backtest", "count.yaml", "--since", "2026-11-01", "--json"];
        let said = beside(&it, &[("count.yaml", &counting(overlap))], &args);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        said.json()["sides"][0]["ends"].clone()
    };
    assert_eq!(report("queue"), serde_json::json!({ "done": 4 }));
    assert_eq!(report("skip"), serde_json::json!({ "done": 2, "skipped": 2 }));
    assert_eq!(report("restart"), serde_json::json!({ "done": 2, "replaced": 2 }));

    let memory = counting("parallel").replace("steps.n.value", "if");
    let said = beside(&it, &[("count.yaml", &memory)], &["rules", "backtest", "count.yaml"]);
    assert_eq!(said.code, 1, "a rule with mistakes is not tried: {}", said.out);
    assert!(said.err.contains("count.yaml:") && said.err.contains("hint: "), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_answers_what_was_asked_and_nothing_comes_before_its_time() {
    let asks = "
id: ask
status: live
triggers: [{ event: order.created }]
allow: [order.tag]
steps:
  - { id: now, uses: order.get }
  - { uses: order.tag, with: { tags: [\"{{ steps.now.total }}\", \"{{ order.total }}\"] } }
";
    let it = TestApp::start(&[("ask.yaml", asks)]).await;
    it.order(&order(1, 50)).await;
    it.settle().await;
    // Later the order is another one, in the shop and in the store.
    it.clock.advance(Duration::from_secs(60));
    let mut later = order(1, 900);
    later.updated_at = it.now();
    it.shop.put(later.clone());
    assert_eq!(it.deliver(&it.signer.order("orders/updated", &later, it.now())).await, 200);
    it.settle().await;

    let changed = asks.replace("tags: [", "tags: [changed, ");
    let args = ["rules", "backtest", "ask.yaml", "--since", "2026-11-01", "--against", "live", "--json"];
    let report = beside(&it, &[("ask.yaml", &changed)], &args).json();
    let writes = |side: &str| report.pointer(&format!("/differing/shown/0/sides/{side}/writes/0/with/tags")).cloned();
    assert_eq!(writes("0"), Some(serde_json::json!(["changed", "50.00 EUR", "50.00 EUR"])));
    assert_eq!(writes("1"), Some(serde_json::json!(["50.00 EUR", "50.00 EUR"])));
    let calls = &report["sides"][0]["calls"];
    assert_eq!((&calls["order.get"]["on_record"], &calls["order.tag"]["stand_ins"]), (&1.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_says_why_and_what_to_do() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    let refused = |args: &[&str], what: &[&str]| {
        let said = beside(&it, &[("tag.yaml", TAG)], &[&["rules", "backtest"], args].concat());
        assert_eq!(said.code, 1, "{args:?}: {}", said.out);
        assert!(what.iter().all(|what| said.err.contains(what)), "{args:?}: {}", said.err);
    };
    refused(&["none.yaml"], &["there is no rule file none.yaml", "hint: name a rule file"]);
    refused(&["other"], &["no version of a rule `other` was ever live", "rules that were: tag"]);
    refused(&["tag", "--against", "zz"], &["no version `zz` of `tag` is kept", "kept are, the newest first: "]);
    refused(&["tag", "--since", "soon"], &["`soon` is not a moment", "`30d`"]);
    refused(&["tag", "--since", "2026-11-02", "--until", "2026-11-01"], &["--since is not before --until"]);
    refused(&["tag", "--shop", "b"], &["there is no shop `b`", "the configuration has: acme"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_tried_on_single_events() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    for (number, total) in [(1, 50), (2, 150)] {
        it.order(&order(number, total)).await;
    }
    it.settle().await;
    it.advance(Duration::from_secs(601)).await;
    let listed = ask(&it, &["events", "list", "--json"]).json();
    let id = |at: usize| listed["events"][at]["id"].as_str().expect("an id").to_owned();
    let changed = TAG.replace("100 EUR", "120 EUR").replace("tags: [big]", "tags: [huge]");
    let events = format!("{},{}", id(1), id(0));
    let said = beside(&it, &[("tag.yaml", &changed)], &["rules", "test", "tag.yaml", "--events", &events]);
    assert_eq!(said.code, 0, "{}", said.err);
    insta::assert_snapshot!(without_ids(&said.out));

    let refused = |events: &str, what: &str| {
        let said = beside(&it, &[("tag.yaml", TAG)], &["rules", "test", "tag.yaml", "--events", events]);
        assert!(said.code == 1 && said.err.contains(what), "{}", said.err);
        assert!(said.err.contains("hint: `storehand events list --shop acme` lists events"), "{}", said.err);
    };
    refused("ev_0000000000001", "the shop `acme` has no event ev_0000000000001 on record");
    refused("order/1", "`order/1` is not a event id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_exported_and_comes_out_the_same_elsewhere() {
    let it = TestApp::start(&[("tag.yaml", TAG)]).await;
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    it.order(&order(2, 150)).await;
    it.settle().await;
    for _ in 0..2 {
        it.advance(Duration::from_secs(10)).await;
    }
    // Pauses are spread, by the run's id among others.
    let unspread = |text: &str| {
        let next = |second: u32| format!("next at 2026-11-23T09:00:0{second}Z");
        (3..=6).fold(without_ids(text), |text, second| text.replace(&next(second), &next(5)))
    };
    let run = it.runs().await[0].id.to_string();
    let waiting = ask(&it, &["runs", "show", &run]);
    assert_eq!(waiting.code, 0, "{}", waiting.err);
    insta::assert_snapshot!("a_waiting_run", unspread(&waiting.out));
    it.advance(Duration::from_secs(601)).await;
    assert_eq!(it.ends().await, ["done"]);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.json");
    let path = file.to_str().expect("a path");
    let said = ask(&it, &["runs", "export", &run, "--out", path]);
    assert!(said.code == 0 && said.out.contains("with the customer's data"), "{}{}", said.out, said.err);
    let text = std::fs::read_to_string(&file).expect("the file");
    for secret in ["shopify-secret", "shpat_test", "whsec_"] {
        assert!(!text.contains(secret), "{secret} is in the file");
    }
    let replay = |text: &str| {
        std::fs::write(&file, text).expect("written");
        storehand(folder.path(), &["runs", "replay", "run.json"], &[])
    };
    let same = replay(&text);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert!(same.out.contains("comes out the same: 3 calls in 4 steps"), "{}", same.out);

    // A run on record that its rule would not have had.
    let other = replay(&text.replace("\"big\"", "\"small\""));
    assert_eq!(other.code, 1, "{}", other.err);
    let told = "comes out otherwise, at the beginning:\n  on record  `tag` asks order.tag {\"tags\":[\"small\"]}\n  \
                replayed   `tag` asks order.tag {\"tags\":[\"big\"]}";
    assert!(other.out.contains(told), "{}", other.out);

    let refused = |text: &str, what: &[&str]| {
        let said = replay(text);
        assert!(said.code == 1 && what.iter().all(|what| said.err.contains(what)), "{}", said.err);
    };
    refused(
        &text.replace("\"format\": 1", "\"format\": 7"),
        &["in form 7", "up to 1", "hint: replay it with that release"],
    );
    refused(&text[..text.len() / 2], &["is not a run as `storehand runs export` writes it", "hint: write it again"]);
    refused("{}", &["missing field `format`"]);
    let lacking = text.replace("uses: message.send", "uses: acme-loyalty.add");
    refused(
        &lacking,
        &["cannot be run by this build", "acme-loyalty.add", "hint: replay it with the build that ran it"],
    );
}

/// Chases an order that is not sent; `sent` and `late` say whether its tags are put.
fn chase(sent: &str, late: &str) -> String {
    format!(
        "id: chase\nstatus: live\ntriggers: [{{ event: order.created }}]\nallow: [order.tag]\nsteps:\n  - {{ uses: wait, \
         with: {{ for: 1h }} }}\n  - {{ id: sent, uses: wait_for, with: {{ event: order.fulfilled, within: 1d }} }}\n  - {{ \
         uses: order.tag, if: '{sent}', with: {{ tags: [\"sent {{{{ steps.sent.order.number }}}}\"] }} }}\n  - {{ uses: \
         order.tag, if: '{late}', with: {{ tags: [late] }} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn later_events_answer_what_waits_for_them() {
    // The live version writes nothing, so that all that the other one writes is a difference.
    let it = TestApp::start(&[("chase.yaml", &chase("false", "false"))]).await;
    for number in 1..=3 {
        it.order(&order(number, 50)).await;
    }
    let sent = async |number: u32| {
        let mut order = order(number, 50);
        order.updated_at = it.now();
        assert_eq!(it.deliver(&it.signer.order("orders/fulfilled", &order, it.now())).await, 200);
        it.settle().await;
    };
    // The second is sent before its run comes to wait, the first in time, the third too late.
    it.advance(Duration::from_secs(600)).await;
    sent(2).await;
    it.advance(Duration::from_secs(2 * 3600)).await;
    sent(1).await;
    it.advance(Duration::from_secs(48 * 3600)).await;
    sent(3).await;

    let rule = chase("!steps.sent.timed_out", "steps.sent.timed_out");
    let writes = |until: &str| {
        let args = [
            "rules",
            "backtest",
            "chase.yaml",
            "--since",
            "2026-11-01",
            "--until",
            until,
            "--against",
            "live",
            "--json",
        ];
        let said = beside(&it, &[("chase.yaml", &rule)], &args);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let report = said.json();
        assert_eq!((&report["looked_at"], &report["sides"][0]["ends"]["done"]), (&3.into(), &3.into()), "{report:#}");
        let shown = report["differing"]["shown"].as_array().cloned().unwrap_or_default();
        let tag = |one: &Json| one["sides"][0]["writes"][0]["with"]["tags"][0].as_str().unwrap_or_default().to_owned();
        shown.iter().map(tag).collect::<Vec<_>>()
    };
    assert_eq!(writes("2026-12-24"), ["sent 1", "sent 2", "late"]);
    // Only the orders are looked at, and what came later is known all the same.
    assert_eq!(writes("2026-11-23T09:05:00Z"), ["sent 1", "sent 2", "late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_says_what_every_rule_made_of_it() {
    let other = |id: &str, status: &str, more: &str| {
        TAG.replace("id: tag\n", &format!("id: {id}\n")).replace("status: live", &format!("status: {status}")) + more
    };
    let vip = other("vip", "live", "").replace("conditions: [", "conditions: ['\"vip\" in customer.tags', ");
    let (draft, paid) = (other("draft", "draft", ""), other("paid", "live", "").replace("order.created", "order.paid"));
    let it =
        TestApp::start(&[("tag.yaml", TAG), ("vip.yaml", &vip), ("draft.yaml", &draft), ("paid.yaml", &paid)]).await;
    it.order(&order(2, 150)).await;
    it.settle().await;
    let event = it.runs().await[0].event.id.to_string();
    let said = ask(&it, &["events", "why", &event]);
    assert_eq!(said.code, 0, "{}", said.err);
    let folder = it.file().parent().expect("a folder").display().to_string();
    insta::assert_snapshot!(without_ids(&said.out.replace(&folder, "")));
    let json = ask(&it, &["events", "why", &event, "--json"]).json();
    assert_eq!(json["rules"].as_array().map(Vec::len), Some(3), "{json:#}");
}
