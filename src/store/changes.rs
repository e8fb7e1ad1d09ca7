//! T2 to T4: what one turn of the engine changes, written in one go.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::Value as Json;

use super::events::{self, Accept};
use super::forgetting::{self, Forget};
use super::rows::Batches;
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
    /// Runs that stand elsewhere now, each once.
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
        let (derived, forgotten) = (std::mem::take(&mut changes.derived), changes.forgotten.take());
        let of = shop.clone();
        // Made here and not by the one writer, for whom everybody waits.
        let batches = batches(shop, changes);
        self.writer.write(move |tx| Box::pin(write(tx, of, derived, batches, forgotten))).await
    }
}

async fn write(
    tx: &DatabaseTransaction,
    shop: ShopId,
    derived: Vec<Accept>,
    batches: Batches,
    forgotten: Option<Forget>,
) -> Result<Vec<Arc<Event>>, DbErr> {
    batches.write(tx).await?;
    if let Some(forget) = &forgotten {
        forgetting::forget(tx, &shop, forget).await?;
    }
    if derived.is_empty() {
        return Ok(Vec::new());
    }
    let accepted = events::insert(tx, &derived).await?;
    let fresh = derived.iter().zip(accepted).filter(|(_, accepted)| accepted.fresh);
    Ok(fresh.map(|(accept, _)| accept.event().clone()).collect())
}

/// The statements that write all of it but the derived events.
fn batches(shop: &ShopId, changes: Changes) -> Batches {
    let mut batches = Batches::default();
    let to = &mut batches;
    heard::keep_listeners(to, &changes.listeners);
    contexts::keep(to, shop, &changes.matched);
    waits::keep(to, shop, changes.about);
    records::keep(to, shop, changes.records);
    record_names::keep(to, shop, changes.names);
    schedules::keep(to, shop, changes.schedules);
    runs::insert(to, shop, &changes.runs);
    runs::update(to, &changes.moved);
    runs::decide(to, &changes.decided);
    rule_history::finish(to, shop, changes.followed);
    calls::forget(to, &changes.rewritten);
    calls::keep(to, shop, changes.calls);
    memory::keep(to, shop, changes.memory);
    rule_pauses::keep(to, shop, &changes.pauses);
    spent::insert(to, shop, changes.spent);
    dead::drop_runs(to, shop, &changes.dropped);
    batches
}
