//! What wins over a rule's file until it is lifted: a version that a person has pinned, a pause.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, Set};

use super::{Store, StoreError};
use crate::domain::{Pin, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_states")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule: String,
    pub pin: Option<String>,
    pub pin_file: Option<String>,
    pub paused: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

impl Store {
    /// The versions that are pinned, by rule.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pins(&self, shop: &ShopId) -> Result<Vec<(String, Pin)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Pin.is_not_null())
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.rule, Pin { version: row.pin?, file: row.pin_file }))).collect())
    }
}

/// Pins a version of each of these rules, or lifts its pin.
pub(super) async fn pin(
    tx: &DatabaseTransaction,
    shop: &ShopId,
    pins: Vec<(String, Option<Pin>)>,
) -> Result<(), DbErr> {
    for (rule, pin) in pins {
        let (version, file) = pin.map_or((None, None), |pin| (Some(pin.version), pin.file));
        let row = ActiveModel {
            shop: Set(shop.to_string()),
            rule: Set(rule),
            pin: Set(version),
            pin_file: Set(file),
            ..Default::default()
        };
        let now =
            OnConflict::columns([Column::Shop, Column::Rule]).update_columns([Column::Pin, Column::PinFile]).to_owned();
        Entity::insert(row).on_conflict(now).exec_without_returning(tx).await?;
    }
    Ok(())
}
