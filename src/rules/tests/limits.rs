//! What a hostile or careless script cannot do: run on, reach out, take the process down; and what an honest one can.
//!
//! These tests look at what happens, not at how long it takes: a trap that stayed open would not come back. What
//! scripts get of memory and time is in [`super::attacks`].

use super::*;
use crate::rules::advance::Outcome;
use crate::rules::eval::{Evaluator, Trouble};

#[test]
fn the_deepest_script_fits_a_small_stack() {
    let nested = |inner: &str, open: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for (open, close) in [("[", "]"), ("(1 + ", ")"), ("#{a: ", "}"), ("if true { ", " }"), ("f2(", ")"), ("!", "")] {
        // As deep as it still reads.
        let deepest = (1..64).rev().find_map(|levels| {
            let call = nested("f(n + 1)", open, close, levels);
            let text = format!("fn f2(x) {{ x }} fn f(n) {{ {call} }} f(0);");
            with_scope(&[], |scope| Script::compile("x", &text, scope)).ok()
        });
        let deepest = deepest.expect("some depth reads");
        let run = move || advance(&rule(Body::Script(deepest)), &facts(), TestDoor::default()).0;
        let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).expect("thread");
        let progress = thread.join().expect("no overflow");
        assert!(matches!(progress, Progress::Ended(Outcome::Failed(it)) if it.code == "limit_exceeded"));
    }
}

#[test]
fn a_script_reaches_nothing_but_the_door() {
    for text in [
        "sleep(1);",
        "eval(\"1\");",
        "timestamp();",
        "print(1);",
        "import \"a\" as b;",
        "parse_json(\"1\");",
        "rand();",
        "open_file(\"/etc/passwd\");",
        "get_fn_metadata_list();",
    ] {
        let found = with_scope(&[], |scope| Script::compile("x", text, scope));
        assert!(found.is_err(), "{text}");
    }
}

#[test]
fn an_expression_has_its_own_smaller_bounds() {
    for text in [
        "(0..100).len() > 0 || order.lines.any(|l| order.lines.any(|m| true))",
        "\"x\".pad(1000000, \"y\") == ()",
        "order.name.replace(\"\", order.name.replace(\"\", \"x\")) == \"\"",
    ] {
        // It ends, one way or the other.
        let _ = with_scope(&[], |scope| Expr::compile(text, scope)).map(|it| Evaluator::new(&facts()).value(&it));
    }
    let many = format!("[{}]", vec!["1"; 200].join(", "));
    let nested = format!("{many}.all(|a| {many}.all(|b| {many}.all(|c| a == b && b == c)))");
    assert_eq!(
        Evaluator::new(&facts()).holds(&expr(&nested)),
        Err(Trouble::Error("it computes too long: more than 20000 steps; let its loops do less, or end sooner".into()))
    );
    let huge = "[1].map(|x| \"0123456789\".replace(\"\", \"0123456789\")).map(|x| x.replace(\"\", x).replace(\"\", x).replace(\"\", x))";
    let result = Evaluator::new(&facts()).value(&expr(huge));
    assert!(matches!(&result, Err(Trouble::Error(message)) if message.contains("too large")), "{result:?}");
}

#[test]
fn shared_values_in_lists_do_not_bring_rhai_down() {
    for text in [
        "let x = 1; let f = || x; let a = [x, x]; a.push(x); ask(\"log\", #{ a: a });",
        "let x = [1]; let f = || { x.push(x); x }; f.call(); f.call(); ask(\"log\", #{ a: [x, [x]] });",
        "let x = #{ a: 1 }; let f = || x; x.b = x; let m = #{ x: x }; m.y = m; ask(\"log\", m);",
        "let x = \"s\"; let f = || x += x; f.call(); let a = []; a.push(x); ask(\"log\", #{ n: a.len() });",
        "let x = [1, 2]; let f = |i| x[i] = x; f.call(0); x += x; ask(\"log\", #{ n: x.len() });",
        "let x = [1]; let f = || x; let y = f.call(); y.push(x); x.push(y); ask(\"log\", #{ y: y, x: x });",
        "let x = [1]; [1].map(|i| x).for_each(|i| x.push(i)); x[0] = x; ask(\"log\", #{ x: x });",
        "let x = 1; let m = #{}; let f = || { m.k = x; }; f.call(); m.l = m; ask(\"log\", m);",
    ] {
        let _ = run_script(text, TestDoor::default());
    }
}

#[test]
fn a_variable_that_is_in_use_is_said_to_be() {
    let text = "let x = [1]; let f = |i| x.len() > i; x.filter(f);";
    let Progress::Ended(Outcome::Failed(failure)) = run_script(text, TestDoor::default()).0 else { panic!("passed") };
    assert!(failure.message.contains("copy it first"), "{}", failure.message);
    let text = "let x = [1]; let all_x = x; let f = |i| all_x.len() > i; ask(\"log\", #{ x: x.filter(f) });";
    assert_eq!(run_script(text, TestDoor::default()).1.paths(), ["1"]);
}

/// An order of 250 lines, over which a script works as merchants' scripts do.
#[test]
fn honest_work_over_a_large_order_passes() {
    let line = |i: i64| {
        json!({
            "id": format!("82091194615{i:04}"), "product_id": "632910392", "variant_id": "808950810",
            "sku": format!("TEA-{}", i % 100), "name": format!("Green tea from the first harvest, tin no. {i}"),
            "quantity": i % 7, "unit_price": "19.99 EUR", "total": format!("{i}.90 EUR"),
        })
    };
    let lines: Vec<Json> = (0..250).map(line).collect();
    let order = json!({ "id": "1042", "total": "9999 EUR", "lines": lines, "tags": ["vip"] });
    let facts = facts_of(json!({ "order": order }));
    let text = r#"
        fn words(name) { name.to_lower().split(" ").filter(|word| word.len() > 3) }
        let pieces = #{};
        let value = money("0 EUR");
        let known = [];
        for line in order.lines {
            if !(line.sku in pieces) { pieces[line.sku] = 0; }
            pieces[line.sku] += line.quantity;
            value += line.total;
            for word in words(line.name) { if !(word in known) { known.push(word); } }
        }
        let twins = order.lines.filter(|line| order.lines.find(|other| other.sku == line.sku).total != line.total);
        let listed = order.lines.filter(|line| line.quantity > 1).map(|line| `${line.quantity} × ${line.name}`);
        listed.sort(|a, b| a < b);
        let full = ask("order.get", #{ id: order.id });
        let heavy = 0;
        for line in full.lines { if line.quantity >= 5 { heavy += 1; } }
        let stocks = all(order.lines.map(|line| || ask("order.get", #{ id: line.id })));
        ask("log", #{
            kinds: pieces.len(), value: value, words: known.len(), twins: twins.len(), listed: listed.join("\n").len(),
            heavy: heavy, stocks: stocks.len(),
        });
    "#;
    let rule = rule(Body::Script(script(text)));
    let mut door = TestDoor::answering(&[("1", order)]);
    for i in 1..=250 {
        door.answers.insert(format!("2/{i}/1"), Answer::Done(json!({ "left": i })));
    }
    let (progress, door) = advance(&rule, &facts, door);
    assert_eq!(progress, Progress::Waiting, "{progress:?}");
    let expected = json!({
        "kinds": 100, "value": "31350.00 EUR", "words": 4, "twins": 150, "listed": 8823, "heavy": 70, "stocks": 250,
    });
    assert_eq!(door.input("3"), &expected);
}
