//! A shop's own small state: what rules remember.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, Set};
use serde_json::Value as Json;

use super::events::json;
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

/// Remembers these; null forgets.
pub(super) async fn keep(tx: &DatabaseTransaction, shop: &ShopId, values: Vec<(String, Json)>) -> Result<(), DbErr> {
    for (key, value) in values {
        if value.is_null() {
            Entity::delete_by_id((shop.to_string(), key)).exec(tx).await?;
            continue;
        }
        let row = ActiveModel { shop: Set(shop.to_string()), key: Set(key), value: Set(json(&value)) };
        let now = OnConflict::columns([Column::Shop, Column::Key]).update_column(Column::Value).to_owned();
        Entity::insert(row).on_conflict(now).exec_without_returning(tx).await?;
    }
    Ok(())
}
