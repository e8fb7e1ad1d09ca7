//! What runs wait for: which events are about what, and which calls something else than the clock answers.

use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult, QueryOrder, QuerySelect, Statement, Value};

use super::rows::{Batches, Rows};
use super::{Store, StoreError, calls, runs};
use crate::domain::{Awaits, Event, EventId, RunId, ShopId};

/// That an event is about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AboutRow {
    /// What: `order/123`.
    pub about: String,
    /// The event.
    pub event: EventId,
    /// Its type.
    pub kind: String,
}

/// How many events that came before a run's own are looked at: those of the last minutes, for any one thing.
const EARLIER: u32 = 100;

/// How many values a statement asks for at once.
const AT_ONCE: usize = 500;

/// The calls that wait for a person, in the words of the indexes' own conditions: approvals, and those of which nobody
/// can tell whether they happened.
const APPROVALS: &str = "awaits = 'person' AND state < 2";
const UNKNOWN: &str = "state IN (2, 3) AND state = 3";

#[derive(FromQueryResult)]
struct Found {
    event: i64,
}

#[derive(FromQueryResult)]
struct OfRun {
    run: i64,
}

#[derive(FromQueryResult)]
struct HowMany {
    approvals: i64,
    unknown: i64,
}

impl Store {
    /// The first event of this type (`order.paid`, or `order.*`), about this, that a run on `began` counts: it came
    /// later, or it came earlier and did not happen earlier ([`Event::is_since`]). Only types that somebody waited
    /// for when they came are known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_about(
        &self,
        shop: &ShopId,
        about: &str,
        kind: &str,
        began: &Event,
    ) -> Result<Option<EventId>, StoreError> {
        // `order.*` is all that begins with `order.`; `/` comes right behind `.`.
        let (from, to) = match kind.strip_suffix(".*") {
            Some(family) => (format!("{family}."), format!("{family}/")),
            None => (kind.to_owned(), format!("{kind}\0")),
        };
        let earlier = "SELECT e.id AS event FROM (SELECT event FROM event_about \
             WHERE shop = ? AND about = ? AND event < ? AND kind >= ? AND kind < ? ORDER BY event DESC LIMIT ?) a \
             JOIN events e ON e.id = a.event WHERE e.time >= ? ORDER BY e.id LIMIT 1";
        let later = "SELECT event FROM event_about \
             WHERE shop = ? AND about = ? AND event > ? AND kind >= ? AND kind < ? ORDER BY event LIMIT 1";
        let values: [Value; 5] =
            [shop.as_str().into(), about.into(), began.id.0.into(), from.as_str().into(), to.as_str().into()];
        let bounds: [Value; 2] = [EARLIER.into(), began.time.as_millisecond().into()];
        let backend = self.readers.get_database_backend();
        let asked = [
            Statement::from_sql_and_values(backend, earlier, values.iter().cloned().chain(bounds)),
            Statement::from_sql_and_values(backend, later, values),
        ];
        for statement in asked {
            if let Some(found) = Found::find_by_statement(statement).one(&self.readers).await? {
                return Ok(Some(EventId(found.event)));
            }
        }
        Ok(None)
    }

    /// The open calls that one of these answers, each with what it awaits, by run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn awaiting(&self, shop: &ShopId, any: &[Awaits]) -> Result<Vec<(RunId, String, Awaits)>, StoreError> {
        let mut found = Vec::new();
        for some in any.chunks(AT_ONCE) {
            let rows = calls::Entity::find()
                .filter(calls::Column::Shop.eq(shop.as_str()))
                .filter(calls::Column::Awaits.is_in(some.iter().map(ToString::to_string)))
                // The index's other condition, in its own words. That `awaits` is something is understood: said, it
                // would be what is searched by.
                .filter(Expr::cust("state < 2"))
                .select_only()
                .columns([calls::Column::Run, calls::Column::Path, calls::Column::Awaits])
                .into_tuple::<(i64, String, String)>()
                .all(&self.readers)
                .await?;
            for (run, path, awaits) in rows {
                found.push((RunId(run), path, awaits.parse().map_err(StoreError::Unreadable)?));
            }
        }
        found.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(found)
    }

    /// Runs with a call that waits for a person, be it an approval or one of which nobody can tell whether it
    /// happened; newest first, older than `before`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn for_people(&self, shop: &ShopId, before: Option<RunId>, most: u64) -> Result<Vec<RunId>, StoreError> {
        // Each part by its own index, newest first, so that no more is looked at than is asked for.
        let part = |which: &str| {
            format!(
                "SELECT run FROM (SELECT DISTINCT run FROM calls WHERE shop = ? AND {which} AND run < ? \
                 ORDER BY run DESC LIMIT ?)"
            )
        };
        let (approvals, unknown) = (part(APPROVALS), part(UNKNOWN));
        let sql = format!("{approvals} UNION {unknown} ORDER BY run DESC LIMIT ?");
        let before = before.map_or(i64::MAX, |run| run.0);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let bounds: [Value; 3] = [shop.as_str().into(), before.into(), most.into()];
        let values = bounds.iter().chain(&bounds).chain([&bounds[2]]).cloned();
        let statement = Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values);
        let rows = OfRun::find_by_statement(statement).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| RunId(row.run)).collect())
    }

    /// Those of the same runs that began first, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn longest_for_people(&self, shop: &ShopId, most: u64) -> Result<Vec<RunId>, StoreError> {
        let part = |which: &str| {
            format!("SELECT run FROM (SELECT DISTINCT run FROM calls WHERE shop = ? AND {which} ORDER BY run LIMIT ?)")
        };
        let sql = format!("{} UNION {} ORDER BY run LIMIT ?", part(APPROVALS), part(UNKNOWN));
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let values: [Value; 5] = [shop.as_str().into(), most.into(), shop.as_str().into(), most.into(), most.into()];
        let statement = Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values);
        let rows = OfRun::find_by_statement(statement).all(&self.readers).await?;
        Ok(rows.into_iter().map(|row| RunId(row.run)).collect())
    }

    /// How many calls wait for a person: approvals, and those of which nobody can tell whether they happened.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_for_people(&self, shop: &ShopId) -> Result<(u64, u64), StoreError> {
        let part = |which: &str| format!("(SELECT count(*) FROM calls WHERE shop = ? AND {which})");
        let sql = format!("SELECT {} AS approvals, {} AS unknown", part(APPROVALS), part(UNKNOWN));
        let values: [Value; 2] = [shop.as_str().into(), shop.as_str().into()];
        let statement = Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values);
        let row = HowMany::find_by_statement(statement).one(&self.readers).await?;
        Ok(row.map_or((0, 0), |row| (row.approvals.unsigned_abs(), row.unknown.unsigned_abs())))
    }

    /// Which versions of which rules the runs are on that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_versions(&self, shop: &ShopId) -> Result<Vec<(String, String)>, StoreError> {
        let rows = runs::Entity::find()
            .filter(runs::Column::Shop.eq(shop.as_str()))
            .filter(Expr::cust("state < 3"))
            .select_only()
            .columns([runs::Column::Rule, runs::Column::Version])
            .distinct()
            .order_by_asc(runs::Column::Rule)
            .into_tuple::<(String, String)>()
            .all(&self.readers)
            .await?;
        Ok(rows)
    }
}

const ABOUT: Rows<4> = Rows { head: "INSERT INTO event_about (shop, about, event, kind) VALUES ", tail: "" };

/// Keeps what events are about.
pub(super) fn keep(batches: &mut Batches, shop: &ShopId, rows: Vec<AboutRow>) {
    let row = |row: AboutRow| [shop.as_str().into(), row.about.into(), row.event.0.into(), row.kind.into()];
    batches.add(&ABOUT, rows.into_iter().map(row));
}
