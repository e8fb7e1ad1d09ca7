//! Enriching: deliveries are thin, so the records that an event speaks of are put beside it, as they are now.
//!
//! Pure but for the records handed in. What a batch of events says is seen by those behind it in the batch.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::known::{Kept, Known};
use crate::domain::{
    Context, Customer, Event, Inventory, Message, Missing, Money, Order, Product, RecordKey, RecordKind, RecordName,
    Records, Return, ReturnLine, Shop, Text,
};

/// What an event calls by name and not by id: a message's sender, and the orders that it speaks of.
pub(super) fn names(event: &Event) -> impl Iterator<Item = RecordName> {
    event.records.message.iter().flat_map(|message| message.sender().into_iter().chain(message.orders()))
}

/// The records that an event speaks of: its own and those it mentions.
pub(super) fn keys(event: &Event) -> Vec<RecordKey> {
    let mut keys = own_keys(&event.records);
    let buyer = event.records.order.as_ref().and_then(|order| order.customer.as_ref()?.id.clone());
    let buyer = buyer.map(|id| RecordKey { kind: RecordKind::Customer, id });
    for key in event.mentions.iter().chain(&buyer) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys
}

fn own_keys(records: &Records) -> Vec<RecordKey> {
    let key = |kind, id: Option<&Text>| id.map(|id| RecordKey { kind, id: id.clone() });
    [
        records.order.as_ref().and_then(|order| key(RecordKind::Order, order.id.as_ref())),
        records.customer.as_ref().and_then(|customer| key(RecordKind::Customer, customer.id.as_ref())),
        records.product.as_ref().and_then(|product| key(RecordKind::Product, product.id.as_ref())),
        records.inventory.as_ref().and_then(|level| key(RecordKind::Inventory, level.id.as_ref())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An event with its context, and whether its stock level crossed its threshold downwards.
#[derive(Debug)]
pub(super) struct Enriched {
    pub(super) event: Arc<Event>,
    pub(super) context: Context,
    pub(super) fell_low: bool,
}

/// Puts the records beside the event, and its own records among those known.
pub(super) fn enrich(event: &Event, shop: &Shop, known: &mut Known) -> Enriched {
    let mut records = Records::clone(&event.records);
    let (mut late, mut fell_low) = (false, false);
    if let Some(level) = &records.inventory {
        let (level, low, is_late) = stock(level, event, shop, known);
        (fell_low, late) = (low, is_late);
        records.inventory = Some(level);
    }
    late |= is_late::<Order>(&mut records, event, known);
    late |= is_late::<Customer>(&mut records, event, known);
    late |= is_late::<Product>(&mut records, event, known);
    let mut missing = Vec::new();
    for key in &event.mentions {
        let found = match key.kind {
            RecordKind::Order => find::<Order>(&mut records, key, known),
            RecordKind::Customer => find::<Customer>(&mut records, key, known),
            RecordKind::Product => find::<Product>(&mut records, key, known),
            RecordKind::Inventory => true,
        };
        if !found {
            missing.push(key.clone().into());
        }
    }
    if let Some(message) = records.message.clone() {
        senders(&message, &mut records, &mut missing, known);
    }
    if let Some(order) = &records.order {
        if let Some(returned) = &records.returned {
            records.returned = Some(Arc::new(priced(returned, order)));
        }
        if records.customer.is_none() {
            records.customer = order.customer.as_ref().map(|buyer| whole(buyer, known));
        }
    }
    let event = Arc::new(Event { late, ..event.clone() });
    Enriched { event, context: Context { records: Arc::new(records), missing }, fell_low }
}

/// Keeps the event's own record of this kind; `true` where a newer one was known, which then takes its place.
fn is_late<T: Kept>(records: &mut Records, event: &Event, known: &mut Known) -> bool {
    let place = T::place(records);
    let Some((own, id)) = place.as_ref().and_then(|own| Some((own.clone(), own.id()?.clone()))) else { return false };
    if known.keep(RecordKey { kind: T::KIND, id: id.clone() }, event.received, &own) {
        return false;
    }
    *place = known.read(&id).or(Some(own));
    true
}

/// Puts a record that the event names into its place, where that is free; `false` where nobody knows it.
fn find<T: Kept>(records: &mut Records, key: &RecordKey, known: &Known) -> bool {
    let place = T::place(records);
    if place.is_none() {
        *place = known.read(&key.id);
    }
    place.is_some()
}

/// Who wrote a message, and the first order that it names and that is theirs. Whoever writes down the number of
/// somebody else's order must not be told of it: it is missing, and so is one that nobody knows.
fn senders(message: &Message, records: &mut Records, missing: &mut Vec<Missing>, known: &Known) {
    let address = message.sender();
    if records.customer.is_none() {
        records.customer = address.as_ref().and_then(|address| known.called(address).into_iter().next());
    }
    if records.order.is_some() {
        return;
    }
    let sender = records.customer.clone();
    let is_theirs = |order: &Arc<Order>| {
        let Some(buyer) = &order.customer else { return false };
        let same_id = buyer.id.is_some() && sender.as_ref().is_some_and(|sender| sender.id == buyer.id);
        let bought_by = buyer.names();
        let wrote = || address.iter().cloned().chain(sender.as_ref().and_then(|sender| sender.names()));
        same_id || bought_by.is_some_and(|buyer| wrote().any(|name| name == buyer))
    };
    for name in message.orders() {
        let called = known.called::<Order>(&name);
        match called.iter().find(|order| is_theirs(order)) {
            Some(order) => {
                records.order.get_or_insert_with(|| order.clone());
            }
            None => missing.push(Missing {
                kind: RecordKind::Order,
                id: format!("#{}", name.name).into(),
                withheld: !called.is_empty(),
            }),
        }
    }
}

/// The level with what it was before and where it is low; whether it just fell low; whether a newer one is known.
fn stock(level: &Inventory, event: &Event, shop: &Shop, known: &mut Known) -> (Arc<Inventory>, bool, bool) {
    let mut level = level.clone();
    let before = level.id.as_ref().and_then(|id| known.read::<Inventory>(id));
    if let Some(before) = &before {
        // A level's deliveries are thin; what an earlier one or a read told of the item stays true.
        level.sku = level.sku.or_else(|| before.sku.clone());
        level.product_id = level.product_id.or_else(|| before.product_id.clone());
        level.variant_id = level.variant_id.or_else(|| before.variant_id.clone());
        // Our own event about a level brings what it was before.
        level.previous = level.previous.or(before.available);
    }
    let own = level.sku.as_deref().and_then(|sku| shop.low_stock.get(sku)).copied();
    // What the shop says goes before what a source says.
    level.threshold = own.or(shop.low_stock_default).or(level.threshold);
    let level = Arc::new(level);
    let Some(id) = level.id.clone() else { return (level, false, false) };
    let kept = known.keep(RecordKey { kind: RecordKind::Inventory, id }, event.received, &level);
    let low = match (level.previous, level.available, level.threshold) {
        (Some(previous), Some(available), Some(threshold)) => previous > threshold && available <= threshold,
        // What it was before is not known, so nobody can say that it fell.
        _ => false,
    };
    // Our own event about it carries the same level: it must not make another.
    (level, kept && low && &*event.kind == "inventory.changed", !kept)
}

/// An order's customer with what only the customer's own record says: orders bring a thin one, without the number of
/// orders.
fn whole(buyer: &Arc<Customer>, known: &Known) -> Arc<Customer> {
    let record = buyer.id.as_ref().and_then(|id| known.read::<Customer>(id));
    let Some(record) = record.map(Arc::unwrap_or_clone) else { return buyer.clone() };
    let mut buyer = Customer::clone(buyer);
    buyer.email = buyer.email.or(record.email);
    buyer.phone = buyer.phone.or(record.phone);
    buyer.name = buyer.name.or(record.name);
    buyer.first_name = buyer.first_name.or(record.first_name);
    buyer.locale = buyer.locale.or(record.locale);
    buyer.orders_count = buyer.orders_count.or(record.orders_count);
    if buyer.tags.is_empty() {
        buyer.tags = record.tags;
    }
    Arc::new(buyer)
}

/// The return with its lines' names and prices, from the order.
fn priced(returned: &Return, order: &Order) -> Return {
    let mut returned = returned.clone();
    let mut sum: Option<Money> = None;
    let mut whole = !returned.lines.is_empty();
    for line in &mut returned.lines {
        let of_order =
            line.line_id.as_ref().and_then(|id| order.lines.iter().find(|other| other.id.as_ref() == Some(id)));
        let Some(of_order) = of_order else {
            whole = false;
            continue;
        };
        let price = of_order.unit_price.zip(line.quantity);
        // Past what a decimal can hold there is no price: it must not bring the desk down either.
        let total = price.and_then(|(price, quantity)| {
            Some(Money::new(price.amount.checked_mul(Decimal::from(quantity))?, price.currency))
        });
        *line = Arc::new(ReturnLine {
            sku: line.sku.clone().or_else(|| of_order.sku.clone()),
            name: line.name.clone().or_else(|| of_order.name.clone()),
            total: line.total.or(total),
            ..ReturnLine::clone(line)
        });
        match (sum, line.total) {
            (_, None) => whole = false,
            (None, total) => sum = total,
            (Some(so_far), Some(total)) if so_far.currency == total.currency => {
                sum = so_far.amount.checked_add(total.amount).map(|amount| Money::new(amount, total.currency));
                whole &= sum.is_some();
            }
            _ => whole = false,
        }
    }
    // A sum with a part missing would be a wrong number.
    returned.total = returned.total.or(if whole { sum } else { None });
    returned
}
