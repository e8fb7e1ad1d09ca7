//! Records: the newest version of each order, customer, product and stock level.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction};

use super::events::moment;
use super::rows::Rows;
use super::{Store, StoreError};
use crate::domain::{RecordKey, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "records")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub modified: i64,
    pub received: i64,
    pub record: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

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
        let mut found = Vec::new();
        for some in keys.chunks(200) {
            let any = some.iter().fold(Condition::any(), |any, key| {
                any.add(Condition::all().add(Column::Kind.eq(key.kind.as_str())).add(Column::Id.eq(&*key.id)))
            });
            let rows = Entity::find().filter(Column::Shop.eq(shop.as_str())).filter(any).all(&self.readers).await?;
            for row in rows {
                let Some(key) = some.iter().find(|key| key.kind.as_str() == row.kind && *key.id == *row.id) else {
                    continue;
                };
                found.push(StoredRecord {
                    key: key.clone(),
                    modified: moment(row.modified),
                    received: moment(row.received),
                    record: row.record,
                });
            }
        }
        Ok(found)
    }
}

/// Keeps these as the newest versions. Whoever calls has compared the times.
pub(super) async fn keep(tx: &DatabaseTransaction, shop: &ShopId, records: Vec<StoredRecord>) -> Result<(), DbErr> {
    const RECORDS: Rows<6> = Rows {
        head: "INSERT INTO records (shop, kind, id, modified, received, record) VALUES ",
        tail: " ON CONFLICT DO UPDATE SET modified = excluded.modified, received = excluded.received, \
               record = excluded.record",
    };
    let row = |it: StoredRecord| {
        let [modified, received] = [it.modified, it.received].map(|time| time.as_millisecond().into());
        [shop.as_str().into(), it.key.kind.as_str().into(), (&*it.key.id).into(), modified, received, it.record.into()]
    };
    RECORDS.write(tx, records.into_iter().map(row)).await.map(|_| ())
}
