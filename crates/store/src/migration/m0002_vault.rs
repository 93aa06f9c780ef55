//! Workspaces' wrapped data keys.

use sea_orm::DbErr;
use sea_orm::sea_query::{ForeignKeyAction, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{envelope, id, integer, reference};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_vault"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let data_keys = Table::create()
            .table("data_keys")
            .col(id(backend, "workspace_id").not_null())
            .col(id(backend, "purpose").not_null())
            .col(integer("version"))
            .col(envelope(backend, "wrapped"))
            .col(integer("created_at"))
            .primary_key(
                Index::create()
                    .col("workspace_id")
                    .col("purpose")
                    .col("version"),
            )
            .foreign_key(&mut reference(
                "fk_data_keys_workspace",
                ("data_keys", ["workspace_id"]),
                ("workspaces", ["id"]),
                ForeignKeyAction::Cascade,
            ))
            .to_owned();
        manager.create_table(data_keys).await
    }
}
