//! Checkpoints: the write-ahead log is copied into the database beside the writer, not in its way.
//!
//! A passive checkpoint alone let the log grow past a gigabyte under load, since it cannot start over while
//! somebody reads its end; past a limit it is emptied by force, which makes the writer wait a moment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection};

/// The log's file beside this database file.
pub(super) fn wal_file(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Checkpoints on a thread of its own (the connection's), until the writer is gone.
pub(super) fn start<T: Send + Sync + 'static>(
    connection: DatabaseConnection,
    wal: PathBuf,
    limit: u64,
    writer: std::sync::Weak<T>,
) {
    tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(250));
        pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while writer.strong_count() > 0 {
            pause.tick().await;
            let size = tokio::fs::metadata(&wal).await.map_or(0, |file| file.len());
            let mode = match size {
                0..=4_194_304 => continue,
                size if size > limit => "TRUNCATE",
                _ => "PASSIVE",
            };
            if let Err(error) = connection.execute_unprepared(&format!("PRAGMA wal_checkpoint({mode})")).await {
                tracing::debug!(%error, "a checkpoint did not get through");
            }
        }
    });
}
