//! Records: the newest version of each order, customer, product and stock level.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::FromQueryResult;

use super::events::moment;
use super::rows::{Batches, Rows};
use super::{Store, StoreError};
use crate::domain::{RecordKey, ShopId};

#[derive(FromQueryResult)]
struct Model {
    kind: String,
    id: String,
    modified: i64,
    received: i64,
    record: String,
}

const ASKED: Rows<3> = Rows {
    head: "SELECT r.kind, r.id, r.modified, r.received, r.record FROM (VALUES ",
    tail: ") AS asked CROSS JOIN records AS r ON r.shop = asked.column1 AND r.kind = asked.column2 \
           AND r.id = asked.column3",
};

/// A record's newest known version.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// Which.
    pub key: RecordKey,
    /// When the platform last changed it; else when we received it.
    pub modified: Timestamp,
    /// When we received it.
    pub received: Timestamp,
    /// The record as JSON.
    pub record: String,
}

impl Store {
    /// Those of these records that are known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn records(&self, shop: &ShopId, keys: &[RecordKey]) -> Result<Vec<StoredRecord>, StoreError> {
        let by_name: HashMap<(&str, &str), &RecordKey> =
            keys.iter().map(|key| ((key.kind.as_str(), &*key.id), key)).collect();
        let mut found = Vec::new();
        let asked = keys.iter().map(|key| [shop.as_str().into(), key.kind.as_str().into(), (&*key.id).into()]);
        for statement in ASKED.ask(asked) {
            for row in Model::find_by_statement(statement).all(&self.readers).await? {
                let Some(key) = by_name.get(&(row.kind.as_str(), row.id.as_str())) else { continue };
                found.push(StoredRecord {
                    key: (*key).clone(),
                    modified: moment(row.modified),
                    received: moment(row.received),
                    record: row.record,
                });
            }
        }
        Ok(found)
    }
}

const RECORDS: Rows<6> = Rows {
    head: "INSERT INTO records (shop, kind, id, modified, received, record) VALUES ",
    tail: " ON CONFLICT (shop, kind, id) DO UPDATE SET modified = excluded.modified, received = excluded.received, \
           record = excluded.record",
};

/// Keeps these as the newest versions. Whoever calls has compared the times.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, records: Vec<StoredRecord>) {
    let row = |it: StoredRecord| {
        let [modified, received] = [it.modified, it.received].map(|time| time.as_millisecond().into());
        [shop.as_str().into(), it.key.kind.as_str().into(), (&*it.key.id).into(), modified, received, it.record.into()]
    };
    batches.add(&RECORDS, records.into_iter().map(row));
}
