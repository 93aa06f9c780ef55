//! A management key. Revoked keys stay.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "management_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Hash of the plaintext, in hex.
    pub hash: String,
    pub label: String,
    pub organization_id: String,
    /// The organization while the key is live, null after it is revoked. A live key thus keeps its organization by a
    /// foreign key, and a revoked key outlives it.
    pub live_organization_id: Option<String>,
    pub name: String,
    pub created_at: i64,
    /// Kind of the principal that created the key; null in rows from before `m0008_created_by`.
    pub created_by_kind: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub created_by_id: Option<String>,
    pub last_used_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
