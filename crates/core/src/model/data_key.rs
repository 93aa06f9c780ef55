//! Wrapped data keys of workspaces, and the mark of a text that they sealed bound.

use crate::model::clock::Timestamp;
use crate::model::id::WorkspaceId;

/// Purpose of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataKeyPurpose {
    /// Seals secrets.
    Seal,
    /// Makes fingerprints. It is kept longer than any seal key, since equal secrets could not be found
    /// otherwise.
    Fingerprint,
}

impl DataKeyPurpose {
    /// Returns the name that is stored and authenticated.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// Returns the purpose with this name.
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
    /// Purpose of the key.
    pub purpose: DataKeyPurpose,
    /// Its version, from 1.
    pub version: u32,
    /// The wrapped key, which names the version of the KEK.
    pub wrapped: Vec<u8>,
    /// Creation time.
    pub created_at: Timestamp,
}

/// The stored data keys with which a call seals and makes fingerprints. The store compares them with the
/// current ones on insert, since a workspace that was deleted and created again has other keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsedDataKeys(Vec<WrappedDataKey>);

impl UsedDataKeys {
    /// Returns the set of these wrapped keys.
    pub(crate) const fn new(keys: Vec<WrappedDataKey>) -> Self {
        Self(keys)
    }

    /// Returns the wrapped keys.
    #[must_use]
    pub fn as_slice(&self) -> &[WrappedDataKey] {
        &self.0
    }
}

/// A workspace has sealed secrets, but the store lacks the data keys that sealed them. New keys are not
/// created, since they could not open the sealed secrets.
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

/// First byte of a bound text. Envelopes begin with another byte.
pub const BOUND: u8 = 2;

/// Returns true if a sealed text is bound to values of its record.
#[must_use]
pub fn is_bound(sealed: &[u8]) -> bool {
    sealed.first() == Some(&BOUND)
}
