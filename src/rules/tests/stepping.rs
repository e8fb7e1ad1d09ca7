//! Steps: what they ask, what their answers are, how they end.

use serde_json::json;

use super::*;
use crate::domain::{Failure, Retry};
use crate::rules::advance::Outcome;
use crate::rules::rule::{OnError, OnViolation, Step, With};
use crate::rules::template::Template;

fn template(text: &str) -> Template {
    with_scope(&["draft", "ok"], |scope| Template::compile(text, scope))
        .unwrap_or_else(|found| panic!("{text}: {found:?}"))
}

fn with(json: &Json) -> With {
    match json {
        Json::String(text) if Template::is_template(text) => With::Template(template(text)),
        Json::Array(items) => With::List(items.iter().map(with).collect()),
        Json::Object(map) => With::Map(map.iter().map(|(key, value)| (key.clone(), with(value))).collect()),
        other => With::Plain(other.clone()),
    }
}

fn step(id: &str, uses: &str, input: Json) -> Step {
    let with = with(&input);
    Step {
        id: id.into(),
        uses: uses.into(),
        with,
        when: None,
        retry: None,
        on_error: None,
        on_violation: None,
        line: 1,
    }
}

fn go(steps: Vec<Step>, door: TestDoor) -> (Progress, TestDoor) {
    advance(&rule(Body::Steps(steps)), &facts(), door)
}

fn failing(path: &str, code: &str) -> TestDoor {
    let mut door = TestDoor::default();
    door.answers.insert(path.into(), Answer::Failed(Failure::new(code, "it broke")));
    door
}

fn done() -> Progress {
    Progress::Ended(Outcome::Done)
}

#[test]
fn steps_go_one_after_another_and_see_earlier_answers() {
    let steps = || {
        vec![
            step("draft", "model.write", json!({ "prompt": "Answer {{ customer.name }} about {{ order.name }}" })),
            step("2", "wait", json!({ "for": "10m" })),
            step("send", "message.send", json!({ "text": "{{ steps.draft.text }}", "n": "{{ order.lines.len() }}" })),
        ]
    };
    let (progress, door) = go(steps(), TestDoor::default());
    assert_eq!(progress, Progress::Waiting);
    assert_eq!(door.paths(), ["draft"]);
    assert_eq!(door.input("draft"), &json!({ "prompt": "Answer Ana Lima about #1042" }));
    let draft = ("draft", json!({ "text": "Hello Ana" }));
    let (_, door) = go(steps(), TestDoor::answering(std::slice::from_ref(&draft)));
    assert_eq!(door.paths(), ["draft", "2"]);
    let (progress, door) = go(steps(), TestDoor::answering(&[draft, ("2", json!({})), ("send", json!({}))]));
    assert_eq!(progress, done());
    assert_eq!(door.input("send"), &json!({ "text": "Hello Ana", "n": 2 }));
    assert_eq!(door.asked[2].3.label.as_deref(), Some("send"));
}

#[test]
fn one_expression_keeps_its_type_and_text_reads_like_people_write() {
    let input = json!({
        "money": "{{ order.total }}",
        "half": "{{ 1.5 }}",
        "third": "{{ 0.1234567890123456789 }}",
        "tags": "{{ order.tags }}",
        "when": "{{ order.created_at }}",
        "line": "{{ order.lines[0] }}",
        "flag": "{{ \"vip\" in order.tags }}",
        "map": "{{ #{a: #{b: 1}} }}",
        "text": "{{ order.total }}/{{ order.tags }}/{{ 3 }}/{{ \"}}\" }}/{{ '}' }}",
        "plain": "no {braces}",
        "list": ["{{ 1 }}", { "deep": "{{ order.id }}" }],
    });
    let (_, door) = go(vec![step("one", "log", input)], TestDoor::default());
    assert_eq!(
        door.input("one"),
        &json!({
            "money": "120.00 EUR",
            "half": 1.5,
            "third": "0.1234567890123456789",
            "tags": ["vip", "fragile"],
            "when": "2026-11-20T10:00:00Z",
            "line": { "sku": "TEA-1", "quantity": 2, "total": "20.00 EUR", "unit_price": "10.00 EUR" },
            "flag": true,
            "map": { "a": { "b": 1 } },
            "text": "120.00 EUR/vip, fragile/3/}}/}",
            "plain": "no {braces}",
            "list": [1, { "deep": "1042" }],
        })
    );
}

#[test]
fn what_is_missing_fails_the_step_and_says_what() {
    for (text, message) in [
        ("Hello {{ customer.email }}", "customer.email is not known"),
        ("{{ order.note }}", "order.note is not known"),
        ("{{ order.note.to_upper() }}!", "order.note is not known"),
        ("{{ \"Note: \" + order.note }}", "order.note is not known"),
        ("{{ steps.ok.text }}", "steps.ok.text is not known"),
    ] {
        let (progress, door) = go(vec![step("one", "message.send", json!({ "text": text }))], TestDoor::default());
        assert!(door.asked.is_empty(), "{text}: {:?}", door.asked);
        let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{text}: {progress:?}") };
        assert_eq!((failure.code.as_str(), failure.message.as_str()), ("missing_value", message), "{text}");
    }
    let step = step("one", "message.send", json!({ "text": "{{ order.name }}" }));
    let (progress, _) = advance(&rule(Body::Steps(vec![step])), &facts_without_order(), TestDoor::default());
    let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{progress:?}") };
    assert_eq!(failure.message, "order.name (order 1042 not known) is not known");
}

#[test]
fn a_record_is_no_text() {
    let (progress, _) = go(vec![step("one", "log", json!({ "message": "It is {{ order }}" }))], TestDoor::default());
    let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{progress:?}") };
    assert_eq!(failure.code, "expression_error");
}

#[test]
fn a_step_whose_if_does_not_hold_is_passed_over() {
    let when = |text: &str| Step { when: Some(expr(text)), ..step("draft", "log", json!({})) };
    let last = || step("last", "log", json!({ "it": "{{ steps.draft.text ?? \"none\" }}" }));
    for text in ["returned.total > inputs.limit", "order.tax > inputs.limit", "order.total > inputs.dollars"] {
        let (_, door) = go(vec![when(text), last()], TestDoor::default());
        assert_eq!(door.paths(), ["last"], "{text}");
        assert_eq!(door.input("last"), &json!({ "it": "none" }));
    }
    let (_, door) = go(vec![when("returned.total < inputs.limit"), last()], TestDoor::default());
    assert_eq!(door.paths(), ["draft"]);
    let (progress, _) = go(vec![when("steps.ok ?? 5")], TestDoor::default());
    assert!(matches!(progress, Progress::Ended(Outcome::Failed(it)) if it.code == "expression_error"));
}

#[test]
fn failures_are_handled_as_the_step_says() {
    let first = |on_error| Step { on_error, ..step("draft", "message.send", json!({})) };
    let last = || step("ok", "log", json!({ "it": "{{ steps.draft }}" }));
    let (progress, _) = go(vec![first(None), last()], failing("draft", "refused"));
    assert_eq!(progress, Progress::Ended(Outcome::Failed(Failure::new("refused", "it broke"))));
    let (_, door) = go(vec![first(Some(OnError::Continue)), last()], failing("draft", "refused"));
    assert_eq!(door.input("ok"), &json!({ "it": { "error": { "code": "refused", "message": "it broke" } } }));
    let (progress, door) = go(vec![first(Some(OnError::Stop)), last()], failing("draft", "refused"));
    assert_eq!((progress, door.paths()), (done(), vec!["draft"]));
    let instead = With::Map([("text".to_owned(), with(&json!("Dear {{ customer.name }}")))].into());
    let (_, door) = go(vec![first(Some(OnError::Use(instead))), last()], failing("draft", "refused"));
    assert_eq!(door.input("ok"), &json!({ "it": { "text": "Dear Ana Lima" } }));
    let (progress, _) = go(vec![first(None)], failing("draft", "declined"));
    assert_eq!(progress, Progress::Ended(Outcome::Declined));
}

#[test]
fn a_text_that_breaks_the_policy_falls_back() {
    let first = |on_violation, on_error| Step { on_violation, on_error, ..step("draft", "model.write", json!({})) };
    let last = || step("ok", "message.send", json!({ "it": "{{ steps.draft }}" }));
    let fallback = || Some(OnViolation::Fallback(template("Hello {{ customer.name }}")));
    let (_, door) = go(vec![first(fallback(), None), last()], failing("draft", "policy_violation"));
    assert_eq!(
        door.input("ok"),
        &json!({ "it": { "text": "Hello Ana Lima", "fallback": true, "violation": "it broke" } })
    );
    let fail = || Some(OnViolation::Fail);
    let (progress, _) = go(vec![first(fail(), Some(OnError::Stop))], failing("draft", "policy_violation"));
    assert!(matches!(progress, Progress::Ended(Outcome::Failed(_))), "`on_violation: fail` is nearer");
    let (progress, _) = go(vec![first(None, Some(OnError::Stop))], failing("draft", "policy_violation"));
    assert_eq!(progress, done());
    let (progress, _) = go(vec![first(fallback(), None)], failing("draft", "refused"));
    assert!(matches!(progress, Progress::Ended(Outcome::Failed(_))), "another failure is no violation");
}

#[test]
fn retries_are_handed_on() {
    let retry = Retry { attempts: 5, ..Retry::default() };
    let (_, door) = go(vec![Step { retry: Some(retry), ..step("one", "log", json!({})) }], TestDoor::default());
    assert_eq!(door.asked[0].3, AskOptions { retry: Some(retry), label: Some("one".into()) });
}
