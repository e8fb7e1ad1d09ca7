//! Approvals: a person says yes, no, or yes with other words; nobody comes; two come at once.

use std::io::Write as _;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::Fault;
use storehand::domain::{Answer, Failure, RunId, Says};
use storehand::engine::{Command, Decision, EngineError};

use crate::support::{TestApp, acme, order};

fn rule(with: &str, on_error: &str) -> String {
    format!(
        "
id: big
status: live
triggers: [{{ event: order.created }}]
allow: [order.tag]
steps:
  - id: ok
    uses: approval.request
    with: {{ to: support, show: \"tag {{{{ order.name }}}}\", timeout: 24h{with} }}{on_error}
  - {{ id: tag, uses: order.tag, with: {{ tags: [\"{{{{ steps.ok.text }}}}\"] }} }}
"
    )
}

const DAY: Duration = Duration::from_secs(24 * 3600 + 1);

/// A running server on which one order waits for a person.
async fn asked(rule: &str) -> (TestApp, RunId) {
    let it = TestApp::start(&[("big.yaml", rule)]).await;
    it.order(&order(1, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting"]);
    let run = it.runs().await[0].id;
    (it, run)
}

async fn says(it: &TestApp, run: RunId, by: &str, says: Says) -> Result<String, EngineError> {
    let decision = Decision { run, path: "ok".into(), by: by.into(), says };
    let done = it.app.engine.command(&acme(), Command::Decide(decision)).await;
    it.settle().await;
    done.map(|touched| touched.0[0].1.clone())
}

fn yes() -> Says {
    Says::Accept { text: None }
}

fn no(because: &str) -> Says {
    Says::Reject { because: Some(because.into()) }
}

fn tags(it: &TestApp) -> Vec<String> {
    it.shop.orders()[0].tags.clone()
}

async fn answer(it: &TestApp) -> Answer {
    it.runs().await[0].call("ok").and_then(|call| call.answer.clone()).expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_lets_the_run_go_on_with_what_was_shown() {
    let (it, run) = asked(&rule("", "")).await;
    let it = it.restart().await;
    it.advance(Duration::from_secs(3600)).await;
    assert_eq!(says(&it, run, "ana", yes()).await.expect("decided"), "approved");
    assert_eq!((it.ends().await, tags(&it)), (vec!["done".to_owned()], vec!["tag #1".to_owned()]));
    let expected = json!({ "decision": "approved", "text": "tag #1", "edited": false, "by": "ana", "at": it.now() });
    assert_eq!(answer(&it).await, Answer::Done(expected));
    let calls = it.runs().await.remove(0).calls;
    assert_eq!(calls[0].log[0].by.as_deref(), Some("ana"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_text_is_what_goes_out_and_is_kept() {
    let (it, run) = asked(&rule("", "")).await;
    let edited = Says::Accept { text: Some("very big".into()) };
    assert_eq!(says(&it, run, "ana", edited).await.expect("decided"), "approved with your text");
    assert_eq!((it.ends().await, tags(&it)), (vec!["done".to_owned()], vec!["very big".to_owned()]));
    assert!(matches!(answer(&it).await, Answer::Done(it) if it["edited"] == true && it["by"] == "ana"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_ends_the_run_as_declined_unless_the_rule_handles_it() {
    let (it, run) = asked(&rule("", "")).await;
    assert_eq!(says(&it, run, "ben", no("too early")).await.expect("decided"), "rejected");
    assert_eq!((it.ends().await, tags(&it).len()), (vec!["declined".to_owned()], 0));
    let Answer::Failed(Failure { code, message, detail }) = answer(&it).await else { panic!("no failure") };
    assert_eq!((code.as_str(), message.as_str()), ("declined", "ben said no: too early"));
    assert_eq!((&detail["by"], &detail["because"]), (&json!("ben"), &json!("too early")));

    let (it, run) = asked(&rule("", "\n    on_error: { use: { text: held } }")).await;
    says(&it, run, "ben", Says::Reject { because: None }).await.expect("decided");
    assert_eq!((it.ends().await, tags(&it)), (vec!["done".to_owned()], vec!["held".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_may_catch_a_no() {
    let rule = "id: big\nstatus: live\ntriggers: [{ event: order.created }]\nallow: [order.tag]\nscript: big.rhai\n";
    let asks = r#"ask("approval.request", #{ to: "support", show: "tag it", timeout: "24h" }, #{ id: "ok" });"#;
    let caught = format!(
        "try {{ {asks} }} catch (error) {{ ask(\"order.tag\", #{{ tags: [`${{error.code}} ${{error.detail.by}}`] }}); }}"
    );
    for (script, end, tag) in [(asks, "declined", None), (&*caught, "done", Some("declined ben"))] {
        let it = TestApp::start(&[("big.yaml", rule), ("big.rhai", script)]).await;
        it.order(&order(1, 10)).await;
        it.settle().await;
        let run = it.runs().await[0].id;
        says(&it, run, "ben", no("never")).await.expect("decided");
        assert_eq!((it.ends().await, tags(&it).first().map(String::as_str)), (vec![end.to_owned()], tag), "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_comes_it_is_as_the_rule_says() {
    for (with, end, tag) in [
        ("", "declined", None),
        (", on_timeout: reject", "declined", None),
        (", on_timeout: approve", "done", Some("tag #1")),
        (", on_timeout: fail", "failed: nobody decided within 24h (approval_timed_out)", None),
    ] {
        let (it, run) = asked(&rule(with, "")).await;
        it.advance(DAY).await;
        assert_eq!((it.ends().await, tags(&it).first().map(String::as_str)), (vec![end.to_owned()], tag), "{with}");
        let late = says(&it, run, "ana", yes()).await;
        let told = |told: &str| told.contains("waits for nobody any more since 2026-11-24T09:00:01Z");
        assert!(matches!(&late, Err(EngineError::Conflict(it)) if told(it)), "{late:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_people_exactly_one_decides() {
    for _ in 0..10 {
        let (it, run) = asked(&rule("", "")).await;
        let (ana, ben) = tokio::join!(says(&it, run, "ana", yes()), says(&it, run, "ben", no("never")));
        let (first, second, end, what) = match (ana, ben) {
            (Ok(_), Err(second)) => ("ana", second, "done", "accepted it"),
            (Err(second), Ok(_)) => ("ben", second, "declined", "rejected it: never"),
            other => panic!("{other:?}"),
        };
        assert_eq!(it.ends().await, [end]);
        let told = format!("{run}/ok is decided: {first} {what} at 2026-11-23T09:00:00Z");
        assert!(matches!(&second, EngineError::Conflict(it) if *it == told), "{second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_says_why() {
    let (it, run) = asked(&rule("", "")).await;
    let decide = async |run: RunId, path: &str, says: Says| {
        let decision = Decision { run, path: path.into(), by: "ana".into(), says };
        it.app.engine.command(&acme(), Command::Decide(decision)).await.expect_err("it cannot be decided")
    };
    assert!(matches!(decide(RunId(7), "ok", yes()).await, EngineError::NotFound(_)));
    assert!(matches!(decide(run, "tag", yes()).await, EngineError::NotFound(_)));
    let happened = Says::Happened { answer: Json::Null };
    assert!(matches!(decide(run, "ok", happened).await, EngineError::Invalid(_)));
    for text in ["", " \n", &"x".repeat(20_001)] {
        assert!(matches!(decide(run, "ok", Says::Accept { text: Some(text.into()) }).await, EngineError::Invalid(_)));
    }
    assert!(matches!(decide(run, "ok", no(&"x".repeat(2_001))).await, EngineError::Invalid(_)));
    assert_eq!(it.ends().await, ["waiting"], "nothing was done");
    assert_eq!(says(&it, run, "ana", yes()).await.expect("decided"), "approved");

    // A call of which nobody can tell has no text, and its answer is that of its capability.
    let thanks = "
id: thanks
status: live
triggers: [{ event: order.created }]
allow: [message.send]
steps:
  - { id: ok, uses: message.send, with: { subject: Thanks, text: Hello } }
";
    let it = TestApp::start(&[("thanks.yaml", thanks)]).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    let run = it.runs().await[0].id;
    let wrong = [Says::Accept { text: Some("other".into()) }, Says::Happened { answer: json!({ "message_id": 7 }) }];
    for wrong in wrong {
        assert!(matches!(says(&it, run, "ana", wrong).await, Err(EngineError::Invalid(_))));
    }
    let happened = Says::Happened { answer: Json::Null };
    assert_eq!(says(&it, run, "ana", happened.clone()).await.expect("decided"), "taken as done");
    let second = says(&it, run, "ben", happened).await;
    let told = |told: &str| told.contains("ana said that it happened at");
    assert!(matches!(&second, Err(EngineError::Conflict(it)) if told(it)), "{second:?}");
    assert_eq!(it.ends().await, ["done"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_person_lets_others_pass_and_may_be_replaced() {
    let one_lane = |overlap: &str| format!("{}key: '\"all\"'\noverlap: {overlap}\n", rule("", ""));
    let (it, first) = asked(&one_lane("queue")).await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["waiting", "waiting"]);
    let second = it.runs().await[1].id;
    says(&it, second, "ana", yes()).await.expect("decided");
    assert_eq!(it.ends().await, ["waiting", "done"]);
    says(&it, first, "ana", yes()).await.expect("decided");
    assert_eq!(it.ends().await, ["done", "done"]);

    let (it, first) = asked(&one_lane("restart")).await;
    it.order(&order(2, 10)).await;
    it.settle().await;
    assert_eq!(it.ends().await, ["replaced", "waiting"]);
    let late = says(&it, first, "ana", yes()).await;
    assert!(matches!(&late, Err(EngineError::Conflict(it)) if it.contains("the run was over")), "{late:?}");
}

/// Runs the program against this server.
async fn storehand(it: &TestApp, args: &[&str], typed: &str) -> (i32, String, String) {
    let token = it.app.first_token.as_ref().expect("the first token").reveal();
    let mut program = Program::new(env!("CARGO_BIN_EXE_storehand"));
    program
        .args(args)
        .env_clear()
        .env("STOREHAND_URL", format!("http://{}", it.app.address))
        .env("STOREHAND_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let typed = typed.to_owned();
    let run = move || {
        let mut program = program.spawn().expect("storehand");
        // It may end without having read.
        let _ = program.stdin.take().expect("stdin").write_all(typed.as_bytes());
        program.wait_with_output().expect("it ends")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_what_waits_and_decides_it() {
    let thanks = "
id: thanks
status: live
triggers: [{ event: order.created }]
allow: [message.send]
steps:
  - { id: send, uses: message.send, with: { subject: Thanks, text: Hello } }
";
    let it = TestApp::start(&[("big.yaml", &rule("", "")), ("thanks.yaml", thanks)]).await;
    let (code, said, told) = storehand(&it, &["approvals", "list"], "").await;
    assert_eq!((code, said.trim()), (0, "nothing waits for a person"), "{told}");
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    it.order(&order(1, 10)).await;
    it.settle().await;
    let runs = it.runs().await;
    let id =
        |rule: &str, path: &str| format!("{}/{path}", runs.iter().find(|run| &*run.rule == rule).expect("a run").id);
    let (ok, send) = (id("big", "ok"), id("thanks", "send"));

    let (code, said, told) = storehand(&it, &["approvals", "list"], "").await;
    assert_eq!(code, 0, "{told}");
    for part in [
        &*format!("{ok}  approval, asked of support\n  rule big on order/"),
        ", since 2026-11-23T09:00:00Z\n    | tag #1\n  accept      the run goes on with this text",
        "otherwise   at 2026-11-24T09:00:00Z it counts as rejected",
        &*format!("{send}  unknown: `message.send`, and nobody can tell whether it happened"),
        "--happened  it did: the run goes on",
        "reject      leave it: the call fails as `unknown_given_up`",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let (_, said, _) = storehand(&it, &["approvals", "list", "--json", "--limit", "1"], "").await;
    let listed: Json = serde_json::from_str(&said).expect("json");
    assert_eq!(listed["approvals"].as_array().map(Vec::len), Some(1), "{said}");

    let (code, said, told) = storehand(&it, &["approvals", "accept", &ok, "--text", "-"], "very big\n").await;
    assert_eq!((code, said.trim()), (0, &*format!("{ok}: approved with your text")), "{told}");
    let (code, _, told) = storehand(&it, &["approvals", "reject", &ok, "--because", "no"], "").await;
    assert!(code == 1 && told.contains("409") && told.contains("first accepted it with another text at"), "{told}");
    assert!(told.contains("hint: look again how it stands"), "{told}");
    let (code, said, _) = storehand(&it, &["approvals", "accept", &send, "--happened"], "").await;
    assert_eq!((code, said.trim()), (0, &*format!("{send}: taken as done")));
    it.settle().await;
    assert_eq!((it.ends().await, tags(&it)), (vec!["done".to_owned(); 2], vec!["very big".to_owned()]));

    for (args, part) in [
        (vec!["approvals", "accept", "nonsense"], "hint: write it as `storehand approvals list` does"),
        (vec!["approvals", "accept", "run_x/ok"], "is not a run id"),
        (vec!["approvals", "reject", "run_0000000000007/ok"], "there is no run run_0000000000007"),
    ] {
        let (code, _, told) = storehand(&it, &args, "").await;
        assert!(code == 1 && told.contains(part), "{args:?}: {told}");
    }
}
