//! Envelope encryption of the secrets of workspaces.
//!
//! Every workspace has its own data keys, which the key-encryption key (KEK) wraps:
//!
//! ```text
//! wrapped = wrap(KEK, data key, "keyward.data-key.v1" ‖ workspace ‖ purpose ‖ version)
//! context = workspace ‖ record ‖ field ‖ version
//! unbound = seal(seal key, secret, "keyward.secret.v1" ‖ context)
//! bound   = 0x02 ‖ seal(seal key, secret, "keyward.secret.v2" ‖ context ‖ values)
//! ```
//!
//! A row that is copied to another workspace, record, field or version therefore does not open. A bound text
//! also does not open if one of the record's values that it is bound to has changed. The first byte selects
//! the associated data. It needs no authentication: either form with the other form's byte has other
//! associated data and does not open.

mod instrumented;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyward_crypto::{AssociatedData, Envelope, Kek, Key256, Secret};

use crate::error::Error;
use crate::metrics::VaultOperation;
use crate::model::clock::Clock;
use crate::model::data_key::{BOUND, DataKeyPurpose, UsedDataKeys, WrappedDataKey};
use crate::model::id::WorkspaceId;
use crate::policy::WorkspaceScope;
use crate::ports::DataKeyStore;

use instrumented::{instrumented, instrumented_async};

/// Context of a sealed text, which is its associated data (RFC 5116). The text does not open in any other
/// context.
#[derive(Debug, Clone, Copy)]
pub struct SecretContext<'a> {
    /// The record's identifier.
    pub record: &'a [u8],
    /// The name of the record's field.
    pub field: &'static str,
    /// The version of the field's value.
    pub version: u64,
    /// Values of the record that the text is bound to, always in the same order. Without values the text has
    /// the unbound form.
    pub bound_to: &'a [&'a [u8]],
}

/// Provides the data keys of workspaces.
#[derive(Clone)]
pub struct Vault {
    kek: Arc<dyn Kek>,
    store: Arc<dyn DataKeyStore>,
    clock: Arc<dyn Clock>,
}

/// Number of data keys of each KEK version that are tried at start-up: enough that a single damaged key does
/// not fail the version.
const SAMPLE_EACH: u32 = 4;

/// The KEK does not open the stored data keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekMismatch {
    /// The KEK lacks versions that wrapped data keys.
    #[error("lacks the key versions {versions:?}, which this database was written with")]
    Missing {
        /// The versions, in ascending order.
        versions: Vec<u32>,
    },
    /// None of the tried data keys opens with the KEK version that it names: the KEK belongs to another
    /// database.
    #[error(
        "has not the keys with which this database was written: of versions {versions:?} it has others"
    )]
    Foreign {
        /// The versions, in ascending order.
        versions: Vec<u32>,
    },
    /// None of the tried data keys can be parsed.
    #[error("cannot be tried, since the data keys of this database are damaged")]
    Unreadable,
}

/// Failure of [`Vault::verify_kek`].
#[derive(Debug, thiserror::Error)]
pub enum VerifyKekError {
    /// The KEK does not open the stored data keys.
    #[error(transparent)]
    Mismatch(#[from] KekMismatch),
    /// The store or the KEK cannot be used.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A workspace's data keys, unwrapped for the duration of a call.
pub struct WorkspaceKeys {
    workspace: WorkspaceId,
    seal: BTreeMap<u32, SealKey>,
    fingerprint: Key256,
    used: UsedDataKeys,
}

struct SealKey {
    key: Key256,
    /// Version of the KEK that wraps the key, if known.
    kek_version: Option<u32>,
}

impl Vault {
    /// Returns a vault that wraps data keys with `kek` and keeps them in `store`.
    #[must_use]
    pub fn new(kek: Arc<dyn Kek>, store: Arc<dyn DataKeyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { kek, store, clock }
    }

    /// Returns the data keys of the granted workspace, and creates them on the first call.
    ///
    /// # Errors
    /// The store or the KEK cannot be reached, or a key does not unwrap; [`Error::Internal`] of
    /// [`DataKeysLost`](crate::model::data_key::DataKeysLost).
    #[tracing::instrument(name = "vault.keys", skip_all)]
    pub async fn keys(&self, scope: &dyn WorkspaceScope) -> Result<WorkspaceKeys, Error> {
        let mut stored = self.store.data_keys(scope).await?;
        let lacks = |purpose| {
            !stored
                .iter()
                .any(|key: &WrappedDataKey| key.purpose == purpose)
        };
        let missing: Vec<_> = [DataKeyPurpose::Seal, DataKeyPurpose::Fingerprint]
            .into_iter()
            .filter(|&purpose| lacks(purpose))
            .collect();
        if !missing.is_empty() {
            let mut fresh = Vec::with_capacity(missing.len());
            for purpose in missing {
                fresh.push(self.generate(scope.workspace(), purpose).await?);
            }
            // If two calls do this concurrently, one inserts and both use the inserted keys.
            self.store.insert_missing_data_keys(scope, &fresh).await?;
            stored = self.store.data_keys(scope).await?;
        }
        self.unwrap(scope.workspace(), stored).await
    }

    /// Checks at start-up that the KEK opens the stored data keys, by trying a few of each KEK version in
    /// use. A damaged data key is only logged if others of its version open: it affects only its own
    /// workspace. An empty store passes.
    ///
    /// # Errors
    /// A [`KekMismatch`]; the store or the KEK cannot be reached.
    pub async fn verify_kek(&self) -> Result<(), VerifyKekError> {
        use keyward_crypto::Error::{Unavailable, UnknownKeyVersion};

        let mut missing = BTreeSet::new();
        let mut tried: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut damaged: u32 = 0;
        for (workspace, key) in self.store.sample_data_keys(SAMPLE_EACH).await? {
            let context = data_key_context(&workspace, key.purpose, key.version);
            let named = Envelope::parse(&key.wrapped).map_or(0, |envelope| envelope.key_version());
            let (opened, failed) = tried.entry(named).or_default();
            match self.kek.unwrap(&key.wrapped, &context).await {
                Ok(_) => *opened += 1,
                Err(error @ Unavailable(_)) => return Err(Error::from(error).into()),
                Err(UnknownKeyVersion { version }) => {
                    missing.insert(version);
                }
                Err(_) => {
                    *failed += 1;
                    damaged += 1;
                }
            }
        }
        if !missing.is_empty() {
            let versions = missing.into_iter().collect();
            return Err(KekMismatch::Missing { versions }.into());
        }
        let is_shut = |(version, (opened, failed)): (&u32, &(u32, u32))| {
            (*version > 0 && *opened == 0 && *failed > 0).then_some(*version)
        };
        let versions: Vec<u32> = tried.iter().filter_map(is_shut).collect();
        if !versions.is_empty() {
            return Err(KekMismatch::Foreign { versions }.into());
        }
        if damaged > 0 {
            if tried.values().all(|(opened, _)| *opened == 0) {
                return Err(KekMismatch::Unreadable.into());
            }
            tracing::error!(damaged, "found damaged data keys");
        }
        Ok(())
    }

    async fn generate(
        &self,
        workspace: &WorkspaceId,
        purpose: DataKeyPurpose,
    ) -> Result<WrappedDataKey, Error> {
        let version = 1;
        let key = Key256::generate()?;
        let context = data_key_context(workspace, purpose, version);
        let wrapping = self.kek.wrap(&key, &context);
        let version_then = Some(self.kek.primary_version());
        let wrapped = instrumented_async(VaultOperation::Wrap, version_then, wrapping).await?;
        Ok(WrappedDataKey {
            purpose,
            version,
            wrapped,
            created_at: self.clock.now(),
        })
    }

    async fn unwrap(
        &self,
        workspace: &WorkspaceId,
        stored: Vec<WrappedDataKey>,
    ) -> Result<WorkspaceKeys, Error> {
        let mut seal = BTreeMap::new();
        let mut fingerprint = None;
        for key in &stored {
            let context = data_key_context(workspace, key.purpose, key.version);
            let kek_version = self.kek.version_of(&key.wrapped);
            let unwrapping = self.kek.unwrap(&key.wrapped, &context);
            let unwrapped =
                instrumented_async(VaultOperation::Unwrap, kek_version, unwrapping).await?;
            match key.purpose {
                DataKeyPurpose::Seal => {
                    let key_with_version = SealKey {
                        key: unwrapped,
                        kek_version,
                    };
                    seal.insert(key.version, key_with_version);
                }
                DataKeyPurpose::Fingerprint => fingerprint = Some(unwrapped),
            }
        }
        match fingerprint {
            Some(fingerprint) if !seal.is_empty() => Ok(WorkspaceKeys {
                workspace: workspace.clone(),
                seal,
                fingerprint,
                used: UsedDataKeys::new(stored),
            }),
            _ => Err(Error::internal(
                "a workspace lacks a data key that was just stored",
            )),
        }
    }
}

impl WorkspaceKeys {
    /// Seals a text with the newest key.
    ///
    /// # Errors
    /// The text is too long, or the system has no randomness.
    pub fn seal(
        &self,
        context: SecretContext<'_>,
        text: &Secret<String>,
    ) -> Result<Vec<u8>, Error> {
        let (version, SealKey { key, kek_version }) = self
            .seal
            .last_key_value()
            .ok_or_else(|| Error::internal("no seal key"))?;
        instrumented(VaultOperation::Seal, *kek_version, || {
            let text = text.expose().as_bytes();
            let is_bound = !context.bound_to.is_empty();
            let aad = self.associated_data(context, is_bound);
            let envelope = keyward_crypto::seal(key, *version, text, &aad)?.to_bytes();
            Ok(match is_bound {
                true => [[BOUND].as_slice(), &envelope].concat(),
                false => envelope,
            })
        })
    }

    /// Opens a sealed text, bound or not, with the key that its envelope names.
    ///
    /// # Errors
    /// The envelope does not belong to this context, or its key is missing.
    pub fn open(&self, context: SecretContext<'_>, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let (is_bound, envelope) = match sealed {
            [BOUND, envelope @ ..] => (true, envelope),
            envelope => (false, envelope),
        };
        let envelope = Envelope::parse(envelope)?;
        let SealKey { key, kek_version } = self
            .seal
            .get(&envelope.key_version())
            .ok_or_else(|| Error::internal("the envelope's data key is not there"))?;
        instrumented(VaultOperation::Open, *kek_version, || {
            let aad = self.associated_data(context, is_bound);
            let opened = keyward_crypto::open(key, &envelope, &aad)?;
            let text = std::str::from_utf8(opened.expose())
                .map_err(|_| Error::internal("a sealed text is not UTF-8"))?;
            Ok(Secret::new(text.to_owned()))
        })
    }

    /// Returns the stored data keys of this set.
    #[must_use]
    pub fn used(&self) -> &UsedDataKeys {
        &self.used
    }

    /// Returns a keyed fingerprint, with which equal values are found without decrypting them.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 32] {
        keyward_crypto::fingerprint(&self.fingerprint, "keyward.credentials.v1", parts)
    }

    fn associated_data(&self, context: SecretContext<'_>, is_bound: bool) -> AssociatedData {
        let (domain, values) = match is_bound {
            true => ("keyward.secret.v2", context.bound_to),
            false => ("keyward.secret.v1", [].as_slice()),
        };
        let context = AssociatedData::new(domain)
            .with(self.workspace.as_str())
            .with(context.record)
            .with(context.field)
            .with_u64(context.version);
        values.iter().fold(context, AssociatedData::with)
    }
}

fn data_key_context(
    workspace: &WorkspaceId,
    purpose: DataKeyPurpose,
    version: u32,
) -> AssociatedData {
    AssociatedData::new("keyward.data-key.v1")
        .with(workspace.as_str())
        .with(purpose.name())
        .with_u64(u64::from(version))
}
