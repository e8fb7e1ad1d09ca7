//! What people call records: orders by their numbers, customers by their e-mail addresses.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Names as they are compared (`src/domain/names.rs`). Those of records that are kept already are read out of them;
/// `lower` knows ASCII only, and the next version of a record brings what it missed.
const UP: &str = "
CREATE TABLE record_names (
    shop TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (shop, kind, name, id)
) WITHOUT ROWID;

INSERT INTO record_names (shop, kind, name, id)
SELECT shop, kind, lower(trim(ltrim(trim(json_extract(record, '$.number')), '#＃'))), id FROM records
WHERE kind = 'order' AND json_extract(record, '$.number') IS NOT NULL
ON CONFLICT DO NOTHING;

INSERT INTO record_names (shop, kind, name, id)
SELECT shop, kind, lower(trim(ltrim(trim(json_extract(record, '$.name')), '#＃'))), id FROM records
WHERE kind = 'order' AND json_extract(record, '$.name') IS NOT NULL
ON CONFLICT DO NOTHING;

INSERT INTO record_names (shop, kind, name, id)
SELECT shop, kind, lower(trim(json_extract(record, '$.email'))), id FROM records
WHERE kind = 'customer' AND json_extract(record, '$.email') IS NOT NULL
ON CONFLICT DO NOTHING;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
