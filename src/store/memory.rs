//! A shop's own small state: what rules remember.

use sea_orm::entity::prelude::*;
use serde_json::Value as Json;

use super::events::json;
use super::rows::{Batches, Rows};
use super::{Store, StoreError};
use crate::domain::ShopId;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "memory")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub value: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Store {
    /// What the shop remembers under this key; null where it remembers nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remembered(&self, shop: &ShopId, key: &str) -> Result<Json, StoreError> {
        let row = Entity::find_by_id((shop.to_string(), key.to_owned())).one(&self.readers).await?;
        row.map_or(Ok(Json::Null), |row| serde_json::from_str(&row.value).map_err(StoreError::from))
    }
}

const REMEMBERED: Rows<3> = Rows {
    head: "INSERT INTO memory (shop, key, value) VALUES ",
    tail: " ON CONFLICT (shop, key) DO UPDATE SET value = excluded.value",
};
/// One at a time: SQLite finds one row of two values by its key, and goes through the table for several.
const FORGOTTEN: Rows<2> = Rows { head: "DELETE FROM memory WHERE (shop, key) = ", tail: "" };

/// Remembers these, each key once; null forgets.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, values: Vec<(String, Json)>) {
    let (forgotten, remembered): (Vec<_>, Vec<_>) = values.into_iter().partition(|(_, value)| value.is_null());
    forgotten.into_iter().for_each(|(key, _)| batches.add(&FORGOTTEN, [[shop.as_str().into(), key.into()]]));
    let row = |(key, value): (String, Json)| [shop.as_str().into(), key.into(), json(&value).into()];
    batches.add(&REMEMBERED, remembered.into_iter().map(row));
}
