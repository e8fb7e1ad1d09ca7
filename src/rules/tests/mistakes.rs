//! Mistakes that are found before a rule runs, each with its place and the way out.

use proptest::prelude::*;

use super::*;
use crate::rules::template::Template;

/// The first mistake of an expression: what is underlined, the message, the hint.
fn mistake(text: &str) -> (String, String, String) {
    let found = mistakes(text);
    let Some(first) = found.first() else { panic!("no mistake in {text}") };
    let marked = text.get(first.offset..first.offset + first.len).unwrap_or("past the end");
    (marked.to_owned(), first.message.clone(), first.hint.clone().unwrap_or_default())
}

#[test]
fn names_and_fields_that_nobody_has() {
    for (text, marked, message, hint) in [
        ("ordr.total > 5", "ordr", "there is no `ordr`", "write `order`"),
        ("order.totl > 5", "totl", "an order has no field `totl`", "write `total`"),
        ("order.customer.frist_name == \"a\"", "frist_name", "a customer has no field", "write `first_name`"),
        ("order.lines[0].quantty == 1", "quantty", "has no field `quantty`", "write `quantity`"),
        ("order.lines.any(|line| line.quantty > 1)", "quantty", "has no field `quantty`", "write `quantity`"),
        ("inputs.limt > 5", "limt", "the rule has no input `limt`", "write `limit`"),
        ("steps.drft.text == \"\"", "drft", "there is no earlier step `drft`", "write `draft`"),
        ("message.text == \"\"", "message", "no event that this rule listens to has a `message`", "`returned`"),
        ("event.knd == \"\"", "knd", "an event has no field `knd`", "write `kind`"),
        ("order.total.amont > 1", "amont", "money has", "write `amount`"),
        ("order.tags.contains_all(5)", "contains_all", "there is no function `contains_all`", ""),
        ("strats_with(order.name, \"a\")", "strats_with", "there is no function", "write `starts_with`"),
        ("print(order.name)", "print", "", ""),
        ("timestamp() > 5", "timestamp", "there is no function `timestamp`", "write `now`"),
        ("sleep(100)", "sleep", "there is no function `sleep`", ""),
        ("eval(\"1\")", "eval", "", ""),
        ("Fn(\"ask\")", "Fn", "'Fn' is disabled", ""),
        ("ask(\"log\", #{})", "ask", "cannot `ask`", "step"),
        ("[1].map(|order| order)", "order", "`order` is taken", ""),
    ] {
        let found = mistake(text);
        assert!(found.0.starts_with(marked) || marked.starts_with(&found.0), "{text}: {found:?}");
        assert!(found.1.contains(message) && found.2.contains(hint), "{text}: {found:?}");
    }
}

#[test]
fn comparisons_that_can_never_hold() {
    for (text, hint) in [
        ("order.total > 50", "write `money(\"50 EUR\")`"),
        ("order.total > 50.5", "write `money(\"50.5 EUR\")`"),
        ("order.total > \"50 EUR\"", "write `money(\"50 EUR\")`"),
        ("1042 == order.number", "write `\"1042\"`"),
        ("customer.tags == \"vip\"", "write `\"vip\" in …`"),
        ("order.created_at > \"2026-01-01T00:00:00Z\"", "write `time("),
        ("order.total + 5 > inputs.limit", "write `money(\"5 EUR\")`"),
        ("now - order.created_at > 5", ""),
        ("order.total && true", ""),
        ("!order.name", ""),
        ("order > 5", ""),
        ("money(20) < order.total", "write `money(\"20 EUR\")`"),
        ("money(\"20\") < order.total", ""),
        ("duration(\"soon\") < now - order.created_at", "`30m`"),
        ("`total ${order.total}` == order.name", "`{{ }}`"),
    ] {
        let (_, message, found) = mistake(text);
        assert!(found.contains(hint), "{text}: {message} / {found}");
    }
}

#[test]
fn grammar() {
    for (text, hint) in [
        ("order.total > ", ""),
        ("order.total = inputs.limit", "write `==`"),
        ("order.total > money(\"1 EUR\") and true", "write `&&`"),
        ("not true", "write `!`"),
        ("true or false", "write `||`"),
        ("order.name == 'abc'", "write `\"…\"`"),
        ("let x = 5", "script"),
        ("if true { 1 } else { 2 }", "script"),
        ("{ let x = 5; x > 2 }", ""),
        ("order.total > money(\"5 EUR\"); true", ""),
        ("(((((", ""),
        ("", "write a condition"),
        ("while true { }", "script"),
        ("loop {}", "script"),
        ("#{", ""),
        ("\"open", ""),
        ("order.total > 5 /* open", ""),
        ("import \"x\" as y", ""),
        ("x = 5", "write `==`"),
    ] {
        let (_, message, found) = mistake(text);
        assert!(found.contains(hint), "{text}: {message} / {found}");
    }
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert_eq!(mistakes(&deep).len(), 1);
    assert_eq!(mistakes(&"x".repeat(5000)).len(), 1);
}

#[test]
fn full_width_signs_are_shown_with_what_to_write() {
    let text = "order.total ＞ money（“20 EUR”）";
    let found = mistakes(text);
    let signs: Vec<(&str, &str)> =
        found.iter().map(|it| (&text[it.offset..it.offset + it.len], it.hint.as_deref().unwrap_or_default())).collect();
    let expected =
        [("＞", "write `>`"), ("（", "write `(`"), ("“", "write `\"`"), ("”", "write `\"`"), ("）", "write `)`")];
    assert_eq!(signs, expected);
    assert_eq!(mistakes("order.name == \"（退货）：“好”\""), [], "within a text they are text");
}

#[test]
fn all_mistakes_at_once_in_the_order_of_the_text() {
    let text = "order.name == \"退货\" && ordr.name == \"退\" && order.totl > 5 && inputs.limt == inputs.limit";
    let found = mistakes(text);
    let marked: Vec<&str> = found.iter().map(|it| &text[it.offset..it.offset + it.len]).collect();
    assert_eq!(marked, ["ordr", "totl", "limt"]);
}

#[test]
fn mistakes_in_templates_stand_where_they_stand_in_the_text() {
    let compile = |text: &str| with_scope(&["draft"], |scope| Template::compile(text, scope));
    let text = "你好 {{ customer.nme }}, about {{ order.name }}: {{ ordr }}";
    let found = compile(text).expect_err("mistakes");
    let marked: Vec<&str> = found.iter().map(|it| &text[it.offset..it.offset + it.len]).collect();
    assert_eq!(marked, ["nme", "ordr"]);
    let found = compile("Hello {{ customer.name }").expect_err("not closed");
    assert_eq!((found[0].offset, found[0].message.as_str()), (6, "`{{` is not closed"));
    assert!(compile("{{ }}").is_err());
    assert!(compile("{{ \"}}\" }} }} {").is_ok());
    assert!(!Template::is_template("no { braces }") && Template::is_template("{{ now }}"));
}

#[test]
fn an_item_is_there_only_for_each_of_a_list() {
    let (marked, message, hint) = mistake("item.sku == \"a\"");
    assert_eq!((marked.as_str(), message.as_str()), ("item", "there is no `item`"));
    assert!(hint.contains("`for_each:`"), "{hint}");
    assert_eq!(mistakes("order.lines.any(|item| item.quantity > 1)"), [], "a closure may call it so");

    let list = expr("order.lines.filter(|item| item.quantity > 1)");
    let item = list.gives.items();
    let within = |text: &str| {
        let found = with_scope(&["draft", "ok"], |scope| Expr::compile(text, &Scope { item: Some(&item), ..*scope }));
        found.err().unwrap_or_default()
    };
    assert_eq!(within("item.quantity > 1 && item.sku in order.tags"), []);
    let first = |text: &str| within(text).swap_remove(0);
    assert_eq!(first("item.quantty > 1").hint.as_deref(), Some("write `quantity`"));
    assert_eq!(first("item.quantty > 1").message, "a line has no field `quantty`");
    assert_eq!(first("item.total > 5").hint.as_deref(), Some("write `money(\"5 EUR\")`"));
    assert_eq!(first("order.tags.any(|item| item == \"a\")").message, "`item` is taken");
    for (text, is_list) in [
        ("order.lines", true),
        ("order.tags", true),
        ("steps.draft.found", true),
        ("[1, 2]", true),
        ("order.tags.map(|tag| tag.len)", true),
        ("order.total", false),
        ("order", false),
        ("order.lines.len", false),
        ("order.lines[0]", false),
        ("order.name + \"x\"", false),
        ("order.lines.any(|line| line.quantity > 1)", false),
    ] {
        assert_eq!(expr(text).gives.may_be_list(), is_list, "{text}");
    }
}

#[test]
fn the_answer_of_a_step_for_each_is_a_list() {
    let found = with_scope(&["lines"], |scope| Expr::compile("steps.lines.text == \"a\"", scope)).expect_err("a list");
    assert_eq!(found[0].message, "a list has no field `text`");
    for good in ["steps.lines[0].text == \"a\"", "steps.lines.any(|it| it.text == \"a\")", "steps.lines.len > 1"] {
        with_scope(&["lines"], |scope| Expr::compile(good, scope)).expect(good);
    }
}

fn script_mistakes(text: &str) -> Vec<Mistake> {
    with_scope(&[], |scope| Script::compile("test.rhai", text, scope)).err().unwrap_or_default()
}

#[test]
fn scripts_are_checked_too() {
    for (text, marked, hint) in [
        ("let order = 5;", "order", "my_order"),
        ("order = 5;", "order", ""),
        ("order.total = 5;", "order", ""),
        ("for order in [1] {}", "order", ""),
        ("fn ask(a) { a }", "ask", "my_ask"),
        ("fn ask(a, b, c, d) { a }", "ask", "my_ask"),
        ("fn all(a) { a }", "all", "my_all"),
        ("fn exit() { 1 }", "exit", "my_exit"),
        ("fn money(a) { a }", "money", ""),
        ("fn contains(a, b) { true }", "contains", "my_contains"),
        ("fn call(a) { a }", "call", ""),
        ("fn order() { 1 } order();", "order", "my_order"),
        ("fn now(x) { x }", "now", "my_now"),
        ("fn f(order) { order }", "", ""),
        ("fn f(ask) { ask }", "", ""),
        ("let ask = 1;", "ask", "my_ask"),
        ("const customer = 1;", "customer", "my_customer"),
        ("let f = |exit| exit;", "", ""),
        ("for (x, now) in [1] {}", "now", "my_now"),
        ("try { 1 } catch (inputs) { 2 }", "", ""),
        ("let x = order.totl;", "totl", "write `total`"),
        ("let o = order; o.totl;", "totl", "write `total`"),
        ("for line in order.lines { line.skuu; }", "skuu", "write `sku`"),
        ("fn f() { customer.nam }", "nam", "write `name`"),
        ("let name = \"log\"; ask(name, #{});", "ask", "order.tag"),
        ("\"log\".ask(#{});", "ask", ""),
        ("aks(\"log\", #{});", "aks", "write `ask`"),
        ("print(1);", "", ""),
        ("steps.draft;", "steps", ""),
        ("let x = 1; x.foo(2); y", "foo", ""),
        ("import \"a\" as b;", "", ""),
        ("try { ordr } catch (e) { e }", "ordr", "write `order`"),
        ("switch order.name { \"a\" => ordr, _ => 1 }", "ordr", ""),
        ("Fn(\"ask\").call(\"order.tag\", #{});", "Fn", ""),
        ("eval(\"1\");", "", ""),
        ("let x = timestamp();", "timestamp", "now"),
        ("let x = 0; all([|| 1, || { let y = 1; y = 2; x += 1; }]);", "x += 1", "give its result back"),
    ] {
        let found = script_mistakes(text);
        let Some(first) = found.first() else { panic!("no mistake in {text}") };
        let at = text.get(first.offset..).unwrap_or_default();
        assert!(at.starts_with(marked), "{text}: {first:?}");
        assert!(first.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {first:?}");
    }
    for (text, marked, hint) in [
        ("let f = [|| 1];", "||", "hand it to"),
        ("let f = #{ f: |x| x };", "|x|", "hand it to"),
        ("let a = 1; let f = [|| a];", "||", "hand it to"),
        ("fn f() { || 1 } f();", "||", "`fn name"),
        ("let a = []; let f = || a; a.push(f);", "f)", "call it"),
        ("let x = 1; let f = || x; loop { let y = f; f = || y; }", "f = ||", "a name of its own"),
        ("let f = |x| x; f = 5;", "f = 5", "a name of its own"),
        ("let f = 5; f = |x| x;", "|x|", "hand it to"),
        ("fn g(f) { f.call() } g(|| 1);", "||", "hand it to"),
        ("ask(\"log\", #{ f: || 1 });", "||", "hand it to"),
        ("let f = |x| x; f;", "f;", "hand it to"),
        ("let f = |x| x; `${f}`;", "f}", "hand it to"),
        ("let f = |x| x; return f;", "f;", "hand it to"),
        ("let f = |x| x; f.curry(1);", "f.curry", "hand it to"),
        ("let f = if true { || 1 } else { || 2 };", "||", "hand it to"),
        ("throw || 1;", "||", "hand it to"),
        ("let f = [1].map(|x| || x);", "||", "hand it to"),
        ("let f = [1].reduce(|sum, x| sum, || 1);", "||", "hand it to"),
        ("let f = [|x| x].map(|g| g);", "|x|", "hand it to"),
        ("all([1].map(|x| || x).filter(|f| true));", "||", "hand it to"),
        ("all([1].map(|x| [|| x]));", "||", "hand it to"),
        ("all([1].map(|x| { let y = [|| x]; || y }));", "||", "hand it to"),
        ("let b = [|| 1]; all(b);", "||", "hand it to"),
        ("all([[|| 1]]);", "||", "hand it to"),
        ("let a = [1]; a.push(|| 1);", "||", "hand it to"),
        ("fn f() { this.x } 5.f();", "this", "`|item| item.quantity`"),
        ("[1].for_each(|| this += 1);", "this", "`|item| item.quantity`"),
        ("let n = [1]; n.map(|x| n.len());", "map", "`let all_n = n;`"),
        ("let n = [1]; n.sort(|a, b| n[0]);", "sort", "`let all_n = n;`"),
    ] {
        let found = script_mistakes(text);
        let Some(first) = found.first() else { panic!("no mistake in {text}") };
        let at = text.get(first.offset..).unwrap_or_default();
        assert!(at.starts_with(marked), "{text}: {first:?} at {at}");
        assert!(first.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {first:?}");
    }
    for (text, marked) in [
        ("ask(\"wait_for\", #{ within: \"1d\" });", "\"wait_for\""),
        ("ask(\"wait_for\", #{ event: \"order.\" + order.name });", "+ order"),
        ("let kind = \"order.paid\"; ask(\"wait_for\", #{ event: kind, within: \"1d\" });", "kind, within"),
        ("let input = #{ event: \"order.paid\" }; ask(\"wait_for\", input);", "\"wait_for\""),
        ("ask(\"wait_for\");", "\"wait_for\""),
        ("ask(\"wait_for\", #{ event: `order.${order.status}` });", "`order."),
    ] {
        let found = script_mistakes(text);
        let Some(first) = found.first() else { panic!("no mistake in {text}") };
        let at = text.get(first.offset..).unwrap_or_default();
        assert!(at.starts_with(marked), "{text}: {first:?} at {at}");
        assert!(first.hint.as_deref().unwrap_or_default().contains("event: \"order.fulfilled\""), "{text}: {first:?}");
    }
    for text in [
        "let o = order; o = #{}; o.anything;",
        "fn f(a) { if a > 0 { f(a - 1) } else { g(1, 2) } } fn g(a, b) { a } fn g(a) { a } f(2);",
        "let x = 1; while x < 5 { x += 1; } do { x -= 1 } until x < 0;",
        "let f = |x| x + 1; f.call(2); call(f, 3); let g = f; [1].map(g); map([1], f); [1].zip([2], |a, b| a + b);",
        "fn double(x) { x * 2 } let d = double; [1].map(double);",
        "let f = || 1; all([f, || f.call(), || 2]); all(order.lines.map(|line| || ask(\"log\", #{ a: line.sku })));",
        "let n = [1]; let m = n; n.map(|x| m.len() + x).filter(|x| n.len() > x);",
        "let seen = []; for (line, i) in order.lines { seen.push(line.sku + i); } ask(\"log\", #{ seen: seen });",
        "ask(\"log\", #{ message: `退货 ${order.name}` });",
    ] {
        assert_eq!(script_mistakes(text), [], "{text}");
    }
}

/// Pieces of which expressions are made, so that random texts come near to real ones.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "order",
        ".",
        "total",
        "customer",
        "name",
        ">",
        "==",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "#{",
        "|l|",
        "l",
        "\"",
        "a",
        "5",
        "2.5",
        "+",
        "-",
        " in ",
        "money(\"5 EUR\")",
        "inputs.limit",
        "steps",
        "??",
        "any",
        ",",
        " ",
        "let x = ",
        ";",
        "=",
        "ask(\"log\", #{})",
        "fn f() ",
        "for i in ",
        "'",
        "`",
        "${",
        "？",
        "\n",
        "/*",
        "//",
        "..",
        "all([|| ",
        "])",
        "try {",
        "catch",
        "this",
        "global::",
        "Fn(\"a\")",
        "\\",
        "if ",
        "=>",
        "switch ",
        "@",
        "0x",
        "\u{1F600}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn reading_never_panics_and_points_into_the_text(text in prop_oneof![pieces(), ".{0,60}"]) {
        let all = with_scope(&["draft"], |scope| {
            [
                Expr::compile(&text, scope).err(),
                Template::compile(&text, scope).err(),
                Template::compile(&format!("a {{{{ {text} }}}} b"), scope).err(),
                Script::compile("x", &text, scope).err(),
            ]
        });
        for mistake in all.into_iter().flatten().flatten() {
            prop_assert!(mistake.offset <= text.len() + 10 && mistake.len > 0, "{mistake:?}");
        }
    }

    #[test]
    fn what_is_read_evaluates_without_a_panic(text in pieces()) {
        let facts = facts();
        let found = with_scope(&["draft"], |scope| (Expr::compile(&text, scope), Script::compile("x", &text, scope)));
        if let Ok(expr) = found.0 {
            let _ = crate::rules::eval::Evaluator::new(&facts).value(&expr);
        }
        if let Ok(script) = found.1 {
            let _ = advance(&rule(Body::Script(script)), &facts, TestDoor::default());
        }
    }
}
