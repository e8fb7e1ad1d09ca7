//! Checkpoints: the write-ahead log is copied into the database beside the writer, not in its way.
//!
//! A passive checkpoint copies while the writer goes on, and so never comes to the log's end while there is load: the
//! log grew past a gigabyte. So once the log is long, what little is left of it is copied while the writer waits, and
//! the writer begins again at the log's beginning. The log's file keeps its size: giving 64 MB back to the system made
//! the writer wait 60 ms.

use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr, FromQueryResult, Statement};

/// How often to look.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of the log that are left to be copied while the writer waits, at the most, if that can be had.
const SMALL_REST: u64 = 1 << 20;

/// What SQLite says of a checkpoint.
#[derive(FromQueryResult)]
struct Log {
    /// Pages in the log.
    log: i64,
    /// Those of them that are in the database by now.
    checkpointed: i64,
}

impl Log {
    fn rest(&self) -> u64 {
        u64::try_from(self.log - self.checkpointed).unwrap_or(0) * super::PAGE_BYTES
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.log).unwrap_or(0) * super::PAGE_BYTES
    }
}

/// Checkpoints on a thread of its own (the connection's), until the writer is gone. Past `limit` bytes the log begins
/// again.
pub(super) fn start<T: Send + Sync + 'static>(connection: DatabaseConnection, limit: u64, writer: std::sync::Weak<T>) {
    tokio::spawn(async move {
        let mut pause = tokio::time::interval(PAUSE);
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while writer.strong_count() > 0 {
            pause.tick().await;
            if let Err(error) = checkpoint(&connection, limit).await {
                tracing::debug!(%error, "a checkpoint did not get through");
            }
        }
    });
}

async fn checkpoint(connection: &DatabaseConnection, limit: u64) -> Result<(), DbErr> {
    let mut log = run(connection, "PASSIVE").await?;
    if log.bytes() <= limit {
        return Ok(());
    }
    // Each copies what was written during the one before.
    for _ in 0..3 {
        if log.rest() <= SMALL_REST {
            break;
        }
        log = run(connection, "PASSIVE").await?;
    }
    run(connection, "RESTART").await.map(|_| ())
}

async fn run(connection: &DatabaseConnection, mode: &str) -> Result<Log, DbErr> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let log = Log::find_by_statement(statement).one(connection).await?;
    log.ok_or_else(|| DbErr::Custom("the checkpoint said nothing".to_owned()))
}
