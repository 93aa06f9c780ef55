//! A migration that is not part of any release, for rehearsals of an upgrade with running replicas.
//!
//! Only the cargo feature `rehearsal` includes it. Like an expanding migration, it alters tables that every call uses:
//! it adds nullable columns and an index. No code reads them.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m9000_rehearsal"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, index) in [
            ("provider_keys", "ix_provider_keys_rehearsed"),
            ("issued_keys", "ix_issued_keys_rehearsed"),
        ] {
            let column = Table::alter()
                .table(table)
                .add_column(ColumnDef::new("rehearsed_at").big_integer())
                .to_owned();
            manager.alter_table(column).await?;
            let index = Index::create()
                .name(index)
                .table(table)
                .col("rehearsed_at")
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
