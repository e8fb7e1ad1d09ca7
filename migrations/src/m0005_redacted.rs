//! Which events were forgotten in part, and how far each shop was compared with its platform.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
-- Events whose personal data is gone, with their runs' and calls'.
CREATE TABLE redacted (
    event INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    at INTEGER NOT NULL
);

-- Up to when a shop's platform was asked what had changed there.
CREATE TABLE reconciled (
    shop TEXT PRIMARY KEY,
    until INTEGER NOT NULL
) WITHOUT ROWID;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
