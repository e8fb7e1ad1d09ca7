//! What is worked out without the language is what the language says.

use super::*;
use crate::rules::eval::{Evaluator, Trouble};

/// Sides of comparisons: of every type, known and not, plain and odd.
const OPERANDS: &[&str] = &[
    "order.total",
    "order.subtotal",
    "order.id",
    "order.name",
    "order.note",
    "order.tags",
    "order.lines",
    "order.created_at",
    "order.customer.name",
    "order.customer.tags",
    "order.customer.orders_count",
    "customer.orders_count",
    "customer.email",
    "customer.name",
    "returned.total",
    "returned.id",
    "message.text",
    "inventory.available",
    "product.title",
    "inputs.limit",
    "inputs.dollars",
    "inputs.age",
    "inputs.words",
    "now",
    "customer",
    "order",
    "event.kind",
    "event.late",
    "order.total.amount",
    "3",
    "0",
    "3.0",
    "119.99",
    "\"Ana Lima\"",
    "\"vip\"",
    "\"\"",
    "\"a\\\"b\"",
    "true",
    "false",
    "()",
    "money(\"120 EUR\")",
    "money( \"35.00 EUR\" )",
    "money(\"35 USD\")",
    "order.lines[0].sku",
    "order.lines.len()",
    "-1",
];

#[test]
fn comparisons_hold_where_the_language_says_so() {
    let operators = ["==", "!=", "<", "<=", ">", ">=", "in", ""];
    let all =
        [facts(), facts_without_order(), facts_of(json!({ "customer": { "name": "Ana Lima", "tags": ["vip"] } }))];
    let (mut decided, mut left) = (0, 0);
    for (first, operator, second) in OPERANDS
        .iter()
        .flat_map(|first| operators.iter().map(move |operator| (first, operator)))
        .flat_map(|(first, operator)| OPERANDS.iter().map(move |second| (first, operator, second)))
        .filter(|(_, operator, second)| !operator.is_empty() || *second == &OPERANDS[0])
    {
        let text = if operator.is_empty() { (*first).to_owned() } else { format!("{first} {operator} {second}") };
        let compiled = with_scope(&[], |scope| Expr::compile(&text, scope));
        let Ok(expr) = compiled else { continue };
        let Some(simple) = &expr.simple else { continue };
        for facts in &all {
            let evaluator = Evaluator::new(facts);
            let Some(holds) = simple.holds(facts) else {
                left += 1;
                continue;
            };
            decided += 1;
            let said = evaluator
                .in_language(&expr)
                .and_then(|value| value.as_bool().map_err(|kind| Trouble::Error(format!("{text} gives {kind}"))));
            assert_eq!(said, Ok(holds), "{text}");
        }
    }
    // The plain shapes are the usual ones: were they no longer read, everything would still hold, and be slow.
    assert!(decided > 500 && left > 500, "{decided} decided, {left} left to the language");
}

#[test]
fn what_reads_like_a_plain_shape_and_is_none_is_left_to_the_language() {
    for text in [
        "order.total > inputs.limit && true",
        "order.lines.len() > 2",
        "order?.total > inputs.limit",
        "!order.closed",
        "order.total > inputs.limit || order.total < inputs.limit",
        "order.total + order.total > inputs.limit",
        "customer.name ?? \"x\" == \"x\"",
        "1_000 < 2",
        "1e3 < 2",
        "\"${order.name}\" == \"x\\n\"",
        "order.total >== inputs.limit",
        "order..total > inputs.limit",
        "steps.draft.text == \"x\"",
        "index == 1 in x",
    ] {
        assert_eq!(crate::rules::simple::Simple::read(text), None, "{text}");
    }
}
