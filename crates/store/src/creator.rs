//! Converts between rows and the principals that created them.

use keyward_core::principal::Creator;

/// Returns the two columns that name a creator.
pub(crate) fn to_columns(creator: Option<&Creator>) -> (Option<String>, Option<String>) {
    let creator = creator.cloned();
    creator.map(|Creator { kind, id }| (kind, id)).unzip()
}

/// Returns the creator that a row names. Rows that are older than the columns have no creator.
pub(crate) fn from_columns(kind: Option<String>, id: Option<String>) -> Option<Creator> {
    let (kind, id) = kind.zip(id)?;
    Some(Creator { kind, id })
}
