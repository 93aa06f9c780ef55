//! The feed of changes, from which replicas learn what others changed.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{id, integer, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0011_changes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let number = ColumnDef::new("id")
            .big_integer()
            .not_null()
            .auto_increment()
            .primary_key()
            .to_owned();
        let changes = Table::create()
            .table("changes")
            .col(number)
            .col(integer("transaction_id"))
            .col(integer("recorded_at"))
            .col(short_text("kind").not_null())
            .col(id(backend, "organization_id"))
            .col(id(backend, "resource_id").not_null())
            .to_owned();
        manager.create_table(changes).await?;
        // New rows, and old ones of a kind.
        for (name, columns) in [
            ("ix_changes_transaction", ["transaction_id", "id"]),
            ("ix_changes_recorded", ["kind", "recorded_at"]),
        ] {
            let index = Index::create()
                .name(name)
                .table("changes")
                .col(columns[0])
                .col(columns[1])
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
