//! The principal that created a key. Earlier rows have no creator.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::short_text;

/// Tables whose rows are keys.
const TABLES: [&str; 4] = [
    "provider_keys",
    "repo_ai_keys",
    "issued_keys",
    "management_keys",
];

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0008_created_by"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let mut id = ColumnDef::new("created_by_id");
            // As long as `actor_id` of the audit trail: a service's name has no maximum length.
            id.text();
            // One column per statement, because SQLite supports no more.
            for column in [short_text("created_by_kind"), id] {
                let mut alteration = Table::alter();
                let alteration = alteration.table(table).add_column(column);
                manager.alter_table(alteration.to_owned()).await?;
            }
        }
        Ok(())
    }
}
