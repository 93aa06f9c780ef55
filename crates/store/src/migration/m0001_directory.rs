//! Organizations, workspaces, members and repos.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ForeignKeyAction, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{id, reference, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_directory"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        organizations_and_workspaces(manager).await?;
        members(manager).await?;
        repos(manager).await
    }
}

async fn organizations_and_workspaces(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let organizations = Table::create()
        .table("organizations")
        .col(id(backend, "id").not_null().primary_key())
        .col(short_text("name").not_null())
        .col(id(backend, "default_workspace_id"))
        .to_owned();
    manager.create_table(organizations).await?;

    let workspaces = Table::create()
        .table("workspaces")
        .col(id(backend, "id").not_null().primary_key())
        .col(id(backend, "organization_id").not_null())
        .col(short_text("name").not_null())
        .foreign_key(&mut reference(
            "fk_workspaces_organization",
            ("workspaces", ["organization_id"]),
            ("organizations", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(workspaces).await?;
    let by_organization = Index::create()
        .name("ix_workspaces_organization")
        .table("workspaces")
        .col("organization_id")
        .col("id")
        .to_owned();
    manager.create_index(by_organization).await
}

async fn members(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let members = Table::create()
        .table("members")
        .col(id(backend, "organization_id").not_null())
        .col(id(backend, "user_id").not_null())
        .col(short_text("role").not_null())
        .col(ColumnDef::new("validated").boolean().not_null())
        .primary_key(Index::create().col("organization_id").col("user_id"))
        .foreign_key(&mut reference(
            "fk_members_organization",
            ("members", ["organization_id"]),
            ("organizations", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(members).await?;

    let access = Table::create()
        .table("workspace_access")
        .col(id(backend, "organization_id").not_null())
        .col(id(backend, "user_id").not_null())
        .col(id(backend, "workspace_id").not_null())
        .col(short_text("access").not_null())
        .primary_key(
            Index::create()
                .col("organization_id")
                .col("user_id")
                .col("workspace_id"),
        )
        .foreign_key(&mut reference(
            "fk_workspace_access_member",
            ("workspace_access", ["organization_id", "user_id"]),
            ("members", ["organization_id", "user_id"]),
            ForeignKeyAction::Cascade,
        ))
        .foreign_key(&mut reference(
            "fk_workspace_access_workspace",
            ("workspace_access", ["workspace_id"]),
            ("workspaces", ["id"]),
            ForeignKeyAction::Cascade,
        ))
        .to_owned();
    manager.create_table(access).await?;
    let by_workspace = Index::create()
        .name("ix_workspace_access_workspace")
        .table("workspace_access")
        .col("workspace_id")
        .to_owned();
    manager.create_index(by_workspace).await
}

async fn repos(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let repos = Table::create()
        .table("repos")
        .col(id(backend, "id").not_null().primary_key())
        .col(id(backend, "workspace_id").not_null())
        .col(short_text("name").not_null())
        .foreign_key(&mut reference(
            "fk_repos_workspace",
            ("repos", ["workspace_id"]),
            ("workspaces", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(repos).await?;
    let by_workspace = Index::create()
        .name("ix_repos_workspace")
        .table("repos")
        .col("workspace_id")
        .col("id")
        .to_owned();
    manager.create_index(by_workspace).await
}
