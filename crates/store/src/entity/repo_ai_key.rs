//! A repo AI key with its sealed secret. Deleted keys stay, without the secret.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "repo_ai_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace_id: String,
    pub repo_id: String,
    /// The repo while the key is live, and nothing once it is deleted: so a live key holds its repo
    /// by a foreign key and its name by a unique index, and a deleted one outlives both.
    pub live_repo_id: Option<String>,
    pub name: String,
    /// The public half.
    pub key: String,
    /// The name of an `AiType`.
    pub ai_type: String,
    /// The secret's envelope, until the key is deleted.
    pub sealed_secret: Option<Vec<u8>>,
    /// 32 bytes, by which a secret is verified.
    pub secret_hash: Vec<u8>,
    pub created_at: i64,
    /// Kind of the principal that created it; null in rows from before `m0008_created_by`.
    pub created_by_kind: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub created_by_id: Option<String>,
    pub deleted_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// There is no foreign key behind it, since a deleted key outlives its workspace; a live one
    /// holds it through the repo.
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
