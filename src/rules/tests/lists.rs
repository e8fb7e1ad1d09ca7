//! What texts and lists do where Rhai's own functions would do something else.

use super::*;
use crate::rules::advance::Outcome;

/// What a script's expression gives, as a capability would get it.
fn given(before: &str, expression: &str) -> Json {
    let text = format!("{before} ask(\"log\", #{{ it: {expression} }});");
    let (progress, door) = run_script(&text, TestDoor::default());
    assert_eq!(progress, Progress::Waiting, "{text}");
    door.input("1")["it"].clone()
}

fn failed(text: &str) -> String {
    match run_script(text, TestDoor::default()).0 {
        Progress::Ended(Outcome::Failed(failure)) => failure.message,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn sorting_keeps_what_is_alike_in_its_order() {
    let lines = "let l = [#{ a: 2, b: 1 }, #{ a: 1, b: 2 }, #{ a: 2, b: 3 }, #{ a: 1, b: 4 }, #{ a: 0, b: 5 }];";
    let sorted = json!([5, 2, 4, 1, 3]);
    for by in ["|x, y| x.a - y.a", "|x, y| x.a < y.a"] {
        assert_eq!(given(lines, &format!("l.order({by}).map(|x| x.b)")), sorted, "{by}");
        let in_place = format!("{lines} l.sort({by}); l.sort_by({by});");
        assert_eq!(given(&in_place, "l.map(|x| x.b)"), sorted, "{by}");
    }
    assert_eq!(given("let n = [3, 1, 2]; n.sort();", "n"), json!([1, 2, 3]));
    assert_eq!(given("", "[3, 1, 2].order_by(|a, b| true).len()"), json!(3), "one that contradicts itself");
}

#[test]
fn a_comparison_that_fails_is_a_failure() {
    assert!(failed("[2, 1].sort(|a, b| throw \"no\");").contains("no"));
    assert!(failed("[2, 1].order(|a, b| \"x\");").contains("a comparison gives"));
    assert!(failed("[2, 1].dedup(|a, b| throw \"no\");").contains("no"));
    let kept = "let n = [2, 1]; try { n.sort(|a, b| throw 1); } catch {}";
    assert_eq!(given(kept, "n"), json!([2, 1]), "the list is as it was");
}

#[test]
fn what_repeats_is_left_out() {
    assert_eq!(given("let n = [1, 1, 2, \"a\", \"a\", 2]; n.dedup();", "n"), json!([1, 2, "a", 2]));
    assert_eq!(given("let n = [1, 3, 2, 4]; n.dedup(|a, b| a % 2 == b % 2);", "n"), json!([1, 2]));
}

#[test]
fn texts_are_cut_up() {
    for (expression, pieces) in [
        ("\"a b  c\".split()", json!(["a", "b", "c"])),
        ("\"\".split()", json!([""])),
        ("\"a,b,c\".split(\",\")", json!(["a", "b", "c"])),
        ("\"a,b,c\".split(',')", json!(["a", "b", "c"])),
        ("\"a,b,c\".split(\",\", 2)", json!(["a", "b,c"])),
        ("\"a,b,c\".split(',', 2)", json!(["a", "b,c"])),
        ("\"a,b,c\".split(\",\", -2)", json!(["a,b,c"])),
        ("\"abc\".split(\"x\")", json!(["abc"])),
        ("\"abc\".split(1)", json!(["a", "bc"])),
        ("\"退货\".to_chars()", json!(["退", "货"])),
    ] {
        assert_eq!(given("", expression), pieces, "{expression}");
    }
}

#[test]
fn lists_and_maps_in_texts_are_json() {
    assert_eq!(given("let m = #{ a: [1, \"x\", ()], b: 2.50 };", "`${m}`"), json!(r#"{"a":[1,"x",null],"b":2.5}"#));
    assert_eq!(given("", "\"tags: \" + order.tags"), json!(r#"tags: ["vip","fragile"]"#));
    assert_eq!(given("", "#{ total: order.total }.to_json()"), json!(r#"{"total":"120.00 EUR"}"#));
    assert_eq!(given("", "[order.total, now].join(\" at \")"), json!("120.00 EUR at 2026-11-23T10:00:00Z"));
}

#[test]
fn a_text_names_no_function() {
    // Rhai would ask each tag for its length.
    assert_eq!(
        given(
            "let t = [\"a\", \"len\", \"b\"];",
            "[t.index_of(\"len\"), t.index_of(\"b\", 2), t.index_of(\"b\", -1), t.index_of(\"c\")]"
        ),
        json!([1, 2, 2, -1])
    );
    for text in [
        "[1].map(\"to_string\");",
        "[#{ message: \"x\" }].reduce(\"ask\", \"log\");",
        "[1].some(\"exit\");",
        "[1, 2].sort(\"-\");",
        "[1].filter(\"is_odd\");",
        "[1].all(\"is_odd\");",
        "[1].drain(\"is_odd\");",
        "[1].retain(\"is_odd\");",
    ] {
        assert!(failed(text).contains("wants a function"), "{text}");
    }
}
