//! A change, or the release of a secret. Rows have no foreign keys, because they outlive the resources that they refer
//! to.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub occurred_at: i64,
    /// Kind of an `Actor`.
    pub actor_kind: String,
    pub actor_id: String,
    pub action: String,
    pub organization_id: Option<String>,
    pub workspace_id: Option<String>,
    pub resource_kind: String,
    pub resource_id: String,
    pub request_id: String,
    /// Address that the call came from.
    pub source: Option<String>,
    /// JSON object with string values.
    #[sea_orm(column_type = "Text")]
    pub details: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
