//! An index that returns the provider keys of a workspace in list order, so that a page is a range of it. It replaces
//! `ix_provider_keys_created`, which lacks the id: SQLite would prefer that shorter index, and sort. The new index
//! begins with the columns of the old one, so the queries of the previous program are ranges of it too.

use sea_orm::DbErr;
use sea_orm::sea_query::Index;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

/// Table of the indexes.
const TABLE: &str = "provider_keys";

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0009_provider_key_pages"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let newest = Index::create()
            .name("ix_provider_keys_newest")
            .table(TABLE)
            .col("workspace_id")
            .col("created_at")
            .col("id")
            .to_owned();
        manager.create_index(newest).await?;
        let without_id = Index::drop()
            .name("ix_provider_keys_created")
            .table(TABLE)
            .to_owned();
        manager.drop_index(without_id).await
    }
}
