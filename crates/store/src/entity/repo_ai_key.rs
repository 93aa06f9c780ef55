//! A repo AI key with its sealed secret. Deleted keys stay, without the secret.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "repo_ai_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: String,
    pub repo_id: String,
    /// The repo while the key is live, null after it is deleted. A live key thus keeps its repo by a foreign key and
    /// its name by a unique index; a deleted key outlives both.
    pub live_repo_id: Option<String>,
    pub name: String,
    /// Public part of the key.
    pub key: String,
    /// Name of an `AiType`.
    pub ai_type: String,
    /// Envelope of the secret; null after the key is deleted.
    pub sealed_secret: Option<Vec<u8>>,
    /// Hash to verify the secret against, 32 bytes.
    pub secret_hash: Vec<u8>,
    pub created_at: i64,
    /// Kind of the principal that created the key; null in rows from before `m0008_created_by`.
    pub created_by_kind: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub created_by_id: Option<String>,
    pub deleted_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// No foreign key enforces this relation, because a deleted key outlives its workspace. A live key keeps its
    /// workspace from deletion through the repo.
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
