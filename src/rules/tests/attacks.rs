//! Scripts and expressions written to eat memory, time or the stack, and what they get of each.
//!
//! Memory is asserted on, as the allocator counts it. Time is printed, with `--no-capture`: what it may be depends on
//! the machine, and a script that was not stopped would not come back at all.

use std::time::{Duration, Instant};

use super::*;
use crate::allocator::Growth;
use crate::domain::Failure;
use crate::rules::advance::Outcome;
use crate::rules::eval::{Evaluator, Trouble};
use crate::rules::rule::{Step, With};
use crate::rules::template::Template;

/// What the process may grow by for one script, in bytes.
const MOST: usize = 64 << 20;

/// A door that gives every `order.get` the same answer.
#[derive(Clone)]
struct Giving(Json);

impl Door for Giving {
    fn ask(&mut self, _: &str, _: &str, _: Json, _: AskOptions) -> Asked {
        Asked::Answered(Answer::Done(self.0.clone()))
    }
}

struct Cost {
    progress: Progress,
    peak: usize,
    left: isize,
    time: Duration,
}

/// Runs a script on a thread with the stack that every thread of the process has.
fn cost(text: &str, answer: &Json) -> Cost {
    let rule = rule(Body::Script(script(text)));
    let door = Giving(answer.clone());
    let run = move || {
        let facts = facts();
        // What is made once, and what a thread makes when it is first used, is not the script's.
        let _ = advance(&super::rule(Body::Script(script("order.total > inputs.limit"))), &facts, TestDoor::default());
        let growth = Growth::begin();
        let began = Instant::now();
        let (progress, _) = advance(&rule, &facts, door);
        Cost { progress, peak: growth.most(), left: growth.now(), time: began.elapsed() }
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("thread");
    thread.join().expect("no panic")
}

fn attack(name: &str, scripts: &[&str]) {
    let (mut peak, mut time) = ((0, ""), (Duration::ZERO, ""));
    for &text in scripts {
        let cost = cost(text, &json!({}));
        let text = text.strip_prefix(LARGE).unwrap_or(text);
        let shown: String = text.chars().take(90).collect();
        let ended = match &cost.progress {
            Progress::Ended(Outcome::Failed(failure)) => failure.message.chars().take(110).collect(),
            other => format!("{other:?}"),
        };
        println!("{:>7} KB {:>6} ms  {shown}  =>  {ended}", cost.peak >> 10, cost.time.as_millis());
        assert!(cost.peak <= MOST, "{text}: {} MB", cost.peak >> 20);
        assert!(cost.left < 64 << 10, "{text}: {} KB are left behind", cost.left >> 10);
        peak = peak.max((cost.peak, text));
        time = time.max((cost.time, text));
    }
    println!("{name}: the largest peak {} MB: {}", peak.0 >> 20, peak.1);
    println!("{name}: the longest time {} ms: {}", time.0.as_millis(), time.1);
}

/// Values near what is allowed: `s` is a text of 500,000 letters, `a` has 4,096 maps, `n` 8,192 numbers and `m` 1,000
/// entries.
const LARGE: &str = "
    let s = \"\"; s.pad(500000, \"x\");
    let a = [#{ k: 1 }]; for i in 0..12 { a += a; }
    let n = [1]; for i in 0..13 { n += n; }
    let m = #{}; for i in 0..1000 { m[i.to_string()] = i; }
";

fn with_large(scripts: &[&str]) -> Vec<String> {
    scripts.iter().map(|text| format!("{LARGE}{text}")).collect()
}

fn attack_with_large(name: &str, scripts: &[&str]) {
    let scripts = with_large(scripts);
    attack(name, &scripts.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn growing_values() {
    attack(
        "growth",
        &[
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
            "let a = [1]; loop { a[0] = a; }",
            "let a = []; loop { a.push(\"0123456789012345678901234567890123456789\"); }",
            "let a = []; let i = 0; loop { a.insert(0, [i]); i += 1; }",
            "let m = #{}; let i = 0; loop { m[i.to_string()] = i; i += 1; }",
            "let m = #{}; let i = 0; loop { m[i.to_string()] = #{ a: i }; i += 1; }",
            "let m = #{ a: #{} }; let i = 0; loop { m.a[i.to_string()] = i; i += 1; }",
            "let m = #{}; let i = 0; loop { m.set(i.to_string(), m); i += 1; }",
            "let m = #{}; let i = 0; let s = \"\"; s.pad(500000, \"x\"); loop { m[i.to_string()] = s + i; i += 1; }",
            "let m = #{}; let i = 0; let s = \"\"; s.pad(500000, \"x\"); loop { m[s + i] = i; i += 1; }",
            "let m = #{}; loop { m = #{ a: m, b: m }; }",
            "let m = #{ a: 1 }; let i = 0; loop { let n = #{}; n[i.to_string()] = 1; m.mixin(n); m += n; i += 1; }",
            "let s = \"\"; s.pad(1000000000, \"x\");",
            "let a = []; a.pad(1000000000, 0);",
            "let x = 1; let f = || x; f.call(); loop { x = [x, x]; }",
            "let x = [1]; loop { let f = || x += x; f.call(); }",
            "let a = [1]; loop { a.for_each(|x| { a = [a, a]; }); }".replace("a.for_each", "[1].for_each").leak(),
            "let a = [1]; loop { a = a.reduce(|sum, x| [sum, x, sum], [1]); }",
            "let a = [1]; loop { a = a.map(|x| [x, x]); }",
            "let a = [1]; loop { a.splice(0, 0, a); }",
        ],
    );
}

#[test]
fn many_large_values() {
    let variables: String = (0..200).map(|i| format!("let v{i} = a; ")).collect();
    let recursive = "fn f(a, b, c, d, i) { let e = a; let g = a; let h = a; f(a, b, c, d, i + 1) } f(a, a, a, a, 0);";
    let literal = format!("let x = [{}];", vec!["a + a"; 60].join(", "));
    let arguments = format!("fn f({0}) {{ 1 }} f({0});", vec!["a"; 1].join(", "));
    let many = format!("fn g(a, b, c, d, e, f, h, i) {{ loop {{}} }} g({});", vec!["a"; 8].join(", "));
    let nested = "fn g(x) { loop { x += 1; } } let f1 = |x| { let y = a; let z = a; g(0); }; f1.call(1);";
    let sums = format!("let x = {};", vec!["a"; 50].join(" + "));
    let interpolated = format!("let x = `{}`;", "${s}".repeat(100));
    attack_with_large(
        "many",
        &[
            &variables,
            recursive,
            &literal,
            &arguments,
            &many,
            nested,
            &sums,
            &interpolated,
            "let kept = #{}; let i = 0; loop { kept[i.to_string()] = a; i += 1; }",
            "let kept = []; loop { kept.push(s + kept.len()); }",
            "for x in a { for y in a { for z in a {} } }",
            "let b = a; let x = a.zip(b, |p, q| [p, q]);",
            "let x = n.map(|i| s + i);",
            "let x = n.map(|i| [i, i]);",
            "let x = n.filter(|i| { let y = a; let z = a; true });",
            "let x = n.reduce(|sum, i| sum + a, []);",
            "let x = m + m; let y = m.map(|k, v| a);",
            "let x = m.keys().map(|k| s + k);",
            "try { throw [a]; } catch (e) { let f = e; try { throw [e, f]; } catch (g) {} }",
            "let t = a; let u = a; if t == u { loop { t == u; } }",
        ],
    );
}

#[test]
fn small_values_that_are_large_when_written_out() {
    let records = "let r = []; r.pad(9999, order); ";
    let controls = "let c = \"\"; c.pad(500000, \"\\u0001\"); let l = [c]; ";
    let deep = "let d = []; for i in 0..60 { d = [d, s.len()]; } ";
    let scripts: Vec<String> = [
        (records, "ask(\"log\", #{ r: r });"),
        (records, "r.to_string();"),
        (records, "let x = `${r}`;"),
        (records, "let x = \"\" + r;"),
        (records, "r.join(\"\");"),
        (records, "let x = #{ r: r }.to_json();"),
        (records, "throw r;"),
        (records, "throw #{ message: r, code: r, detail: r };"),
        (records, "try { ask(\"log\", #{ r: r }); } catch (e) { throw e; }"),
        (controls, "l.to_string();"),
        (controls, "let x = `${l}${l}`;"),
        (controls, "throw l;"),
        (controls, "for i in 0..50 { l = [l]; } l.to_string();"),
        (controls, "for i in 0..50 { l = [l]; } let x = `${l}`;"),
        (controls, "for i in 0..50 { l = #{ l: l }; } let x = `${l}`;"),
        (deep, "let x = `${d}`; d.to_string();"),
        (deep, "d == d; d != d;"),
        ("", "let x = s.split(\"\");"),
        ("", "let x = s.split('x');"),
        ("", "let x = s.split(\"x\", 400000);"),
        ("", "let x = s.replace(\"x\", \"x \").split();"),
        ("", "let x = s.to_chars();"),
        ("", "for c in s {}"),
        ("", "let x = s.chars; for c in x {}"),
        ("", "let x = s.replace(\"x\", \"ŉ\").to_upper();"),
        ("", "let x = s.replace(\"\", s);"),
        ("", "let x = []; x.pad(9999, s);"),
        ("", "let x = [s].map(|t| [t, t, t]); money(s);"),
        ("", "time(s);"),
        ("", "throw s;"),
        ("", "throw #{ code: s };"),
        ("", "ask(s, #{});".replace("ask(s", "let x = s[0..499999]; ask(\"log\"").leak()),
    ]
    .iter()
    .map(|(before, text)| format!("{LARGE}{before}{text}"))
    .collect();
    attack("written out", &scripts.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn captured_values() {
    // Each captures all before it: in copies that share nothing the last one has a million.
    let mut doubling = "let f0 = || s;".to_owned();
    for i in 1..25 {
        let calls: Vec<String> = (0..i).map(|j| format!("f{j}.call()")).collect();
        doubling += &format!(" let f{i} = || {};", calls.join("; "));
    }
    let nested = (0..4).fold("s.len()".to_owned(), |inner, _| format!("all([|| {inner}])"));
    attack_with_large(
        "captured",
        &[
            &format!("{doubling} all([f24]);"),
            &format!("{nested};"),
            "all(n.map(|i| || { a.len() + m.len() + s.len() + i }));",
            "let p = n; all(n.map(|i| || { let b = a; let c = a; all(p.map(|j| || a.len())) }));",
            "for i in 0..100000 { let x = a; n.filter(|i| x.len() > i); }",
            "let f = || a; for i in 0..1000 { let g = || f.call(); g.call(); }",
            "let x = 0; for i in 0..10000 { all([|| x + i, || a.len()]); }",
        ],
    );
}

#[test]
fn endless_work() {
    attack_with_large(
        "work",
        &[
            "loop {}",
            "let i = 0; while true { i += 1; }",
            "for i in 0..9000000000000 {}",
            "for i in range(0, 9000000000000, 1) {}",
            "try { loop {} } catch {}",
            "loop { try { loop {} } catch {} }",
            "fn f(n) { f(n + 1) } f(0);",
            "fn f(n) { g(n) } fn g(n) { f(n) } f(0);",
            "fn f(n) { if n < 2 { n } else { f(n - 1) + f(n - 2) } } loop { f(11); }",
            "let p = n; let q = n; n.map(|x| p.map(|y| q.map(|z| x + y + z)));",
            "let p = n; let q = n; n.all(|x| p.all(|y| q.all(|z| x == y && y == z)));",
            "n.sort_by(|x, y| { loop {} }); loop {}",
            "loop { try { n.sort_by(|x, y| { let i = 0; while i < 100 { i += 1; } x - y }); } catch {} }",
            "loop { n.sort(|x, y| y - x); n.order_by(|x, y| x < y); }",
            "n.dedup(|x, y| { loop {} }); loop {}",
            "loop { n.dedup(|x, y| false); n.index_of(|x| false); n.retain(|x| true); }",
            "loop { a.dedup(); }",
            "loop { a == a; }",
            "loop { a.contains(#{ k: 2 }); a.index_of(#{ k: 2 }); #{ k: 2 } in a; }",
            "loop { n[0]; a[0]; m[\"5\"]; }",
            "loop { n[0] = 1; m[\"5\"] = 1; }",
            "loop { let b = a; let c = m; }",
            "loop { m.map(|k, v| v); m.filter(|k, v| true); m.keys(); m.values(); }",
            "let t = s + \"y\"; loop { s.contains(\"xxxxxxxxxxxxxxxxxxxxxxxxy\"); s.index_of(t); t.index_of(\"y\", -1); s == t; }",
            "loop { s.replace(\"xx\", \"xx\"); s.to_upper(); s.len(); s.sub_string(5, 499990); s.trim(); }",
            "loop { let p = s.split(\"y\"); s.split(\"xxxxxxxxx\", 9000).join(\"-\"); }",
            "loop { try { s.split(\"x\"); } catch {} try { money(s); } catch {} try { time(s); } catch {} }",
            "loop { try { s.parse_int(); } catch {} try { s.parse_decimal(); } catch {} try { duration(s); } catch {} }",
            "let d = s.replace(\"x\", \"1\"); loop { try { d.parse_int(); } catch {} try { d.parse_decimal(); } catch {} }",
            "let x = 2.0; loop { x = x ** 3.7; }",
            "loop { let x = 1.000001 ** 99999.5; let y = 0.000001 ** 3.3; let z = 9.99 ** 20.123456789; }",
            "let x = 3; loop { x = (x * 7919 + 3) % 100003; x ** 9; }",
            "let x = [1]; let g = || x.len(); loop { try { x.map(g); } catch {} }",
            "let x = [1]; let g = || x.len(); loop { try { x.sort_by(g); x.filter(g); x.find(g); } catch {} }",
            "all(n.map(|i| || { loop {} }));",
            "all([|| { loop {} }, || { loop {} }, || { loop {} }]);",
            "let i = 0; loop { i += 1; try { all([|| ask(\"log\", #{}), || { throw 1; }]); } catch {} }",
            "let x = `${n.map(|x| { let i = 0; while i < 1000 { i += 1; } x })}`; loop { x = `${n}`; }",
            "loop { n.to_string(); a.to_string(); m.to_json(); }",
            "loop { ask(\"log\", #{ a: a, m: m, n: n }, #{ id: \"x\" }); }",
        ],
    );
}

#[test]
fn deep_values() {
    attack(
        "depth",
        &[
            "let a = []; loop { a = [a]; }",
            "let a = []; loop { a.push([a.pop()]); }",
            "let a = []; loop { a.push(#{ a: a.pop() }); }",
            "let a = []; loop { a = [[[[[[[[[[[[a]]]]]]]]]]]]; a == a; a.to_string(); }",
            "let m = #{}; loop { m = #{ a: m }; m == m; let x = `${m}`; }",
            "let m = #{}; loop { let n = #{}; n[\"a\"] = m; m = n; }",
            "let m = #{}; loop { let n = #{}; n.set(\"a\", m.remove(\"a\")); m.set(\"a\", n); }",
            "let m = #{}; loop { m = #{ a: [#{ b: [m] }] }; }",
            "let a = [[]]; for i in 0..100000 { a = a.map(|x| [x]); a == a; }",
            "let a = (0..1).len; let b = [1, 2, 3]; for i in 0..100000 { a = b.reduce(|acc, x| [acc], a); }"
                .replace("(0..1).len", "0")
                .leak(),
            "fn f(x, n) { if n == 0 { x } else { f([[[[[[[[[[x]]]]]]]]]], n - 1) } } let a = 1; loop { a = f(a, 8); a == a; }",
            "let a = []; loop { for x in [a] { a = [x]; } }",
            "let a = 1; loop { a = switch a { 0 => 1, _ => [a] }; }",
            "let a = 1; loop { try { throw [a]; } catch (e) { a = e; } }",
            "let a = 1; let f = || { a = [a]; }; loop { f.call(); }",
            "let a = 1; loop { all([|| a]).map(|x| { a = [x]; }); }",
            "let x = 1; loop { let f = || x; let g = || f.call(); x = g.call(); }",
        ],
    );
}

#[test]
fn an_answer_larger_than_a_script_takes_is_a_failure_it_can_handle() {
    let text = "try { ask(\"order.get\", #{}); } catch (error) { throw #{ code: error.code, message: \"too much\" }; }";
    let lines = |many: usize| json!({ "lines": vec![json!({ "sku": "TEA-1", "n": 1 }); many] });
    for (answer, code) in [
        (json!("x".repeat(600 << 10)), Some("answer_too_large")),
        (lines(9000), Some("answer_too_large")),
        ((0..80).fold(json!(1), |inner, _| json!([inner])), Some("answer_too_large")),
        (json!({ "body": "x".repeat(256 << 10) }), None),
        (lines(500), None),
    ] {
        let cost = cost(text, &answer);
        let ended = match cost.progress {
            Progress::Ended(Outcome::Failed(failure)) => Some(failure.code),
            _ => None,
        };
        assert_eq!(ended.as_deref(), code);
        assert!(cost.peak < 8 << 20);
    }
}

#[test]
fn expressions_and_templates_have_the_same_bounds() {
    let peak_of = |text: &str| {
        let expr = expr(text);
        let facts = facts();
        let growth = Growth::begin();
        let result = Evaluator::new(&facts).value(&expr).map(drop);
        assert!(growth.most() <= MOST, "{text}: {} MB", growth.most() >> 20);
        result
    };
    let list = format!("[{}]", vec!["1"; 200].join(","));
    for text in [
        format!("{list}.reduce(|sum, x| sum + sum + [x, x], [1, 2])"),
        format!("{list}.reduce(|sum, x| sum + \"\" + sum, \"x\")"),
        format!("{list}.reduce(|sum, x| [sum], 0)"),
        format!("{list}.reduce(|sum, x| #{{ a: sum, b: [sum] }}, 0)"),
        format!("{list}.map(|x| {list}.map(|y| {list}.map(|z| \"0123456789\" + x + y + z)))"),
        format!("{list}.map(|x| \"{}\".replace(\"a\", \"{}\"))", "a".repeat(900), "b".repeat(900)),
        format!("{list}.all(|x| {list}.all(|y| {list}.all(|z| x == y)))"),
    ] {
        let result = peak_of(&text);
        assert!(matches!(&result, Err(Trouble::Error(_))), "{text}: {result:?}");
    }
    // Ten thousand templates of one step, each of which may be as long as a text may be.
    let long = format!("{{{{ \"{}\".replace(\"a\", \"{}\") }}}}", "a".repeat(700), "b".repeat(700));
    let step = |with: With| Step {
        id: "1".into(),
        uses: "log".into(),
        with,
        for_each: None,
        when: None,
        retry: None,
        on_error: None,
        on_violation: None,
        line: 1,
    };
    let failed = |with: With| -> Failure {
        let rule = rule(Body::Steps(vec![step(with)]));
        let facts = facts();
        let growth = Growth::begin();
        let (progress, _) = advance(&rule, &facts, TestDoor::default());
        assert!(growth.most() <= MOST, "{} MB", growth.most() >> 20);
        match progress {
            Progress::Ended(Outcome::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    };
    let template = |text: &str| {
        with_scope(&[], |scope| Template::compile(text, scope)).unwrap_or_else(|found| panic!("{found:?}"))
    };
    let one = template(&long);
    let many = failed(With::List((0..10_000).map(|_| With::Template(one.clone())).collect()));
    assert!(many.message.contains("48 MB"), "{}", many.message);
    let joined = failed(With::Template(template(&long.repeat(3))));
    assert!(joined.message.contains("longer than 512 KB"), "{}", joined.message);
}
