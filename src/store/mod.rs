//! The one file of data: what was accepted, what is known, what every run asked and was answered.
//!
//! Writes go through one connection, many to a commit (`writer`): SQLite has one writer anyway, and a commit's
//! sync is the dear part. Reads go through a small pool beside it.
//!
//! *Architecture Invariant*: everything is scoped by a [`ShopId`](crate::domain::ShopId) in its arguments; rows
//! never leave this room; nothing here decides anything.

#![expect(unreachable_pub, reason = "sea-orm's derives make public items, and the entities stay in this room")]

mod archive;
mod calls;
mod changes;
mod checkpoint;
mod commit_watch;
mod contexts;
mod dead;
mod events;
mod forgetting;
mod heard;
mod inboxes;
mod memory;
mod reconciled;
mod record_names;
mod records;
mod redact;
mod rows;
mod rule_history;
mod rule_pauses;
mod rule_states;
mod rule_versions;
mod runs;
mod schedules;
mod spent;
mod tokens;
mod waits;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, TransactionTrait};
use storehand_migrations::{Migrator, MigratorTrait};

pub use archive::{Archive, KeptVersion, PastCall, PastRun, Recorded, Span};
pub use calls::Due;
pub use changes::{Changes, Decided, Matched, Moved};
pub use commit_watch::{CommitMoment, CommitWatch};
pub use dead::DeadFilter;
pub use events::{Accept, Accepted, EventFilter, StoredEvent};
pub use forgetting::{Forget, KEYS_OUTLIVE, Place};
pub use heard::HeardBy;
pub use inboxes::InboxRow;
pub use reconciled::RECONCILED;
pub use records::StoredRecord;
pub use rule_history::InForce;
pub use rule_versions::RuleVersion;
pub use runs::{RunFilter, Stayed, Waiting};
pub use schedules::ScheduleRow;
pub use spent::{RecentRun, Spent};
pub use tokens::TokenRow;
pub use waits::AboutRow;

/// How to open the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database file; made with its folder where it does not exist.
    pub file: PathBuf,
    /// Connections that read.
    pub readers: u32,
    /// Writes put into one commit at the most. 1 turns group commit off (for benchmarks).
    pub group: usize,
    /// Past this many bytes the write-ahead log begins again, and the writer waits for that.
    pub wal_limit_bytes: u64,
    /// Who looks on while it commits: a crash test; nobody, as a rule.
    pub commits: Option<CommitWatch>,
}

impl Settings {
    /// The defaults, over this file.
    pub fn at(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), readers: 4, group: 256, wal_limit_bytes: 256 << 20, commits: None }
    }
}

/// What can go wrong here.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the store {file}: {cause}")]
    Open {
        /// Which file.
        file: String,
        /// What the database says.
        cause: String,
    },
    /// The file was written by another release, and what only looks changes nothing.
    #[error("the store {file} was written by {what} Storehand: {way}")]
    Release {
        /// Which file.
        file: String,
        /// `an older`, `a newer`.
        what: &'static str,
        /// What to do.
        way: &'static str,
    },
    /// The database refused: disk full, file damaged, …
    #[error("the store refused: {0}")]
    Database(String),
    /// A row that cannot be read: written by a newer release, or damaged.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    readers: DatabaseConnection,
    writer: writer::Writer,
}

impl Store {
    /// Opens the store, brings its tables up to date, and starts its writer and its checkpoints, which end when
    /// the last clone of the store is dropped.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub async fn open(settings: &Settings) -> Result<Self, StoreError> {
        let failed = |cause: String| StoreError::Open { file: settings.file.display().to_string(), cause };
        if let Some(folder) = settings.file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| failed(error.to_string()))?;
        }
        let write = connect(&settings.file, 1, PATIENCE).await.map_err(|error| failed(error.to_string()))?;
        migrate(&write).await.map_err(|error| failed(error.to_string()))?;
        let readers =
            connect(&settings.file, settings.readers, PATIENCE).await.map_err(|error| failed(error.to_string()))?;
        let checkpoints =
            connect(&settings.file, 1, CHECKPOINT_PATIENCE).await.map_err(|error| failed(error.to_string()))?;
        let writer = writer::Writer::start(write, settings.group, settings.commits.clone())
            .map_err(|error| failed(error.to_string()))?;
        checkpoint::start(checkpoints, settings.wal_limit_bytes, writer.downgrade());
        Ok(Self { readers, writer })
    }

    /// Waits until everything that was handed over is on disk, and takes nothing more.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

/// Brings the tables up to date, all or nothing: where the process ends half way, the next start must not find
/// tables that nobody has written down as made.
async fn migrate(connection: &DatabaseConnection) -> Result<(), DbErr> {
    let transaction = connection.begin().await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}

/// The size of a page in a new file.
const PAGE_BYTES: u64 = 8192;

/// How long to wait for whoever else holds the file, such as a backup.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same for a checkpoint for which the writer waits: it can as well be made later.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(50);

/// Statements that a connection keeps prepared: those of up to 64 rows are one for each number (`rows`).
const STATEMENTS: usize = 1000;

/// A pool of `connections` on this file. An 8 KiB page holds an order without overflow; the checkpoint runs on its
/// own connection, so none is made in line.
async fn connect(file: &Path, connections: u32, patience: Duration) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()));
    options.max_connections(connections).min_connections(1).sqlx_logging(false).test_before_acquire(false);
    options.idle_timeout(None).max_lifetime(None);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .page_size(PAGE_BYTES as u32)
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
            .pragma("wal_autocheckpoint", "0")
            .pragma("temp_store", "MEMORY")
            .pragma("cache_size", "-8000")
            .busy_timeout(patience)
            .statement_cache_capacity(STATEMENTS)
    });
    Database::connect(options).await
}
