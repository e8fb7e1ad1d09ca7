//! Pauses of rules, and the writes that they hold. Of a rule's state this touches its pause alone.

use std::collections::BTreeMap;

use sea_orm::{FromQueryResult, Statement};

use super::events::json;
use super::rows::{Batches, Rows};
use super::{Store, StoreError};
use crate::domain::{Pause, Pauses, RunId, ShopId};

#[derive(FromQueryResult)]
struct Paused {
    rule: String,
    paused: String,
}

#[derive(FromQueryResult)]
struct Held {
    rule: String,
    calls: i64,
}

#[derive(FromQueryResult)]
struct HeldRun {
    run: i64,
}

impl Store {
    /// What is paused in this shop, and what was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pauses(&self, shop: &ShopId) -> Result<Pauses, StoreError> {
        let sql = "SELECT rule, paused FROM rule_states WHERE shop = ? AND paused IS NOT NULL";
        let rows = Paused::find_by_statement(self.read(sql, [shop.as_str().into()])).all(&self.readers).await?;
        rows.into_iter().map(|row| Ok((row.rule, serde_json::from_str::<Pause>(&row.paused)?))).collect()
    }

    /// How many writes are held, by rule; a write that waits for its lane after a pause counts, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held(&self, shop: &ShopId) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT runs.rule AS rule, count(*) AS calls FROM calls JOIN runs ON runs.id = calls.run \
                   WHERE calls.shop = ? AND calls.awaits = 'resume' AND calls.state < 2 AND runs.mode = 0 \
                   GROUP BY runs.rule";
        let rows = Held::find_by_statement(self.read(sql, [shop.as_str().into()])).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| (row.rule, row.calls.unsigned_abs())).collect())
    }

    /// Runs of a rule with a write that is held, oldest first; without those that queue for their lane.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn held_runs(&self, shop: &ShopId, rule: &str, most: usize) -> Result<Vec<RunId>, StoreError> {
        // Those that are active or waiting: one that queues for its lane is let go on when it gets it.
        let sql = "SELECT DISTINCT calls.run AS run FROM calls JOIN runs ON runs.id = calls.run \
                   WHERE calls.shop = ? AND calls.awaits = 'resume' AND calls.state < 2 AND runs.rule = ? \
                   AND runs.mode = 0 AND runs.state IN (1, 2) ORDER BY calls.run LIMIT ?";
        let values = [shop.as_str().into(), rule.into(), i64::try_from(most).unwrap_or(i64::MAX).into()];
        let rows = HeldRun::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| RunId(row.run)).collect())
    }

    /// A statement for the connections that read.
    pub(super) fn read(&self, sql: &str, values: impl IntoIterator<Item = sea_orm::Value>) -> Statement {
        Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values)
    }
}

const PAUSES: Rows<3> = Rows {
    head: "INSERT INTO rule_states (shop, rule, paused) VALUES ",
    tail: " ON CONFLICT (shop, rule) DO UPDATE SET paused = excluded.paused",
};

/// Keeps these, each in the place of what there was; of several for one rule the last.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, pauses: &[(String, Pause)]) {
    let row = |(rule, pause): &(String, Pause)| [shop.as_str().into(), rule.as_str().into(), json(pause).into()];
    batches.add(&PAUSES, pauses.iter().map(row));
}
