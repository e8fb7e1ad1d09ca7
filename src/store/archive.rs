//! The store's file as it was written, looked at beside a running server and without any change to it: for backtests.
//!
//! Past events are read in pages by id, many at a time, over rows rather than entities: this is the one place where
//! the cost of a row counts. No page holds a transaction open, so the server's checkpoints go on.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use sea_orm::sqlx::{self, SqlitePool};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use storehand_migrations::{Migrator, MigratorTrait};

use super::events::{self, event, moment};
use super::{StoreError, StoredEvent, calls, contexts, rule_history, rule_versions};
use crate::domain::{Call, EventId, IdMaker, Mode, RoleChange, RunId, ShopId};

/// The store's file, opened to look. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Archive {
    readers: DatabaseConnection,
}

/// An event's row with its context's, not taken apart yet.
#[derive(Clone, Debug)]
pub struct Recorded {
    event: event::Model,
    context: contexts::Model,
}

impl Recorded {
    /// The event's id.
    pub fn id(&self) -> EventId {
        EventId(self.event.id)
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        &self.event.kind
    }

    /// What it is about.
    pub fn subject(&self) -> &str {
        &self.event.subject
    }

    /// When it was received.
    pub fn received(&self) -> Timestamp {
        moment(self.event.received)
    }

    /// When it was matched.
    pub fn matched(&self) -> Timestamp {
        // Rows of the first release do not say.
        moment(if self.context.matched > 0 { self.context.matched } else { self.event.received })
    }

    /// The event with what it was matched with.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`].
    pub fn read(self) -> Result<StoredEvent, StoreError> {
        events::with_context(self.event, Some(self.context), Vec::new())
    }
}

/// A run that a rule has had on an event.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// Which.
    pub run: RunId,
    /// On which event.
    pub event: EventId,
    /// Who answered its calls.
    pub mode: Mode,
}

/// An answered call, and the run that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// The run.
    pub run: RunId,
    /// Where in it.
    pub path: String,
    /// Its rule.
    pub rule: String,
    /// The rule's version.
    pub version: String,
    /// On which event.
    pub event: EventId,
    /// When the run began.
    pub started: Timestamp,
}

/// A kept version of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptVersion {
    /// Its name.
    pub version: String,
    /// When it first went live.
    pub since: Timestamp,
}

/// The events after one id and up to another, of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Only later ones.
    pub after: EventId,
    /// This one still counts.
    pub to: EventId,
}

impl Archive {
    /// Opens the file to look at it.
    ///
    /// # Errors
    /// [`StoreError::Open`] where there is none, [`StoreError::Release`] where another release has written it.
    pub async fn open(file: &Path, connections: u32) -> Result<Self, StoreError> {
        let name = || file.display().to_string();
        let failed = |cause: String| StoreError::Open { file: name(), cause };
        if !file.is_file() {
            return Err(failed("there is no such file".into()));
        }
        let mut options = ConnectOptions::new(format!("sqlite://{}?mode=ro", file.display()));
        options.max_connections(connections).min_connections(1).sqlx_logging(false).test_before_acquire(false);
        options.idle_timeout(None).max_lifetime(None);
        options.map_sqlx_sqlite_opts(|options| {
            options
                .read_only(true)
                .pragma("query_only", "ON")
                .pragma("temp_store", "MEMORY")
                .pragma("cache_size", "-8000")
                .busy_timeout(std::time::Duration::from_secs(20))
                .row_buffer_size(ROW_BUFFER)
        });
        let readers = Database::connect(options).await.map_err(|error| failed(error.to_string()))?;
        let archive = Self { readers };
        match archive.made_by().await.map_err(|error| failed(error.to_string()))? {
            MadeBy::Us => Ok(archive),
            MadeBy::Older => Err(StoreError::Release { file: name(), what: "an older", way: OLDER }),
            MadeBy::Newer => Err(StoreError::Release { file: name(), what: "a newer", way: NEWER }),
        }
    }

    fn pool(&self) -> &SqlitePool {
        self.readers.get_sqlite_connection_pool()
    }

    async fn made_by(&self) -> Result<MadeBy, DbErr> {
        let applied = sqlx::query_scalar("SELECT version FROM seaql_migrations").fetch_all(self.pool()).await;
        let applied: HashSet<String> = applied.map_err(refused)?.into_iter().collect();
        let known: HashSet<String> = Migrator::migrations().iter().map(|it| it.name().to_owned()).collect();
        Ok(match (applied.is_subset(&known), known.is_subset(&applied)) {
            (true, true) => MadeBy::Us,
            (true, false) => MadeBy::Older,
            (false, _) => MadeBy::Newer,
        })
    }

    /// The newest event of any shop that was matched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest(&self) -> Result<EventId, StoreError> {
        let sql = "SELECT coalesce(max(event), 0) FROM contexts";
        Ok(EventId(sqlx::query_scalar(sql).fetch_one(self.pool()).await.map_err(refused)?))
    }

    /// Cuts off the next page of a span: so many events at most, whatever shop they are of. `None` at its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_page(&self, span: Span, most: u32) -> Result<Option<Span>, StoreError> {
        if span.after >= span.to {
            return Ok(None);
        }
        // By the contexts: their rows are small, so that few pages of the file are touched.
        let sql = "SELECT event FROM contexts WHERE event > ? AND event <= ? ORDER BY event LIMIT 1 OFFSET ?";
        let last: Option<i64> = sqlx::query_scalar(sql)
            .bind(span.after.0)
            .bind(span.to.0)
            .bind(most.max(1) - 1)
            .fetch_optional(self.pool())
            .await
            .map_err(refused)?;
        Ok(Some(Span { after: span.after, to: last.map_or(span.to, EventId) }))
    }

    /// The matched events of a span that are of these types, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events(&self, shop: &ShopId, kinds: &[String], span: Span) -> Result<Vec<Recorded>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT e.id, e.source, e.kind, e.topic, e.subject, e.time, e.received, e.records, e.mentions, \
                    c.late, c.context, c.echo, c.matched \
             FROM contexts c JOIN events e ON e.id = c.event \
             WHERE c.event > ? AND c.event <= ? AND c.shop = ? AND e.kind IN (SELECT value FROM json_each(?)) \
             ORDER BY c.event",
        )
        .bind(span.after.0)
        .bind(span.to.0)
        .bind(shop.as_str())
        .bind(events::json(&kinds))
        .fetch_all(self.pool())
        .await
        .map_err(refused)?;
        Ok(rows.into_iter().map(|row| recorded(shop, row)).collect())
    }

    /// One event.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn event(&self, shop: &ShopId, id: EventId) -> Result<Option<StoredEvent>, StoreError> {
        events::one(&self.readers, shop, id).await
    }

    /// How many events of a span were accepted and never matched.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_unmatched(&self, shop: &ShopId, span: Span) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM unmatched WHERE shop = ? AND event > ? AND event <= ?";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(shop.as_str())
            .bind(span.after.0)
            .bind(span.to.0)
            .fetch_one(self.pool())
            .await
            .map_err(refused)?;
        Ok(count.unsigned_abs())
    }

    /// The live and shadow runs that a rule has had on the events of a span.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, shop: &ShopId, rule: &str, span: Span) -> Result<Vec<PastRun>, StoreError> {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT id, event, mode FROM runs INDEXED BY runs_event \
             WHERE event > ? AND event <= ? AND rule = ? AND mode < 2 AND shop = ? ORDER BY event, mode",
        )
        .bind(span.after.0)
        .bind(span.to.0)
        .bind(rule)
        .bind(shop.as_str())
        .fetch_all(self.pool())
        .await
        .map_err(refused)?;
        let run = |(id, event, mode): (i64, i64, i64)| PastRun {
            run: RunId(id),
            event: EventId(event),
            mode: if mode == 0 { Mode::Live } else { Mode::Shadow },
        };
        Ok(rows.into_iter().map(run).collect())
    }

    /// The calls of these runs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn calls(&self, runs: &[RunId]) -> Result<HashMap<RunId, Vec<Call>>, StoreError> {
        let mut found = HashMap::new();
        for some in runs.chunks(500) {
            let calls = calls::of_runs(&self.readers, some.iter().map(|run| run.0).collect()).await?;
            found.extend(calls.into_iter().map(|(run, calls)| (RunId(run), calls)));
        }
        Ok(found)
    }

    /// The answered calls of these capabilities in runs that began since then, the newest first: so many at most, of one
    /// rule or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn answered(
        &self,
        shop: &ShopId,
        capabilities: &[&str],
        rule: Option<&str>,
        since: Timestamp,
        most: u32,
    ) -> Result<Vec<PastCall>, StoreError> {
        // 4 is answered, modes below 2 are live and shadow.
        let rows: Vec<(i64, String, String, String, i64, i64)> = sqlx::query_as(
            "SELECT r.id, c.path, r.rule, r.version, r.event, r.started \
             FROM runs r JOIN calls c ON c.run = r.id \
             WHERE r.id >= ? AND r.shop = ? AND r.mode < 2 AND (? IS NULL OR r.rule = ?) \
               AND c.state = 4 AND c.capability IN (SELECT value FROM json_each(?)) \
             ORDER BY r.id DESC, c.position DESC LIMIT ?",
        )
        .bind(IdMaker::first(since))
        .bind(shop.as_str())
        .bind(rule)
        .bind(rule)
        .bind(events::json(&capabilities))
        .bind(most)
        .fetch_all(self.pool())
        .await
        .map_err(refused)?;
        let call = |(run, path, rule, version, event, started)| PastCall {
            run: RunId(run),
            path,
            rule,
            version,
            event: EventId(event),
            started: moment(started),
        };
        Ok(rows.into_iter().map(call).collect())
    }

    /// The bundle of a version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bundle(&self, shop: &ShopId, rule: &str, version: &str) -> Result<Option<String>, StoreError> {
        rule_versions::bundle(&self.readers, shop, rule, version).await
    }

    /// The kept versions of a rule, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn versions(&self, shop: &ShopId, rule: &str) -> Result<Vec<KeptVersion>, StoreError> {
        let sql = "SELECT version, since FROM rule_versions WHERE shop = ? AND rule = ? ORDER BY since DESC, version";
        let rows: Vec<(String, i64)> =
            sqlx::query_as(sql).bind(shop.as_str()).bind(rule).fetch_all(self.pool()).await.map_err(refused)?;
        Ok(rows.into_iter().map(|(version, since)| KeptVersion { version, since: moment(since) }).collect())
    }

    /// All that happened to the versions of a rule, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn role_changes(&self, shop: &ShopId, rule: &str) -> Result<Vec<RoleChange>, StoreError> {
        rule_history::of(&self.readers, shop, Some(rule)).await
    }

    /// The ids of all rules of which a version is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rules(&self, shop: &ShopId) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT rule FROM rule_versions WHERE shop = ? ORDER BY rule";
        Ok(sqlx::query_scalar(sql).bind(shop.as_str()).fetch_all(self.pool()).await.map_err(refused)?)
    }
}

/// Rows that may be on their way from the thread that reads: a page's worth, so that the two seldom wait for each
/// other.
const ROW_BUFFER: usize = 512;

enum MadeBy {
    Us,
    Older,
    Newer,
}

const OLDER: &str = "start this one's server on it once, which brings its tables up to date";
const NEWER: &str = "look at it with the Storehand whose server writes it";

/// A row of [`Archive::events`]: of the event, then of its context.
type Row = (i64, String, String, String, String, i64, i64, String, String, bool, String, Option<String>, i64);

fn recorded(shop: &ShopId, row: Row) -> Recorded {
    let (id, source, kind, topic, subject, time, received, records, mentions, late, context, echo, matched) = row;
    let shop = shop.to_string();
    Recorded {
        event: event::Model { id, shop: shop.clone(), source, kind, topic, subject, time, received, records, mentions },
        context: contexts::Model { event: id, shop, late, context, why_not: String::new(), echo, matched },
    }
}

fn refused(error: sqlx::Error) -> DbErr {
    DbErr::Query(sea_orm::RuntimeErr::SqlxError(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;

    use super::*;
    use crate::store::{Settings, Store, connect};

    #[tokio::test]
    async fn a_file_of_another_release_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("s.db");
        let told = |archive: Result<Archive, StoreError>| archive.err().map(|error| error.to_string());
        let missing = told(Archive::open(&file, 1).await).expect("refused");
        assert!(missing.contains("s.db") && missing.contains("no such file") && !file.exists(), "{missing}");

        Store::open(&Settings::at(&file)).await.expect("store").close().await;
        assert_eq!(told(Archive::open(&file, 1).await), None);
        let writer = connect(&file, 1, std::time::Duration::from_secs(5)).await.expect("writer");
        let change = async |sql: &str| writer.execute_unprepared(sql).await.expect("changed");
        change("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)").await;
        let newer = told(Archive::open(&file, 1).await).expect("refused");
        assert!(newer.contains("a newer Storehand: look at it with"), "{newer}");
        change("DELETE FROM seaql_migrations WHERE version <> 'm0001_spine'").await;
        let older = told(Archive::open(&file, 1).await).expect("refused");
        assert!(older.contains("an older Storehand: start this one's server"), "{older}");
        let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM seaql_migrations");
        assert_eq!(
            rows.fetch_one(writer.get_sqlite_connection_pool()).await.expect("count"),
            1,
            "nothing was migrated"
        );
    }
}
