//! A hold against an issued key's limit.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reservations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub key_id: Uuid,
    /// Unique among the key's reservations.
    pub request_id: String,
    pub amount_nanos: i64,
    /// Whether it will be spent through the customer's own provider key.
    pub byok: bool,
    pub created_at: i64,
    pub expires_at: i64,
    /// The service that made it.
    pub reserved_by: String,
    /// `held`, `settled` or `released`; one that expires stays `held`.
    pub state: String,
    pub ended_at: Option<i64>,
    /// The service that settled or released it.
    pub ended_by: Option<String>,
    /// What it was settled with, which outlasts the charge.
    pub settled_nanos: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
