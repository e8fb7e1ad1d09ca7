//! Giving money back: once, over the payments by which it came in.
//!
//! Two things keep a repeat from giving back twice. Shopify takes our key for a day; and the refund's note holds a mark
//! of the call, which is looked for first, however long ago the first attempt was.

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::{Client, NoAnswer, gid, no_order, refused, without};
use super::graphql::{Gid, MoneyBag, UserError, money};
use crate::domain::{Currency, Money, RefundOrder, Verdict};

/// What was paid for an order and what was given back.
pub(super) const REFUNDABLE: &str = "
query Refundable($id: ID!) {
  order(id: $id) {
    currencyCode presentmentCurrencyCode
    refunds(first: 100) { id note totalRefundedSet { shopMoney { amount currencyCode } } }
    transactions(first: 100) {
      id kind status gateway
      amountSet { shopMoney { amount currencyCode } }
      parentTransaction { id }
    }
  }
}";

/// Gives money back. The key is Shopify's guard against repeats.
pub(super) const REFUND: &str = "
mutation Refund($input: RefundInput!, $key: String!) {
  refundCreate(input: $input) @idempotent(key: $key) {
    refund { id totalRefundedSet { shopMoney { amount currencyCode } } }
    userErrors { message }
  }
}";

#[derive(Debug, Deserialize)]
struct RefundableData {
    order: Option<Order>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Order {
    currency_code: Option<String>,
    presentment_currency_code: Option<String>,
    refunds: Vec<Refund>,
    transactions: Vec<Transaction>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Refund {
    id: Gid,
    note: Option<String>,
    total_refunded_set: Option<MoneyBag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Transaction {
    id: Gid,
    kind: String,
    status: String,
    gateway: Option<String>,
    amount_set: Option<MoneyBag>,
    parent_transaction: Option<Parent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parent {
    id: Gid,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefundData {
    refund_create: Option<Created>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    refund: Option<Refund>,
    #[serde(default)]
    user_errors: Vec<UserError>,
}

/// A payment and how much of it can still be given back.
struct Payment {
    id: Gid,
    gateway: String,
    left: Decimal,
}

/// The payments for an order, with what is left of each.
fn payments(transactions: Vec<Transaction>, currency: Currency) -> Vec<Payment> {
    let (paid, other): (Vec<_>, Vec<_>) = transactions
        .into_iter()
        .partition(|it| matches!(it.kind.as_str(), "SALE" | "CAPTURE") && it.status == "SUCCESS");
    let mut payments: Vec<Payment> = paid
        .into_iter()
        .filter_map(|it| {
            let amount = money(it.amount_set).filter(|money| money.currency == currency)?.amount;
            Some(Payment { id: it.id, gateway: it.gateway?, left: amount })
        })
        .collect();
    // What is on its way back counts as gone.
    for back in
        other.into_iter().filter(|it| it.kind == "REFUND" && matches!(it.status.as_str(), "SUCCESS" | "PENDING"))
    {
        let of = back.parent_transaction.and_then(|parent| parent.id.0);
        if let Some(payment) = payments.iter_mut().find(|payment| payment.id.0 == of)
            && let Some(amount) = money(back.amount_set)
        {
            payment.left -= amount.amount;
        }
    }
    payments
}

/// Spreads an amount over payments, the first ones first; what is left over where they do not hold it.
fn spread(payments: Vec<Payment>, amount: Decimal, order: &str) -> (Vec<Json>, Decimal) {
    let (mut parts, mut left) = (Vec::new(), amount);
    for payment in payments {
        let part = payment.left.min(left);
        if part > Decimal::ZERO {
            left -= part;
            parts.push(json!({
                "orderId": order, "parentId": payment.id.0, "gateway": payment.gateway, "kind": "REFUND",
                "amount": part.to_string(),
            }));
        }
    }
    (parts, left)
}

fn done(refund: Refund, asked: Money) -> Verdict {
    let amount = money(refund.total_refunded_set).unwrap_or(asked);
    Verdict::Done(json!({ "refund_id": refund.id.id().unwrap_or_default(), "amount": amount.to_string() }))
}

pub(super) async fn refund(client: &Client, refund: &RefundOrder, key: &str) -> Result<Verdict, Verdict> {
    let RefundOrder { order_id, amount, note, mark, notify } = refund;
    let id = gid(order_id).ok_or_else(|| no_order(order_id))?;
    let asked = client.ask::<RefundableData>(REFUNDABLE, json!({ "id": id })).await;
    let order = asked.map_err(NoAnswer::where_repeats_are_harmless)?.order.ok_or_else(|| no_order(order_id))?;
    let marked = |it: &Refund| it.note.as_deref().is_some_and(|note| note.contains(mark.as_str()));
    if let Some(before) = order.refunds.into_iter().find(marked) {
        return Ok(done(before, *amount));
    }
    let currency = order.currency_code.unwrap_or_default();
    if currency != amount.currency.as_str() {
        let said = format!("the order is in {currency}, and the amount is {amount}");
        return Err(Verdict::refused("other_currency", said));
    }
    if order.presentment_currency_code.is_some_and(|shown| shown != currency) {
        let said = "the customer paid in another currency than the shop's: give it back in the shop's admin";
        return Err(Verdict::refused("other_currency", said));
    }
    let (parts, left) = spread(payments(order.transactions, amount.currency), amount.amount, &id);
    if left > Decimal::ZERO {
        let most = Money::new(amount.amount - left, amount.currency);
        let said =
            format!("of the {amount} asked for, {most} can be given back: more was not paid, or is back already");
        return Err(Verdict::refused("not_enough_paid", said));
    }
    let input = json!({ "orderId": id, "note": note, "notify": notify, "transactions": parts });
    let asked = client.ask::<RefundData>(REFUND, json!({ "input": input, "key": key })).await;
    // The mark is looked for, and the key guards: a repeat gives nothing back twice.
    let data = asked.map_err(NoAnswer::where_repeats_are_harmless)?;
    let created = data.refund_create.ok_or_else(|| without("refundCreate"))?;
    refused(&created.user_errors)?;
    Ok(done(created.refund.ok_or_else(|| without("refund"))?, *amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(id: &str, left: i64) -> Payment {
        Payment { id: Gid(Some(id.into())), gateway: "card".into(), left: left.into() }
    }

    #[test]
    fn an_amount_is_spread_over_what_is_left_of_the_payments() {
        let all = || vec![payment("a", 0), payment("b", 30), payment("c", 50)];
        let (parts, left) = spread(all(), 40.into(), "o");
        let shown: Vec<(&str, &str)> = parts
            .iter()
            .map(|it| (it["parentId"].as_str().unwrap_or(""), it["amount"].as_str().unwrap_or("")))
            .collect();
        assert_eq!((shown, left), (vec![("b", "30"), ("c", "10")], Decimal::ZERO));
        assert_eq!(spread(all(), 100.into(), "o").1, Decimal::from(20), "more than there is");
    }

    #[test]
    fn what_went_back_already_or_is_on_its_way_is_not_left() {
        let all = json!([
            { "id": "a", "kind": "SALE", "status": "SUCCESS", "gateway": "card",
              "amountSet": { "shopMoney": { "amount": "50.0", "currencyCode": "EUR" } } },
            { "id": "b", "kind": "AUTHORIZATION", "status": "SUCCESS", "gateway": "card",
              "amountSet": { "shopMoney": { "amount": "50.0", "currencyCode": "EUR" } } },
            { "id": "c", "kind": "REFUND", "status": "SUCCESS", "gateway": "card", "parentTransaction": { "id": "a" },
              "amountSet": { "shopMoney": { "amount": "10.0", "currencyCode": "EUR" } } },
            { "id": "d", "kind": "REFUND", "status": "PENDING", "gateway": "card", "parentTransaction": { "id": "a" },
              "amountSet": { "shopMoney": { "amount": "5.0", "currencyCode": "EUR" } } },
            { "id": "e", "kind": "REFUND", "status": "FAILURE", "gateway": "card", "parentTransaction": { "id": "a" },
              "amountSet": { "shopMoney": { "amount": "20.0", "currencyCode": "EUR" } } },
        ]);
        let left =
            payments(serde_json::from_str(&all.to_string()).expect("transactions"), "EUR".parse().expect("a currency"));
        assert_eq!(left.iter().map(|it| it.left).collect::<Vec<_>>(), [Decimal::from(35)]);
    }
}
