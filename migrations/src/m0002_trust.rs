//! What it takes to trust a rule: modes of runs, waits for events and people, versions with their history, limits.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "
-- 0 live, 1 shadow, 2 undo: an event may have a run of each for one rule.
ALTER TABLE runs ADD COLUMN mode INTEGER NOT NULL DEFAULT 0;
-- 1: it failed and nobody has looked at it yet.
ALTER TABLE runs ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;
DROP INDEX runs_event;
CREATE UNIQUE INDEX runs_event ON runs (event, rule, mode);
CREATE INDEX runs_dead ON runs (shop, id) WHERE dead = 1;
-- Those that a start goes on with: few, however many wait.
CREATE INDEX runs_busy ON runs (shop, id) WHERE state < 2;
-- Which versions are still of use, without looking at each run.
DROP INDEX runs_open;
CREATE INDEX runs_open ON runs (shop, rule, lane, version, state) WHERE state < 3;
-- The change of its rule (`rule_history`) that last decided about this run, and where it stayed on its version, why.
ALTER TABLE runs ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN stays TEXT;

-- When it was asked and answered, and its attempts with their troubles (JSON).
ALTER TABLE calls ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN answered INTEGER;
ALTER TABLE calls ADD COLUMN log TEXT NOT NULL DEFAULT '';
-- What else than the clock answers it: `event:order.fulfilled order/123`, `person`, `resume`.
ALTER TABLE calls ADD COLUMN awaits TEXT;
CREATE INDEX calls_awaits ON calls (shop, awaits) WHERE awaits IS NOT NULL AND state < 2;

-- Whether an event only tells of what we did ourselves: the run and call that did it.
ALTER TABLE contexts ADD COLUMN echo TEXT;
-- When it was matched: the `now` of conditions.
ALTER TABLE contexts ADD COLUMN matched INTEGER NOT NULL DEFAULT 0;

-- Which versions listened to events, in a fixed order; the id is the content's digest.
CREATE TABLE listeners (
    id INTEGER PRIMARY KEY,
    rules TEXT NOT NULL
);

-- Which events are about what (`order/123`), for event types that some rule waits for.
CREATE TABLE event_about (
    shop TEXT NOT NULL,
    about TEXT NOT NULL,
    event INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (shop, about, event)
) WITHOUT ROWID;

-- What wins over a rule's file until it is lifted: a version pinned by a person, a pause.
CREATE TABLE rule_states (
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    -- The version that is live instead of the file's, and the file's version at that time.
    pin TEXT,
    pin_file TEXT,
    -- JSON: since when, by whom, why.
    paused TEXT,
    PRIMARY KEY (shop, rule)
) WITHOUT ROWID;

-- When which version went into which role, and from where.
CREATE TABLE rule_history (
    id INTEGER PRIMARY KEY,
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    version TEXT NOT NULL,
    -- `live`, `shadow`, `off`
    role TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- `file rules/x.yaml`, `activate by ana`
    origin TEXT NOT NULL,
    -- What becomes of runs that wait on other versions, and 1 while they have not all been dealt with.
    on_change TEXT,
    unfinished INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX rule_history_rule ON rule_history (shop, rule, id);
CREATE INDEX rule_history_unfinished ON rule_history (shop) WHERE unfinished = 1;

-- One row a live write, for limits and fuses.
CREATE TABLE spent (
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    at INTEGER NOT NULL,
    run INTEGER NOT NULL,
    path TEXT NOT NULL,
    capability TEXT NOT NULL,
    customer TEXT,
    currency TEXT,
    amount TEXT
);
CREATE INDEX spent_rule ON spent (shop, rule, at);
CREATE INDEX spent_customer ON spent (shop, customer, at) WHERE customer IS NOT NULL;

-- When a rule's schedule comes next.
CREATE TABLE schedules (
    shop TEXT NOT NULL,
    rule TEXT NOT NULL,
    expression TEXT NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (shop, rule, expression)
) WITHOUT ROWID;
";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(|_| ())
    }
}
