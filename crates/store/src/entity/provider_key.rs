//! A provider key with its sealed secret.

use sea_orm::entity::prelude::*;

/// Unique index that detects duplicate credentials.
pub(crate) const FINGERPRINT_INDEX: &str = "uq_provider_keys_fingerprint";

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "provider_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: String,
    /// Name of a registered provider.
    pub provider: String,
    /// Public key, identifier or email.
    #[sea_orm(column_type = "Text")]
    pub key: String,
    #[sea_orm(column_type = "Text", nullable)]
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub tenant_id: Option<String>,
    pub subscription_id: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    /// Envelope of the secret.
    pub sealed_secret: Vec<u8>,
    /// Version of the row at the time the secret was sealed. The envelope is bound to it.
    pub secret_version: i64,
    /// 32 bytes, unique in the workspace.
    pub fingerprint: Vec<u8>,
    pub created_at: i64,
    /// Kind of the principal that created the key; null in rows from before `m0008_created_by`.
    pub created_by_kind: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub created_by_id: Option<String>,
    pub version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::workspace::Entity",
        from = "Column::WorkspaceId",
        to = "super::workspace::Column::Id"
    )]
    Workspace,
}

impl Related<super::workspace::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Workspace.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
