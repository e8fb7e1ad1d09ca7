//! Forgetting: what a shop has kept for long enough goes, a little at a time.
//!
//! An event goes with all that hangs on it: its payload, its context and why-nots, its runs and their calls. It stays,
//! with all of it, while one of its runs is not over or ended not long ago, while one failed and nobody has said what
//! becomes of it, and while one of their calls waits for somebody.
//!
//! No index is kept for this, which every event would pay for: the tables are gone through in the order of their keys,
//! and whoever does it remembers the place.

use jiff::{SignedDuration, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement, Value};

use super::{Store, StoreError};
use crate::domain::{EventId, ShopId};

/// Rows looked at in one step, and events forgotten in one.
const LOOKED_AT: usize = 500;
const EVENTS: usize = 100;

/// Calls forgotten in one step, as far as they are not all of one event.
const CALLS: i64 = 1_000;

/// Delivery keys outlive their events by so long: senders repeat a delivery for days.
pub const KEYS_OUTLIVE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What was spent is kept for at least so long, which is the longest that a limit may count.
const SPENT_FOR: SignedDuration = SignedDuration::from_hours(366 * 24);

/// How far a shop's forgetting has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Events up to this one have been looked at.
    Events(EventId),
    /// What events are about, up to this.
    About(String, i64),
    /// Delivery keys up to this one, by source.
    Keys(String, String),
    /// What was spent is next.
    Spent,
}

impl Place {
    /// Where it begins.
    pub const START: Self = Self::Events(EventId(0));
}

/// What is to be forgotten.
#[derive(Clone, Debug)]
pub enum Forget {
    /// These events, with all that hangs on them.
    Events(Vec<EventId>),
    /// What events are about that are gone, within these keys.
    About {
        /// After this.
        after: (String, i64),
        /// Up to this.
        to: (String, i64),
        /// Only of events before this one.
        before: EventId,
    },
    /// Keys of deliveries, within these keys.
    Keys {
        /// After this.
        after: (String, String),
        /// Up to this.
        to: (String, String),
        /// Only of those that came before.
        before: Timestamp,
    },
    /// These rows of what was spent.
    Spent(Vec<i64>),
}

#[derive(FromQueryResult)]
struct OldEvent {
    event: i64,
    calls: i64,
}

#[derive(FromQueryResult)]
struct Number {
    number: i64,
}

#[derive(FromQueryResult)]
struct AboutKey {
    about: String,
    event: i64,
}

#[derive(FromQueryResult)]
struct DeliveryKey {
    source: String,
    delivery_key: String,
    received: i64,
}

impl Store {
    /// What there is to be forgotten of what is older than `keep`, one step on from `place`, and the place after that;
    /// `None` at the end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn old(
        &self,
        shop: &ShopId,
        place: Place,
        now: Timestamp,
        keep: SignedDuration,
    ) -> Result<(Option<Forget>, Option<Place>), StoreError> {
        let before = |age: SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        match place {
            Place::Events(after) => self.old_events(shop, after, before(keep)).await,
            Place::About(about, event) => self.old_about(shop, (about, event), before(keep)).await,
            Place::Keys(source, key) => {
                let before = before(keep.saturating_add(KEYS_OUTLIVE));
                self.old_keys(shop, (source, key), before).await
            }
            Place::Spent => self.old_spent(shop, before(keep.max(SPENT_FOR))).await,
        }
    }

    async fn old_events(
        &self,
        shop: &ShopId,
        after: EventId,
        before: Timestamp,
    ) -> Result<(Option<Forget>, Option<Place>), StoreError> {
        let end = EventId::first_at(before).0;
        // Of whichever shop: so much is looked at, and no more.
        let sql = "SELECT id AS number FROM events WHERE id > ? AND id < ? ORDER BY id LIMIT 1 OFFSET ?";
        let values = [after.0.into(), end.into(), (LOOKED_AT as i64 - 1).into()];
        let to = Number::find_by_statement(self.read(sql, values)).one(&self.readers).await?.map(|row| row.number);
        let sql = "SELECT e.id AS event, \
                   (SELECT count(*) FROM runs r JOIN calls c ON c.run = r.id WHERE r.event = e.id) AS calls FROM events e \
                   WHERE e.id > ? AND e.id <= ? AND e.shop = ? \
                   AND NOT EXISTS (SELECT 1 FROM unmatched u WHERE u.event = e.id) \
                   AND NOT EXISTS (SELECT 1 FROM runs r INDEXED BY runs_event WHERE r.event = e.id AND \
                   (r.state < 3 OR r.dead = 1 OR r.ended >= ? \
                   OR EXISTS (SELECT 1 FROM calls c WHERE c.run = r.id AND c.state < 4))) \
                   ORDER BY e.id LIMIT ?";
        let values = [
            after.0.into(),
            to.unwrap_or(end - 1).into(),
            shop.as_str().into(),
            before.as_millisecond().into(),
            (EVENTS as i64 + 1).into(),
        ];
        let old = OldEvent::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let (mut events, mut calls) = (Vec::new(), 0);
        for one in &old {
            calls += one.calls;
            if !events.is_empty() && (calls > CALLS || events.len() == EVENTS) {
                let last = events.last().copied().unwrap_or(after);
                return Ok((Some(Forget::Events(events)), Some(Place::Events(last))));
            }
            events.push(EventId(one.event));
        }
        let next = to.map_or_else(|| Place::About(String::new(), 0), |to| Place::Events(EventId(to)));
        Ok(((!events.is_empty()).then_some(Forget::Events(events)), Some(next)))
    }

    async fn old_about(
        &self,
        shop: &ShopId,
        after: (String, i64),
        before: Timestamp,
    ) -> Result<(Option<Forget>, Option<Place>), StoreError> {
        let sql = "SELECT about, event FROM event_about WHERE shop = ? AND (about, event) > (?, ?) \
                   ORDER BY about, event LIMIT ?";
        let values: [Value; 4] =
            [shop.as_str().into(), after.0.as_str().into(), after.1.into(), (LOOKED_AT as i64).into()];
        let rows = AboutKey::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let before = EventId::first_at(before);
        let is_old = rows.iter().any(|row| row.event < before.0);
        let is_last = rows.len() < LOOKED_AT;
        let Some(to) = rows.into_iter().next_back().map(|row| (row.about, row.event)) else {
            return Ok((None, Some(Place::Keys(String::new(), String::new()))));
        };
        let next = if is_last { Place::Keys(String::new(), String::new()) } else { Place::About(to.0.clone(), to.1) };
        Ok((is_old.then_some(Forget::About { after, to, before }), Some(next)))
    }

    async fn old_keys(
        &self,
        shop: &ShopId,
        after: (String, String),
        before: Timestamp,
    ) -> Result<(Option<Forget>, Option<Place>), StoreError> {
        let sql = "SELECT source, delivery_key, received FROM delivery_keys \
                   WHERE shop = ? AND (source, delivery_key) > (?, ?) ORDER BY source, delivery_key LIMIT ?";
        let values: [Value; 4] =
            [shop.as_str().into(), after.0.as_str().into(), after.1.as_str().into(), (LOOKED_AT as i64).into()];
        let rows = DeliveryKey::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let is_old = rows.iter().any(|row| row.received < before.as_millisecond());
        let is_last = rows.len() < LOOKED_AT;
        let Some(to) = rows.into_iter().next_back().map(|row| (row.source, row.delivery_key)) else {
            return Ok((None, Some(Place::Spent)));
        };
        let next = if is_last { Place::Spent } else { Place::Keys(to.0.clone(), to.1.clone()) };
        Ok((is_old.then_some(Forget::Keys { after, to, before }), Some(next)))
    }

    async fn old_spent(&self, shop: &ShopId, before: Timestamp) -> Result<(Option<Forget>, Option<Place>), StoreError> {
        // Rule by rule, each a jump within the index.
        let sql = "WITH RECURSIVE rules (rule) AS (SELECT min(rule) FROM spent WHERE shop = ? \
                   UNION ALL SELECT (SELECT min(rule) FROM spent WHERE shop = ? AND rule > rules.rule) \
                   FROM rules WHERE rules.rule IS NOT NULL) \
                   SELECT spent.rowid AS number FROM rules JOIN spent INDEXED BY spent_rule \
                   ON spent.shop = ? AND spent.rule = rules.rule AND spent.at < ? LIMIT ?";
        let name = || Value::from(shop.as_str());
        let values = [name(), name(), name(), before.as_millisecond().into(), (LOOKED_AT as i64).into()];
        let rows = Number::find_by_statement(self.read(sql, values)).all(&self.readers).await?;
        let next = (rows.len() == LOOKED_AT).then_some(Place::Spent);
        let rows: Vec<i64> = rows.into_iter().map(|row| row.number).collect();
        Ok(((!rows.is_empty()).then_some(Forget::Spent(rows)), next))
    }
}

/// Forgets it.
pub(super) async fn forget(tx: &DatabaseTransaction, shop: &ShopId, what: &Forget) -> Result<(), DbErr> {
    let say = async |sql: String, values: Vec<Value>| {
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(|_| ())
    };
    match what {
        Forget::Events(events) if events.is_empty() => Ok(()),
        Forget::Events(events) => {
            let ids = listed(events.iter().map(|event| event.0));
            say(format!("DELETE FROM calls WHERE run IN (SELECT id FROM runs WHERE event IN ({ids}))"), vec![]).await?;
            for (table, key) in [("runs", "event"), ("contexts", "event"), ("payloads", "event"), ("events", "id")] {
                say(format!("DELETE FROM {table} WHERE {key} IN ({ids})"), vec![]).await?;
            }
            Ok(())
        }
        Forget::About { after, to, before } => {
            let sql = "DELETE FROM event_about WHERE shop = ? AND (about, event) > (?, ?) AND (about, event) <= (?, ?) \
                       AND event < ? AND NOT EXISTS (SELECT 1 FROM events WHERE events.id = event_about.event)";
            let ends = [after, to].map(|(about, event)| [about.as_str().into(), (*event).into()]);
            let values = std::iter::once(shop.as_str().into()).chain(ends.into_iter().flatten());
            say(sql.to_owned(), values.chain([before.0.into()]).collect()).await
        }
        Forget::Keys { after, to, before } => {
            let sql = "DELETE FROM delivery_keys WHERE shop = ? AND (source, delivery_key) > (?, ?) \
                       AND (source, delivery_key) <= (?, ?) AND received < ? \
                       AND NOT EXISTS (SELECT 1 FROM events WHERE events.id = delivery_keys.event)";
            let ends = [after, to].map(|(source, key)| [source.as_str().into(), key.as_str().into()]);
            let values = std::iter::once(shop.as_str().into()).chain(ends.into_iter().flatten());
            say(sql.to_owned(), values.chain([before.as_millisecond().into()]).collect()).await
        }
        Forget::Spent(rows) => {
            say(
                format!("DELETE FROM spent WHERE shop = ? AND rowid IN ({})", listed(rows.iter().copied())),
                vec![shop.as_str().into()],
            )
            .await
        }
    }
}

/// Numbers as SQL lists them.
fn listed(numbers: impl Iterator<Item = i64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}
