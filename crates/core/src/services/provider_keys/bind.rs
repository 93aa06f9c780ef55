//! Binds secrets that earlier versions sealed unbound.

use super::ProviderKeys;
use super::sealed::SecretBinding;
use crate::error::Error;
use crate::model::id::ProviderKeyId;
use crate::model::principal::Caller;
use crate::model::provider_key::StoredProviderKey;
use crate::policy;
use crate::services::vault::WorkspaceKeys;

/// Maximum number of keys that are read at once.
const BATCH: u32 = 100;

/// Result of binding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretsBound {
    /// Number of secrets that this run bound.
    pub bound: u64,
    /// Number of secrets that did not open and are unchanged.
    pub failed: u64,
    /// The first keys whose secret did not open, at most 10.
    pub examples: Vec<ProviderKeyId>,
}

/// Maximum number of keys that a result names.
const EXAMPLES: usize = 10;

impl ProviderKeys {
    /// Seals every unbound secret again, bound to the current provider, key and endpoint of its row, each in
    /// its own transaction. The run may be interrupted and repeated.
    ///
    /// # Errors
    /// Denied for all callers but services; the store cannot be reached.
    pub async fn bind_secrets(&self, caller: &Caller) -> Result<SecretsBound, Error> {
        policy::precheck(&caller.principal, policy::BIND_API_KEY)?;
        let (mut result, mut after) = (SecretsBound::default(), None);
        loop {
            let batch = self.store.unbound(after, BATCH).await?;
            let Some(last) = batch.last() else {
                return Ok(result);
            };
            after = Some(*last);
            for id in batch {
                match self.bind_secret(caller, id).await {
                    Ok(()) => result.bound += 1,
                    // The key was deleted meanwhile.
                    Err(Error::NotFound(_)) => {}
                    Err(Error::Internal(cause)) => {
                        tracing::error!(key = %id, %cause, "failed to bind a secret");
                        result.failed += 1;
                        if result.examples.len() < EXAMPLES {
                            result.examples.push(id);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn bind_secret(&self, caller: &Caller, id: ProviderKeyId) -> Result<(), Error> {
        let (id, grant) = self.find(caller, Some(id), policy::BIND_API_KEY).await?;
        let keys = self.vault.keys(&grant).await?;
        let event = self.event(caller, &grant, id);
        let change = |stored: &StoredProviderKey| bound(stored, &keys);
        self.store
            .reseal(&grant, id, &change, keys.used(), &event)
            .await
    }
}

/// Returns the key with its secret bound. The version grows, as with every change.
fn bound(stored: &StoredProviderKey, keys: &WorkspaceKeys) -> Result<StoredProviderKey, Error> {
    let binding = SecretBinding::Bound;
    let secret = binding.open(keys, stored)?;
    let mut next = stored.clone();
    next.key.version += 1;
    next.secret_version = next.key.version;
    next.sealed_secret = binding.seal(keys, &next.key, next.secret_version, &secret)?;
    Ok(next)
}
