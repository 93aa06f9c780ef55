//! Application of changes to provider keys, whose secrets are sealed again with the values that they are bound to.

use super::sealed::{SecretBinding, fingerprint};
use crate::error::Error;
use crate::model::provider_key::StoredProviderKey;
use crate::model::provider_key_fields::CheckedPatch;
use crate::services::vault::WorkspaceKeys;

/// Returns the changed key. Its secret is sealed again if the patch contains the secret or one of the values
/// that it is bound to.
pub(super) fn apply(
    patch: &CheckedPatch,
    stored: &StoredProviderKey,
    keys: &WorkspaceKeys,
    binding: SecretBinding,
) -> Result<StoredProviderKey, Error> {
    let mut next = stored.clone();
    next.key = patch.apply(&stored.key);
    if patch.seals() {
        let opened;
        let secret = match &patch.secret {
            Some(secret) => {
                if !patch.names_destination() {
                    // The new seal is bound to values that the patch keeps: opening the old seal proves that
                    // these were not changed in the database.
                    binding.open(keys, stored)?;
                }
                secret
            }
            None => {
                opened = binding.open(keys, stored)?;
                &opened
            }
        };
        next.secret_version = next.key.version;
        let binding = binding.for_change(stored);
        next.sealed_secret = binding.seal(keys, &next.key, next.secret_version, secret)?;
        next.fingerprint = fingerprint(keys, &next.key, secret);
    }
    Ok(next)
}
