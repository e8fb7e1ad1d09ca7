//! T2 to T4: what one turn of the engine changes, written in one go.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::Value as Json;

use super::events::{self, Accept};
use super::{Store, StoreError, StoredRecord, calls, contexts, memory, record_names, records, runs};
use crate::domain::{
    Call, Context, End, Event, RecordName, Run, RunId, RunState, ShopId, Text, WhyNot,
};

/// An event that was matched.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The event.
    pub event: Arc<Event>,
    /// What it was matched with.
    pub context: Arc<Context>,
    /// For each rule that listened and did not match, why.
    pub why_not: Vec<WhyNot>,
}

/// Where a run stands now.
#[derive(Clone, Debug)]
pub struct Moved {
    /// Which.
    pub run: RunId,
    /// Where it stands.
    pub state: RunState,
    /// When it ended, and how.
    pub ended: Option<(Timestamp, End)>,
}

/// All that one turn of a shop's engine changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Events that were matched.
    pub matched: Vec<Matched>,
    /// Records that are newer than what is kept.
    pub records: Vec<StoredRecord>,
    /// What people call these, with their ids.
    pub names: Vec<(RecordName, Text)>,
    /// Events that we made of others (`inventory.low`).
    pub derived: Vec<Accept>,
    /// New runs, without their calls, which go into `calls`.
    pub runs: Vec<Run>,
    /// Runs that stand elsewhere now.
    pub moved: Vec<Moved>,
    /// Calls, new or changed.
    pub calls: Vec<(RunId, Call)>,
    /// What the shop remembers from now on.
    pub memory: Vec<(String, Json)>,
}

impl Changes {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.matched.is_empty()
            && self.records.is_empty()
            && self.derived.is_empty()
            && self.runs.is_empty()
            && self.moved.is_empty()
            && self.calls.is_empty()
            && self.memory.is_empty()
    }
}

impl Store {
    /// Writes all of it, or nothing. Returns the derived events that were new.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it is written.
    pub async fn commit(&self, shop: &ShopId, mut changes: Changes) -> Result<Vec<Arc<Event>>, StoreError> {
        // Worked out here and not by the one writer, for whom everybody waits.
        let contexts: Vec<contexts::Row> = changes.matched.drain(..).map(|matched| contexts::row(shop, &matched)).collect();
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
    contexts::keep(tx, contexts).await?;
    records::keep(tx, shop, changes.records).await?;
    record_names::keep(tx, shop, changes.names).await?;
    let mut fresh = Vec::new();
    if !changes.derived.is_empty() {
        let accepted = events::insert(tx, &changes.derived).await?;
        let new = changes.derived.iter().zip(accepted).filter(|(_, accepted)| accepted.fresh);
        fresh.extend(new.map(|(accept, _)| accept.event().clone()));
    }
    runs::insert(tx, shop, &changes.runs).await?;
    for moved in &changes.moved {
        runs::update(tx, moved).await?;
    }
    calls::keep(tx, shop, &changes.calls).await?;
    memory::keep(tx, shop, changes.memory).await?;
    Ok(fresh)
}
