//! What a hostile or careless script cannot do: run on, eat the memory, reach out, take the process down.
//!
//! These tests look at what happens, not at how long it takes: a trap that stayed open would not come back.

use super::*;
use crate::rules::advance::Outcome;
use crate::rules::eval::{Evaluator, Trouble};

fn code_of(text: &str) -> String {
    match run_script(text, TestDoor::default()).0 {
        Progress::Ended(Outcome::Failed(failure)) => failure.code,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn growth_and_endless_work_end_in_a_failure() {
    for text in [
        "loop {}",
        "let n = 0; while true { n += 1; }",
        "let s = \"x\"; loop { s += s; }",
        "let s = \"x\"; loop { s = s + s; }",
        "let s = \"x\"; loop { s = `${s}${s}`; }",
        "let s = \"x\"; loop { s.append(s); }",
        "let s = \"x\"; loop { s = s.replace(\"x\", \"xx\"); }",
        "let s = \"x\"; loop { s = s.replace('x', \"xx\"); }",
        "let s = \"x\"; loop { s = [s, s].join(s); }",
        "let a = [1]; loop { a += a; }",
        "let a = [1]; loop { a.append(a); }",
        "let a = [1]; loop { a.push(a); }",
        "let a = [1]; loop { a = [a, a]; }",
        "let a = []; loop { a.push(\"0123456789012345678901234567890123456789\"); }",
        "let m = #{}; let i = 0; loop { m[i.to_string()] = i; i += 1; }",
        "let m = #{}; let i = 0; let s = \"\"; s.pad(60000, \"x\"); loop { m[i.to_string()] = s + i; i += 1; }",
        "let m = #{}; loop { m = #{ a: m, b: m }; }",
        "let s = \"\"; s.pad(1000000000, \"x\");",
        "let a = []; a.pad(1000000000, 0);",
        "fn f(n) { f(n + 1) } f(0);",
        "fn f(n) { g(n) } fn g(n) { f(n) } f(0);",
        "let f = |x| x; let i = 0; loop { f = f.curry(i); i += 1; }",
        "for i in 0..9000000000000 {}",
        "let a = []; for i in 0..4000 { a.push(i); } a.map(|x| a.map(|y| a.map(|z| x + y + z)));",
        "let x = 2.0; loop { x = x ** 3.7; }",
        "try { loop {} } catch { }",
        "let a = []; for i in 0..4000 { a.push(i); } a.sort_by(|a, b| { loop {} }); loop {}",
        "loop { try { let s = \"x\"; loop { s += s; } } catch { } }",
    ] {
        let code = code_of(text);
        assert!(code == "limit_exceeded" || code == "script_error", "{text}: {code}");
    }
}

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
    assert_eq!(Evaluator::new(&facts()).holds(&expr(&nested)), Err(Trouble::Error("it computes too long".into())));
    let huge = "[1].map(|x| \"0123456789\".replace(\"\", \"0123456789\")).map(|x| x.replace(\"\", x).replace(\"\", x))";
    let result = Evaluator::new(&facts()).value(&expr(huge));
    assert!(matches!(&result, Err(Trouble::Error(message)) if message.contains("too large")), "{result:?}");
}

#[test]
fn shared_values_in_lists_do_not_bring_rhai_down() {
    for text in [
        "let x = 1; let f = || x; let a = [x, x]; a.push(x); ask(\"log\", #{ a: a });",
        "let x = [1]; let f = || { x.push(x); x }; f.call(); f.call(); ask(\"log\", #{ a: [x, [x]] });",
        "let x = #{ a: 1 }; let f = || x; x.b = x; let m = #{ x: x }; m.y = m; ask(\"log\", m);",
        "let x = \"s\"; let f = || x += x; f.call(); let a = []; a.push(f); a.push(x); ask(\"log\", #{ n: a.len() });",
        "let x = [1, 2]; let f = |i| x[i] = x; f.call(0); x += x; ask(\"log\", #{ n: x.len() });",
        "let x = [1]; all([|| x.push(1), || x.push(2)]); x[0] = x; ask(\"log\", #{ x: x });",
        "let x = 1; let m = #{}; let f = || m.k = x; f.call(); m.l = m; ask(\"log\", m);",
    ] {
        let _ = run_script(text, TestDoor::default());
    }
}
