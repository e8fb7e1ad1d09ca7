//! What may be waited for, how long, and what is said of what may not: when the rule is checked where its text is
//! plain, else when it is asked.

use std::path::Path;

use serde_json::{Value as Json, json};
use storehand::capabilities::{Deps, all, catalog};
use storehand::domain::{Awaits, Records, Verdict};
use storehand::rules;

use super::{attempt, capability, refused_with, shop};

/// What is found in a rule with these steps and tests.
fn found(steps: &str, tests: &str) -> Vec<String> {
    let text = format!("id: t\ntriggers: [{{ event: order.created }}]\nsteps:\n{steps}tests:\n{tests}");
    let nothing_beside = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let read = rules::read(Path::new("t.yaml"), &text, &nothing_beside, &catalog(&all(Deps::default())));
    read.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_are_found_when_the_rule_is_checked() {
    let waits = |with: &str| format!("  - {{ uses: wait_for, with: {{ {with} }} }}\n");
    for (step, told) in [
        (
            "  - { uses: wait, with: { for: 367d } }\n".to_owned(),
            "`for` of `wait` is `367d`, and `366d` is the longest",
        ),
        (waits("event: order.paid, within: 9999h"), "`within` of `wait_for` is `9999h`, and `366d` is the longest"),
        (waits("event: order.payed, within: 1h"), "hint: write `order.paid`"),
        (waits("event: inventory.back, within: 1h"), "`event` of `wait_for` cannot be `inventory.back`"),
        (waits("event: schedule.due, within: 1h"), "`event` of `wait_for` cannot be `schedule.due`"),
        (waits("event: order.paid"), "`wait_for` needs `within:`"),
        (waits("event: order.paid, within: soon"), "`within` of `wait_for` is not a length of time"),
        (
            "  - { uses: approval.request, with: { to: a, show: b, timeout: 53w } }\n".to_owned(),
            "`timeout` of `approval.request` is `53w`, and `366d` is the longest",
        ),
        (
            "  - { uses: approval.request, with: { to: a, show: b, timeout: 1h, on_timeout: accept } }\n".to_owned(),
            "`on_timeout` of `approval.request` cannot be `accept`",
        ),
    ] {
        let found = found(&step, "  - { name: a, event: { type: order.created }, expect: { calls: [] } }\n");
        assert!(found.len() == 1 && found[0].contains(told), "{step}: {found:?}");
    }
    let good = waits("event: order.*, within: 366d, order_id: \"{{ order.id }}\"");
    assert_eq!(found(&good, "  - { name: a, event: { type: order.created }, expect: { calls: [] } }\n"), [""; 0]);
}

#[test]
fn mistakes_in_the_plain_texts_of_a_script_are_found_where_they_stand() {
    let found = |script: &str| -> Vec<String> {
        let text = "id: t\ntriggers: [{ event: order.created }]\nscript: t.rhai\n";
        let beside = |_: &str| Ok(script.to_owned());
        let read = rules::read(Path::new("t.yaml"), text, &beside, &catalog(&all(Deps::default())));
        read.findings.iter().map(ToString::to_string).collect()
    };
    for (script, told) in [
        (r#"ask("wait", #{ for: "400d" });"#, "t.rhai:1:22: error[input]: `for` of `wait` is `400d`, and `366d` is"),
        (r#"ask("wait", #{ for: "soon" });"#, "`for` of `wait` is not a length of time: `soon`"),
        (r#"ask("wait", #{ fro: "1d" });"#, "t.rhai:1:16: error[input]: `wait` takes no `fro`"),
        (r#"ask("wait_for", #{ event: "order.paid", within: "2y" });"#, "`within` of `wait_for` is not a length of"),
        (
            r#"ask("wait_for", #{ event: "order.payed", within: "2d" });"#,
            "`event` of `wait_for` cannot be `order.payed`",
        ),
        (r#"ask("wait_for", #{ event: "product.updated", within: "2d" });"#, "cannot be `product.updated`"),
        (
            r#"ask("approval.request", #{ to: "a", show: `x`, timeout: "1h", on_timeout: "accept" });"#,
            "`on_timeout` of `approval.request` cannot be `accept`",
        ),
    ] {
        let found = found(script);
        assert!(found.len() == 1 && found[0].contains(told), "{script}: {found:?}");
    }
    // What is worked out, or not written out, is looked at when it is asked.
    for script in [
        r#"let days = "4" + "00d"; ask("wait", #{ for: days });"#,
        r#"ask("log", #{ message: "{{ order.id }}" }); ask("wait", #{ for: "366d" });"#,
        r#"let input = #{ fro: "1d" }; ask("wait", input);"#,
    ] {
        assert_eq!(found(script), [""; 0], "{script}");
    }
}

#[test]
fn a_mock_in_a_word_is_one_that_there_is() {
    let steps = "  - { id: ok, uses: approval.request, with: { to: a, show: b, timeout: 1h } }\n  \
                 - { id: paid, uses: wait_for, with: { event: order.paid, within: 1h } }\n";
    let test = |mocks: &str| {
        format!("  - {{ name: a, event: {{ type: order.created }}, mocks: {{ {mocks} }}, expect: {{ calls: [] }} }}\n")
    };
    for mocks in
        ["ok: approved", "ok: rejected", "ok: timed_out", "paid: timed_out", "ok: { text: a }", "paid: { order: {} }"]
    {
        assert_eq!(found(steps, &test(mocks)), [""; 0], "{mocks}");
    }
    for (mocks, told) in [
        ("ok: aproved", "hint: write `approved`"),
        ("ok: later", "hint: write `approved`, `rejected`, `timed_out`, or its keys"),
        ("paid: approved", "the answer of `wait_for` cannot be `approved`"),
        ("ok: { txt: a }", "takes no `txt`"),
        ("okay: approved", "`okay` is no step and no capability of this rule"),
    ] {
        let found = found(steps, &test(mocks));
        assert!(found.len() == 1 && found[0].contains(told), "{mocks}: {found:?}");
    }
}

fn asked(records: Json, input: &Json) -> Verdict {
    let records: Records = serde_json::from_value(records).expect("records");
    let attempt = attempt(shop(), "order.created", records, Vec::new());
    capability("wait_for").work_out(&attempt.facts, attempt.now, input)
}

#[test]
fn what_is_waited_for_is_the_order_else_the_customer_unless_it_is_said() {
    let order = json!({ "order": { "id": "7", "customer": { "id": "9" } } });
    let customer = json!({ "customer": { "id": "9" } });
    for (records, said, about) in [
        (&order, json!({}), "order/7"),
        (&customer, json!({}), "customer/9"),
        (&order, json!({ "order_id": " 8 " }), "order/8"),
        (&order, json!({ "customer_id": "9" }), "customer/9"),
        (&order, json!({ "return_id": "5" }), "return/5"),
        (&order, json!({ "conversation_id": "a b" }), "conversation/a b"),
    ] {
        let mut input = json!({ "event": "order.paid", "within": "1h" });
        input.as_object_mut().expect("an object").extend(said.as_object().expect("an object").clone());
        let expected = Awaits::Event { kind: "order.paid".into(), about: about.into() };
        let end = "2026-11-23T11:00:00Z".parse().expect("time");
        assert_eq!(asked(records.clone(), &input), Verdict::Await(expected, end), "{input}");
    }
    let input = json!({ "event": "order.paid", "within": "1h" });
    let told = refused_with(&asked(json!({ "inventory": { "sku": "CUP" } }), &input), "nothing_to_wait_for");
    assert!(told.contains("say what is meant, such as `order_id`"), "{told}");
    for (input, told) in [
        (json!({ "event": "order.paid", "within": "367d" }), "`366d` at most"),
        (json!({ "event": "order.paid", "within": "1h", "order_id": " " }), "`order_id` is empty"),
        (json!({ "event": "order.paid", "within": "1h", "order_id": "1", "return_id": "2" }), "order/1 and return/2"),
    ] {
        let refused = refused_with(&asked(order.clone(), &input), "invalid_input");
        assert!(refused.contains(told), "{refused}");
    }
}
