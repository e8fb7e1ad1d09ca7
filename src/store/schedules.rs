//! When each rule's own times come next: what a restart knows of the times that it missed.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, Set};

use super::events::moment;
use super::{Store, StoreError};
use crate::domain::ShopId;

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "schedules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub shop: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub rule: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub expression: String,
    pub next: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// When a rule's times come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The rule's id.
    pub rule: String,
    /// The times and their zone.
    pub expression: String,
    /// The next of them; `None` where there is none any more, and then no row is kept.
    pub next: Option<Timestamp>,
}

impl Store {
    /// When the times of this shop's rules come next.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn schedules(&self, shop: &ShopId) -> Result<Vec<ScheduleRow>, StoreError> {
        let rows = Entity::find().filter(Column::Shop.eq(shop.as_str())).all(&self.readers).await?;
        let row = |row: Model| ScheduleRow { rule: row.rule, expression: row.expression, next: Some(moment(row.next)) };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// Writes when these come next.
pub(super) async fn keep(tx: &DatabaseTransaction, shop: &ShopId, rows: Vec<ScheduleRow>) -> Result<(), DbErr> {
    for ScheduleRow { rule, expression, next } in rows {
        let Some(next) = next else {
            Entity::delete_by_id((shop.to_string(), rule, expression)).exec(tx).await?;
            continue;
        };
        let row = ActiveModel {
            shop: Set(shop.to_string()),
            rule: Set(rule),
            expression: Set(expression),
            next: Set(next.as_millisecond()),
        };
        let name = OnConflict::columns([Column::Shop, Column::Rule, Column::Expression]);
        let now = name.clone().update_column(Column::Next).to_owned();
        Entity::insert(row).on_conflict(now).exec_without_returning(tx).await?;
    }
    Ok(())
}
