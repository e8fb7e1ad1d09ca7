//! Runs that failed: listed until somebody has them go on, from the call that failed, or drops them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use storehand::demo::Fault;
use storehand::domain::Says;
use storehand::domain::{Answer, CallState, RunId};
use storehand::engine::{Command, Decision};

use crate::faults::{beside, say};
use crate::person::Person;
use crate::support::{TestApp, acme, order};

/// A tag, then a mail.
const GREET: &str = "
id: greet
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
steps:
  - { id: tag, uses: order.tag, with: { tags: [seen] }, retry: { attempts: 2, first: 5s, max: 5s } }
  - { id: send, uses: message.send, with: { subject: Thanks, text: \"Hello {{ customer.first_name }}\" } }
";

fn asked(it: &TestApp, what: &str) -> usize {
    it.shop.calls().iter().filter(|call| call.what == what).count()
}

async fn placed(it: &TestApp, number: u32) {
    it.order(&order(number, 10)).await;
    it.settle().await;
}

/// The ids and codes of the runs that are dead, newest first, as a list says it.
async fn dead(ana: &Person, it: &TestApp, narrowed: &str) -> Vec<(String, String)> {
    let list = ana.ask(it, &format!("/v1/runs?dead=true{narrowed}")).await;
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let row = |run: &Json| (text(&run["id"]), text(&run["end"]["failure"]["code"]));
    let rows: Vec<_> = list["runs"].as_array().expect("runs").iter().map(row).collect();
    assert_eq!(list["total"].as_u64(), Some(rows.len() as u64));
    rows
}

async fn retry(ana: &Person, it: &TestApp, run: impl std::fmt::Display) -> (u16, Json) {
    ana.tell(it, &format!("/v1/runs/{run}/retry"), &json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_goes_on_from_the_call_that_failed_it() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("mail", [Fault::Status(450)]);
    placed(&it, 1).await;
    assert!(it.ends().await[0].starts_with("failed"), "{:?}", it.ends().await);
    let run = it.runs().await[0].id;
    assert_eq!(dead(&ana, &it, "").await, [(run.to_string(), "mail_refused".to_owned())]);

    let it = it.restart().await;
    let (status, answer) = retry(&ana, &it, run).await;
    assert_eq!(
        (status, answer),
        (200, json!({ "runs": [{ "run": run, "what": "goes on at `send`", "left": false }] }))
    );
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!((asked(&it, "tagsAdd"), it.shop.mails().len()), (1, 1), "what was done is not done again");
    assert_eq!(dead(&ana, &it, "").await, []);
    let call = it.runs().await[0].call("send").cloned().expect("the call");
    assert!(call.log.iter().any(|line| line.what.contains("mail_refused") && line.what.contains("ana")), "{call:?}");

    let (status, problem) = retry(&ana, &it, run).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(it.shop.mails().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn used_up_retries_begin_anew_and_may_be_used_up_again() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("tagsAdd", [Fault::Status(502); 5]);
    placed(&it, 1).await;
    it.advance(Duration::from_secs(10)).await;
    let run = it.runs().await[0].id;
    for tried in [2, 4] {
        assert_eq!(asked(&it, "tagsAdd"), tried);
        assert_eq!(dead(&ana, &it, "").await, [(run.to_string(), "retries_used_up".to_owned())]);
        assert_eq!(retry(&ana, &it, run).await.0, 200);
        it.settle().await;
        it.advance(Duration::from_secs(10)).await;
    }
    assert_eq!((it.ends().await, asked(&it, "tagsAdd")), (vec!["done".to_owned()], 6));
    assert_eq!(it.shop.orders()[0].tags, ["seen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rule_itself_got_wrong_is_not_retried_and_says_so() {
    let broken = GREET.replace("Hello {{ customer.first_name }}", "{{ order.total / (order.total - order.total) }}");
    let it = TestApp::start(&[("greet.yaml", &broken)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1).await;
    let run = it.runs().await[0].id;
    let (status, problem) = retry(&ana, &it, run).await;
    assert_eq!(status, 409);
    let told = problem["detail"].as_str().unwrap_or_default();
    assert!(told.contains("the rule itself") && told.contains("activate a mended version"), "{told}");
    assert_eq!(dead(&ana, &it, "").await.len(), 1, "it stays dead");
    assert_eq!(asked(&it, "tagsAdd"), 1);

    ana.does(&it, &format!("/v1/runs/{run}/drop"), &json!({})).await;
    assert_eq!(dead(&ana, &it, "").await, []);
    assert_eq!(retry(&ana, &it, run).await.0, 409, "what was dropped is not retried");
    assert_eq!(ana.tell(&it, "/v1/runs/run_0000000000001/drop", &json!({})).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_door_refused_is_refused_again() {
    let wrong = GREET.replace("tags: [seen]", "tags: [\"{{ order.note }}\"]");
    let it = TestApp::start(&[("greet.yaml", &wrong)]).await;
    let ana = Person::named("ana", &it).await;
    it.order(&storehand::demo::DemoOrder { note: Some("a, b".into()), ..order(1, 10) }).await;
    it.settle().await;
    let run = it.runs().await[0].id;
    assert_eq!(dead(&ana, &it, "").await, [(run.to_string(), "invalid_input".to_owned())]);
    let (status, problem) = retry(&ana, &it, run).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().is_some_and(|told| told.contains("refused again")), "{problem}");
    assert_eq!(asked(&it, "tagsAdd"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_kind_are_retried_or_dropped_and_the_others_stay() {
    let other = GREET.replace("id: greet", "id: other").replace("subject: Thanks", "subject: Other");
    let broken = GREET.replace("id: greet", "id: broken").replace("{{ customer.first_name }}", "{{ 1 / 0 }}");
    let it = TestApp::start(&[("greet.yaml", GREET), ("other.yaml", &other), ("broken.yaml", &broken)]).await;
    let ana = Person::named("ana", &it).await;
    // Both rules' mails are refused, for each of three orders.
    it.shop.fail_next("mail", [Fault::Status(450); 6]);
    for number in 1..=3 {
        placed(&it, number).await;
    }
    assert_eq!(dead(&ana, &it, "").await.len(), 9);
    assert_eq!(dead(&ana, &it, "&code=mail_refused").await.len(), 6);
    assert_eq!(dead(&ana, &it, "&code=mail_refused&rule=greet").await.len(), 3);

    let answer = ana.does(&it, "/v1/runs/dead/retry?rule=greet&code=mail_refused", &json!({})).await;
    let went: Vec<&Json> = answer["runs"].as_array().expect("runs").iter().map(|run| &run["what"]).collect();
    assert_eq!(went, ["goes on at `send`"; 3]);
    it.settle().await;
    assert_eq!(it.shop.mails().iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>(), ["Thanks"; 3]);
    let answer = ana.does(&it, "/v1/runs/dead/drop?rule=other", &json!({})).await;
    assert_eq!(answer["runs"].as_array().map(Vec::len), Some(3));
    let left = dead(&ana, &it, "").await;
    assert_eq!((left.len(), dead(&ana, &it, "&rule=broken").await.len()), (3, 3));

    // Of those that are left, none can go on: all are told, and none is touched.
    let answer = ana.does(&it, "/v1/runs/dead/retry", &json!({})).await;
    assert!(answer["runs"].as_array().expect("runs").iter().all(|run| run["left"] == true), "{answer}");
    assert_eq!(dead(&ana, &it, "").await, left);
    assert_eq!(it.shop.mails().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_that_was_given_up_is_put_before_a_person_again_and_never_repeated_by_itself() {
    let it = TestApp::start(&[("greet.yaml", GREET)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("mail", [Fault::LoseAnswer]);
    placed(&it, 1).await;
    let run = it.runs().await[0].id;
    assert_eq!(dead(&ana, &it, "").await, [], "a lost answer is no failure");
    decide(&it, run, Says::Reject { because: None }).await;
    assert_eq!(dead(&ana, &it, "").await.len(), 1);

    assert_eq!(retry(&ana, &it, run).await.0, 200);
    it.settle().await;
    it.advance(Duration::from_secs(86_400)).await;
    let it = it.restart().await;
    it.settle().await;
    let call = it.runs().await[0].call("send").cloned().expect("the call");
    assert_eq!((call.state, call.answer, it.shop.mails().len()), (CallState::Unknown, None, 1));
    decide(&it, run, Says::Happened { answer: json!({ "message_id": "m" }) }).await;
    assert_eq!((it.ends().await, it.shop.mails().len()), (vec!["done".to_owned()], 1));
}

async fn decide(it: &TestApp, run: RunId, says: Says) {
    let decision = Decision { run, path: "send".into(), by: "ana".into(), says };
    it.app.engine.command(&acme(), Command::Decide(decision)).await.expect("decided");
    it.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_the_rule_handled_is_not_what_is_retried() {
    let rule = "
id: script
status: live
triggers: [{ event: order.created }]
allow: [order.tag, message.send]
script: it.rhai
";
    // Both fail in the same words; the first is handled, the second ends the run.
    let script = "
try { ask(\"message.send\", #{ subject: \"One\", text: \"Hello\" }, #{ id: \"one\" }); } catch (e) { }
ask(\"message.send\", #{ subject: \"Two\", text: \"Hello\" }, #{ id: \"two\" });
";
    let it = TestApp::start(&[("it.yaml", rule), ("it.rhai", script)]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("mail", [Fault::Status(450); 2]);
    placed(&it, 1).await;
    let run = it.runs().await[0].id;
    let (_, answer) = retry(&ana, &it, run).await;
    assert_eq!(answer["runs"][0]["what"], "goes on at `two`");
    it.settle().await;
    assert_eq!(it.ends().await, ["done"]);
    assert_eq!(it.shop.mails().iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>(), ["Two"]);
    let run = it.runs().await.remove(0);
    assert!(matches!(run.call("one").and_then(|call| call.answer.clone()), Some(Answer::Failed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_version_could_not_be_read_goes_on_once_it_can_with_what_has_come_meanwhile() {
    let rule = "id: paid\nstatus: live\ntriggers: [{ event: order.created }]\nallow: [message.send]\nsteps:\n\
                \x20 - { id: paid, uses: wait_for, with: { event: order.paid, within: 2h } }\n\
                \x20 - { uses: message.send, with: { subject: \"late: {{ steps.paid.timed_out }}\", text: Hello } }\n";
    let it = TestApp::start(&[("paid.yaml", rule)]).await;
    let ana = Person::named("ana", &it).await;
    placed(&it, 1).await;
    let (run, first) = (it.runs().await[0].id, it.rule("paid").await["live"]["version"].clone());
    it.save("paid.yaml", &rule.replace("text: Hello", "text: Other"));
    it.until("paid", |rule| rule["live"]["version"] != first).await;
    // As it would be of a release that does not know the version's words any more.
    let (version, file) = (first.as_str().expect("a version"), beside(&it).await);
    say(&file, &format!("UPDATE rule_versions SET bundle = 'x' || bundle WHERE version = '{version}'")).await;
    let it = it.restart().await;
    assert_eq!(it.deliver(&it.signer.order("orders/paid", &order(1, 10), it.now())).await, 200);
    it.settle().await;
    assert_eq!(dead(&ana, &it, "").await, [(run.to_string(), "version_unreadable".to_owned())]);
    let (status, problem) = retry(&ana, &it, run).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().is_some_and(|told| told.contains("cannot be read any more")), "{problem}");

    say(&file, &format!("UPDATE rule_versions SET bundle = substr(bundle, 2) WHERE version = '{version}'")).await;
    it.advance(Duration::from_secs(600)).await;
    let (status, answer) = retry(&ana, &it, run).await;
    assert_eq!((status, &answer["runs"][0]["what"]), (200, &json!("goes on at `paid`")));
    it.settle().await;
    let mails: Vec<String> = it.shop.mails().iter().map(|mail| mail.subject.clone()).collect();
    assert_eq!((it.ends().await, mails), (vec!["done".to_owned()], vec!["late: false".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_run_waits_for_its_lane_and_for_its_rule_to_be_resumed() {
    let it = TestApp::start(&[("greet.yaml", &GREET.replace("steps:", "key: '\"all\"'\nsteps:"))]).await;
    let ana = Person::named("ana", &it).await;
    it.shop.fail_next("mail", [Fault::Status(450)]);
    placed(&it, 1).await;
    // The next one holds the lane: its tag is to be tried again.
    it.shop.fail_next("tagsAdd", [Fault::Throttle]);
    placed(&it, 2).await;
    let run = it.runs().await[0].id;
    assert_eq!(retry(&ana, &it, run).await.0, 200);
    it.settle().await;
    assert_eq!((it.ends().await, it.shop.mails().len()), (vec!["queued".to_owned(), "active".to_owned()], 0));
    let it = it.restart().await;
    it.settle().await;
    assert_eq!(it.ends().await, ["queued", "active"]);
    ana.does(&it, "/v1/rules/greet/pause", &json!({})).await;
    it.advance(Duration::from_secs(10)).await;
    assert_eq!((it.ends().await, it.shop.mails().len()), (vec!["waiting".to_owned(); 2], 0));
    ana.does(&it, "/v1/rules/greet/resume", &json!({})).await;
    it.settle().await;
    assert_eq!((it.ends().await, it.shop.mails().len()), (vec!["done".to_owned(); 2], 2));
    assert_eq!(asked(&it, "tagsAdd"), 3);
}
