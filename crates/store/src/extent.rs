//! Range of times of a table's rows.

use keyward_core::clock::Timestamp;
use keyward_core::retention::Extent;

/// Returns the minimum and maximum time of a table; `None` for an empty one.
pub(crate) fn extent(ends: Option<(Option<i64>, Option<i64>)>) -> Option<Extent> {
    let (Some(oldest), Some(newest)) = ends? else {
        return None;
    };
    Some(Extent {
        oldest: Timestamp::from_unix_millis(oldest),
        newest: Timestamp::from_unix_millis(newest),
    })
}
