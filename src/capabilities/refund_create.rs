//! `refund.create`: gives money back for an order.
//!
//! Who says how much: a person who has approved something in this run before, who saw the amount; or nobody, where it is
//! an amount that a record or one of the rule's inputs holds, and no more than the input named by `up_to` allows. So no
//! text that a customer wrote, and no model, ever chooses an amount.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{mark, order, read};
use crate::domain::{
    Attempt, Capability, Example, Facts, Kind, Makes, Money, Record, RefundOrder, Repeat, Shape, Spec, Value, Verdict,
};

/// How deep records stand within each other.
const DEEPEST: usize = 6;

pub(super) struct RefundCreate(Spec);

#[derive(Deserialize)]
struct Input {
    amount: String,
    up_to: Option<String>,
    note: Option<String>,
    #[serde(default)]
    notify: bool,
    order_id: Option<String>,
}

impl RefundCreate {
    pub(super) fn new() -> Self {
        let money = |description| {
            let mut money = Shape::text(40, description);
            money["format"] = json!("money");
            money
        };
        Self(Spec {
            doc: "Gives money back for an order, over the ways by which it was paid. A person must have approved it in \
                  this run (`approval.request`), unless `up_to` names one of the rule's inputs that says up to how much \
                  nobody is asked.",
            repeat: Repeat::Key,
            input: Shape::object(
                &["amount"],
                &[
                    ("amount", money("How much: of a record or an input, such as `{{ returned.total }}`.")),
                    (
                        "up_to",
                        money(
                            "Up to how much nobody is asked: one of the rule's inputs, such as `{{ inputs.limit }}`.",
                        ),
                    ),
                    ("note", Shape::text(200, "Why, for people in the shop.")),
                    ("notify", Shape::flag("Whether the platform writes to the customer about it. Default: false.")),
                    ("order_id", order::order_id()),
                ],
            ),
            output: Shape::object(
                &["refund_id", "amount"],
                &[
                    ("refund_id", Shape::text(128, "The platform's id of the refund.")),
                    ("amount", money("How much was given back.")),
                ],
            ),
            example: Example {
                input: json!({
                    "amount": "35.00 EUR", "up_to": "50.00 EUR", "note": "Returned, too small",
                    "order_id": "820982911946154508",
                }),
                answer: json!({ "refund_id": "890088186047892319", "amount": "35.00 EUR" }),
            },
            deadline: Duration::from_secs(45),
            makes: &[
                Makes { event: "order.updated", fields: &["financial_status", "refunded"] },
                Makes { event: "refund.created", fields: &["id", "order_id", "total", "note", "created_at"] },
            ],
            amount: Some("amount"),
            ..Spec::of("refund.create", Kind::Write)
        })
    }

    async fn refund(attempt: &Attempt, input: &Json) -> Result<Verdict, Verdict> {
        let Input { amount, up_to, note, notify, order_id } = read(input)?;
        let amount = money("amount", &amount)?;
        let up_to = up_to.as_deref().map(|up_to| money("up_to", up_to)).transpose()?;
        is_allowed(attempt, amount, up_to)?;
        let mark = mark::mark(&attempt.key);
        let note = format!("{} {mark}", note.unwrap_or_default().trim()).trim().to_owned();
        let order_id = order::id(attempt, order_id)?;
        let refund = RefundOrder { order_id, amount, note, mark, notify };
        Ok(order::platform(attempt)?.refund_order(&refund, &mark::uuid(&attempt.key)).await)
    }
}

fn money(field: &str, text: &str) -> Result<Money, Verdict> {
    let wrong = |problem: String| Verdict::refused("invalid_input", format!("`{field}`: {problem}"));
    let money: Money = text.parse().map_err(|error: crate::domain::ParseMoneyError| wrong(error.to_string()))?;
    if money.amount.is_sign_negative() || money.amount.is_zero() {
        return Err(wrong(format!("{money} is no amount that could be given back")));
    }
    Ok(money)
}

/// Whether this much may be given back without more.
fn is_allowed(attempt: &Attempt, amount: Money, up_to: Option<Money>) -> Result<(), Verdict> {
    if attempt.approved_by.is_some() {
        return Ok(());
    }
    let asks = "ask a person first (`approval.request`)";
    let Some(up_to) = up_to else {
        let said =
            format!("nobody has approved giving {amount} back: {asks}, or say with `up_to` which input allows it");
        return Err(Verdict::refused("needs_approval", said));
    };
    if !attempt.facts.inputs.values().any(|input| is_money(input, up_to)) {
        let said = format!("`up_to` is {up_to}, which none of the rule's inputs holds: name an input, or {asks}");
        return Err(Verdict::refused("needs_approval", said));
    }
    if amount.currency != up_to.currency || amount.amount > up_to.amount {
        return Err(Verdict::refused("needs_approval", format!("{amount} is more than {up_to}: {asks}")));
    }
    if !is_given(&attempt.facts, amount) {
        let said = format!("no record and no input of this run holds {amount}: take it from one, or {asks}");
        return Err(Verdict::refused("amount_not_given", said));
    }
    Ok(())
}

/// Whether a record of the event or one of the rule's inputs holds this amount.
fn is_given(facts: &Facts, amount: Money) -> bool {
    facts.inputs.values().any(|input| is_money(input, amount)) || holds(&*facts.context, amount, DEEPEST)
}

fn is_money(value: &Value, amount: Money) -> bool {
    matches!(value, Value::Money(money) if *money == amount)
}

fn holds(record: &dyn Record, amount: Money, depth: usize) -> bool {
    let within = |value: &Value| match value {
        Value::Record(inner) => depth > 0 && holds(&**inner, amount, depth - 1),
        other => is_money(other, amount),
    };
    record.fields().iter().filter_map(|field| record.get(field.name)).any(|value| match &value {
        Value::List(items) => items.iter().any(within),
        other => within(other),
    })
}

#[async_trait]
impl Capability for RefundCreate {
    fn spec(&self) -> &Spec {
        &self.0
    }

    async fn perform(&self, attempt: &Attempt, input: &Json) -> Verdict {
        Self::refund(attempt, input).await.unwrap_or_else(|verdict| verdict)
    }
}
