//! A reservation against an issued key's limit.

use sea_orm::entity::prelude::*;

/// State of a reservation that has not ended, except by expiry.
pub(crate) const HELD: &str = "held";

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reservations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub key_id: Uuid,
    /// Unique among the key's reservations.
    pub request_id: String,
    pub amount_nanos: i64,
    /// True if it will be spent through the customer's own provider key.
    pub byok: bool,
    pub created_at: i64,
    pub expires_at: i64,
    /// Service that made it.
    pub reserved_by: String,
    /// `held`, `settled` or `released`; an expired reservation stays `held`.
    pub state: String,
    pub ended_at: Option<i64>,
    /// Service that settled or released it.
    pub ended_by: Option<String>,
    /// Amount that it was settled with. It is kept longer than the charge.
    pub settled_nanos: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
