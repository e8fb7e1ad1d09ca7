//! Events: accepted once, with their payloads, their delivery keys, and what they were matched with.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseTransaction, FromQueryResult, QueryOrder, QuerySelect, Set, Statement};

use super::heard::{self, HeardBy};
use super::{Store, StoreError, runs};
use crate::domain::{Context, Event, EventId, RecordKey, Records, ShopId};

/// Rows of the table `events`.
pub(super) mod event {
    use super::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i64,
        pub shop: String,
        pub source: String,
        pub kind: String,
        pub topic: String,
        pub subject: String,
        pub time: i64,
        pub received: i64,
        pub records: String,
        pub mentions: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Rows of the table `payloads`.
mod payload {
    use super::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "payloads")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event: i64,
        pub body: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Rows of the table `unmatched`.
pub(super) mod unmatched {
    use super::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "unmatched")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event: i64,
        pub shop: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Rows of the table `contexts`.
pub(super) mod context {
    use super::*;

    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "contexts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event: i64,
        pub shop: String,
        pub late: bool,
        pub context: String,
        pub why_not: String,
        pub echo: Option<String>,
        pub matched: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// An event on its way in.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Ours already; its id counts only if the delivery is new.
    pub event: Arc<Event>,
    /// The same for every repetition of the delivery.
    pub delivery_key: String,
    /// The platform's own payload.
    pub payload: Arc<str>,
}

/// What became of an event on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The event's id: the first one's, where this was a repetition.
    pub id: EventId,
    /// Whether it was new.
    pub fresh: bool,
}

/// An event with all that is kept beside it.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The event.
    pub event: Arc<Event>,
    /// What it was matched with; `None` where it is not matched yet.
    pub context: Option<Context>,
    /// What came of each version that listened.
    pub heard: HeardBy,
    /// When it was matched.
    pub matched: Option<Timestamp>,
}

/// Which events to list.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only of this type.
    pub kind: Option<String>,
    /// Only those older than this one.
    pub before: Option<EventId>,
    /// At the most so many.
    pub most: u64,
}

impl Store {
    /// T1: accepts events, each once. Answers in their order, when all are on disk.
    ///
    /// # Errors
    /// [`StoreError`], and then none of them is accepted.
    pub async fn accept(&self, events: Vec<Accept>) -> Result<Vec<Accepted>, StoreError> {
        self.writer.write(move |tx| Box::pin(async move { insert(tx, &events).await })).await
    }

    /// Events of this shop that were accepted and not matched, oldest first, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unmatched(&self, shop: &ShopId, after: EventId, most: u64) -> Result<Vec<Arc<Event>>, StoreError> {
        let ids: Vec<i64> = unmatched::Entity::find()
            .filter(unmatched::Column::Shop.eq(shop.as_str()))
            .filter(unmatched::Column::Event.gt(after.0))
            .order_by_asc(unmatched::Column::Event)
            .limit(most)
            .all(&self.readers)
            .await?
            .into_iter()
            .map(|row| row.event)
            .collect();
        let rows = event::Entity::find()
            .filter(event::Column::Id.is_in(ids))
            .order_by_asc(event::Column::Id)
            .all(&self.readers)
            .await?;
        rows.into_iter().map(|row| Ok(Arc::new(read(row, false, None)?))).collect()
    }

    /// One event, with what it was matched with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn event(&self, shop: &ShopId, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        one(&self.readers, shop, id).await
    }

    /// Events of this shop, newest first: of one type, older than one, as asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(&self, shop: &ShopId, filter: &EventFilter) -> Result<Vec<Arc<Event>>, StoreError> {
        let mut query = event::Entity::find().filter(event::Column::Shop.eq(shop.as_str()));
        if let Some(kind) = &filter.kind {
            query = query.filter(event::Column::Kind.eq(kind));
        }
        if let Some(before) = filter.before {
            query = query.filter(event::Column::Id.lt(before.0));
        }
        let rows = query.order_by_desc(event::Column::Id).limit(filter.most).all(&self.readers).await?;
        rows.into_iter().map(|row| Ok(Arc::new(read(row, false, None)?))).collect()
    }

    /// An event's payload as it came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payload(&self, id: EventId) -> Result<Option<String>, StoreError> {
        Ok(payload::Entity::find_by_id(id.0).one(&self.readers).await?.map(|row| row.body))
    }

    /// The largest id of an event or a run, over all shops; 0 where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_id(&self) -> Result<i64, StoreError> {
        let event = event::Entity::find().order_by_desc(event::Column::Id).one(&self.readers).await?;
        let run = runs::newest(&self.readers).await?;
        Ok(event.map_or(0, |row| row.id).max(run))
    }

    /// How many events were accepted in all, over all shops.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_events(&self) -> Result<u64, StoreError> {
        Ok(event::Entity::find().count(&self.readers).await?)
    }
}

/// One event, with what it was matched with.
pub(super) async fn one(
    readers: &DatabaseConnection,
    shop: &ShopId,
    id: EventId,
) -> Result<Option<StoredEvent>, StoreError> {
    let found = event::Entity::find_by_id(id.0).filter(event::Column::Shop.eq(shop.as_str())).one(readers).await?;
    let Some(row) = found else { return Ok(None) };
    let matched = context::Entity::find_by_id(id.0).one(readers).await?;
    let heard = heard::read(readers, &[matched.as_ref().map_or("", |row| &row.why_not)]).await?;
    with_context(row, matched, heard.into_iter().next().unwrap_or_default()).map(Some)
}

#[derive(FromQueryResult)]
struct Fresh {
    event: i64,
}

/// The columns of a row of `events`, in the order of the statement below.
const KEY_COLUMNS: usize = 5;
const ROWS_A_STATEMENT: usize = 64;

/// Inserts those events whose delivery key is new, and says which those were.
pub(super) async fn insert(tx: &DatabaseTransaction, events: &[Accept]) -> Result<Vec<Accepted>, DbErr> {
    let mut fresh = HashSet::with_capacity(events.len());
    for some in events.chunks(ROWS_A_STATEMENT) {
        let marks = placeholders(some.len(), KEY_COLUMNS);
        let sql = format!(
            "INSERT INTO delivery_keys (shop, source, delivery_key, event, received) VALUES {marks} \
             ON CONFLICT DO NOTHING RETURNING event"
        );
        let values = some.iter().flat_map(|accept| {
            let event = &accept.event;
            [
                event.shop.as_str().into(),
                event.source.to_string().into(),
                accept.delivery_key.clone().into(),
                event.id.0.into(),
                event.received.as_millisecond().into(),
            ]
        });
        let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
        fresh.extend(Fresh::find_by_statement(statement).all(tx).await?.into_iter().map(|row| row.event));
    }
    let new: Vec<&Accept> = events.iter().filter(|accept| fresh.contains(&accept.event.id.0)).collect();
    for some in new.chunks(ROWS_A_STATEMENT) {
        let rows = some.iter().map(|accept| row(&accept.event));
        event::Entity::insert_many(rows).exec_without_returning(tx).await?;
        let bodies = some.iter().map(|accept| payload::ActiveModel {
            event: Set(accept.event.id.0),
            body: Set(accept.payload.to_string()),
        });
        payload::Entity::insert_many(bodies).exec_without_returning(tx).await?;
        let marks = some.iter().map(|accept| unmatched::ActiveModel {
            event: Set(accept.event.id.0),
            shop: Set(accept.event.shop.to_string()),
        });
        unmatched::Entity::insert_many(marks).exec_without_returning(tx).await?;
    }
    let mut accepted = Vec::with_capacity(events.len());
    for accept in events {
        let id = accept.event.id;
        let known = fresh.contains(&id.0);
        let first = if known { id } else { first_of(tx, accept).await? };
        accepted.push(Accepted { id: first, fresh: known });
    }
    Ok(accepted)
}

/// The id under which this delivery was first accepted.
async fn first_of(tx: &DatabaseTransaction, accept: &Accept) -> Result<EventId, DbErr> {
    let sql = "SELECT event FROM delivery_keys WHERE shop = ? AND source = ? AND delivery_key = ?";
    let values =
        [accept.event.shop.as_str().into(), accept.event.source.to_string().into(), accept.delivery_key.clone().into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let first = Fresh::find_by_statement(statement).one(tx).await?;
    first.map(|row| EventId(row.event)).ok_or_else(|| DbErr::RecordNotFound(accept.delivery_key.clone()))
}

/// `(?, ?), (?, ?)` for rows of so many columns.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

fn row(event: &Event) -> event::ActiveModel {
    event::ActiveModel {
        id: Set(event.id.0),
        shop: Set(event.shop.to_string()),
        source: Set(event.source.to_string()),
        kind: Set(event.kind.to_string()),
        topic: Set(event.topic.to_string()),
        subject: Set(event.subject.to_string()),
        time: Set(event.time.as_millisecond()),
        received: Set(event.received.as_millisecond()),
        records: Set(json(&*event.records)),
        mentions: Set(json(&event.mentions)),
    }
}

/// As JSON. Our own types have text keys and no failing parts, so this cannot fail; if it ever did, the row would
/// read back as an error rather than as something else.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Milliseconds since 1970 as a moment; out of range becomes the range's end.
pub(super) fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn read(row: event::Model, late: bool, echo: Option<String>) -> Result<Event, StoreError> {
    let records: Records = serde_json::from_str(&row.records)?;
    let mentions: Vec<RecordKey> = serde_json::from_str(&row.mentions)?;
    Ok(Event {
        id: EventId(row.id),
        shop: row.shop.parse().map_err(|error| StoreError::Unreadable(format!("event {}: {error}", row.id)))?,
        source: row.source.into(),
        kind: row.kind.into(),
        topic: row.topic.into(),
        subject: row.subject.into(),
        time: moment(row.time),
        received: moment(row.received),
        records: Arc::new(records),
        mentions,
        late,
        echo: echo.map(Into::into),
    })
}

pub(super) fn with_context(
    row: event::Model,
    matched: Option<context::Model>,
    heard: HeardBy,
) -> Result<StoredEvent, StoreError> {
    let at = matched.as_ref().map(|row| moment(row.matched));
    let event = Arc::new(read(
        row,
        matched.as_ref().is_some_and(|row| row.late),
        matched.as_ref().and_then(|row| row.echo.clone()),
    )?);
    let context = match matched {
        None => None,
        Some(row) if row.context.is_empty() => {
            let same = Context { records: event.records.clone(), missing: Vec::new() };
            Some(same)
        }
        Some(row) => Some(serde_json::from_str(&row.context)?),
    };
    Ok(StoredEvent { event, context, heard, matched: at })
}
