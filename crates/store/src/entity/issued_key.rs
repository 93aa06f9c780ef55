//! An issued key with its total usage. Deleted keys stay, because charges refer to them.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "issued_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Hash of the plaintext, in hex.
    pub hash: String,
    pub label: String,
    pub organization_id: String,
    pub workspace_id: String,
    /// The workspace while the key is live, null after it is deleted. A live key thus keeps its workspace by a foreign
    /// key, and a deleted key outlives it.
    pub live_workspace_id: Option<String>,
    pub name: String,
    pub disabled: bool,
    pub limit_nanos: Option<i64>,
    /// Name of a `LimitReset`.
    pub limit_reset: Option<String>,
    pub include_byok_in_limit: bool,
    pub expires_at: Option<i64>,
    pub creator_user_id: Option<String>,
    pub external_user: Option<String>,
    pub created_at: i64,
    /// Kind of the principal that created the key; null in rows from before `m0008_created_by`.
    pub created_by_kind: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub created_by_id: Option<String>,
    pub updated_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub deleted_at: Option<i64>,
    /// Total amount spent through the platform's provider keys.
    pub usage_nanos: i64,
    /// Total amount spent through the customer's own provider keys.
    pub byok_usage_nanos: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// No foreign key enforces this relation: a deleted key may outlive its workspace, whose identifier another
    /// organization may then use.
    #[sea_orm(
        belongs_to = "super::workspace::Entity",
        from = "(Column::WorkspaceId, Column::OrganizationId)",
        to = "(super::workspace::Column::Id, super::workspace::Column::OrganizationId)"
    )]
    Workspace,
}

impl ActiveModelBehavior for ActiveModel {}
