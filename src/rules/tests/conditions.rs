//! What holds, what does not, and what a why-not says.

use serde_json::json;

use super::*;
use crate::rules::eval::{Evaluator, Trouble};
use crate::rules::matching::{Match, WhyNot, lane_key, matches};
use crate::rules::value::show;

fn holds(text: &str) -> Result<bool, Trouble> {
    Evaluator::new(&facts()).holds(&expr(text))
}

fn value(text: &str) -> String {
    let facts = facts();
    show(&Evaluator::new(&facts).value(&expr(text)).unwrap_or_else(|error| panic!("{text}: {error:?}")))
}

#[test]
fn conditions_say_what_they_look_like() {
    for (text, expected) in [
        ("returned.total <= inputs.limit", true),
        ("order.total > money(\"119.99 EUR\") && order.total < money(\"120.01 EUR\")", true),
        ("order.total == money(\"120 EUR\")", true),
        ("order.total - order.subtotal == money(\"20 EUR\")", true),
        ("returned.total / order.total < 0.3", true),
        ("\"vip\" in customer.tags", false),
        ("\"vip\" in order.tags", true),
        ("!(\"fraud\" in order.tags)", true),
        ("\"fraud\" !in order.tags", true),
        ("customer.orders_count >= 3", true),
        ("order.lines.len() == 2 && order.lines.len == 2", true),
        ("order.lines.any(|line| line.quantity > 1)", true),
        ("order.lines.all(|line| line.total < inputs.limit)", false),
        ("order.lines.map(|line| line.quantity).sum() == 3", true),
        ("order.lines.map(|line| line.total).sum() == order.total", true),
        ("order.lines[1].sku == \"POT-9\"", true),
        ("now - order.created_at > days(2)", true),
        ("now - order.created_at > inputs.age", true),
        ("now - order.created_at > duration(\"4d\")", false),
        ("order.created_at + hours(1) < now", true),
        ("inputs.words.any(|word| word in order.tags)", true),
        ("event.kind == \"return.requested\" && !event.late", true),
        ("customer.first_name.to_lower().starts_with(\"an\")", true),
        ("customer.email == ()", true),
        ("(customer.email ?? \"none\") == \"none\"", true),
        ("10.5 * 0.9 == 9.45", true),
        ("order.note.contains(\"gift\")", false),
        ("\"gift\" in order.note", false),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn values_are_exact_and_read_like_people_write() {
    for (text, expected) in [
        ("10.5 * 0.9", "9.45"),
        ("order.total * 0.333", "39.96 EUR"),
        ("order.total / 7", "17.14 EUR"),
        ("2 * returned.total", "70.00 EUR"),
        ("-returned.total", "-35.00 EUR"),
        ("order.tags", "vip, fragile"),
        ("order.tags.join(\" + \")", "vip + fragile"),
        ("now", "2026-11-23T10:00:00Z"),
        ("now - order.created_at", "3d"),
        ("duration(\"90m\")", "90m"),
        ("\"  x \".trim() + \"!\"", "x!"),
        ("customer.name.replace(\"a\", \"o\")", "Ano Limo"),
        ("order.total.currency", "EUR"),
        ("order.note ?? \"no note\"", "no note"),
        ("by_language(\"zh-CN\", #{ en: \"Hello\", zh: \"您好\" })", "您好"),
        ("by_language(\"pt_BR\", #{ en: \"Hello\", \"pt-br\": \"Olá\", pt: \"Bom dia\" })", "Bom dia"),
        ("by_language(\"PT-BR\", #{ en: \"Hello\", \"pt-br\": \"Olá\", pt: \"Bom dia\" })", "Olá"),
        ("by_language(\"fr\", #{ en: \"Hello\", zh: \"您好\" })", "Hello"),
        ("by_language(\"fr\", #{ zh: \"您好\" })", "您好"),
        ("by_language(order.note, #{ en: \"Hello\", zh: \"您好\" })", "Hello"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_known_never_holds_and_never_holds_when_negated() {
    for text in [
        "order.tax > money(\"1 EUR\")",
        "!(order.tax > money(\"1 EUR\"))",
        "order.tax * 2 <= order.total",
        "order.total + order.tax > order.subtotal",
        "customer.email.starts_with(5)",
        "order.total > inputs.dollars",
        "order.total != inputs.dollars",
        "!(order.total == inputs.dollars)",
        "order.lines.any(|line| line.unit_price > inputs.limit)",
        "!customer.email.is_empty()",
        "order.updated_at < now",
        "customer.email.len() > 3 && true",
    ] {
        assert!(matches!(holds(text), Err(Trouble::NoAnswer(_))), "{text}: {:?}", holds(text));
    }
}

#[test]
fn money_and_numbers_do_not_mix_at_run_time_either() {
    // The type of an answer is not known when the file is checked.
    let facts = facts();
    let evaluator = Evaluator::new(&facts);
    evaluator.answered("draft", &json!({ "n": 5, "text": "12", "deep": { "list": [1, { "x": 2.5 }] } }));
    let trouble = evaluator.holds(&expr("order.total > steps.draft.n"));
    assert!(matches!(&trouble, Err(Trouble::Error(message)) if message.contains("money(\"5 EUR\")")), "{trouble:?}");
    let trouble = evaluator.holds(&expr("steps.draft.text > steps.draft.n"));
    assert!(matches!(&trouble, Err(Trouble::Error(message)) if message.contains("\"12\"")), "{trouble:?}");
    assert_eq!(evaluator.holds(&expr("steps.draft.deep.list[1].x == 2.5")), Ok(true));
    assert_eq!(evaluator.holds(&expr("steps.ok.text == ()")), Ok(true), "a step that was not done has no answer");
    assert!(evaluator.holds(&expr("steps.draft.n")).is_err(), "a number is no condition");
}

fn why_not(conditions: Vec<Condition>, facts: &Facts) -> Option<WhyNot> {
    let mut rule = rule(Body::Steps(Vec::new()));
    rule.conditions = conditions;
    match matches(&rule, facts) {
        Match::Holds => None,
        Match::WhyNot(it) => Some(it),
    }
}

fn saw(it: &WhyNot) -> Vec<(&str, &str)> {
    it.saw.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn the_first_false_clause_is_the_why_not() {
    let conditions =
        vec![clause("returned.total <= inputs.limit"), clause("order.total < inputs.limit"), clause("false")];
    let it = why_not(conditions, &facts()).expect("does not match");
    assert_eq!((it.clause.as_str(), it.line), ("order.total < inputs.limit", 7));
    assert_eq!(saw(&it), [("order.total", "120.00 EUR"), ("inputs.limit", "50.00 EUR")]);
    assert_eq!(it.error, None);
    assert_eq!(why_not(vec![clause("returned.total <= inputs.limit")], &facts()), None);
}

#[test]
fn what_is_missing_is_said() {
    let it = why_not(vec![clause("returned.total <= inputs.limit")], &facts_without_order()).expect("does not match");
    assert_eq!(saw(&it), [("returned.total", "order 1042 not known"), ("inputs.limit", "50.00 EUR")]);
    assert!(it.error.is_some());
    let it = why_not(vec![clause("\"vip\" in order.customer.tags")], &facts_without_order()).expect("does not match");
    assert_eq!(saw(&it), [("order.customer.tags", "order 1042 not known")]);
    let it = why_not(vec![clause("customer.email == \"a@b.c\"")], &facts()).expect("does not match");
    assert_eq!(saw(&it), [("customer.email", "nothing")]);
    let it = why_not(vec![clause("order.total > inputs.dollars")], &facts()).expect("does not match");
    assert_eq!(it.error.as_deref(), Some("120.00 EUR and 50.00 USD are in different currencies"));
    let text = serde_json::to_string(&it).expect("json");
    assert_eq!(serde_json::from_str::<WhyNot>(&text).expect("why-not"), it);
}

#[test]
fn any_all_and_not_nest() {
    let facts = facts();
    let any = |parts| vec![Condition::Any(parts)];
    let not = |part| vec![Condition::Not(Box::new(part))];
    assert_eq!(why_not(any(vec![clause("false"), clause("true")]), &facts), None);
    assert_eq!(why_not(any(vec![clause("order.tax > inputs.limit"), clause("true")]), &facts), None);
    let it = why_not(any(vec![clause("order.total < inputs.limit"), clause("\"new\" in order.tags")]), &facts);
    let it = it.expect("does not match");
    assert_eq!(it.clause, "(order.total < inputs.limit or \"new\" in order.tags)");
    assert_eq!(saw(&it)[2], ("order.tags", "[vip, fragile]"));
    assert_eq!(why_not(not(clause("\"fraud\" in customer.tags")), &facts), None);
    let it = why_not(not(clause("\"vip\" in order.tags")), &facts).expect("does not match");
    assert_eq!(it.clause, "not \"vip\" in order.tags");
    let it = why_not(not(clause("order.tax > inputs.limit")), &facts).expect("an unknown does not turn into yes");
    assert_eq!(saw(&it)[0], ("order.tax", "nothing"));
    let nested = not(Condition::All(vec![clause("true"), Condition::Any(vec![clause("false"), clause("1 > 2")])]));
    assert_eq!(why_not(nested, &facts), None);
}

#[test]
fn a_lane_has_a_name_or_the_run_an_error() {
    let mut rule = rule(Body::Steps(Vec::new()));
    assert_eq!(lane_key(&rule, &facts()).as_deref(), Ok("return/9"));
    rule.key = Some(expr("order.id"));
    assert_eq!(lane_key(&rule, &facts()).as_deref(), Ok("1042"));
    let failure = lane_key(&rule, &facts_without_order()).expect_err("empty");
    assert_eq!(failure.code, "empty_key");
    assert!(failure.message.contains("order 1042 not known"), "{failure}");
    rule.key = Some(expr("\"  \""));
    assert_eq!(lane_key(&rule, &facts()).expect_err("empty").code, "empty_key");
}

#[test]
fn the_customer_is_the_orders_where_the_event_has_none() {
    assert_eq!(value("customer.name"), "Ana Lima");
    let facts = facts_of(json!({ "customer": { "name": "Bo" }, "order": { "customer": { "name": "Ana" } } }));
    assert_eq!(show(&Evaluator::new(&facts).value(&expr("customer.name")).expect("value")), "Bo");
}
