//! The tables of the store, one file a migration, applied in the order of this list.
//!
//! The SQL is written out rather than built: partial indexes and `WITHOUT ROWID` are what makes the store quick,
//! and a reader should see the tables as they are.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m0001_spine;
mod m0002_trust;
mod m0003_record_names;
mod m0004_inboxes;
mod m0005_redacted;
mod m0006_records_in_rows;

/// All migrations.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_spine::Migration),
            Box::new(m0002_trust::Migration),
            Box::new(m0003_record_names::Migration),
            Box::new(m0004_inboxes::Migration),
            Box::new(m0005_redacted::Migration),
            Box::new(m0006_records_in_rows::Migration),
        ]
    }
}
