//! Scripts: calls and their paths, branches, failures, stopping.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::domain::{Failure, Retry};
use crate::rules::advance::Outcome;

fn done() -> Progress {
    Progress::Ended(Outcome::Done)
}

fn failure(progress: Progress) -> Failure {
    match progress {
        Progress::Ended(Outcome::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_are_numbered_and_stop_the_script_until_there_is_an_answer() {
    let text = r#"
        let order = ask("order.get", #{ id: order.id });
        ask("order.tag", #{ tags: [`total ${order.total}`, "seen"], again: order.n + 0.5 });
        ask("log", #{ message: "done" });
    "#;
    let text = text.replace("let order", "let full").replace("order.total", "full.total").replace("order.n", "full.n");
    let (progress, door) = run_script(&text, TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1"]));
    assert_eq!(door.input("1"), &json!({ "id": "1042" }));
    let one = ("1", json!({ "total": "5.00 EUR", "n": 1 }));
    let (progress, door) = run_script(&text, TestDoor::answering(std::slice::from_ref(&one)));
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1", "2"]));
    assert_eq!(door.input("2"), &json!({ "tags": ["total 5.00 EUR", "seen"], "again": 1.5 }));
    let all = [one, ("2", json!({})), ("3", json!({}))];
    assert_eq!(run_script(&text, TestDoor::answering(&all)).0, done());
}

#[test]
fn facts_are_seen_everywhere_and_cannot_be_changed() {
    let text = r#"
        fn big(total) { total > inputs.limit && customer.name == "Ana Lima" }
        const LIMIT = 2;
        let skus = order.lines.filter(|line| line.quantity >= LIMIT || order.id == "none").map(|line| line.sku);
        ask("log", #{ big: big(order.total), skus: skus, at: now, kind: event.kind });
    "#;
    let (progress, door) = run_script(text, TestDoor::default());
    assert_eq!(progress, Progress::Waiting, "{progress:?}");
    let expected = json!({ "big": true, "skus": ["TEA-1"], "at": "2026-11-23T10:00:00Z", "kind": "return.requested" });
    assert_eq!(door.input("1"), &expected);
}

#[test]
fn try_catches_failures_and_cannot_catch_a_stop() {
    let text = r#"
        try { ask("order.tag", #{}); } catch (error) { ask("log", #{ code: error.code, message: error.message, left: error.detail.left }); }
    "#;
    let (progress, door) = run_script(text, TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1"]), "the stop went through `try`");
    let mut door = TestDoor::default();
    let failure = Failure { detail: json!({ "left": 3 }), ..Failure::new("limited", "too many today") };
    door.answers.insert("1".into(), Answer::Failed(failure));
    let (progress, door) = run_script(text, door);
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1", "2"]));
    assert_eq!(door.input("2"), &json!({ "code": "limited", "message": "too many today", "left": 3 }));
}

#[test]
fn a_failure_nobody_catches_ends_the_run() {
    let fails = |code: &str| {
        let mut door = TestDoor::default();
        door.answers.insert("1".into(), Answer::Failed(Failure::new(code, "no")));
        run_script("let x = 1;\nask(\"order.tag\", #{});", door).0
    };
    let failure = failure(fails("refused"));
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("refused", "test.rhai:2: no"));
    assert_eq!(fails("declined"), Progress::Ended(Outcome::Declined));
}

#[test]
fn what_a_script_throws_ends_the_run() {
    let thrown = |text: &str| failure(run_script(text, TestDoor::default()).0);
    assert_eq!(thrown("throw \"enough\";"), Failure::new("script_error", "test.rhai:1: enough"));
    let own = thrown("\nthrow #{ code: \"odd\", message: \"odd order\" };");
    assert_eq!((own.code.as_str(), own.message.as_str()), ("odd", "test.rhai:2: odd order"));
    assert_eq!(thrown("let x = order.lines[99];").code, "script_error");
    assert_eq!(thrown("if order.total > inputs.dollars { exit(); }").code, "script_error");
    assert_eq!(run_script("exit(); throw 1;", TestDoor::default()).0, done());
    assert_eq!(run_script("return 42;", TestDoor::default()).0, done());
    assert_eq!(run_script("if order.tax > inputs.limit { throw 1; }", TestDoor::default()).0, done());
}

#[test]
fn all_asks_for_every_branch_at_once() {
    let text = r#"
        ask("log", #{}, #{ id: "first" });
        let found = all([
            || { let a = ask("order.get", #{ id: 1 }); ask("order.get", #{ id: a.next }) },
            || ask("order.get", #{ id: 2 }, #{ id: "other" }),
            || 3,
            || all([|| ask("order.get", #{ id: 4 })]),
        ]);
        ask("order.tag", #{ found: found });
    "#;
    let first = ("first", json!({}));
    let (progress, door) = run_script(text, TestDoor::answering(std::slice::from_ref(&first)));
    assert_eq!(progress, Progress::Waiting);
    assert_eq!(door.paths(), ["first", "1/1/1", "1/2/other", "1/4/1/1/1"]);
    let answers = [first, ("1/1/1", json!({ "next": 7 })), ("1/2/other", json!({ "n": 2 })), ("1/4/1/1/1", json!(4))];
    let (_, door) = run_script(text, TestDoor::answering(&answers));
    assert_eq!(door.paths(), ["first", "1/1/1", "1/1/2", "1/2/other", "1/4/1/1/1"]);
    assert_eq!(door.input("1/1/2"), &json!({ "id": 7 }));
    let mut answers = answers.to_vec();
    answers.push(("1/1/2", json!({ "n": 1 })));
    let (progress, door) = run_script(text, TestDoor::answering(&answers));
    assert_eq!(progress, Progress::Waiting);
    assert_eq!(door.input("2"), &json!({ "found": [{ "n": 1 }, { "n": 2 }, 3, [4]] }));
}

#[test]
fn a_failed_branch_waits_for_the_others() {
    let text = r#"
        try { all([|| ask("order.tag", #{}), || ask("order.get", #{})]); }
        catch (error) { ask("log", #{ message: error.message }); }
    "#;
    let mut door = TestDoor::default();
    door.answers.insert("1/1/1".into(), Answer::Failed(Failure::new("refused", "no")));
    let (progress, asked) = run_script(text, door.clone());
    assert_eq!((progress, asked.paths()), (Progress::Waiting, vec!["1/1/1", "1/2/1"]));
    door.answers.insert("1/2/1".into(), Answer::Done(json!({})));
    let (_, asked) = run_script(text, door);
    assert_eq!(asked.paths(), ["1/1/1", "1/2/1", "2"]);
}

#[test]
fn branches_do_not_see_each_other() {
    let text = r#"
        let seen = [];
        let add = |what| seen.push(what);
        let found = all([
            || { add.call("a"); seen.push("b"); ask("log", #{ seen: seen }); seen.len() },
            || { seen.push("c"); ask("log", #{ seen: seen }); seen.len() },
        ]);
        ask("log", #{ found: found, seen: seen });
    "#;
    let (_, door) = run_script(text, TestDoor::answering(&[("1/1/1", json!({})), ("1/2/1", json!({}))]));
    assert_eq!(door.input("1/2/1"), &json!({ "seen": ["c"] }));
    assert_eq!(door.input("2"), &json!({ "found": [1, 1], "seen": [] }));
}

/// Wherever it stands, it stops the script, and nothing that the script writes around it holds the stop up.
#[test]
fn ask_may_stand_anywhere() {
    let asks = r#"ask("order.get", #{})"#;
    for text in [
        "ASK;",
        "let x = ASK.n + 1;",
        "fn f() { ASK } f();",
        "fn f(n) { if n == 0 { ASK } else { f(n - 1) } } f(5);",
        "fn f(x) { x } f(ASK);",
        "let f = || ASK; f.call();",
        "[1].map(|x| ASK);",
        "[5, 6].find(|x| ASK.n == x);",
        "[1].filter(|x| ASK.n == x);",
        "[2, 1].sort_by(|a, b| ASK.n - 2);",
        "[2, 1].order(|a, b| ASK.n < 2);",
        "[2, 2].dedup(|a, b| ASK.n == 5);",
        "let m = #{ a: 1 }; m.map(|k, v| ASK);",
        "for i in [1] { ASK; }",
        "for i in [ASK.n] {}",
        "loop { ASK; break; }",
        "while ASK.n < 5 {}",
        "do { ASK; } while false;",
        "if ASK.n == 5 {} else { throw 1; }",
        "switch ASK.n { 5 => 1, _ => throw 2 }",
        "let t = `has ${ASK.n} of ${order.name}`;",
        "let m = #{ a: [ASK] };",
        "let n = [1]; n[ASK.n - 5] += 1;",
        "let b = ASK.n == 5 && true || false;",
        "try { ASK; } catch { throw 4; }",
        "try { try { ASK; } catch { throw 5; } } catch { throw 6; }",
        "fn f() { try { ASK } catch { throw 7; } } try { f(); } catch { throw 8; }",
        "try { [2, 1].sort(|a, b| { try { ASK; } catch { throw 9; } a - b }); } catch { throw 10; }",
        "let t = \"\"; try { t += `${[1].map(|x| ASK)}`; } catch { throw 11; }",
    ] {
        let text = format!("{}\nask(\"log\", #{{}});", text.replace("ASK", asks));
        let (progress, door) = run_script(&text, TestDoor::default());
        assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1"]), "{text}");
        let (progress, door) = run_script(&text, TestDoor::answering(&[("1", json!({ "n": 5 }))]));
        assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1", "2"]), "{text}");
    }
    let twice = format!("for line in [1, 2] {{ [line].map(|x| {asks}); }}");
    let (_, door) = run_script(&twice, TestDoor::answering(&[("1", json!({}))]));
    assert_eq!(door.paths(), ["1", "2"], "calls are counted over functions and loops");
}

#[test]
fn exit_ends_the_run_wherever_it_stands() {
    for text in [
        "exit();",
        "try { exit(); } catch {}",
        "fn f() { exit(); } f();",
        "let f = || exit(); f.call();",
        "[1].map(|x| exit());",
        "[2, 1].sort(|a, b| exit());",
        "for i in [1] { exit(); }",
        "let t = `${exit()}`;",
        "all([|| exit()]);",
        "all([|| 1, || { fn_of(2) }]); fn fn_of(x) { exit(); }",
        "try { all([|| exit()]); } catch {}",
    ] {
        let text = format!("{text}\nask(\"order.tag\", #{{}});");
        let (progress, door) = run_script(&text, TestDoor::default());
        assert_eq!((progress, door.paths()), (done(), vec![]), "{text}");
    }
    // The other branches come to their end first: what they asked for is made.
    let text = "all([|| exit(), || { ask(\"log\", #{}); ask(\"log\", #{}); }]); ask(\"order.tag\", #{});";
    let (progress, door) = run_script(text, TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1/2/1"]));
    let (progress, door) = run_script(text, TestDoor::answering(&[("1/2/1", json!({})), ("1/2/2", json!({}))]));
    assert_eq!((progress, door.paths()), (done(), vec!["1/2/1", "1/2/2"]));
    // Of two branches that end the run, the first one says how.
    assert_eq!(run_script("all([|| exit(), || throw 1]);", TestDoor::default()).0, done());
    let first_fails = run_script("all([|| throw \"no\", || exit()]);", TestDoor::default()).0;
    assert_eq!(failure(first_fails).message, "test.rhai:1: no");
}

#[test]
fn a_branch_returns_for_itself_alone() {
    let text = "ask(\"log\", #{ found: all([|| { if order.name != \"\" { return 5; } 6 }, || 7]) });";
    assert_eq!(run_script(text, TestDoor::default()).1.input("2"), &json!({ "found": [5, 7] }));
}

#[test]
fn branches_may_be_made_for_each_item() {
    let text = r#"
        let word = "of";
        let seen = all(order.lines.map(|line| || ask("order.get", #{ id: `${line.sku} ${word} ${order.id}` })));
        let none = all([].map(|x| || ask("order.get", #{})));
        let two = all([1, 2].filter(|n| n > 1).map(|n| || n));
        ask("log", #{ seen: seen, none: none, two: two });
    "#;
    let (progress, door) = run_script(text, TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1/1/1", "1/2/1"]));
    assert_eq!(door.input("1/1/1"), &json!({ "id": "TEA-1 of 1042" }));
    assert_eq!(door.input("1/2/1"), &json!({ "id": "POT-9 of 1042" }));
    let (_, door) = run_script(text, TestDoor::answering(&[("1/1/1", json!(1)), ("1/2/1", json!(2))]));
    assert_eq!(door.input("4"), &json!({ "seen": [1, 2], "none": [], "two": [2] }));
}

#[test]
fn a_stop_in_one_branch_holds_no_other_up() {
    // Even one that tries to catch whatever comes.
    let text = r#"
        try {
            all([
                || { try { ask("order.get", #{}); } catch { ask("log", #{ message: "caught" }); } },
                || { try { throw 1; } catch { ask("log", #{ message: "second" }); } },
            ]);
        } catch { ask("log", #{ message: "outside" }); }
    "#;
    let (progress, door) = run_script(text, TestDoor::default());
    assert_eq!((progress, door.paths()), (Progress::Waiting, vec!["1/1/1", "1/2/1"]));
}

#[test]
fn ids_and_retries_are_read_with_care() {
    let text = r#"ask("log", #{}, #{ id: "a-1", retry: #{ attempts: 3, first: "1s", max: "2m" } });"#;
    let (_, door) = run_script(text, TestDoor::default());
    let retry = Retry { attempts: 3, first: Duration::from_secs(1), max: Duration::from_secs(120) };
    assert_eq!(door.asked[0].0, "a-1");
    assert_eq!(door.asked[0].3, AskOptions { retry: Some(retry), label: Some("a-1".into()), ..AskOptions::default() });
    for options in [
        "#{ id: 5 }",
        "#{ id: \"1\" }",
        "#{ id: \"a/b\" }",
        "#{ ids: \"a\" }",
        "#{ retry: 3 }",
        "#{ retry: #{ attempts: 0 } }",
        "#{ retry: #{ first: \"soon\" } }",
        "#{ retry: #{ often: 3 } }",
    ] {
        let (progress, door) = run_script(&format!("ask(\"log\", #{{}}, {options});"), TestDoor::default());
        assert_eq!(failure(progress).code, "script_error", "{options}");
        assert!(door.asked.is_empty());
    }
    let twice = r#"ask("log", #{}, #{ id: "a" }); ask("log", #{}, #{ id: "a" });"#;
    let (progress, _) = run_script(twice, TestDoor::answering(&[("a", json!({}))]));
    assert_eq!(failure(progress).code, "duplicate_id");
}

#[test]
fn answers_keep_their_numbers() {
    let text = r#"let a = ask("order.get", #{}); ask("log", #{ it: a, sum: a.price + 0.1, big: a.big + 1 });"#;
    let answer = json!({ "price": 0.2, "big": 820_982_911_946_154_508_i64, "none": null, "money": "5.00 EUR" });
    let (_, door) = run_script(text, TestDoor::answering(&[("1", answer.clone())]));
    let expected = json!({ "it": answer, "sum": 0.3, "big": 820_982_911_946_154_509_i64 });
    assert_eq!(door.input("2"), &expected);
}

#[test]
fn words_of_the_language_may_be_keys() {
    let text = r#"
        let m = #{ for: "10m", default: 1, if: [2, #{ in: 3 }], new: order.lines.filter(|line| line.quantity > 1).len() };
        for x in [1] { ask("wait", m); }
        ask("log", #{ a: m.for, b: m.default, c: m?.if[1].in, d: `${#{ true: m.new }.true}` });
    "#;
    let (_, door) = run_script(text, TestDoor::answering(&[("1", json!({}))]));
    assert_eq!(door.input("1"), &json!({ "for": "10m", "default": 1, "if": [2, { "in": 3 }], "new": 1 }));
    assert_eq!(door.input("2"), &json!({ "a": "10m", "b": 1, "c": 3, "d": "1" }));
}

#[test]
fn a_function_is_no_input() {
    let (progress, door) = run_script("fn f(x) { x } ask(\"log\", #{ f: f });", TestDoor::default());
    assert!(failure(progress).message.contains("cannot be handed on"));
    assert!(door.asked.is_empty());
}

#[test]
fn a_run_makes_at_most_a_thousand_calls() {
    struct Always(usize);
    impl Door for Always {
        fn ask(&mut self, _: &str, _: &str, _: Json, _: AskOptions) -> Asked {
            self.0 += 1;
            Asked::Answered(Answer::Done(json!({})))
        }
    }
    let rule = rule(Body::Script(script("loop { try { ask(\"log\", #{}); } catch {} }")));
    let (progress, door) = advance(&rule, &facts(), Always(0));
    assert_eq!((failure(progress).code.as_str(), door.0), ("too_many_calls", 1000));
}

#[test]
fn the_capabilities_it_asks_are_known_before_it_runs() {
    let text = "fn note() { ask(\"log\", #{}) }\nif false { ask(\"order.tag\", #{}); }\nnote();";
    let asks = script(text).asks().to_vec();
    let names: Vec<&str> = asks.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["order.tag", "log"]);
    for (name, offset) in &asks {
        assert!(text[*offset..].starts_with(name.as_str()), "{name} at {offset}");
    }
}

#[test]
fn the_events_it_waits_for_are_known_before_it_runs() {
    let text = "fn sent() { ask(\"wait_for\", #{ within: \"7d\", event: \"order.fulfilled\" }) }\n\
                sent();\nall([|| ask(\"wait_for\", #{ event: \"return.*\", within: \"1d\" }, #{ id: \"back\" })]);";
    let awaits = script(text).awaits().to_vec();
    let names: Vec<&str> = awaits.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["return.*", "order.fulfilled"]);
    for (name, offset) in &awaits {
        assert!(text[*offset..].starts_with(name.as_str()), "{name} at {offset}");
    }
    assert!(script("ask(\"wait\", #{ for: \"1d\", event: \"x\" });").awaits().is_empty());
}
