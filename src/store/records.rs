//! Records: the newest version of each order, customer, product and stock level.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::{FromQueryResult, Statement};

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

pub(super) const ASKED: Rows<3> = Rows {
    head: "SELECT kept.kind, kept.id, kept.modified, kept.received, kept.record FROM (VALUES ",
    tail: ") AS asked CROSS JOIN records AS kept ON kept.shop = asked.column1 AND kept.kind = asked.column2 \
           AND kept.id = asked.column3",
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

#[derive(FromQueryResult)]
struct Title {
    title: String,
}

impl Store {
    /// The titles of the products that are known, `most` of them at the most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn product_titles(&self, shop: &ShopId, most: usize) -> Result<Vec<String>, StoreError> {
        let statement = Statement::from_sql_and_values(
            self.readers.get_database_backend(),
            "SELECT json_extract(record, '$.title') AS title FROM records \
             WHERE shop = ? AND kind = 'product' AND json_extract(record, '$.title') IS NOT NULL LIMIT ?",
            [shop.as_str().into(), (most as u64).into()],
        );
        let found = Title::find_by_statement(statement).all(&self.readers).await?;
        Ok(found.into_iter().map(|row| row.title).collect())
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
