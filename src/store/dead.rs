//! Dead letters: runs that failed, until somebody has them retried or drops them.

use std::collections::HashSet;

use sea_orm::{ColumnTrait, sea_query::Expr};
use sea_orm::{EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Value};

use super::rows::{Batches, Rows};
use super::runs::{Column, Entity};
use super::{Store, StoreError};
use crate::domain::{RunId, ShopId};

/// Which dead runs are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only those whose failure has this code; `diverged` for those that diverged.
    pub code: Option<String>,
}

/// A failed run's code, out of how it ended.
pub(super) const CODE: &str = "coalesce(json_extract(outcome, '$.failure.code'), json_extract(outcome, '$.outcome'))";

#[derive(FromQueryResult)]
struct Dead {
    id: i64,
}

#[derive(FromQueryResult)]
struct Many {
    many: i64,
}

impl Store {
    /// Dead runs after `after`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dead(
        &self,
        shop: &ShopId,
        filter: &DeadFilter,
        after: RunId,
        most: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let (narrowed, mut values) = narrowed(shop, filter);
        let sql = format!("SELECT id FROM runs WHERE {narrowed} AND id > ? ORDER BY id LIMIT ?");
        values.extend([after.0.into(), i64::try_from(most).unwrap_or(i64::MAX).into()]);
        let rows = Dead::find_by_statement(self.read(&sql, values)).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| RunId(row.id)).collect())
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_dead(&self, shop: &ShopId, filter: &DeadFilter) -> Result<u64, StoreError> {
        let (narrowed, values) = narrowed(shop, filter);
        let sql = format!("SELECT count(*) AS many FROM runs WHERE {narrowed}");
        let row = Many::find_by_statement(self.read(&sql, values)).one(&self.readers).await?;
        Ok(row.map_or(0, |row| row.many.unsigned_abs()))
    }

    /// Those of these runs that are dead.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn dead_among(&self, shop: &ShopId, runs: &[RunId]) -> Result<HashSet<RunId>, StoreError> {
        let mut dead = HashSet::new();
        for some in runs.chunks(200) {
            let rows = Entity::find()
                .filter(Column::Id.is_in(some.iter().map(|id| id.0)))
                .filter(Column::Shop.eq(shop.as_str()))
                .filter(Expr::cust("dead = 1"))
                .select_only()
                .column(Column::Id)
                .into_tuple::<i64>()
                .all(&self.readers)
                .await?;
            dead.extend(rows.into_iter().map(RunId));
        }
        Ok(dead)
    }
}

/// The index's own condition in its own words, and what narrows it.
fn narrowed(shop: &ShopId, filter: &DeadFilter) -> (String, Vec<Value>) {
    let (mut sql, mut values) = ("shop = ? AND dead = 1".to_owned(), vec![shop.as_str().into()]);
    if let Some(rule) = &filter.rule {
        sql += " AND rule = ?";
        values.push(rule.as_str().into());
    }
    if let Some(code) = &filter.code {
        sql += &format!(" AND {CODE} = ?");
        values.push(code.as_str().into());
    }
    (sql, values)
}

const DROPPED: Rows<2> =
    Rows { head: "UPDATE runs SET dead = 0 FROM (VALUES ", tail: ") WHERE id = column1 AND shop = column2" };

/// Nobody need look at these runs any more.
pub(super) fn drop_runs(batches: &mut Batches, shop: &ShopId, runs: &[RunId]) {
    batches.add(&DROPPED, runs.iter().map(|run| [run.0.into(), shop.as_str().into()]));
}
