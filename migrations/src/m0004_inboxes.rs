//! How far the mailboxes were read that shops look into.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// A mail's number (`uid`) counts only together with `validity`. Times are milliseconds since 1970.
const UP: &str = "
CREATE TABLE inboxes (
    shop TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    validity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    looked INTEGER NOT NULL,
    PRIMARY KEY (shop, mailbox)
) WITHOUT ROWID;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
