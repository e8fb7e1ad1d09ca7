//! Runs, read back whole: event, context and calls with them.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::events::{self, json, moment};
use super::rows::{Batches, Rows};
use super::{Decided, Moved, Store, StoreError, calls, contexts, dead};
use crate::domain::{Context, End, EventId, IdMaker, Mode, Run, RunId, RunState, ShopId};

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
    pub decided: i64,
    pub stays: Option<String>,
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

/// How many live runs of a rule are on a version and not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The rule's id.
    pub rule: String,
    /// The version.
    pub version: String,
    /// How many.
    pub runs: u64,
    /// How many of them stayed there when another version went live.
    pub stay: u64,
}

/// A run that stayed on its version when another one went live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stayed {
    /// Which.
    pub run: RunId,
    /// The version that it is on.
    pub version: String,
    /// Why.
    pub why: String,
}

impl Store {
    /// Runs that hold or want a lane, oldest first: those that a crash may have interrupted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn interrupted(&self, shop: &ShopId) -> Result<Vec<RunId>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            // Queued or active: the index's own condition in its own words, here and below.
            .filter(Expr::cust("state < 2"))
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
    pub async fn open_in_lane(
        &self,
        shop: &ShopId,
        (rule, mode, lane): (&str, Mode, &str),
    ) -> Result<Vec<RunId>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Rule.eq(rule))
            .filter(Column::Mode.eq(mode_number(mode)))
            .filter(Column::Lane.eq(lane))
            .filter(Expr::cust("state < 3"))
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

    /// Runs of a rule that a change to `version` is still to decide about: live ones that wait on other versions, oldest
    /// first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn undecided(
        &self,
        shop: &ShopId,
        rule: &str,
        (version, change): (&str, i64),
        most: u64,
    ) -> Result<Vec<RunId>, StoreError> {
        let rows = waiting(shop)
            .filter(Column::Rule.eq(rule))
            .filter(Column::Version.ne(version))
            .filter(Column::State.ne(state_number(RunState::Active)))
            .filter(Column::Decided.lt(change))
            .order_by_asc(Column::Id)
            .limit(most)
            .select_only()
            .column(Column::Id)
            .into_tuple::<i64>()
            .all(&self.readers)
            .await?;
        Ok(rows.into_iter().map(RunId).collect())
    }

    /// Live runs of a rule that are not over and on other versions than this one, whole, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn on_other_versions(
        &self,
        shop: &ShopId,
        (rule, version): (&str, &str),
        after: RunId,
        most: u64,
    ) -> Result<Vec<Run>, StoreError> {
        let query = waiting(shop).filter(Column::Rule.eq(rule)).filter(Column::Version.ne(version));
        let rows = query.filter(Column::Id.gt(after.0)).order_by_asc(Column::Id).limit(most);
        let rows = rows.all(&self.readers).await?;
        let mut runs = Vec::with_capacity(rows.len());
        self.complete(rows, &mut runs).await?;
        Ok(runs)
    }

    /// How many live runs are not over, by rule and version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting_by_version(&self, shop: &ShopId) -> Result<Vec<Waiting>, StoreError> {
        let rows = waiting(shop)
            .select_only()
            .columns([Column::Rule, Column::Version])
            .column_as(Column::Id.count(), "runs")
            .column_as(Column::Stays.count(), "stay")
            .group_by(Column::Rule)
            .group_by(Column::Version)
            .into_tuple::<(String, String, i64, i64)>()
            .all(&self.readers)
            .await?;
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        let waiting = |(rule, version, runs, stay)| Waiting { rule, version, runs: count(runs), stay: count(stay) };
        Ok(rows.into_iter().map(waiting).collect())
    }

    /// Runs of a rule that stayed on their version when another went live, and are not over; oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stayed(&self, shop: &ShopId, rule: &str, most: u64) -> Result<Vec<Stayed>, StoreError> {
        let rows = waiting(shop)
            .filter(Column::Rule.eq(rule))
            .filter(Column::Stays.is_not_null())
            .order_by_asc(Column::Id)
            .limit(most)
            .all(&self.readers)
            .await?;
        let stayed = |row: Model| Some(Stayed { run: RunId(row.id), version: row.version, why: row.stays? });
        Ok(rows.into_iter().filter_map(stayed).collect())
    }

    /// The run of this mode that a rule has on an event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run_on(
        &self,
        shop: &ShopId,
        event: EventId,
        rule: &str,
        mode: Mode,
    ) -> Result<Option<RunId>, StoreError> {
        let row = Entity::find()
            .filter(Column::Event.eq(event.0))
            .filter(Column::Rule.eq(rule))
            .filter(Column::Mode.eq(mode_number(mode)))
            .filter(Column::Shop.eq(shop.as_str()))
            .select_only()
            .column(Column::Id)
            .into_tuple::<i64>()
            .one(&self.readers)
            .await?;
        Ok(row.map(RunId))
    }

    /// Live and shadow runs of a rule from `since` on, whole, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs_beside(
        &self,
        shop: &ShopId,
        rule: &str,
        since: Timestamp,
        (before, most): (Option<RunId>, u64),
    ) -> Result<Vec<Run>, StoreError> {
        let mut query = Entity::find()
            .filter(Column::Shop.eq(shop.as_str()))
            .filter(Column::Rule.eq(rule))
            .filter(Column::Mode.is_in([mode_number(Mode::Live), mode_number(Mode::Shadow)]))
            .filter(Column::Id.gte(IdMaker::first(since)))
            .filter(Column::Started.gte(since.as_millisecond()));
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.0));
        }
        let rows = query.order_by_desc(Column::Id).limit(most).all(&self.readers).await?;
        let mut runs = Vec::with_capacity(rows.len());
        self.complete(rows, &mut runs).await?;
        Ok(runs)
    }

    async fn complete(&self, rows: Vec<Model>, runs: &mut Vec<Run>) -> Result<(), StoreError> {
        let event_ids: Vec<i64> = rows.iter().map(|row| row.event).collect();
        let mut contexts: HashMap<i64, contexts::Model> = contexts::Entity::find()
            .filter(contexts::Column::Event.is_in(event_ids.iter().copied()))
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
            found.insert(row.id, events::with_context(row, context, Vec::new())?);
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut calls = calls::of_runs(&self.readers, ids).await?;
        for row in rows {
            let unreadable = |what: &str| StoreError::Unreadable(format!("{}: {what}", RunId(row.id)));
            let Some(stored) = found.get(&row.event) else {
                // One that is over may be forgotten while this is read.
                if row.state == state_number(RunState::Ended) {
                    continue;
                }
                return Err(unreadable("its event is gone"));
            };
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

/// Live runs of a shop that are not over.
fn waiting(shop: &ShopId) -> Select<Entity> {
    // The index `runs_open` says this in the same words (a parameter does not do).
    let open = Entity::find().filter(Expr::cust("state < 3")).filter(Column::Shop.eq(shop.as_str()));
    open.filter(Column::Mode.eq(mode_number(Mode::Live)))
}

/// The largest id of a run; 0 where there is none.
pub(super) async fn newest(readers: &DatabaseConnection) -> Result<i64, StoreError> {
    Ok(Entity::find().order_by_desc(Column::Id).one(readers).await?.map_or(0, |row| row.id))
}

const RUNS: Rows<12> = Rows {
    head: "INSERT INTO runs (id, shop, rule, version, event, lane, state, outcome, started, ended, mode, dead) VALUES ",
    tail: "",
};
pub(super) const MOVED: Rows<5> = Rows {
    head: "UPDATE runs SET state = column2, outcome = column3, ended = column4, dead = column5 FROM (VALUES ",
    tail: ") WHERE id = column1",
};
pub(super) const DECIDED: Rows<5> = Rows {
    head: "UPDATE runs SET version = column2, lane = column3, decided = column4, stays = column5 FROM (VALUES ",
    tail: ") WHERE id = column1",
};

/// Adds new runs.
pub(super) fn insert(batches: &mut Batches, shop: &ShopId, runs: &[Run]) {
    let row = |run: &Run| -> [Value; 12] {
        let [state, outcome, ended, dead] = standing(run.state, run.mode, run.ended.as_ref());
        [
            run.id.0.into(),
            shop.as_str().into(),
            (&*run.rule).into(),
            (&*run.version).into(),
            run.event.id.0.into(),
            (&*run.lane).into(),
            state,
            outcome,
            run.started.as_millisecond().into(),
            ended,
            mode_number(run.mode).into(),
            dead,
        ]
    };
    batches.add(&RUNS, runs.iter().map(row));
}

/// Writes where runs stand now.
pub(super) fn update(batches: &mut Batches, moved: &[Moved]) {
    let row = |moved: &Moved| {
        let [state, outcome, ended, dead] = standing(moved.state, moved.mode, moved.ended.as_ref());
        [moved.run.0.into(), state, outcome, ended, dead]
    };
    batches.add(&MOVED, moved.iter().map(row));
}

/// State, outcome, when it ended, and whether it is dead.
fn standing(state: RunState, mode: Mode, ended: Option<&(Timestamp, End)>) -> [Value; 4] {
    [
        state_number(state).into(),
        ended.map(|(_, end)| json(end)).into(),
        ended.map(|(at, _)| at.as_millisecond()).into(),
        is_dead(mode, ended).into(),
    ]
}

/// Writes what changes of their rules' versions have made of runs, in the order of the changes: where two decide about
/// one run, the later one is right.
pub(super) fn decide(batches: &mut Batches, decided: &[Decided]) {
    let row = |it: &Decided| {
        let (version, lane) = ((&*it.version).into(), (&*it.lane).into());
        [it.run.0.into(), version, lane, it.change.into(), it.stays.clone().into()]
    };
    for by_one in decided.chunk_by(|a, b| a.change == b.change) {
        batches.add(&DECIDED, by_one.iter().map(row));
    }
}
