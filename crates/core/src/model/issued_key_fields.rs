//! Validation and application of changes to issued keys.

use crate::error::Error;
use crate::model::clock::Timestamp;
use crate::model::issued_key::{IssuedKey, IssuedKeyPatch, MAX_USER_BYTES};
use crate::model::text::{OptionalText, check_own_name};

pub(crate) const CREATOR_USER_ID: OptionalText =
    OptionalText::new("creator_user_id", "Creator user ID", MAX_USER_BYTES);
pub(crate) const EXTERNAL_USER: OptionalText =
    OptionalText::new("external_user", "External user", MAX_USER_BYTES);

impl IssuedKeyPatch {
    /// # Errors
    /// A field is invalid.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.name.as_deref().map_or(Ok(()), check_own_name)
    }

    /// Returns the names of the fields that it changes.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        [
            ("name", self.name.is_some()),
            ("disabled", self.disabled.is_some()),
            ("limit", self.limit.is_some()),
            ("limit_reset", self.limit_reset.is_some()),
            (
                "include_byok_in_limit",
                self.include_byok_in_limit.is_some(),
            ),
        ]
        .into_iter()
        .filter_map(|(name, changes)| changes.then_some(name))
        .collect()
    }

    /// Returns the changed key.
    pub(crate) fn apply(&self, key: &IssuedKey, now: Timestamp) -> IssuedKey {
        let mut next = key.clone();
        if let Some(name) = &self.name {
            next.name.clone_from(name);
        }
        if let Some(disabled) = self.disabled {
            next.disabled = disabled;
        }
        if let Some(limit) = self.limit {
            next.limit = limit;
        }
        if let Some(limit_reset) = self.limit_reset {
            next.limit_reset = limit_reset;
        }
        if let Some(include) = self.include_byok_in_limit {
            next.include_byok_in_limit = include;
        }
        next.updated_at = Some(now);
        next
    }
}
