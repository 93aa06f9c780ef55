//! An index for each filter of the audit trail, in list order, and one for the retention. Organization and workspace
//! have theirs since `m0004_audit`. The kind of principal has none: each kind has many events, so the newest are found
//! soon.

use sea_orm::DbErr;
use sea_orm::sea_query::Index;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0007_audit_indexes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, columns) in [
            ("ix_audit_events_occurred", ["occurred_at", "id"]),
            ("ix_audit_events_resource", ["resource_id", "occurred_at"]),
            ("ix_audit_events_kind", ["resource_kind", "occurred_at"]),
            ("ix_audit_events_action", ["action", "occurred_at"]),
            ("ix_audit_events_actor", ["actor_id", "occurred_at"]),
            ("ix_audit_events_request", ["request_id", "occurred_at"]),
        ] {
            let mut index = Index::create();
            index.name(name).table("audit_events");
            for column in columns {
                index.col(column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
