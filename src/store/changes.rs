//! T2 to T4: what one turn of the engine changes, written in one go.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, Set};
use serde_json::Value as Json;

use super::events::{self, Accept, context, json, unmatched};
use super::spent::Spent;
use super::{Store, StoreError, StoredRecord, calls, dead, memory, records, rule_pauses, runs, spent};
use crate::domain::{Call, Context, End, Event, Mode, Pause, Run, RunId, RunState, ShopId, WhyNot};

/// An event that was matched.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The event.
    pub event: Arc<Event>,
    /// What it was matched with.
    pub context: Context,
    /// For each rule that listened and did not match, why.
    pub why_not: Vec<WhyNot>,
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

/// All that one turn of a shop's engine changes.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Events that were matched.
    pub matched: Vec<Matched>,
    /// Records that are newer than what is kept.
    pub records: Vec<StoredRecord>,
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
    /// Pauses of rules, by rule (or [`Pauses::ALL`](crate::domain::Pauses::ALL)), in force or lifted.
    pub pauses: Vec<(String, Pause)>,
    /// Writes that are planned from now on.
    pub spent: Vec<Spent>,
    /// Dead runs that nobody need look at any more.
    pub dropped: Vec<RunId>,
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
            && self.pauses.is_empty()
            && self.spent.is_empty()
            && self.dropped.is_empty()
    }
}

impl Store {
    /// Writes all of it, or nothing. Returns the derived events that were new.
    ///
    /// # Errors
    /// [`StoreError`], and then nothing of it is written.
    pub async fn commit(&self, shop: &ShopId, changes: Changes) -> Result<Vec<Arc<Event>>, StoreError> {
        let shop = shop.clone();
        self.writer.write(move |tx| Box::pin(async move { write(tx, &shop, changes).await })).await
    }
}

async fn write(tx: &DatabaseTransaction, shop: &ShopId, changes: Changes) -> Result<Vec<Arc<Event>>, DbErr> {
    for some in changes.matched.chunks(500) {
        let rows = some.iter().map(|matched| {
            // Most events know all they need: what would be written twice is left out.
            let same = matched.context.missing.is_empty() && matched.context.records == matched.event.records;
            context::ActiveModel {
                event: Set(matched.event.id.0),
                shop: Set(shop.to_string()),
                late: Set(matched.event.late),
                context: Set(if same { String::new() } else { json(&matched.context) }),
                why_not: Set(json(&matched.why_not)),
                echo: Set(matched.event.echo.as_ref().map(ToString::to_string)),
            }
        });
        context::Entity::insert_many(rows).exec_without_returning(tx).await?;
        let ids = some.iter().map(|matched| matched.event.id.0);
        unmatched::Entity::delete_many().filter(unmatched::Column::Event.is_in(ids)).exec(tx).await?;
    }
    records::keep(tx, shop, changes.records).await?;
    let mut fresh = Vec::new();
    if !changes.derived.is_empty() {
        let accepted = events::insert(tx, &changes.derived).await?;
        let new = changes.derived.iter().zip(accepted).filter(|(_, accepted)| accepted.fresh);
        fresh.extend(new.map(|(accept, _)| accept.event.clone()));
    }
    runs::insert(tx, shop, &changes.runs).await?;
    for moved in &changes.moved {
        runs::update(tx, moved).await?;
    }
    calls::keep(tx, shop, &changes.calls).await?;
    memory::keep(tx, shop, changes.memory).await?;
    rule_pauses::keep(tx, shop, &changes.pauses).await?;
    spent::insert(tx, shop, &changes.spent).await?;
    dead::drop_runs(tx, shop, &changes.dropped).await?;
    Ok(fresh)
}
