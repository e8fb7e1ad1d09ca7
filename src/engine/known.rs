//! The newest records that a turn knows, and the names by which people call them.
//!
//! Those that the turn's own events bring are kept as they are, and written down as JSON once, when the turn is over.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{Customer, Inventory, Order, Product, RecordKey, RecordKind, RecordName, Records, Text};
use crate::store::StoredRecord;

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Known {
    records: HashMap<RecordKey, Version>,
    names: HashMap<RecordName, Vec<RecordKey>>,
    /// Records that the platform was asked for and does not have.
    absent: Vec<RecordKey>,
}

#[derive(Debug)]
struct Version {
    modified: Timestamp,
    received: Timestamp,
    body: Body,
}

/// A record out of the store, or one that is to go there.
#[derive(Debug)]
pub(super) enum Body {
    Stored(String),
    Order(Arc<Order>),
    Customer(Arc<Customer>),
    Product(Arc<Product>),
    Inventory(Arc<Inventory>),
}

/// A kind of record whose newest version is kept.
pub(super) trait Kept: Serialize + DeserializeOwned {
    /// Which kind.
    const KIND: RecordKind;
    /// The platform's id.
    fn id(&self) -> Option<&Text>;
    /// When the platform last changed it.
    fn updated_at(&self) -> Option<Timestamp>;
    /// What people call it.
    fn names(&self) -> Vec<RecordName>;
    /// Its place among the records of an event.
    fn place(records: &mut Records) -> &mut Option<Arc<Self>>;
    /// To be kept.
    fn into_body(it: Arc<Self>) -> Body;
    /// As it was kept, where it is of this kind.
    fn of_body(body: &Body) -> Option<&Arc<Self>>;
}

macro_rules! kept {
    ($($kind:ident in $place:ident, called |$it:ident| $names:expr;)*) => {$(
        impl Kept for $kind {
            const KIND: RecordKind = RecordKind::$kind;
            fn id(&self) -> Option<&Text> {
                self.id.as_ref()
            }
            fn updated_at(&self) -> Option<Timestamp> {
                self.updated_at
            }
            fn names(&self) -> Vec<RecordName> {
                let $it = self;
                $names
            }
            fn place(records: &mut Records) -> &mut Option<Arc<Self>> {
                &mut records.$place
            }
            fn into_body(it: Arc<Self>) -> Body {
                Body::$kind(it)
            }
            fn of_body(body: &Body) -> Option<&Arc<Self>> {
                if let Body::$kind(it) = body { Some(it) } else { None }
            }
        }
    )*};
}

kept! {
    Order in order, called |it| it.names().collect();
    Customer in customer, called |it| it.names().into_iter().collect();
    Product in product, called |_it| Vec::new();
    Inventory in inventory, called |_it| Vec::new();
}

impl Known {
    pub(super) fn add_stored(&mut self, records: Vec<StoredRecord>) {
        for StoredRecord { key, modified, received, record } in records {
            self.records.entry(key).or_insert(Version { modified, received, body: Body::Stored(record) });
        }
    }

    /// Records that were once called so.
    pub(super) fn add_named(&mut self, named: Vec<(RecordName, RecordKey)>) {
        for (name, key) in named {
            self.names.entry(name).or_default().push(key);
        }
    }

    /// The platform was asked for this record, and this is what it said.
    pub(super) fn add_fetched(&mut self, key: RecordKey, order: Option<Order>, received: Timestamp) {
        match order {
            None => self.absent.push(key),
            Some(order) => {
                self.keep(key, received, &Arc::new(order));
            }
        }
    }

    pub(super) fn has(&self, key: &RecordKey) -> bool {
        self.records.contains_key(key) || self.absent.contains(key)
    }

    /// What is new, to be written: records, and the names by which they are found.
    pub(super) fn into_fresh(self) -> (Vec<StoredRecord>, Vec<(RecordName, Text)>) {
        let (mut records, mut names) = (Vec::new(), Vec::new());
        for (key, Version { modified, received, body }) in self.records {
            let record = match &body {
                Body::Stored(_) => continue,
                Body::Order(it) => written(&**it, &key, &mut names),
                Body::Customer(it) => written(&**it, &key, &mut names),
                Body::Product(it) => written(&**it, &key, &mut names),
                Body::Inventory(it) => written(&**it, &key, &mut names),
            };
            records.extend(record.map(|record| StoredRecord { key, modified, received, record }));
        }
        (records, names)
    }

    /// The record of this id.
    pub(super) fn read<T: Kept>(&self, id: &Text) -> Option<Arc<T>> {
        let version = self.records.get(&RecordKey { kind: T::KIND, id: id.clone() })?;
        match &version.body {
            Body::Stored(json) => serde_json::from_str(json).ok().map(Arc::new),
            body => T::of_body(body).cloned(),
        }
    }

    /// The records that are called so now, the last changed first.
    pub(super) fn called<T: Kept>(&self, name: &RecordName) -> Vec<Arc<T>> {
        let keys = self.names.get(name).map(Vec::as_slice).unwrap_or_default();
        let records = keys.iter().filter(|key| key.kind == T::KIND).filter_map(|key| self.read::<T>(&key.id));
        let mut records: Vec<Arc<T>> = records.filter(|record| record.names().contains(name)).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.updated_at()));
        records
    }

    /// Keeps this version unless a newer one is known; `false` where one is. On equal times the later received
    /// wins, so an equal one is kept.
    pub(super) fn keep<T: Kept>(&mut self, key: RecordKey, received: Timestamp, record: &Arc<T>) -> bool {
        let modified = record.updated_at().unwrap_or(received);
        if self.records.get(&key).is_some_and(|known| (known.modified, known.received) > (modified, received)) {
            return false;
        }
        for name in record.names() {
            let called = self.names.entry(name).or_default();
            if !called.contains(&key) {
                called.push(key.clone());
            }
        }
        let body = T::into_body(record.clone());
        self.records.insert(key, Version { modified, received, body });
        true
    }
}

/// A record as it is written, its names put among those of the others.
fn written<T: Kept>(record: &T, key: &RecordKey, names: &mut Vec<(RecordName, Text)>) -> Option<String> {
    let json = serde_json::to_string(record).ok()?;
    names.extend(record.names().into_iter().map(|name| (name, key.id.clone())));
    Some(json)
}
