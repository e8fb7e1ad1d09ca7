//! Calls: the journal, the outbox and the timers.

use std::collections::HashMap;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::events::{json, moment};
use super::rows::{Batches, Rows};
use super::{Store, StoreError};
use crate::domain::{Call, CallState, RunId, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "calls")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub shop: String,
    pub position: i64,
    pub capability: String,
    pub digest: String,
    pub input: String,
    pub options: String,
    pub state: i32,
    pub attempts: i64,
    pub due: i64,
    pub answer: Option<String>,
    pub trouble: Option<String>,
    pub asked: i64,
    pub answered: Option<i64>,
    pub log: String,
    pub awaits: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// By number: the indexes of the table name 0 and 1 (due) and 2 and 3 (unsettled).
const STATES: [CallState; 5] =
    [CallState::Pending, CallState::Lost, CallState::Started, CallState::Unknown, CallState::Answered];

fn state_number(state: CallState) -> i32 {
    STATES.iter().position(|&other| other == state).map_or(0, |at| at as i32)
}

/// Which of the calls that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// All of them.
    All,
    /// But for those that an event may still answer.
    ButEvents,
}

impl Store {
    /// Runs with a call that is due by now, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due(
        &self,
        shop: &ShopId,
        now: Timestamp,
        which: Due,
        most: u64,
    ) -> Result<Vec<(RunId, String)>, StoreError> {
        let which = match which {
            Due::All => Expr::cust("state < 2"),
            Due::ButEvents => Expr::cust("state < 2 AND (awaits IS NULL OR awaits NOT LIKE 'event:%')"),
        };
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            // The indexes' conditions in their own words, here and below: with parameters they are not used.
            .filter(which)
            .filter(Column::Due.lte(now.as_millisecond()))
            .order_by_asc(Column::Due)
            .limit(most)
            .select_only()
            .columns([Column::Run, Column::Path])
            .into_tuple::<(i64, String)>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(|(run, path)| (RunId(run), path)).collect())
    }

    /// When the next call is due. One that waits for its rule to be resumed never is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_due(&self, shop: &ShopId) -> Result<Option<Timestamp>, StoreError> {
        let due = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Expr::cust("state < 2"))
            // Within the index, so that those that are held are not looked at, however many they are.
            .filter(Column::Due.lt(Timestamp::MAX.as_millisecond()))
            .order_by_asc(Column::Due)
            .limit(1)
            .select_only()
            .column(Column::Due)
            .into_tuple::<i64>()
            .one(&self.readers)
            .await?;
        Ok(due.map(moment))
    }

    /// Calls whose attempt was under way when the process ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn started(&self, shop: &ShopId) -> Result<Vec<(RunId, String)>, StoreError> {
        self.unsettled(shop, CallState::Started).await
    }

    /// Calls of which nobody can tell whether they happened.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unknown(&self, shop: &ShopId) -> Result<Vec<(RunId, String)>, StoreError> {
        self.unsettled(shop, CallState::Unknown).await
    }

    async fn unsettled(&self, shop: &ShopId, state: CallState) -> Result<Vec<(RunId, String)>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            // Says the index's own condition, in its own words (parameters do not do), so that the index is used.
            .filter(Expr::cust("state IN (2, 3)"))
            .filter(Column::State.eq(state_number(state)))
            .order_by_asc(Column::Run)
            .select_only()
            .columns([Column::Run, Column::Path])
            .into_tuple::<(i64, String)>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(|(run, path)| (RunId(run), path)).collect())
    }
}

/// The calls of these runs, by run, in the order in which they were asked.
pub(super) async fn of_runs(
    readers: &DatabaseConnection,
    runs: Vec<i64>,
) -> Result<HashMap<i64, Vec<Call>>, StoreError> {
    let rows = Entity::find()
        .filter(Column::Run.is_in(runs))
        .order_by_asc(Column::Run)
        .order_by_asc(Column::Position)
        .all(readers)
        .await?;
    let mut calls: HashMap<i64, Vec<Call>> = HashMap::new();
    for row in rows {
        let state = STATES.get(row.state as usize).ok_or_else(|| {
            StoreError::Unreadable(format!("{} {}: a state of a newer release", RunId(row.run), row.path))
        })?;
        calls.entry(row.run).or_default().push(Call {
            path: row.path,
            position: u32::try_from(row.position).unwrap_or(u32::MAX),
            capability: row.capability,
            digest: row.digest,
            input: serde_json::from_str(&row.input)?,
            options: serde_json::from_str(&row.options)?,
            state: *state,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            due: moment(row.due),
            answer: row.answer.as_deref().map(serde_json::from_str).transpose()?,
            trouble: row.trouble,
            asked: moment(row.asked),
            answered: row.answered.map(moment),
            log: if row.log.is_empty() { Vec::new() } else { serde_json::from_str(&row.log)? },
            awaits: row.awaits.map(|text| text.parse().map_err(StoreError::Unreadable)).transpose()?,
        });
    }
    Ok(calls)
}

const FORGOTTEN: Rows<1> = Rows { head: "DELETE FROM calls WHERE run IN (VALUES ", tail: ")" };
const CALLS: Rows<17> = Rows {
    head: "INSERT INTO calls (run, path, shop, position, capability, digest, input, options, state, attempts, due, \
           answer, trouble, asked, answered, log, awaits) VALUES ",
    tail: " ON CONFLICT (run, path) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, \
           due = excluded.due, answer = excluded.answer, trouble = excluded.trouble, answered = excluded.answered, \
           log = excluded.log, awaits = excluded.awaits",
};

/// Forgets all calls of these runs.
pub(super) fn forget(batches: &mut Batches, runs: &[RunId]) {
    batches.add(&FORGOTTEN, runs.iter().map(|run| [run.0.into()]));
}

/// Writes calls as they stand now, new ones and known ones.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, calls: Vec<(RunId, Call)>) {
    let row = |(run, call): (RunId, Call)| -> [Value; 17] {
        [
            run.0.into(),
            call.path.into(),
            shop.as_str().into(),
            call.position.into(),
            call.capability.into(),
            call.digest.into(),
            json(&call.input).into(),
            json(&call.options).into(),
            state_number(call.state).into(),
            call.attempts.into(),
            call.due.as_millisecond().into(),
            call.answer.as_ref().map(json).into(),
            call.trouble.into(),
            call.asked.as_millisecond().into(),
            call.answered.map(|at| at.as_millisecond()).into(),
            if call.log.is_empty() { String::new() } else { json(&call.log) }.into(),
            call.awaits.map(|awaits| awaits.to_string()).into(),
        ]
    };
    batches.add(&CALLS, calls.into_iter().map(row));
}
