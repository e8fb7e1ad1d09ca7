//! Events, records, runs, calls, and what little else one event needs on its way.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Times are milliseconds since 1970 (UTC). Ids of events and runs sort by time, so they are the rows' own keys.
/// Wide or rarely read columns have tables of their own: a row that is written once is never rewritten.
const UP: &str = "
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    time INTEGER NOT NULL,
    received INTEGER NOT NULL,
    records TEXT NOT NULL,
    mentions TEXT NOT NULL
);

-- The platform's own payload, whole.
CREATE TABLE payloads (
    event INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);

-- Which deliveries were accepted; outlives the events.
CREATE TABLE delivery_keys (
    shop TEXT NOT NULL,
    source TEXT NOT NULL,
    delivery_key TEXT NOT NULL,
    event INTEGER NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (shop, source, delivery_key)
) WITHOUT ROWID;

-- Events accepted and not yet matched: a row lives for milliseconds.
CREATE TABLE unmatched (
    event INTEGER PRIMARY KEY,
    shop TEXT NOT NULL
);

-- What an event was matched with: the records as they were.
CREATE TABLE contexts (
    event INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    late INTEGER NOT NULL,
    context TEXT NOT NULL,
    why_not TEXT NOT NULL
);

-- The newest version of each order, customer, product and stock level.
CREATE TABLE records (
    shop TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    modified INTEGER NOT NULL,
    received INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (shop, kind, id)
) WITHOUT ROWID;

-- Every version of a rule that ever ran, with all that is needed to run it again.
CREATE TABLE rule_versions (
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    version TEXT NOT NULL,
    bundle TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (shop, rule, version)
) WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    version TEXT NOT NULL,
    event INTEGER NOT NULL,
    lane TEXT NOT NULL,
    state INTEGER NOT NULL,
    outcome TEXT,
    started INTEGER NOT NULL,
    ended INTEGER
);
CREATE UNIQUE INDEX runs_event ON runs (event, rule);
CREATE INDEX runs_open ON runs (shop, rule, lane) WHERE state < 3;

CREATE TABLE calls (
    run INTEGER NOT NULL,
    path TEXT NOT NULL,
    shop TEXT NOT NULL,
    position INTEGER NOT NULL,
    capability TEXT NOT NULL,
    digest TEXT NOT NULL,
    input TEXT NOT NULL,
    options TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due INTEGER NOT NULL,
    answer TEXT,
    trouble TEXT,
    PRIMARY KEY (run, path)
) WITHOUT ROWID;
CREATE INDEX calls_due ON calls (shop, due) WHERE state < 2;
CREATE INDEX calls_unsettled ON calls (shop, run) WHERE state IN (2, 3);

-- A shop's own small state.
CREATE TABLE memory (
    shop TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (shop, key)
) WITHOUT ROWID;

CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    made INTEGER NOT NULL,
    revoked INTEGER
) WITHOUT ROWID;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
