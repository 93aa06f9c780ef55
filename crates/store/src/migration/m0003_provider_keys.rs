//! Provider keys and the links to them.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ForeignKeyAction, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{envelope, id, integer, provider, reference, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_provider_keys"
    }
}

/// Length of a fingerprint, in bytes.
const FINGERPRINT_BYTES: u32 = 32;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        provider_keys(manager).await?;
        links(manager).await
    }
}

async fn provider_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let provider_keys = Table::create()
        .table("provider_keys")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(id(backend, "workspace_id").not_null())
        .col(provider("provider").not_null())
        .col(ColumnDef::new("key").text().not_null())
        .col(ColumnDef::new("endpoint").text())
        .col(short_text("region"))
        .col(short_text("tenant_id"))
        .col(short_text("subscription_id"))
        .col(ColumnDef::new("description").text())
        .col(envelope(backend, "sealed_secret"))
        .col(integer("secret_version"))
        .col(
            ColumnDef::new("fingerprint")
                .binary_len(FINGERPRINT_BYTES)
                .not_null(),
        )
        .col(integer("created_at"))
        .col(integer("version"))
        .foreign_key(&mut reference(
            "fk_provider_keys_workspace",
            ("provider_keys", ["workspace_id"]),
            ("workspaces", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(provider_keys).await?;

    let fingerprint = Index::create()
        .name(crate::entity::provider_key::FINGERPRINT_INDEX)
        .table("provider_keys")
        .col("workspace_id")
        .col("fingerprint")
        .unique()
        .to_owned();
    manager.create_index(fingerprint).await?;
    let newest = Index::create()
        .name("ix_provider_keys_created")
        .table("provider_keys")
        .col("workspace_id")
        .col("created_at")
        .to_owned();
    manager.create_index(newest).await
}

async fn links(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let links = Table::create()
        .table("provider_key_links")
        .col(ColumnDef::new("provider_key_id").uuid().not_null())
        .col(id(backend, "resource_kind").not_null())
        .col(id(backend, "resource_id").not_null())
        .col(integer("created_at"))
        .primary_key(
            Index::create()
                .col("provider_key_id")
                .col("resource_kind")
                .col("resource_id"),
        )
        .foreign_key(&mut reference(
            "fk_provider_key_links_provider_key",
            ("provider_key_links", ["provider_key_id"]),
            ("provider_keys", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(links).await
}
