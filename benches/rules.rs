//! What rules cost: conditions and a script over an 8 KB order, beside the same thing written in Rust.
//!
//! `cargo bench --bench rules`. The ratios matter; the times are this machine's.
#![expect(clippy::print_stdout, reason = "a benchmark reports")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{Answer, AskOptions, Asked, Door, Event, EventId, Facts, Money, Records};
use storehand::rules::{Match, Rule, advance, matches, read};

const RULE: &str = r#"
id: bench
name: Bench
status: live
inputs: { limit: { type: money, default: "50 EUR" } }
triggers: [{ event: order.created }]
conditions:
  - order.total > inputs.limit
  - not: '"fraud" in customer.tags'
  - order.lines.any(|line| line.quantity > 6 && line.unit_price < inputs.limit)
allow: [order.tag]
script: bench.rhai
"#;

const SCRIPT: &str = r#"
    let pieces = 0;
    for line in order.lines { pieces += line.quantity; }
    let seen = ask("memory.add", #{ key: "customer/" + customer.id, by: 1 });
    if seen.value > 2 && pieces > 10 { ask("order.tag", #{ tags: ["regular", `${pieces} pieces`] }); }
"#;

/// Answers everything at once.
struct Open;

impl Door for Open {
    fn ask(&mut self, _: &str, _: &str, input: Json, _: AskOptions) -> Asked {
        black_box(input);
        Asked::Answered(Answer::Done(json!({ "value": 3 })))
    }
}

fn order() -> String {
    let line = |i: i64| {
        json!({
            "id": format!("8209829119461545{i:02}"), "product_id": "632910392", "variant_id": "808950810", "sku": format!("TEA-{i}"),
            "name": "Green tea from the first harvest, loose leaves, in a tin that keeps it fresh for a year or more",
            "quantity": i % 8, "unit_price": "19.99 EUR", "total": "199.90 EUR",
        })
    };
    let order = json!({ "order": {
        "id": "820982911946154508", "number": "1042", "name": "#1042", "status": "open", "financial_status": "paid",
        "currency": "EUR", "total": "2249.50 EUR", "subtotal": "2200.00 EUR", "tax": "39.50 EUR", "tags": ["first", "gift"],
        "customer": { "id": "115", "email": "ana@example.com", "name": "Ana Lima", "tags": ["vip"], "orders_count": 3 },
        "lines": (0..28).map(line).collect::<Vec<_>>(), "created_at": "2026-11-20T10:00:00Z",
    }});
    order.to_string()
}

fn facts(json: &str, rule: &Rule) -> Facts {
    let records: Arc<Records> = serde_json::from_str(json).expect("records");
    let time = "2026-11-23T10:00:00Z".parse().expect("time");
    let event = Event {
        id: EventId(1),
        shop: "acme".parse().expect("shop"),
        source: "/shopify/acme".into(),
        kind: "order.created".into(),
        topic: "orders/create".into(),
        subject: "order/1042".into(),
        time,
        received: time,
        records: Arc::clone(&records),
        mentions: Vec::new(),
        late: false,
        echo: None,
    };
    Facts { event: Arc::new(event), context: records, missing: Vec::new(), inputs: rule.values(), now: time }
}

/// The conditions of [`RULE`], as somebody would write them in Rust.
fn native(facts: &Facts, limit: Money) -> bool {
    let Some(order) = &facts.context.order else { return false };
    let customer = facts.context.customer.as_ref().or(order.customer.as_ref());
    order.total.is_some_and(|total| total > limit)
        && !customer.is_some_and(|it| it.tags.iter().any(|tag| &**tag == "fraud"))
        && order.lines.iter().any(|line| {
            line.quantity.is_some_and(|many| many > 6) && line.unit_price.is_some_and(|price| price < limit)
        })
}

/// The median time of one call.
fn median(mut what: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let began = Instant::now();
            (0..20).for_each(|_| what());
            began.elapsed() / 20
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let catalog = catalog(&all(Deps::default()));
    let read = read(Path::new("bench.yaml"), RULE, &|_| Ok(SCRIPT.to_owned()), &catalog);
    let findings: Vec<String> = read.findings.iter().map(ToString::to_string).collect();
    let rule = read.rule.unwrap_or_else(|| panic!("{findings:?}"));
    let limit: Money = "50 EUR".parse().expect("money");
    let json = order();
    let ready = facts(&json, &rule);
    assert!(native(&ready, limit) && matches(&rule, &ready) == Match::Holds, "both see the same order");

    let parse = median(|| _ = black_box(facts(&json, &rule)));
    let whole_native = median(|| _ = black_box(native(&facts(&json, &rule), limit)));
    let whole_rule = median(|| _ = black_box(matches(&rule, &facts(&json, &rule))));
    let only_native = median(|| _ = black_box(native(&ready, limit)));
    let only_rule = median(|| _ = black_box(matches(&rule, &ready)));
    let script = median(|| _ = black_box(advance(&rule, &ready, Open)));
    let whole_script = parse + script;

    println!("an order of {:.1} KB with 28 lines, three conditions", json.len() as f64 / 1024.0);
    println!("reading the JSON                      {parse:>10.1?}");
    println!("JSON in, verdict out: Rust            {whole_native:>10.1?}");
    println!("JSON in, verdict out: rule            {whole_rule:>10.1?}  × {:.2}", ratio(whole_rule, whole_native));
    println!("conditions alone: Rust                {only_native:>10.1?}");
    println!("conditions alone: rule                {only_rule:>10.1?}");
    println!("a script with two calls, JSON in      {whole_script:>10.1?}  × {:.2}", ratio(whole_script, whole_native));
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}
