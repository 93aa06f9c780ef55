//! Repo AI keys and management keys.
//!
//! Deleted and revoked keys stay as rows. A live row names its parent a second time, in a column with a restricting
//! foreign key, and the deletion sets that column to null. A live key thus keeps its parent and a deleted one does not.
//! No engine needs a partial index, because nulls are distinct in a unique index.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ForeignKeyAction, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{envelope, id, integer, reference, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0005_repo_ai_keys_and_management_keys"
    }
}

/// Length of a secret's hash, in bytes.
const HASH_BYTES: u32 = 32;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        repo_ai_keys(manager).await?;
        management_keys(manager).await
    }
}

async fn repo_ai_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let repo_ai_keys = Table::create()
        .table("repo_ai_keys")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(id(backend, "workspace_id").not_null())
        .col(id(backend, "repo_id").not_null())
        .col(id(backend, "live_repo_id"))
        .col(short_text("name").not_null())
        .col(id(backend, "key").not_null())
        .col(short_text("ai_type").not_null())
        .col(envelope(backend, "sealed_secret").null())
        .col(
            ColumnDef::new("secret_hash")
                .binary_len(HASH_BYTES)
                .not_null(),
        )
        .col(integer("created_at"))
        .col(ColumnDef::new("deleted_at").big_integer())
        .foreign_key(&mut reference(
            "fk_repo_ai_keys_live_repo",
            ("repo_ai_keys", ["live_repo_id"]),
            ("repos", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(repo_ai_keys).await?;

    let key = Index::create()
        .name("uq_repo_ai_keys_key")
        .table("repo_ai_keys")
        .col("key")
        .unique()
        .to_owned();
    manager.create_index(key).await?;
    let name = Index::create()
        .name(crate::repo_ai_key::NAME_INDEX)
        .table("repo_ai_keys")
        .col("live_repo_id")
        .col("name")
        .unique()
        .to_owned();
    manager.create_index(name).await?;
    let newest = Index::create()
        .name("ix_repo_ai_keys_created")
        .table("repo_ai_keys")
        .col("live_repo_id")
        .col("created_at")
        .col("id")
        .to_owned();
    manager.create_index(newest).await
}

async fn management_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let management_keys = Table::create()
        .table("management_keys")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(id(backend, "hash").not_null())
        .col(short_text("label").not_null())
        .col(id(backend, "organization_id").not_null())
        .col(id(backend, "live_organization_id"))
        .col(short_text("name").not_null())
        .col(integer("created_at"))
        .col(ColumnDef::new("last_used_at").big_integer())
        .col(ColumnDef::new("revoked_at").big_integer())
        .foreign_key(&mut reference(
            "fk_management_keys_live_organization",
            ("management_keys", ["live_organization_id"]),
            ("organizations", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(management_keys).await?;

    let hash = Index::create()
        .name("uq_management_keys_hash")
        .table("management_keys")
        .col("hash")
        .unique()
        .to_owned();
    manager.create_index(hash).await?;
    let newest = Index::create()
        .name("ix_management_keys_organization")
        .table("management_keys")
        .col("live_organization_id")
        .col("id")
        .to_owned();
    manager.create_index(newest).await
}
