//! Events: accepted once, with their payloads, their delivery keys, and what they were matched with.

use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::entity::prelude::*;
use sea_orm::{DatabaseConnection, DatabaseTransaction, FromQueryResult, QueryOrder, QuerySelect, Statement, Value};

use super::heard::{self, HeardBy};
use super::rows::{Batch, MOST, Rows};
use super::{Store, StoreError, contexts, runs};
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

/// An event on its way in.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Ours already; its id counts only if the delivery is new.
    event: Arc<Event>,
    delivery_key: String,
    payload: String,
    /// As JSON. Made where the delivery was read, so that the one writer need not.
    records: String,
    mentions: String,
}

impl Accept {
    /// An event, the key that is the same for every repetition of its delivery, and the platform's own payload.
    pub fn new(event: Arc<Event>, delivery_key: String, payload: String) -> Self {
        let (records, mentions) = (json(&*event.records), json(&event.mentions));
        Self { event, delivery_key, payload, records, mentions }
    }

    /// The event, if it turns out to be new.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }
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
        self.writer.accept(events).await
    }

    /// Events of this shop that were accepted and not matched, oldest first, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unmatched(&self, shop: &ShopId, after: EventId, most: u64) -> Result<Vec<Arc<Event>>, StoreError> {
        let sql = "SELECT e.* FROM unmatched AS u CROSS JOIN events AS e ON e.id = u.event \
                   WHERE u.shop = ? AND u.event > ? ORDER BY u.event LIMIT ?";
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let asked = self.read(sql, [shop.as_str().into(), after.0.into(), most.into()]);
        let rows = event::Model::find_by_statement(asked).all(&self.readers).await?;
        rows.into_iter().map(|row| Ok(Arc::new(read(row, false, None)?))).collect()
    }

    /// How many events of all shops were accepted and not matched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_unmatched(&self) -> Result<u64, StoreError> {
        Ok(unmatched::Entity::find().count(&self.readers).await?)
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
    let matched = contexts::Entity::find_by_id(id.0).one(readers).await?;
    let heard = heard::read(readers, &[matched.as_ref().map_or("", |row| &row.why_not)]).await?;
    with_context(row, matched, heard.into_iter().next().unwrap_or_default()).map(Some)
}

const KEYS: Rows<5> = Rows {
    head: "INSERT INTO delivery_keys (shop, source, delivery_key, event, received) VALUES ",
    tail: " ON CONFLICT DO NOTHING",
};
/// Refuses a key that is known.
const NEW_KEYS: Rows<5> = Rows { tail: "", ..KEYS };
const EVENTS: Rows<10> = Rows {
    head: "INSERT INTO events (id, shop, source, kind, topic, subject, time, received, records, mentions) VALUES ",
    tail: "",
};
const PAYLOADS: Rows<2> = Rows { head: "INSERT INTO payloads (event, body) VALUES ", tail: "" };
const UNMATCHED: Rows<2> = Rows { head: "INSERT INTO unmatched (event, shop) VALUES ", tail: "" };
pub(super) const MATCHED: Rows<1> = Rows { head: "DELETE FROM unmatched WHERE event IN (VALUES ", tail: ")" };

/// Inserts events in a transaction of their own, if all their delivery keys are new, as they mostly are. At most
/// [`MOST`](super::rows::MOST).
///
/// # Errors
/// Where one is not new, too, and then nothing is written.
pub(super) async fn insert_new(connection: &DatabaseConnection, events: &[Accept]) -> Result<Vec<Accepted>, DbErr> {
    let mut batch = Batch::default();
    batch.add(&NEW_KEYS, events.iter().map(key_row));
    add_events(&mut batch, events);
    batch.commit(connection).await?;
    Ok(events.iter().map(|it| Accepted { id: it.event.id, fresh: true }).collect())
}

/// Inserts those events whose delivery key is new, and says which those were.
pub(super) async fn insert(tx: &DatabaseTransaction, events: &[Accept]) -> Result<Vec<Accepted>, DbErr> {
    let mut fresh = 0;
    for some in events.chunks(MOST) {
        let mut batch = Batch::default();
        batch.add(&KEYS, some.iter().map(key_row));
        fresh += batch.write(tx).await?;
    }
    let mut accepted = Vec::with_capacity(events.len());
    for it in events {
        // Some may be repetitions: of an earlier delivery, or of another one among these.
        let id = if fresh == events.len() as u64 { it.event.id } else { first_of(tx, it).await? };
        accepted.push(Accepted { id, fresh: id == it.event.id });
    }
    let new: Vec<&Accept> = events.iter().zip(&accepted).filter(|(_, it)| it.fresh).map(|(event, _)| event).collect();
    for some in new.chunks(MOST) {
        let mut batch = Batch::default();
        add_events(&mut batch, some.iter().copied());
        batch.write(tx).await?;
    }
    Ok(accepted)
}

fn key_row(it: &Accept) -> [Value; 5] {
    let event = &it.event;
    let (shop, source, key) = (text(event.shop.as_str()), text(&event.source), text(&it.delivery_key));
    [shop, source, key, event.id.0.into(), event.received.as_millisecond().into()]
}

/// Adds new events with their payloads, to be matched.
fn add_events<'a>(batch: &mut Batch, events: impl IntoIterator<Item = &'a Accept> + Clone) {
    let events = || events.clone().into_iter();
    batch.add(&UNMATCHED, events().map(|it| [it.event.id.0.into(), text(it.event.shop.as_str())]));
    batch.add(&PAYLOADS, events().map(|it| [it.event.id.0.into(), text(&it.payload)]));
    batch.add(
        &EVENTS,
        events().map(|it| {
            let event = &it.event;
            [
                event.id.0.into(),
                text(event.shop.as_str()),
                text(&event.source),
                text(&event.kind),
                text(&event.topic),
                text(&event.subject),
                event.time.as_millisecond().into(),
                event.received.as_millisecond().into(),
                text(&it.records),
                text(&it.mentions),
            ]
        }),
    );
}

fn text(text: &str) -> Value {
    text.into()
}

#[derive(FromQueryResult)]
struct First {
    event: i64,
}

/// The id under which this delivery was first accepted.
async fn first_of(tx: &DatabaseTransaction, accept: &Accept) -> Result<EventId, DbErr> {
    let sql = "SELECT event FROM delivery_keys WHERE shop = ? AND source = ? AND delivery_key = ?";
    let event = &accept.event;
    let values = [text(event.shop.as_str()), text(&event.source), text(&accept.delivery_key)];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let first = First::find_by_statement(statement).one(tx).await?;
    first.map(|row| EventId(row.event)).ok_or_else(|| DbErr::RecordNotFound(accept.delivery_key.clone()))
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

/// An event with what it was matched with, where it was.
pub(super) fn with_context(
    row: event::Model,
    matched: Option<contexts::Model>,
    heard: HeardBy,
) -> Result<StoredEvent, StoreError> {
    let (late, echo) = matched.as_ref().map_or((false, None), |row| (row.late, row.echo.clone()));
    let event = Arc::new(read(row, late, echo)?);
    let context = matched.as_ref().map(|row| contexts::read(&event, row)).transpose()?;
    Ok(StoredEvent { event, context, heard, matched: matched.map(|row| moment(row.matched)) })
}
