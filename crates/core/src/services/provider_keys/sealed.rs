//! Sealing of a provider key's secret: the values it is bound to, and the error if it does not open.

use keyward_crypto::Secret;

use crate::error::Error;
use crate::model::id::{ProviderKeyId, WorkspaceId};
use crate::model::provider_key::{ProviderKey, StoredProviderKey};
use crate::services::vault::{SecretContext, WorkspaceKeys};

/// Binding of the secrets of provider keys to provider, public key and endpoint. If these values are changed
/// directly in the database, the secret no longer opens and thus cannot be sent to another endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretBinding {
    /// Seals unbound, like versions before the binding, and opens both forms.
    Unbound,
    /// Seals new secrets unbound and changed ones in the form that they had, and opens both forms.
    AsStored,
    /// Seals bound, and opens both forms.
    #[default]
    Bound,
    /// Seals bound, and opens only the bound form.
    Required,
}

/// The secret of a provider key does not open: its row was changed outside of Keyward, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error(
    "integrity error: the sealed secret of provider key {key} of workspace {workspace} does not belong to \
     the provider, key and endpoint of its row: {source}"
)]
pub struct SecretMismatch {
    key: ProviderKeyId,
    workspace: WorkspaceId,
    source: Error,
}

impl SecretBinding {
    /// Returns the binding with which a change of this key seals.
    pub(super) fn for_change(self, stored: &StoredProviderKey) -> Self {
        match self {
            Self::AsStored if stored.is_bound() => Self::Bound,
            other => other,
        }
    }

    /// Seals the secret of a key at this version of the secret.
    pub(super) fn seal(
        self,
        keys: &WorkspaceKeys,
        key: &ProviderKey,
        version: u64,
        secret: &Secret<String>,
    ) -> Result<Vec<u8>, Error> {
        let values = values(key);
        let bound_to = match self {
            Self::Unbound | Self::AsStored => [].as_slice(),
            Self::Bound | Self::Required => values.as_slice(),
        };
        keys.seal(secret_context(key, version, bound_to), secret)
    }

    /// Opens the secret of a key.
    ///
    /// # Errors
    /// [`Error::Internal`] of [`SecretMismatch`].
    pub(super) fn open(
        self,
        keys: &WorkspaceKeys,
        stored: &StoredProviderKey,
    ) -> Result<Secret<String>, Error> {
        let opened = if self == Self::Required && !stored.is_bound() {
            Err(Error::internal("the configuration rejects unbound secrets"))
        } else {
            let values = values(&stored.key);
            let context = secret_context(&stored.key, stored.secret_version, &values);
            let opened = keys.open(context, &stored.sealed_secret);
            opened.and_then(
                |secret| match stored.is_bound() || is_of(keys, stored, &secret) {
                    true => Ok(secret),
                    false => Err(Error::internal(
                        "the fingerprint of an unbound secret is of another provider or key",
                    )),
                },
            )
        };
        opened.map_err(|source| {
            Error::internal(SecretMismatch {
                key: stored.key.id,
                workspace: stored.key.workspace.clone(),
                source,
            })
        })
    }
}

/// Returns the HMAC-SHA256 of provider, key and secret under the workspace's fingerprint key.
pub(super) fn fingerprint(
    keys: &WorkspaceKeys,
    key: &ProviderKey,
    secret: &Secret<String>,
) -> [u8; 32] {
    keys.fingerprint(&[
        key.provider.as_str().as_bytes(),
        key.key.as_bytes(),
        secret.expose().as_bytes(),
    ])
}

/// Returns true if a row's fingerprint is of its provider, key and secret. It covers what the unbound form does not,
/// except the endpoint.
fn is_of(keys: &WorkspaceKeys, stored: &StoredProviderKey, secret: &Secret<String>) -> bool {
    fingerprint(keys, &stored.key, secret) == stored.fingerprint
}

/// Returns the values that a secret is bound to; two for a key without an endpoint.
fn values(key: &ProviderKey) -> Vec<&[u8]> {
    let fixed = [key.provider.as_str(), key.key.as_str()];
    let all = fixed.into_iter().chain(key.endpoint.as_deref());
    all.map(str::as_bytes).collect()
}

fn secret_context<'a>(
    key: &'a ProviderKey,
    version: u64,
    bound_to: &'a [&'a [u8]],
) -> SecretContext<'a> {
    SecretContext {
        record: key.id.as_bytes(),
        field: "provider_key.secret",
        version,
        bound_to,
    }
}
