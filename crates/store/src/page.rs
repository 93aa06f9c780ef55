//! Pages of lists that are sorted by time and id, newest first.

use keyward_core::page::Position;
use sea_orm::{ColumnTrait, Condition};

/// Matches the rows after a position.
pub(crate) fn older_than<C: ColumnTrait>(created_at: C, id: C, after: Position) -> Condition {
    let millis = after.created_at.unix_millis();
    let same_time = Condition::all()
        .add(created_at.eq(millis))
        .add(id.lt(after.id));
    Condition::any().add(created_at.lt(millis)).add(same_time)
}
