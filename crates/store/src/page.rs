//! Pages of lists: their size in bytes, and the position in lists that are sorted by time and id, newest first.

use keyward_core::page::Position;
use sea_orm::ColumnTrait;
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};

/// Maximum size of the texts of a page with more than one item, in bytes, in lists whose items may be large. A page is
/// read, converted and encoded without a pause, and delays other calls.
const MAX_PAGE_BYTES: i64 = 256 * 1024;

/// Returns the number of items that fit in a page, at least one, by the sizes of their texts in bytes.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = i64>) -> u32 {
    let mut bytes = 0;
    let fitting = sizes.into_iter().take_while(|size| {
        bytes += size;
        bytes <= MAX_PAGE_BYTES
    });
    let count = u32::try_from(fitting.count()).unwrap_or(u32::MAX);
    Ord::max(count, 1)
}

/// Matches the rows after a position. The comparison of a pair is a range of an index that ends with these columns.
pub(crate) fn older_than<C: ColumnTrait>(created_at: C, id: C, after: Position) -> SimpleExpr {
    let columns = [created_at, id].map(|column| Expr::col(column.as_column_ref()));
    let values = [
        Expr::value(after.created_at.unix_millis()),
        Expr::value(after.id),
    ];
    Expr::tuple(columns).lt(Expr::tuple(values))
}
