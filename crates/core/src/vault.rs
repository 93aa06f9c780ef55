//! Envelope encryption of what workspaces keep.
//!
//! Every workspace has data keys of its own, which the key-encryption key (KEK) wraps:
//!
//! ```text
//! wrapped = wrap(KEK, data key, "keyward.data-key.v1" ‖ workspace ‖ purpose ‖ version)
//! place   = workspace ‖ record ‖ field ‖ version
//! unbound = seal(seal key, secret, "keyward.secret.v1" ‖ place)
//! bound   = 0x02 ‖ seal(seal key, secret, "keyward.secret.v2" ‖ place ‖ values)
//! ```
//!
//! so that a row that is copied to another workspace, record, field or version does not open, and that a
//! bound text does not open either once one of the record's values that it is bound to is another. The
//! byte at the beginning selects the associated data. It is not authenticated and need not be: either form
//! with the other one's byte has other associated data, and does not open.

mod observed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyward_crypto::{AssociatedData, Envelope, Kek, Key256, Secret};

use crate::clock::Clock;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::WorkspaceId;
use crate::metrics::VaultOperation;
use crate::policy::WorkspaceScope;
use crate::store::DataKeyStore;

use observed::{observed, observed_async};

/// What a data key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKeyPurpose {
    /// Seals secrets.
    Seal,
    /// Makes fingerprints. It outlives every seal key, or equal secrets would not be found.
    Fingerprint,
}

impl DataKeyPurpose {
    /// The name that is stored and authenticated.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// The purpose of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Seal, Self::Fingerprint]
            .into_iter()
            .find(|purpose| purpose.name() == name)
    }
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// What it is for.
    pub purpose: DataKeyPurpose,
    /// Its version, from 1.
    pub version: u32,
    /// The key, wrapped; it names the KEK's version.
    pub wrapped: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The stored data keys that a call seals and fingerprints with. The store compares them with its own
/// when it inserts, since a workspace that was deleted and created again in between has other keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsedDataKeys(Vec<WrappedDataKey>);

impl UsedDataKeys {
    /// The keys, wrapped.
    #[must_use]
    pub fn as_slice(&self) -> &[WrappedDataKey] {
        &self.0
    }
}

/// A workspace holds sealed secrets, but data keys that sealed them are missing from the store. They are
/// not made again, since nothing that is sealed would open with the new ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("workspace {workspace} holds sealed secrets, but its data keys are missing: {}", purposes(.missing))]
pub struct DataKeysLost {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Purposes of the missing keys.
    pub missing: Vec<DataKeyPurpose>,
}

fn purposes(missing: &[DataKeyPurpose]) -> String {
    let names: Vec<_> = missing.iter().map(|purpose| purpose.name()).collect();
    names.join(", ")
}

/// Where a sealed text belongs. Opening it anywhere else fails.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The record's identifier.
    pub record: &'a [u8],
    /// The name of the record's field.
    pub field: &'static str,
    /// The version of the field's value.
    pub version: u64,
    /// Values of the record that the text is bound to, always in the same order. A place without values
    /// has the unbound form.
    pub bound_to: &'a [&'a [u8]],
}

/// The byte at the beginning of a bound text. Envelopes begin with another one.
pub const BOUND: u8 = 2;

/// Returns whether a sealed text is bound to values of its record.
#[must_use]
pub fn is_bound(sealed: &[u8]) -> bool {
    sealed.first() == Some(&BOUND)
}

/// Gives workspaces their data keys.
#[derive(Clone)]
pub struct Vault {
    kek: Arc<dyn Kek>,
    store: Arc<dyn DataKeyStore>,
    clock: Arc<dyn Clock>,
}

/// How many data keys of each KEK version are tried at start-up: so many that one which is damaged
/// does not stand for all.
const SAMPLE_EACH: u32 = 4;

/// The KEK does not open what the store holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekMismatch {
    /// Versions of the KEK that wrapped data keys are not there.
    #[error("lacks the key versions {versions:?}, which this database was written with")]
    Missing {
        /// The versions, in ascending order.
        versions: Vec<u32>,
    },
    /// None of the data keys that were tried opens with the key of the version that it names: the KEK
    /// is another database's.
    #[error(
        "has not the keys with which this database was written: of versions {versions:?} it has others"
    )]
    Foreign {
        /// The versions, in ascending order.
        versions: Vec<u32>,
    },
    /// None of the data keys that were tried can even be read.
    #[error("cannot be tried, since the data keys of this database are damaged")]
    Unreadable,
}

/// A workspace's data keys, unwrapped for the length of one call.
pub struct WorkspaceKeys {
    workspace: WorkspaceId,
    seal: BTreeMap<u32, SealKey>,
    fingerprint: Key256,
    used: UsedDataKeys,
}

struct SealKey {
    key: Key256,
    /// The version of the KEK that wraps it, if that is known.
    kek_version: Option<u32>,
}

impl Vault {
    /// A vault whose data keys the KEK wraps and the store keeps.
    #[must_use]
    pub fn new(kek: Arc<dyn Kek>, store: Arc<dyn DataKeyStore>, clock: Arc<dyn Clock>) -> Self {
        Self { kek, store, clock }
    }

    /// The data keys of the granted workspace, made at the first call.
    ///
    /// # Errors
    /// The store or the KEK cannot be reached, or a key does not unwrap; [`Error::Internal`] of
    /// [`DataKeysLost`].
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
            // Of two calls that do this at once, one inserts; both use what was inserted.
            self.store.insert_missing_data_keys(scope, &fresh).await?;
            stored = self.store.data_keys(scope).await?;
        }
        self.unwrap(scope.workspace(), stored).await
    }

    /// Proves at start-up that the KEK opens what the store holds, by a few data keys of each KEK
    /// version that is in use. A data key that is damaged, where others of its version open, is
    /// reported in the log and no more: it shuts its own workspace alone. A store that holds none
    /// proves nothing.
    ///
    /// # Errors
    /// [`Error::Internal`] of [`KekMismatch`]; the store or the KEK cannot be reached.
    pub async fn verify_kek(&self) -> Result<(), Error> {
        use keyward_crypto::Error::{Unavailable, UnknownKeyVersion};

        let mut missing = BTreeSet::new();
        let mut tried: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        let mut damaged: u32 = 0;
        for (workspace, key) in self.store.sample_data_keys(SAMPLE_EACH).await? {
            let place = data_key_place(&workspace, key.purpose, key.version);
            let named = Envelope::parse(&key.wrapped).map_or(0, |envelope| envelope.key_version());
            let (opened, failed) = tried.entry(named).or_default();
            match self.kek.unwrap(&key.wrapped, &place).await {
                Ok(_) => *opened += 1,
                Err(error @ Unavailable(_)) => return Err(error.into()),
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
            return Err(Error::internal(KekMismatch::Missing { versions }));
        }
        let is_shut = |(version, (opened, failed)): (&u32, &(u32, u32))| {
            (*version > 0 && *opened == 0 && *failed > 0).then_some(*version)
        };
        let versions: Vec<u32> = tried.iter().filter_map(is_shut).collect();
        if !versions.is_empty() {
            return Err(Error::internal(KekMismatch::Foreign { versions }));
        }
        if damaged > 0 {
            if tried.values().all(|(opened, _)| *opened == 0) {
                return Err(Error::internal(KekMismatch::Unreadable));
            }
            tracing::error!(damaged, "data keys of this database are damaged");
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
        let place = data_key_place(workspace, purpose, version);
        let wrapping = self.kek.wrap(&key, &place);
        let version_then = Some(self.kek.primary_version());
        let wrapped = observed_async(VaultOperation::Wrap, version_then, wrapping).await?;
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
            let place = data_key_place(workspace, key.purpose, key.version);
            let kek_version = self.kek.version_of(&key.wrapped);
            let unwrapping = self.kek.unwrap(&key.wrapped, &place);
            let unwrapped = observed_async(VaultOperation::Unwrap, kek_version, unwrapping).await?;
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
                used: UsedDataKeys(stored),
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
    /// The text is too long to seal, or the system has no randomness.
    pub fn seal(&self, place: Place<'_>, text: &Secret<String>) -> Result<Vec<u8>, Error> {
        let (version, SealKey { key, kek_version }) = self
            .seal
            .last_key_value()
            .ok_or_else(|| Error::internal("no seal key"))?;
        observed(VaultOperation::Seal, *kek_version, || {
            let text = text.expose().as_bytes();
            let is_bound = !place.bound_to.is_empty();
            let aad = self.associated_data(place, is_bound);
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
    /// The envelope is not one of this place, or its key is not there.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Secret<String>, Error> {
        let (is_bound, envelope) = match sealed {
            [BOUND, envelope @ ..] => (true, envelope),
            envelope => (false, envelope),
        };
        let envelope = Envelope::parse(envelope)?;
        let SealKey { key, kek_version } = self
            .seal
            .get(&envelope.key_version())
            .ok_or_else(|| Error::internal("the envelope's data key is not there"))?;
        observed(VaultOperation::Open, *kek_version, || {
            let aad = self.associated_data(place, is_bound);
            let opened = keyward_crypto::open(key, &envelope, &aad)?;
            let text = std::str::from_utf8(opened.expose())
                .map_err(|_| Error::internal("a sealed text is not UTF-8"))?;
            Ok(Secret::new(text.to_owned()))
        })
    }

    /// The stored keys that these are.
    #[must_use]
    pub fn used(&self) -> &UsedDataKeys {
        &self.used
    }

    /// A keyed fingerprint by which equal values are found without being known.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 32] {
        keyward_crypto::fingerprint(&self.fingerprint, "keyward.credentials.v1", parts)
    }

    fn associated_data(&self, place: Place<'_>, is_bound: bool) -> AssociatedData {
        let (domain, values) = match is_bound {
            true => ("keyward.secret.v2", place.bound_to),
            false => ("keyward.secret.v1", [].as_slice()),
        };
        let place = AssociatedData::new(domain)
            .with(self.workspace.as_str())
            .with(place.record)
            .with(place.field)
            .with_u64(place.version);
        values.iter().fold(place, AssociatedData::with)
    }
}

fn data_key_place(
    workspace: &WorkspaceId,
    purpose: DataKeyPurpose,
    version: u32,
) -> AssociatedData {
    AssociatedData::new("keyward.data-key.v1")
        .with(workspace.as_str())
        .with(purpose.name())
        .with_u64(u64::from(version))
}
