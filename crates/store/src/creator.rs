//! Between rows and the principals that created them.

use keyward_core::principal::Creator;

/// The two columns that name a creator.
pub(crate) fn to_columns(creator: Option<&Creator>) -> (Option<String>, Option<String>) {
    let creator = creator.cloned();
    creator.map(|Creator { kind, id }| (kind, id)).unzip()
}

/// The creator that a row names. A row from before the columns were there has none.
pub(crate) fn from_columns(kind: Option<String>, id: Option<String>) -> Option<Creator> {
    let (kind, id) = kind.zip(id)?;
    Some(Creator { kind, id })
}
