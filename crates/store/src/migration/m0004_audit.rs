//! The audit trail. It has no foreign keys, because it outlives the resources that it refers to.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{id, integer, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0004_audit"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let events = Table::create()
            .table("audit_events")
            .col(ColumnDef::new("id").uuid().not_null().primary_key())
            .col(integer("occurred_at"))
            .col(short_text("actor_kind").not_null())
            .col(ColumnDef::new("actor_id").text().not_null())
            .col(short_text("action").not_null())
            .col(id(backend, "organization_id"))
            .col(id(backend, "workspace_id"))
            .col(short_text("resource_kind").not_null())
            .col(id(backend, "resource_id").not_null())
            .col(ColumnDef::new("request_id").text().not_null())
            .col(short_text("source"))
            .col(ColumnDef::new("details").text().not_null())
            .to_owned();
        manager.create_table(events).await?;

        for (name, column) in [
            ("ix_audit_events_workspace", "workspace_id"),
            ("ix_audit_events_organization", "organization_id"),
        ] {
            let index = Index::create()
                .name(name)
                .table("audit_events")
                .col(column)
                .col("occurred_at")
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
