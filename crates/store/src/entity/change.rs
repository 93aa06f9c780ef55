//! A change, for the replicas that follow the feed. Rows have no foreign keys, because they outlive the resources that
//! they refer to.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "changes")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Transaction that made the change, on PostgreSQL; 0 on SQLite.
    pub transaction_id: i64,
    pub recorded_at: i64,
    /// Kind of a `Subject`.
    pub kind: String,
    pub organization_id: Option<String>,
    pub resource_id: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
