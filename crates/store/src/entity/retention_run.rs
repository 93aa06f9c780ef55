//! The last run of retention over one kind of rows.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "retention_runs")]
pub struct Model {
    /// Kind of the rows.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// Time up to which rows may be deleted.
    pub cutoff_at: i64,
    pub ran_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
