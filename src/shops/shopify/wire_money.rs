//! Shopify's webhook payloads of money that goes back, and of changes to what was ordered.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::wire::needed;
use crate::domain::{self, Currency, Money, Refused, Text};
use crate::shops::read::{Amount, Id, Moment, Words};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refund {
    id: Id,
    order_id: Id,
    note: Words,
    created_at: Moment,
    transactions: Option<Vec<Transaction>>,
    refund_line_items: Option<Vec<RefundLine>>,
    order_adjustments: Option<Vec<Adjustment>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transaction {
    kind: Words,
    status: Words,
    amount: Amount,
    currency: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RefundLine {
    subtotal_set: Option<Bag>,
    total_tax_set: Option<Bag>,
}

/// What else a refund gives back or keeps: shipping is negative, as what the shop pays.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Adjustment {
    amount_set: Option<Bag>,
    tax_amount_set: Option<Bag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Bag {
    shop_money: Option<ShopMoney>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ShopMoney {
    amount: Amount,
    currency_code: Words,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dispute {
    id: Id,
    order_id: Id,
    amount: Amount,
    currency: Words,
    reason: Words,
    status: Words,
    evidence_due_by: Moment,
}

/// `orders/edited`: what changed, and not the order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Edited {
    order_edit: Option<Edit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Edit {
    order_id: Id,
    created_at: Moment,
}

fn currency(code: &str, field: &str) -> Result<Currency, Refused> {
    code.parse().map_err(|error| Refused::Malformed(format!("the body's `{field}` cannot be read: {error}")))
}

fn money(amount: Amount, code: &Words, field: &str) -> Result<Option<Money>, Refused> {
    let (Some(amount), Some(code)) = (amount.0, &code.0) else { return Ok(None) };
    Ok(Some(Money::new(amount, currency(code, field)?)))
}

/// The sum, where all of it is of one currency.
fn sum(all: impl IntoIterator<Item = Money>) -> Option<Money> {
    let mut all = all.into_iter();
    let first = all.next()?;
    all.try_fold(first, |sum, one| {
        let amount = sum.amount.checked_add(one.amount).filter(|_| sum.currency == one.currency)?;
        Some(Money::new(amount, sum.currency))
    })
}

impl Bag {
    fn money(&self) -> Result<Option<Money>, Refused> {
        self.shop_money.as_ref().map_or(Ok(None), |it| money(it.amount, &it.currency_code, "shop_money.currency_code"))
    }
}

impl Refund {
    /// What went back is what the transactions that succeeded say. Where there are none, as in a test's delivery, it is
    /// what the lines and the adjustments come to.
    pub(super) fn neutral(self) -> Result<domain::Refund, Refused> {
        let total = match self.paid_back()? {
            Some(total) => Some(total),
            None => self.given_up()?,
        };
        Ok(domain::Refund {
            id: Some(needed(self.id, "id")?),
            order_id: self.order_id.0,
            total,
            note: self.note.0,
            created_at: self.created_at.0,
        })
    }

    fn paid_back(&self) -> Result<Option<Money>, Refused> {
        let all = self.transactions.iter().flatten();
        let is_meant = |it: &&Transaction| {
            it.kind.0.as_deref() == Some("refund") && matches!(it.status.0.as_deref(), None | Some("success"))
        };
        let all: Vec<Option<Money>> =
            all.filter(is_meant).map(|it| money(it.amount, &it.currency, "transactions")).collect::<Result<_, _>>()?;
        Ok(sum(all.into_iter().flatten()))
    }

    fn given_up(&self) -> Result<Option<Money>, Refused> {
        let mut parts = Vec::new();
        for line in self.refund_line_items.iter().flatten() {
            for bag in [&line.subtotal_set, &line.total_tax_set].into_iter().flatten() {
                parts.extend(bag.money()?);
            }
        }
        for adjustment in self.order_adjustments.iter().flatten() {
            for bag in [&adjustment.amount_set, &adjustment.tax_amount_set].into_iter().flatten() {
                let back = |money: Money| Money::new(-money.amount, money.currency);
                parts.extend(bag.money()?.map(back));
            }
        }
        Ok(sum(parts).filter(|sum| sum.amount >= Decimal::ZERO))
    }
}

impl Dispute {
    pub(super) fn neutral(self) -> Result<domain::Dispute, Refused> {
        Ok(domain::Dispute {
            total: money(self.amount, &self.currency, "currency")?,
            id: Some(needed(self.id, "id")?),
            order_id: self.order_id.0,
            reason: self.reason.0,
            status: self.status.0,
            due_at: self.evidence_due_by.0,
        })
    }
}

impl Edited {
    /// The order, and when it was edited.
    pub(super) fn order(self) -> Result<(Text, Moment), Refused> {
        let edit = self.order_edit.unwrap_or_default();
        Ok((needed(edit.order_id, "order_edit.order_id")?, edit.created_at))
    }
}
