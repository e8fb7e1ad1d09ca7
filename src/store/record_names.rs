//! Names of records: how an order's number and a customer's e-mail address lead to the record.
//!
//! A name that a record has lost stays here, so whoever finds a record by it must look whether it is still called so.
//! That makes writing one cheap: what is there already is left as it is.

use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder, QuerySelect};

use super::rows::Rows;
use super::{Store, StoreError};
use crate::domain::{RecordKey, RecordName, ShopId, Text};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "record_names")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Names are all but unique. Where a shop's are not, so many records are looked at and no more, the newest first.
const MOST_ALIKE: u64 = 1000;

impl Store {
    /// The records that are or were called so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn named(&self, shop: &ShopId, names: &[RecordName]) -> Result<Vec<(RecordName, RecordKey)>, StoreError> {
        let mut found = Vec::new();
        for some in names.chunks(100) {
            let any = some.iter().fold(Condition::any(), |any, name| {
                any.add(Condition::all().add(Column::Kind.eq(name.kind.as_str())).add(Column::Name.eq(&*name.name)))
            });
            let rows = Entity::find()
                .filter(Column::Shop.eq(shop.as_str()))
                .filter(any)
                .order_by_desc(Column::Id)
                .limit(MOST_ALIKE)
                .all(&self.readers)
                .await?;
            for row in rows {
                let called = some.iter().find(|name| name.kind.as_str() == row.kind && *name.name == *row.name);
                let Some(name) = called else { continue };
                found.push((name.clone(), RecordKey { kind: name.kind, id: row.id.into() }));
            }
        }
        Ok(found)
    }
}

/// Lets these records be found by these names, too.
pub(super) async fn keep(tx: &DatabaseTransaction, shop: &ShopId, names: Vec<(RecordName, Text)>) -> Result<(), DbErr> {
    const NAMES: Rows<4> =
        Rows { head: "INSERT INTO record_names (shop, kind, name, id) VALUES ", tail: " ON CONFLICT DO NOTHING" };
    let row = |(name, id): (RecordName, Text)| {
        [shop.as_str().into(), name.kind.as_str().into(), (&*name.name).into(), (&*id).into()]
    };
    NAMES.write(tx, names.into_iter().map(row)).await.map(|_| ())
}
