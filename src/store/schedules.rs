//! When each rule's own times come next: what a restart knows of the times that it missed.

use jiff::Timestamp;
use sea_orm::entity::prelude::*;

use super::events::moment;
use super::rows::{Batches, Rows};
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

const NEXT: Rows<4> = Rows {
    head: "INSERT INTO schedules (shop, rule, expression, next) VALUES ",
    tail: " ON CONFLICT (shop, rule, expression) DO UPDATE SET next = excluded.next",
};
const NONE_LEFT: Rows<3> = Rows { head: "DELETE FROM schedules WHERE (shop, rule, expression) = ", tail: "" };

/// Writes when these come next. Of several rows for the same times the last counts.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, rows: Vec<ScheduleRow>) {
    for ScheduleRow { rule, expression, next } in rows {
        let shop = shop.as_str().into();
        match next {
            Some(next) => batches.add(&NEXT, [[shop, rule.into(), expression.into(), next.as_millisecond().into()]]),
            None => batches.add(&NONE_LEFT, [[shop, rule.into(), expression.into()]]),
        }
    }
}
