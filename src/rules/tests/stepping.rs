//! Steps: what they ask, what their answers are, how they end.

use serde_json::json;

use super::*;
use crate::domain::{Failure, Retry};
use crate::rules::advance::{MOST_CALLS, Outcome};
use crate::rules::names::Ty;
use crate::rules::rule::{OnError, OnViolation, Step, With};
use crate::rules::template::Template;

fn template(text: &str) -> Template {
    in_step(text, Template::compile)
}

/// Compiles what stands in a step that has an `item`.
fn in_step<T>(text: &str, compile: impl FnOnce(&str, &Scope<'_>) -> Result<T, Vec<Mistake>>) -> T {
    with_scope(&["draft", "ok", "lines"], |scope| compile(text, &Scope { item: Some(&Ty::Any), ..*scope }))
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
        for_each: None,
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
fn a_text_that_was_held_back_is_shown_to_a_person() {
    let approval = |fallback: Option<&str>| OnViolation::Approval {
        to: "support".into(),
        timeout: "2h".into(),
        fallback: fallback.map(template),
    };
    let steps = |on_error, fallback| {
        let on_violation = Some(approval(fallback));
        let draft = Step { on_violation, on_error, ..step("draft", "model.write", json!({})) };
        vec![draft, step("ok", "message.send", json!({ "it": "{{ steps.draft }}" }))]
    };
    let held = |code: &str| {
        let mut failure = Failure::new(code, "it names 20 EUR");
        failure.detail = json!({ "text": "That is 20 EUR." });
        let mut door = TestDoor::default();
        door.answers.insert("draft".into(), Answer::Failed(failure));
        door
    };
    let (progress, door) = go(steps(None, None), held("policy_violation"));
    assert_eq!(progress, Progress::Waiting);
    let asked = json!({ "to": "support", "show": "That is 20 EUR.", "why": "it names 20 EUR", "timeout": "2h",
                        "assume": "rejected" });
    assert_eq!(door.input("draft/approval"), &asked);

    let mut door = held("policy_violation");
    let said = json!({ "decision": "approved", "text": "Dear Ana", "edited": true, "by": "bo" });
    door.answers.insert("draft/approval".into(), Answer::Done(said));
    let (_, door) = go(steps(None, None), door);
    let answer = json!({ "text": "Dear Ana", "edited": true, "approved_by": "bo", "violation": "it names 20 EUR" });
    assert_eq!(door.input("ok"), &json!({ "it": answer }));

    let mut door = held("policy_violation");
    door.answers.insert("draft/approval".into(), Answer::Failed(Failure::new("declined", "no")));
    assert_eq!(go(steps(None, Some("Hello")), door).0, Progress::Ended(Outcome::Declined));
    // Nobody wrote a text, so there is none to show.
    let (_, door) = go(steps(None, Some("Hello")), failing("draft", "no_model"));
    assert_eq!(door.input("ok")["it"]["text"], "Hello");
    let (progress, _) = go(steps(Some(OnError::Stop), None), failing("draft", "no_model"));
    assert_eq!(progress, done());
}

/// A step for each of a list, and one that shows what came of it.
fn each(list: &str, when: Option<&str>, input: Json) -> Vec<Step> {
    let when = when.map(|when| in_step(when, Expr::compile));
    let lines = Step { for_each: Some(expr(list)), when, ..step("lines", "order.get", input) };
    vec![lines, step("last", "log", json!({ "it": "{{ steps.lines }}" }))]
}

#[test]
fn a_step_is_made_for_each_item_one_after_another() {
    let steps = || each("order.lines", None, json!({ "id": "{{ item.sku }}", "text": "{{ item.quantity }} of it" }));
    let (progress, door) = go(steps(), TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["lines/1"]));
    assert_eq!(door.input("lines/1"), &json!({ "id": "TEA-1", "text": "2 of it" }));
    assert_eq!(door.asked[0].3.label.as_deref(), Some("lines"));
    let (progress, door) = go(steps(), TestDoor::answering(&[("lines/1", json!({ "n": 1 }))]));
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["lines/1", "lines/2"]));
    assert_eq!(door.input("lines/2"), &json!({ "id": "POT-9", "text": "1 of it" }));
    let answers = [("lines/1", json!({ "n": 1 })), ("lines/2", json!({ "n": 2 }))];
    let (_, door) = go(steps(), TestDoor::answering(&answers));
    assert_eq!(door.input("last"), &json!({ "it": [{ "n": 1 }, { "n": 2 }] }));
}

#[test]
fn an_item_whose_if_does_not_hold_is_left_out_and_answers_nothing() {
    let steps = each("order.lines", Some("item.quantity == 1"), json!({}));
    let (_, door) = go(steps, TestDoor::answering(&[("lines/2", json!({ "n": 2 }))]));
    assert_eq!(door.paths(), ["lines/2", "last"]);
    assert_eq!(door.input("last"), &json!({ "it": [null, { "n": 2 }] }));
    let (_, door) = go(each("order.lines.filter(|line| line.quantity > 5)", None, json!({})), TestDoor::default());
    assert_eq!((door.paths(), door.input("last")), (vec!["last"], &json!({ "it": [] })));
}

#[test]
fn the_items_may_be_texts_or_an_earlier_steps_answers() {
    let (_, door) = go(each("order.tags", None, json!({ "id": "{{ item }}" })), TestDoor::default());
    assert_eq!(door.input("lines/1"), &json!({ "id": "vip" }));
    let mut steps = each("steps.draft.found", None, json!({ "id": "{{ item.id }}" }));
    steps.insert(0, step("draft", "log", json!({})));
    let found = json!({ "found": [{ "id": "a" }, { "id": "b" }] });
    let (_, door) = go(steps, TestDoor::answering(&[("draft", found), ("lines/1", json!({}))]));
    assert_eq!(door.input("lines/2"), &json!({ "id": "b" }));
}

#[test]
fn each_item_fails_as_the_step_says() {
    let door = || {
        let mut door = failing("lines/1", "refused");
        door.answers.insert("lines/2".into(), Answer::Done(json!({ "n": 2 })));
        door
    };
    let steps = |on_error| {
        let [lines, last] = <[Step; 2]>::try_from(each("order.lines", None, json!({}))).expect("two");
        vec![Step { on_error, ..lines }, last]
    };
    let (progress, _) = go(steps(None), door());
    assert_eq!(progress, Progress::Ended(Outcome::Failed(Failure::new("refused", "it broke"))));
    let (progress, door_after) = go(steps(Some(OnError::Stop)), door());
    assert_eq!((progress, door_after.paths()), (done(), vec!["lines/1"]));
    let instead = With::Template(template("{{ item.sku }}"));
    let (_, door) = go(steps(Some(OnError::Use(instead))), door());
    assert_eq!(door.input("last"), &json!({ "it": ["TEA-1", { "n": 2 }] }));
}

#[test]
fn a_list_that_is_none_or_too_long_fails_the_run() {
    let failure = |list: &str, facts: &Facts| {
        let (progress, door) = advance(&rule(Body::Steps(each(list, None, json!({})))), facts, TestDoor::default());
        assert!(door.asked.is_empty(), "{list}: {:?}", door.asked);
        let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{list}: {progress:?}") };
        (failure.code, failure.message)
    };
    let long = format!("[{}]", "1, ".repeat(251));
    for (list, code, message) in [
        ("steps.draft", "missing_value", "steps.draft is not known"),
        ("steps.draft ?? 5", "expression_error", "`for_each: steps.draft ?? 5` gives `5`, and a list belongs there"),
        (&*long, "too_many_items", "gives 251 items, and a step is made for 250 at most"),
    ] {
        let found = failure(list, &facts());
        assert!(found.0 == code && found.1.contains(message), "{list}: {found:?}");
    }
    let found = failure("order.lines", &facts_without_order());
    assert_eq!(found, ("missing_value".into(), "order.lines (order 1042 not known) is not known".into()));
}

#[test]
fn a_run_makes_a_bounded_number_of_calls() {
    let list = format!("[{}]", "0, ".repeat(250));
    let many = |i: usize| Step {
        for_each: Some(expr(&list)),
        on_error: Some(OnError::Continue),
        ..step(&format!("s{i}"), "log", json!({}))
    };
    /// Refuses everything at once.
    struct Refusing(usize);
    impl Door for Refusing {
        fn ask(&mut self, _: &str, _: &str, _: Json, _: AskOptions) -> Asked {
            self.0 += 1;
            Asked::Answered(Answer::Failed(Failure::new("refused", "no")))
        }
    }
    let steps: Vec<Step> = (0..5).map(many).collect();
    let (progress, door) = advance(&rule(Body::Steps(steps)), &facts(), Refusing(0));
    let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{progress:?}") };
    assert_eq!((failure.code.as_str(), door.0), ("too_many_calls", MOST_CALLS));
}

#[test]
fn what_an_item_lacks_is_said() {
    let (progress, _) = go(each("order.lines", None, json!({ "id": "{{ item.name }}" })), TestDoor::default());
    let Progress::Ended(Outcome::Failed(failure)) = progress else { panic!("{progress:?}") };
    assert_eq!(failure.message, "item.name is not known");
}

#[test]
fn retries_are_handed_on() {
    let retry = Retry { attempts: 5, ..Retry::default() };
    let (_, door) = go(vec![Step { retry: Some(retry), ..step("one", "log", json!({})) }], TestDoor::default());
    assert_eq!(door.asked[0].3, AskOptions { retry: Some(retry), label: Some("one".into()), ..AskOptions::default() });
}
