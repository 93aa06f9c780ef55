//! The embedded migrations. A migration never changes after a release; a later migration corrects a mistake. There are
//! no down migrations: a downgrade restores a backup.

mod m0001_directory;
mod m0002_vault;
mod m0003_provider_keys;
mod m0004_audit;
mod m0005_repo_ai_keys_and_management_keys;
mod m0006_issued_keys;
mod m0007_audit_indexes;
mod m0008_created_by;
mod m0009_provider_key_pages;
mod m0010_retention_runs;
mod m0011_changes;
#[cfg(feature = "rehearsal")]
mod m9000_rehearsal;
mod schema;

use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// Every migration, in order.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_directory::Migration),
            Box::new(m0002_vault::Migration),
            Box::new(m0003_provider_keys::Migration),
            Box::new(m0004_audit::Migration),
            Box::new(m0005_repo_ai_keys_and_management_keys::Migration),
            Box::new(m0006_issued_keys::Migration),
            Box::new(m0007_audit_indexes::Migration),
            Box::new(m0008_created_by::Migration),
            Box::new(m0009_provider_key_pages::Migration),
            Box::new(m0010_retention_runs::Migration),
            Box::new(m0011_changes::Migration),
            #[cfg(feature = "rehearsal")]
            Box::new(m9000_rehearsal::Migration),
        ]
    }
}
