//! Issued keys and their ledger.

use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ForeignKeyAction, ForeignKeyCreateStatement, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::schema::{id, integer, reference, short_text};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0006_issued_keys"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        issued_keys(manager).await?;
        charges(manager).await?;
        daily_usage(manager).await?;
        reservations(manager).await
    }
}

async fn issued_keys(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let issued_keys = Table::create()
        .table("issued_keys")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(id(backend, "hash").not_null())
        .col(short_text("label").not_null())
        .col(id(backend, "organization_id").not_null())
        .col(id(backend, "workspace_id").not_null())
        .col(id(backend, "live_workspace_id"))
        .col(short_text("name").not_null())
        .col(ColumnDef::new("disabled").boolean().not_null())
        .col(ColumnDef::new("limit_nanos").big_integer())
        .col(short_text("limit_reset"))
        .col(ColumnDef::new("include_byok_in_limit").boolean().not_null())
        .col(ColumnDef::new("expires_at").big_integer())
        .col(short_text("creator_user_id"))
        .col(short_text("external_user"))
        .col(integer("created_at"))
        .col(ColumnDef::new("updated_at").big_integer())
        .col(ColumnDef::new("last_used_at").big_integer())
        .col(ColumnDef::new("deleted_at").big_integer())
        .col(integer("usage_nanos"))
        .col(integer("byok_usage_nanos"))
        .foreign_key(&mut reference(
            "fk_issued_keys_live_workspace",
            ("issued_keys", ["live_workspace_id"]),
            ("workspaces", ["id"]),
            ForeignKeyAction::Restrict,
        ))
        .to_owned();
    manager.create_table(issued_keys).await?;

    let hash = Index::create()
        .name("uq_issued_keys_hash")
        .table("issued_keys")
        .col("hash")
        .unique()
        .to_owned();
    manager.create_index(hash).await?;
    let newest = Index::create()
        .name("ix_issued_keys_created")
        .table("issued_keys")
        .col("live_workspace_id")
        .col("created_at")
        .col("id")
        .to_owned();
    manager.create_index(newest).await
}

async fn charges(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let charges = Table::create()
        .table("charges")
        .col(ColumnDef::new("key_id").uuid().not_null())
        .col(id(backend, "request_id").not_null())
        .col(integer("amount_nanos"))
        .col(ColumnDef::new("byok").boolean().not_null())
        .col(integer("occurred_at"))
        .col(integer("recorded_at"))
        .col(ColumnDef::new("recorded_by").text().not_null())
        .primary_key(Index::create().col("key_id").col("request_id"))
        .foreign_key(&mut of_key("fk_charges_key", "charges"))
        .to_owned();
    manager.create_table(charges).await?;
    let oldest = Index::create()
        .name("ix_charges_recorded")
        .table("charges")
        .col("recorded_at")
        .to_owned();
    manager.create_index(oldest).await
}

async fn daily_usage(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let daily_usage = Table::create()
        .table("daily_usage")
        .col(ColumnDef::new("key_id").uuid().not_null())
        .col(integer("day"))
        .col(integer("usage_nanos"))
        .col(integer("byok_usage_nanos"))
        .primary_key(Index::create().col("key_id").col("day"))
        .foreign_key(&mut of_key("fk_daily_usage_key", "daily_usage"))
        .to_owned();
    manager.create_table(daily_usage).await
}

async fn reservations(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let backend = manager.get_database_backend();
    let reservations = Table::create()
        .table("reservations")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("key_id").uuid().not_null())
        .col(id(backend, "request_id").not_null())
        .col(integer("amount_nanos"))
        .col(ColumnDef::new("byok").boolean().not_null())
        .col(integer("created_at"))
        .col(integer("expires_at"))
        .col(ColumnDef::new("reserved_by").text().not_null())
        .col(short_text("state").not_null())
        .col(ColumnDef::new("ended_at").big_integer())
        .col(ColumnDef::new("ended_by").text())
        .col(ColumnDef::new("settled_nanos").big_integer())
        .foreign_key(&mut of_key("fk_reservations_key", "reservations"))
        .to_owned();
    manager.create_table(reservations).await?;

    let request = Index::create()
        .name("uq_reservations_request")
        .table("reservations")
        .col("key_id")
        .col("request_id")
        .unique()
        .to_owned();
    manager.create_index(request).await?;
    let held = Index::create()
        .name("ix_reservations_held")
        .table("reservations")
        .col("key_id")
        .col("state")
        .col("expires_at")
        .to_owned();
    manager.create_index(held).await?;
    let oldest = Index::create()
        .name("ix_reservations_expires")
        .table("reservations")
        .col("expires_at")
        .to_owned();
    manager.create_index(oldest).await
}

/// Foreign key from the ledger to its key, whose row stays after deletion.
fn of_key(name: &'static str, table: &'static str) -> ForeignKeyCreateStatement {
    let to = ("issued_keys", ["id"]);
    reference(name, (table, ["key_id"]), to, ForeignKeyAction::Restrict)
}
