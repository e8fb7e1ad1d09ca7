//! Records as rows of their own, found by an index. A record is a few kilobytes: in a table without row ids it takes a
//! page of its own beside the tree, and each write of one wrote ten kilobytes where the row has three and a half.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
CREATE TABLE records_in_rows (
    number INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    modified INTEGER NOT NULL,
    received INTEGER NOT NULL,
    record TEXT NOT NULL
);
INSERT INTO records_in_rows (shop, kind, id, modified, received, record)
SELECT shop, kind, id, modified, received, record FROM records ORDER BY shop, kind, id;
DROP TABLE records;
ALTER TABLE records_in_rows RENAME TO records;
CREATE UNIQUE INDEX records_key ON records (shop, kind, id);
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
