//! T2 to T4: what one turn of the engine changes, written in one go.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::Value as Json;

use super::events::{self, Accept};
use super::forgetting::{self, Forget};
use super::schedules::{self, ScheduleRow};
use super::spent::Spent;
use super::waits::{self, AboutRow};
use super::{
    Store, StoreError, StoredRecord, calls, contexts, dead, heard, memory, record_names, records, rule_history,
    rule_pauses, runs, spent,
};
use crate::domain::{
    Call, Context, End, Event, Heard, Listeners, Mode, Pause, RecordName, Run, RunId, RunState, ShopId, Text,
};

/// An event that was matched.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The event.
    pub event: Arc<Event>,
    /// What it was matched with.
    pub context: Arc<Context>,
    /// Who listened.
    pub listeners: Arc<Listeners>,
    /// What came of each of them, in their order.
    pub heard: Vec<Heard>,
    /// When it was matched.
    pub at: Timestamp,
}

/// Where a run stands now.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Which.
    pub run: RunId,
    /// Its mode.
    pub mode: Mode,
    /// Where it stands.
    pub state: RunState,
    /// When it ended, and how.
    pub ended: Option<(Timestamp, End)>,
}

/// What a change of its rule's version has made of a run that waited.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Which.
    pub run: RunId,
    /// The change, as it is on record.
    pub change: i64,
    /// The version that the run is on now.
    pub version: Arc<str>,
    /// Its lane.
    pub lane: Arc<str>,
    /// Where it stayed on its version: why.
    pub stays: Option<String>,
}

/// All that one turn of a shop's engine changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Events that were matched.
    pub matched: Vec<Matched>,
    /// What those of them are about that somebody may wait for.
    pub about: Vec<AboutRow>,
    /// Listeners that may not be kept yet.
    pub listeners: Vec<Arc<Listeners>>,
    /// Records that are newer than what is kept.
    pub records: Vec<StoredRecord>,
    /// What people call these, with their ids.
    pub names: Vec<(RecordName, Text)>,
    /// Events that we made ourselves (`inventory.low`, `schedule.due`).
    pub derived: Vec<Accept>,
    /// When rules' own times come next.
    pub schedules: Vec<ScheduleRow>,
    /// New runs, without their calls, which go into `calls`.
    pub runs: Vec<Run>,
    /// Runs that stand elsewhere now.
    pub moved: Vec<Moved>,
    /// Runs that a change of their rule's version has decided about.
    pub decided: Vec<Decided>,
    /// Runs all of whose calls are in `calls`: those that are not are forgotten.
    pub rewritten: Vec<RunId>,
    /// Changes of versions whose waiting runs have all been dealt with.
    pub followed: Vec<i64>,
    /// Calls, new or changed.
    pub calls: Vec<(RunId, Call)>,
    /// What the shop remembers from now on.
    pub memory: Vec<(String, Json)>,
    /// Pauses of rules, by rule (or [`Pauses::ALL`](crate::domain::Pauses::ALL)), in force or lifted.
    pub pauses: Vec<(String, Pause)>,
    /// Writes that are planned from now on.
    pub spent: Vec<Spent>,
    /// Dead runs that nobody need look at any more.
    pub dropped: Vec<RunId>,
    /// What was kept for long enough.
    pub forgotten: Option<Forget>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.matched.is_empty()
            && self.about.is_empty()
            && self.records.is_empty()
            && self.derived.is_empty()
            && self.schedules.is_empty()
            && self.runs.is_empty()
            && self.moved.is_empty()
            && self.decided.is_empty()
            && self.rewritten.is_empty()
            && self.followed.is_empty()
            && self.calls.is_empty()
            && self.memory.is_empty()
            && self.pauses.is_empty()
            && self.spent.is_empty()
            && self.dropped.is_empty()
            && self.forgotten.is_none()
    }
}

impl Store {
    /// Writes all of it, or nothing. Returns the derived events that were new.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it is written.
    pub async fn commit(&self, shop: &ShopId, mut changes: Changes) -> Result<Vec<Arc<Event>>, StoreError> {
        // Worked out here and not by the one writer, for whom everybody waits.
        let contexts: Vec<contexts::Row> =
            changes.matched.drain(..).map(|matched| contexts::row(shop, &matched)).collect();
        let shop = shop.clone();
        self.writer.write(move |tx| Box::pin(async move { write(tx, &shop, contexts, changes).await })).await
    }
}

async fn write(
    tx: &DatabaseTransaction,
    shop: &ShopId,
    contexts: Vec<contexts::Row>,
    changes: Changes,
) -> Result<Vec<Arc<Event>>, DbErr> {
    heard::keep_listeners(tx, &changes.listeners).await?;
    contexts::keep(tx, contexts).await?;
    waits::keep(tx, shop, &changes.about).await?;
    records::keep(tx, shop, changes.records).await?;
    record_names::keep(tx, shop, changes.names).await?;
    let mut fresh = Vec::new();
    if !changes.derived.is_empty() {
        let accepted = events::insert(tx, &changes.derived).await?;
        let new = changes.derived.iter().zip(accepted).filter(|(_, accepted)| accepted.fresh);
        fresh.extend(new.map(|(accept, _)| accept.event().clone()));
    }
    schedules::keep(tx, shop, changes.schedules).await?;
    runs::insert(tx, shop, &changes.runs).await?;
    for moved in &changes.moved {
        runs::update(tx, moved).await?;
    }
    for decided in &changes.decided {
        runs::decide(tx, decided).await?;
    }
    rule_history::finish(tx, shop, changes.followed).await?;
    calls::forget(tx, &changes.rewritten).await?;
    calls::keep(tx, shop, &changes.calls).await?;
    memory::keep(tx, shop, changes.memory).await?;
    rule_pauses::keep(tx, shop, &changes.pauses).await?;
    spent::insert(tx, shop, &changes.spent).await?;
    dead::drop_runs(tx, shop, &changes.dropped).await?;
    if let Some(forget) = &changes.forgotten {
        forgetting::forget(tx, shop, forget).await?;
    }
    Ok(fresh)
}
