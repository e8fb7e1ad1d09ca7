//! What another model makes of what rules have asked theirs: `storehand model eval`, over a store and over a file.

use std::path::Path;

use serde_json::Value as Json;

use crate::support::{TestApp, order};
use crate::upstream::{KEY, server};

const RULE: &str = "
id: thanks
name: { en: Thanks, zh: 致谢 }
status: live
inputs:
  gift: { type: money, default: 50 EUR, label: What a gift may cost }
triggers:
  - event: order.created
steps:
  - id: draft
    uses: model.write
    with: { prompt: 'Thank {{ customer.name }}.', policy: [given_facts_only, no_refund_promise], model: large }
    on_violation: { fallback: Thank you. }
  - id: found
    uses: model.extract
    with: { text: '{{ order.name }} is broken', schema: { type: object }, model: reader }
    on_error: continue
";

fn upstream(host: &str, name: &str, kind: &str) -> String {
    format!("[model.upstreams.{name}]\nurl = \"http://{host}/{kind}/v1\"\nmodel = \"big\"\napi_key = \"{KEY}\"\n")
}

/// Runs the program beside the server with these upstreams.
fn beside(it: &TestApp, host: &str, args: &[&str]) -> (i32, String, String) {
    let kinds = ["good", "rude", "facts", "locked"].map(|kind| upstream(host, kind, kind));
    let config = format!(
        "[store]\nurl = \"sqlite://{}\"\n[model]\nenabled = \"off\"\n{}[shop.acme]\ndisplay_name = \"Acme\"\n\
         currency = \"EUR\"\n[shop.acme.sources.shopify]\nsecrets = [\"x\"]\n",
        it.file().display(),
        kinds.concat()
    );
    let args = [&["model", "eval"], args].concat();
    tokio::task::block_in_place(|| crate::cli::storehand(&args, &[("storehand.toml", &config)], &[]))
}

fn report(said: &(i32, String, String)) -> Json {
    serde_json::from_str(&said.1).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corpus_is_asked_again_and_what_changes_is_told() {
    let (_, host) = server().await;
    let upstreams = [upstream(&host, "large", "good"), upstream(&host, "reader", "form")].concat();
    let prepare = |folder: &Path| std::fs::write(folder.join("more.toml"), &upstreams).expect("settings");
    let it = TestApp::start_prepared(&[("thanks.yaml", RULE)], &[], prepare).await;
    for number in [1042, 1043] {
        it.order(&order(number, 30)).await;
    }
    it.settle().await;
    assert_eq!(it.ends().await, ["done", "done"]);
    let since = ["--last", "2026-11-01"];
    let eval = |more: &[&str]| beside(&it, &host, &[&since, more].concat());

    // The same model says the same, having read the very same. That one is called otherwise here makes no difference.
    let same = eval(&["--model", "good", "--json", "--rule", "thanks"]);
    let told = report(&same);
    let of = |capability: &str, told: &Json| -> Vec<Json> {
        let all = told["prompts"].as_array().expect("prompts");
        all.iter().filter(|it| it["uses"] == capability).cloned().collect()
    };
    let written = of("model.write", &told);
    assert_eq!((written.len(), &written[0]["change"], &written[0]["same_prompt"]), (2, &"same".into(), &true.into()));
    assert_eq!(written[0]["then"]["said"], "Thank you, Ana. 谢谢!");
    // What was no JSON of the schema's kind for one is no JSON at all for the other.
    assert_eq!(of("model.extract", &told).len(), 2, "{told:#}");
    assert_eq!((same.0, &told["changes"]["held_back"]), (1, &2.into()), "{told:#}");

    // Held back now: told first, and the exit code says so.
    let (code, out, err) = eval(&["--model", "rude", "--most", "4"]);
    assert_eq!(code, 1, "{out}{err}");
    for part in ["4 prompts asked of rude@", "HELD BACK now", "refund", "Thank you, Ana."] {
        assert!(out.contains(part), "{part}\n---\n{out}");
    }

    // The facts of then hold: the order's own and the rule's input; of the other order the number is none.
    let told = report(&eval(&["--model", "facts", "--json"]));
    let written = of("model.write", &told);
    let changes: Vec<&str> = written.iter().filter_map(|it| it["change"].as_str()).collect();
    assert_eq!(changes, ["reworded", "held_back"], "{told:#}");
    assert!(written[1]["now"]["why"].as_str().expect("why").contains("1042"), "{told:#}");
    assert_eq!(written[1]["now"]["said"], "Order #1042 over 30.00 EUR is here, and a gift of up to 50 EUR.");

    // No answer is one, too.
    let told = report(&eval(&["--model", "locked", "--json", "--most", "1"]));
    assert_eq!(told["prompts"][0]["change"], "no_answer", "{told:#}");

    // A corpus can be kept: the file asks the same.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prompts.jsonl").display().to_string();
    let (code, out, err) = eval(&["--export", &file]);
    assert_eq!((code, out.contains("4 prompts")), (0, true), "{out}{err}");
    let kept = std::fs::read_to_string(&file).expect("a file");
    assert!(kept.lines().count() == 4 && kept.contains(r#"{"money":"50.00 EUR"}"#), "{kept}");
    let from = report(&beside(&it, &host, &["--from", &file, "--model", "facts", "--json"]));
    let without_time = |told: &Json| -> Vec<Json> {
        let all = told["prompts"].as_array().expect("prompts").iter().cloned();
        all.map(|mut it| {
            it["seconds"] = Json::Null;
            it
        })
        .collect()
    };
    assert_eq!(without_time(&from), without_time(&report(&eval(&["--model", "facts", "--json"]))));
    std::fs::write(&file, format!("{kept}{{}}\n")).expect("a file");
    let (code, _, err) = beside(&it, &host, &["--from", &file, "--model", "good"]);
    assert!(code == 1 && err.contains("prompts.jsonl:5: this is no prompt"), "{err}");

    let (code, _, err) = eval(&["--model", "nobody"]);
    assert!(code == 1 && err.contains("there is no model `nobody`") && err.contains("facts, good"), "{err}");
    let (code, _, err) = eval(&["--model", "good", "--rule", "other"]);
    assert!(code == 1 && err.contains("there are no prompts to ask"), "{err}");
}
