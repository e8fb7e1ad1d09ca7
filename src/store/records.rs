//! Records: the newest version of each order, customer, product and stock level.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{Condition, DatabaseTransaction, Set};

use super::events::moment;
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
    for some in records.chunks(500) {
        let rows = some.iter().map(|record| ActiveModel {
            shop: Set(shop.to_string()),
            kind: Set(record.key.kind.as_str().to_owned()),
            id: Set(record.key.id.to_string()),
            modified: Set(record.modified.as_millisecond()),
            received: Set(record.received.as_millisecond()),
            record: Set(record.record.clone()),
        });
        let newest = OnConflict::columns([Column::Shop, Column::Kind, Column::Id])
            .update_columns([Column::Modified, Column::Received, Column::Record])
            .to_owned();
        Entity::insert_many(rows).on_conflict(newest).exec_without_returning(tx).await?;
    }
    Ok(())
}
