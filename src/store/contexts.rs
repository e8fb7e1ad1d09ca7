//! Contexts: what an event was matched with, and why rules did not run on it. A row says that the event is matched.
//!
//! Most of a context is what the event itself brought. Only records that are others are written down: an order's event
//! is 3 KB of order, and its context adds a customer.

use std::sync::Arc;

use sea_orm::entity::prelude::*;

use super::events::{MATCHED, json};
use super::rows::{Batches, Rows};
use super::{Matched, StoreError, heard};
use crate::domain::{Context, Event, Records, ShopId};

#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "contexts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub event: i64,
    pub shop: String,
    pub late: bool,
    /// Empty where it is what the event brought; else a [`Context`] of the records that are others.
    pub context: String,
    pub why_not: String,
    pub echo: Option<String>,
    pub matched: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// What the event of this row was matched with.
pub(super) fn read(event: &Event, row: &Model) -> Result<Context, StoreError> {
    let mut context = if row.context.is_empty() { Context::default() } else { serde_json::from_str(&row.context)? };
    context.records = Arc::new(event.records.with(&context.records));
    Ok(context)
}

const CONTEXTS: Rows<7> =
    Rows { head: "INSERT INTO contexts (event, shop, late, context, why_not, echo, matched) VALUES ", tail: "" };

/// Writes these, and that their events are matched.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, matched: &[Matched]) {
    batches.add(&MATCHED, matched.iter().map(|it| [it.event.id.0.into()]));
    batches.add(&CONTEXTS, matched.iter().map(|it| row(shop, it)));
}

fn row(shop: &ShopId, matched: &Matched) -> [Value; 7] {
    let Matched { event, context, listeners, heard, at } = matched;
    let records = context.records.beyond(&event.records);
    let same = context.missing.is_empty() && records == Records::default();
    let context = if same {
        String::new()
    } else {
        json(&Context { records: Arc::new(records), missing: context.missing.clone() })
    };
    [
        event.id.0.into(),
        shop.as_str().into(),
        event.late.into(),
        context.into(),
        heard::written(listeners, heard).into(),
        event.echo.as_deref().map(str::to_owned).into(),
        at.as_millisecond().into(),
    ]
}
