//! Enriching: deliveries are thin, so the records that an event speaks of are put beside it, as they are now.
//!
//! Pure but for the records handed in. What a batch of events says is seen by those behind it in the batch.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::domain::{
    Context, Customer, Event, Inventory, Money, Order, Product, RecordKey, RecordKind, Records, Return, ReturnLine,
    Shop, Text,
};
use crate::store::StoredRecord;

/// The newest records that a turn knows, and which of them are new.
#[derive(Debug, Default)]
pub(super) struct Known {
    records: HashMap<RecordKey, Version>,
    /// Records that the platform was asked for and does not have.
    absent: Vec<RecordKey>,
}

#[derive(Debug)]
struct Version {
    stored: StoredRecord,
    fresh: bool,
}

impl Known {
    pub(super) fn add_stored(&mut self, records: Vec<StoredRecord>) {
        for stored in records {
            self.records.entry(stored.key.clone()).or_insert(Version { stored, fresh: false });
        }
    }

    /// The platform was asked for this record, and this is what it said.
    pub(super) fn add_fetched(&mut self, key: RecordKey, order: Option<&Order>, received: Timestamp) {
        match order {
            None => self.absent.push(key),
            Some(order) => {
                self.keep(key, order.updated_at, received, order);
            }
        }
    }

    pub(super) fn has(&self, key: &RecordKey) -> bool {
        self.records.contains_key(key) || self.absent.contains(key)
    }

    /// The newest version of a record.
    pub(super) fn newest(&self, key: &RecordKey) -> Option<&StoredRecord> {
        self.records.get(key).map(|version| &version.stored)
    }

    /// What is new, to be written.
    pub(super) fn into_fresh(self) -> Vec<StoredRecord> {
        self.records.into_values().filter(|version| version.fresh).map(|version| version.stored).collect()
    }

    fn read<T: serde::de::DeserializeOwned>(&self, kind: RecordKind, id: &Text) -> Option<T> {
        let version = self.records.get(&RecordKey { kind, id: id.clone() })?;
        serde_json::from_str(&version.stored.record).ok()
    }

    /// Keeps this version unless a newer one is known; `false` where one is. On equal times the later received
    /// wins, so an equal one is kept.
    fn keep<T: serde::Serialize>(
        &mut self,
        key: RecordKey,
        modified: Option<Timestamp>,
        received: Timestamp,
        record: &T,
    ) -> bool {
        let modified = modified.unwrap_or(received);
        let newer = |known: &StoredRecord| (known.modified, known.received) > (modified, received);
        if self.records.get(&key).is_some_and(|known| newer(&known.stored)) {
            return false;
        }
        let Ok(record) = serde_json::to_string(record) else { return true };
        let stored = StoredRecord { key: key.clone(), modified, received, record };
        self.records.insert(key, Version { stored, fresh: true });
        true
    }
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
        records.inventory = Some(Arc::new(level));
    }
    if let Some((order, id)) = records.order.clone().and_then(|order| order.id.clone().map(|id| (order, id))) {
        let key = RecordKey { kind: RecordKind::Order, id: id.clone() };
        if !known.keep(key, order.updated_at, event.received, &*order) {
            late = true;
            records.order = known.read::<Order>(RecordKind::Order, &id).map(Arc::new).or(records.order);
        }
    }
    if let Some((customer, id)) = records.customer.clone().and_then(|it| it.id.clone().map(|id| (it, id))) {
        let key = RecordKey { kind: RecordKind::Customer, id: id.clone() };
        if !known.keep(key, customer.updated_at, event.received, &*customer) {
            late = true;
            records.customer = known.read::<Customer>(RecordKind::Customer, &id).map(Arc::new).or(records.customer);
        }
    }
    if let Some((product, id)) = records.product.clone().and_then(|it| it.id.clone().map(|id| (it, id))) {
        let key = RecordKey { kind: RecordKind::Product, id: id.clone() };
        if !known.keep(key, product.updated_at, event.received, &*product) {
            late = true;
            records.product = known.read::<Product>(RecordKind::Product, &id).map(Arc::new).or(records.product);
        }
    }
    let mut missing = Vec::new();
    for key in &event.mentions {
        let found = match key.kind {
            RecordKind::Order if records.order.is_none() => {
                records.order = known.read::<Order>(key.kind, &key.id).map(Arc::new);
                records.order.is_some()
            }
            RecordKind::Customer if records.customer.is_none() => {
                records.customer = known.read::<Customer>(key.kind, &key.id).map(Arc::new);
                records.customer.is_some()
            }
            RecordKind::Product if records.product.is_none() => {
                records.product = known.read::<Product>(key.kind, &key.id).map(Arc::new);
                records.product.is_some()
            }
            _ => true,
        };
        if !found {
            missing.push(key.clone());
        }
    }
    if let Some(order) = &records.order {
        if let Some(returned) = &records.returned {
            records.returned = Some(Arc::new(priced(returned, order)));
        }
        if records.customer.is_none() {
            records.customer = order.customer.as_ref().map(|buyer| Arc::new(whole(buyer, known)));
        }
    }
    let event = Arc::new(Event { late, ..event.clone() });
    Enriched { event, context: Context { records: Arc::new(records), missing }, fell_low }
}

/// The level with what it was before and where it is low; whether it just fell low; whether a newer one is known.
fn stock(level: &Inventory, event: &Event, shop: &Shop, known: &mut Known) -> (Inventory, bool, bool) {
    let mut level = level.clone();
    let before = level.id.as_ref().and_then(|id| known.read::<Inventory>(RecordKind::Inventory, id));
    if let Some(before) = &before {
        // A level's deliveries are thin; what an earlier one or a read told of the item stays true.
        level.sku = level.sku.or_else(|| before.sku.clone());
        level.product_id = level.product_id.or_else(|| before.product_id.clone());
        level.variant_id = level.variant_id.or_else(|| before.variant_id.clone());
        // Our own event about a level brings what it was before.
        level.previous = level.previous.or(before.available);
    }
    let own = level.sku.as_deref().and_then(|sku| shop.low_stock.get(sku)).copied();
    level.threshold = own.or(shop.low_stock_default);
    let Some(id) = level.id.clone() else { return (level, false, false) };
    let kept = known.keep(RecordKey { kind: RecordKind::Inventory, id }, level.updated_at, event.received, &level);
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
fn whole(buyer: &Customer, known: &Known) -> Customer {
    let mut buyer = buyer.clone();
    let record = buyer.id.as_ref().and_then(|id| known.read::<Customer>(RecordKind::Customer, id));
    let Some(record) = record else { return buyer };
    buyer.email = buyer.email.or(record.email);
    buyer.phone = buyer.phone.or(record.phone);
    buyer.name = buyer.name.or(record.name);
    buyer.first_name = buyer.first_name.or(record.first_name);
    buyer.locale = buyer.locale.or(record.locale);
    buyer.orders_count = buyer.orders_count.or(record.orders_count);
    if buyer.tags.is_empty() {
        buyer.tags = record.tags;
    }
    buyer
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
