//! Every version of a rule that ever ran: a waiting run stays on its own, whatever becomes of the file.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Set};

use super::events::moment;
use super::{Store, StoreError};
use crate::domain::ShopId;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "rule_versions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: String,
    pub bundle: String,
    pub since: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// A version of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVersion {
    /// The rule's id.
    pub rule: String,
    /// The version's name.
    pub version: String,
    /// All that is needed to run it again: the rules' room writes and reads it.
    pub bundle: String,
    /// When it first went live.
    pub since: Timestamp,
}

impl Store {
    /// Keeps versions that went live; those already kept stay as they are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_versions(&self, shop: &ShopId, versions: Vec<RuleVersion>) -> Result<(), StoreError> {
        let shop = shop.clone();
        self.writer.write(move |tx| Box::pin(async move { insert(tx, &shop, versions).await })).await
    }

    /// The bundle of a version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn version(&self, shop: &ShopId, rule: &str, version: &str) -> Result<Option<String>, StoreError> {
        let key = (shop.to_string(), rule.to_owned(), version.to_owned());
        Ok(Entity::find_by_id(key).one(&self.readers).await?.map(|row| row.bundle))
    }

    /// The versions of a rule that are kept, by the time they first went live or into the shadow, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions_of(&self, shop: &ShopId, rule: &str) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Rule.eq(rule))
            .order_by_asc(Column::Since)
            .select_only()
            .columns([Column::Version, Column::Since])
            .into_tuple::<(String, i64)>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(|(version, since)| (version, moment(since))).collect())
    }
}

pub(super) async fn insert(tx: &DatabaseTransaction, shop: &ShopId, versions: Vec<RuleVersion>) -> Result<(), DbErr> {
    for version in versions {
        let row = ActiveModel {
            shop: Set(shop.to_string()),
            rule: Set(version.rule),
            version: Set(version.version),
            bundle: Set(version.bundle),
            since: Set(version.since.as_millisecond()),
        };
        let known = OnConflict::columns([Column::Shop, Column::Rule, Column::Version]).do_nothing().to_owned();
        Entity::insert(row).on_conflict(known).exec_without_returning(tx).await?;
    }
    Ok(())
}
