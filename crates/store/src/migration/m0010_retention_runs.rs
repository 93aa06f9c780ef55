//! The last run of retention over each kind of rows.

use sea_orm::DbErr;
use sea_orm::sea_query::Table;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{integer, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0010_retention_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let runs = Table::create()
            .table("retention_runs")
            .col(short_text("kind").not_null().primary_key())
            .col(integer("cutoff_at"))
            .col(integer("ran_at"))
            .to_owned();
        manager.create_table(runs).await
    }
}
