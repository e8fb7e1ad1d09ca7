//! Runs, read back whole: event, context and calls with them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Set};

use super::events::{self, json, moment};
use super::{Moved, Store, StoreError, calls, dead};
use crate::domain::{Context, End, EventId, Mode, Run, RunId, RunState, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "runs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub shop: String,
    pub rule: String,
    pub version: String,
    pub event: i64,
    pub lane: String,
    pub state: i32,
    pub outcome: Option<String>,
    pub started: i64,
    pub ended: Option<i64>,
    pub mode: i32,
    pub dead: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

const MODES: [Mode; 3] = [Mode::Live, Mode::Shadow, Mode::Undo];

pub(super) fn mode_number(mode: Mode) -> i32 {
    MODES.iter().position(|&other| other == mode).map_or(0, |at| at as i32)
}

/// Whether a run of this end is to be looked at by somebody.
fn is_dead(mode: Mode, ended: Option<&(Timestamp, End)>) -> i32 {
    let failed = matches!(ended, Some((_, End::Failed { .. } | End::Diverged { .. })));
    i32::from(failed && mode != Mode::Shadow)
}

const STATES: [RunState; 4] = [RunState::Queued, RunState::Active, RunState::Waiting, RunState::Ended];

pub(super) fn state_number(state: RunState) -> i32 {
    STATES.iter().position(|&other| other == state).map_or(0, |at| at as i32)
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this rule.
    pub rule: Option<String>,
    /// Only on this event.
    pub event: Option<EventId>,
    /// Only the dead ones, and of these only those whose failure has this code, where one is given.
    pub dead: Option<Option<String>>,
    /// Only those older than this one.
    pub before: Option<RunId>,
    /// At the most so many.
    pub most: u64,
}

impl Store {
    /// Runs that hold or want a lane, oldest first: those that a crash may have interrupted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn interrupted(&self, shop: &ShopId) -> Result<Vec<RunId>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::State.lt(state_number(RunState::Ended)))
            .filter(Column::State.lt(state_number(RunState::Waiting)))
            .order_by_asc(Column::Id)
            .select_only()
            .column(Column::Id)
            .into_tuple::<i64>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(RunId).collect())
    }

    /// Runs of a rule in a lane that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_in_lane(&self, shop: &ShopId, rule: &str, lane: &str) -> Result<Vec<RunId>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Rule.eq(rule))
            .filter(Column::Lane.eq(lane))
            .filter(Column::State.lt(state_number(RunState::Ended)))
            .select_only()
            .column(Column::Id)
            .into_tuple::<i64>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(RunId).collect())
    }

    /// These runs, whole. Those that do not exist are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, shop: &ShopId, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::with_capacity(ids.len());
        for some in ids.chunks(200) {
            let ids: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = Entity::find()
                .filter(Column::Id.is_in(ids))
                .filter(Column::Shop.eq(shop.as_str()))
                .order_by_asc(Column::Id)
                .all(&self.readers)
                .await?;
            self.complete(rows, &mut runs).await?;
        }
        Ok(runs)
    }

    /// Runs of this shop, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_runs(&self, shop: &ShopId, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        let mut query = Entity::find().filter(Column::Shop.eq(shop.as_str()));
        if let Some(rule) = &filter.rule {
            query = query.filter(Column::Rule.eq(rule));
        }
        if let Some(event) = filter.event {
            query = query.filter(Column::Event.eq(event.0));
        }
        if let Some(code) = &filter.dead {
            // The index's own condition in its own words.
            query = query.filter(Expr::cust("dead = 1"));
            if let Some(code) = code {
                query = query.filter(Expr::cust_with_values(format!("{} = ?", dead::CODE), [code.as_str()]));
            }
        }
        if let Some(before) = filter.before {
            query = query.filter(Column::Id.lt(before.0));
        }
        let rows = query.order_by_desc(Column::Id).limit(filter.most).all(&self.readers).await?;
        let mut runs = Vec::with_capacity(rows.len());
        self.complete(rows, &mut runs).await?;
        Ok(runs)
    }

    async fn complete(&self, rows: Vec<Model>, runs: &mut Vec<Run>) -> Result<(), StoreError> {
        let event_ids: Vec<i64> = rows.iter().map(|row| row.event).collect();
        let mut contexts: HashMap<i64, events::context::Model> = events::context::Entity::find()
            .filter(events::context::Column::Event.is_in(event_ids.iter().copied()))
            .all(&self.readers)
            .await?
            .into_iter()
            .map(|row| (row.event, row))
            .collect();
        let mut found = HashMap::new();
        for row in
            events::event::Entity::find().filter(events::event::Column::Id.is_in(event_ids)).all(&self.readers).await?
        {
            let context = contexts.remove(&row.id);
            found.insert(row.id, events::with_context(row, context)?);
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut calls = calls::of_runs(&self.readers, ids).await?;
        for row in rows {
            let unreadable = |what: &str| StoreError::Unreadable(format!("{}: {what}", RunId(row.id)));
            let stored = found.get(&row.event).ok_or_else(|| unreadable("its event is gone"))?;
            let ended = match (row.ended, &row.outcome) {
                (Some(at), Some(outcome)) => Some((moment(at), serde_json::from_str(outcome)?)),
                _ => None,
            };
            runs.push(Run {
                id: RunId(row.id),
                rule: row.rule.as_str().into(),
                version: row.version.as_str().into(),
                event: stored.event.clone(),
                context: Arc::new(stored.context.clone().unwrap_or_else(Context::default)),
                lane: row.lane.as_str().into(),
                mode: *MODES.get(row.mode as usize).ok_or_else(|| unreadable("a mode of a newer release"))?,
                state: *STATES.get(row.state as usize).ok_or_else(|| unreadable("a state of a newer release"))?,
                started: moment(row.started),
                ended,
                calls: calls.remove(&row.id).unwrap_or_default(),
            });
        }
        Ok(())
    }
}

/// The largest id of a run; 0 where there is none.
pub(super) async fn newest(readers: &DatabaseConnection) -> Result<i64, StoreError> {
    Ok(Entity::find().order_by_desc(Column::Id).one(readers).await?.map_or(0, |row| row.id))
}

/// Adds new runs.
pub(super) async fn insert(tx: &DatabaseTransaction, shop: &ShopId, runs: &[Run]) -> Result<(), DbErr> {
    for some in runs.chunks(500) {
        let rows = some.iter().map(|run| ActiveModel {
            id: Set(run.id.0),
            shop: Set(shop.to_string()),
            rule: Set(run.rule.to_string()),
            version: Set(run.version.to_string()),
            event: Set(run.event.id.0),
            lane: Set(run.lane.to_string()),
            state: Set(state_number(run.state)),
            outcome: Set(run.ended.as_ref().map(|(_, end)| json(end))),
            started: Set(run.started.as_millisecond()),
            ended: Set(run.ended.as_ref().map(|(at, _)| at.as_millisecond())),
            mode: Set(mode_number(run.mode)),
            dead: Set(is_dead(run.mode, run.ended.as_ref())),
        });
        Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Writes where a run stands now.
pub(super) async fn update(tx: &DatabaseTransaction, moved: &Moved) -> Result<(), DbErr> {
    let row = ActiveModel {
        state: Set(state_number(moved.state)),
        outcome: Set(moved.ended.as_ref().map(|(_, end)| json(end))),
        ended: Set(moved.ended.as_ref().map(|(at, _)| at.as_millisecond())),
        dead: Set(is_dead(moved.mode, moved.ended.as_ref())),
        ..Default::default()
    };
    Entity::update_many().set(row).filter(Column::Id.eq(moved.run.0)).exec(tx).await.map(|_| ())
}
