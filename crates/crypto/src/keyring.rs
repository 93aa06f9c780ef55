//! A keyring: the primary version of a key-encryption key, and its older versions.
//!
//! Keyrings are immutable. A rotation has two steps: add the version in every process, then make it primary.
//! Every process can thus unwrap with the new key before any process wraps with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::kek::MAX_WRAPPED_KEY_BYTES;
use crate::{AssociatedData, Envelope, Error, Kek, Key256, open, seal};

/// Maximum number of keys of a keyring. A file with this number of keys is well below its maximum size.
pub const MAX_KEYRING_KEYS: usize = 256;

/// The versions of a key-encryption key. It wraps with the primary version and unwraps with the version that
/// a wrapped key names.
pub struct Keyring {
    primary: u32,
    /// Always contains the primary version. Keyrings that are derived from each other share their keys.
    keys: BTreeMap<u32, Arc<Key256>>,
}

impl Keyring {
    /// Generates a keyring with a single new key, version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn generate() -> Result<Self, Error> {
        let keys = BTreeMap::from([(1, Arc::new(Key256::generate()?))]);
        Ok(Self { primary: 1, keys })
    }

    /// Returns the version that wraps.
    pub fn primary(&self) -> u32 {
        self.primary
    }

    /// Returns all versions, in ascending order.
    pub fn versions(&self) -> Vec<u32> {
        self.keys.keys().copied().collect()
    }

    /// Returns a keyring with an additional new key, which is not yet primary. Its version is the highest
    /// version of this keyring plus one.
    ///
    /// # Errors
    ///
    /// [`Error::KeyringFull`] or [`Error::Randomness`].
    pub fn with_new_version(&self) -> Result<Self, Error> {
        const FULL: Error = Error::KeyringFull {
            limit: MAX_KEYRING_KEYS,
        };
        if self.keys.len() >= MAX_KEYRING_KEYS {
            return Err(FULL);
        }
        let (highest, _) = self.keys.last_key_value().ok_or(FULL)?;
        let version = highest.checked_add(1).ok_or(FULL)?;
        let mut keys = self.keys.clone();
        keys.insert(version, Arc::new(Key256::generate()?));
        Ok(Self {
            primary: self.primary,
            keys,
        })
    }

    /// Returns a keyring with the same keys and another primary version.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownKeyVersion`].
    pub fn with_primary(&self, version: u32) -> Result<Self, Error> {
        self.key(version)?;
        Ok(Self {
            primary: version,
            keys: self.keys.clone(),
        })
    }

    /// Returns a keyring without one of its keys. Data keys that this key wrapped can no longer be unwrapped.
    ///
    /// # Errors
    ///
    /// [`Error::PrimaryNotRemovable`] or [`Error::UnknownKeyVersion`].
    pub fn without(&self, version: u32) -> Result<Self, Error> {
        self.key(version)?;
        if version == self.primary {
            return Err(Error::PrimaryNotRemovable { version });
        }
        let mut keys = self.keys.clone();
        keys.remove(&version);
        Ok(Self {
            primary: self.primary,
            keys,
        })
    }

    /// Creates a keyring. The caller has checked that the primary version is among the keys.
    pub(crate) fn from_parts(primary: u32, keys: BTreeMap<u32, Arc<Key256>>) -> Self {
        Self { primary, keys }
    }

    pub(crate) fn keys(&self) -> &BTreeMap<u32, Arc<Key256>> {
        &self.keys
    }

    fn key(&self, version: u32) -> Result<&Key256, Error> {
        self.keys
            .get(&version)
            .map(AsRef::as_ref)
            .ok_or(Error::UnknownKeyVersion { version })
    }
}

#[async_trait]
impl Kek for Keyring {
    async fn wrap(&self, key: &Key256, aad: &AssociatedData) -> Result<Vec<u8>, Error> {
        let envelope = seal(self.key(self.primary)?, self.primary, key.expose(), aad)?;
        Ok(envelope.to_bytes())
    }

    async fn unwrap(&self, wrapped: &[u8], aad: &AssociatedData) -> Result<Key256, Error> {
        if wrapped.len() > MAX_WRAPPED_KEY_BYTES {
            return Err(Error::WrappedKeyTooLong {
                limit_bytes: MAX_WRAPPED_KEY_BYTES,
            });
        }
        let envelope = Envelope::parse(wrapped)?;
        let key = open(self.key(envelope.key_version())?, &envelope, aad)?;
        Key256::from_slice(key.expose()).ok_or(Error::WrappedKeyLength)
    }

    fn version_of(&self, wrapped: &[u8]) -> Option<u32> {
        let version = Envelope::parse(wrapped).ok()?.key_version();
        self.keys.contains_key(&version).then_some(version)
    }

    fn primary_version(&self) -> u32 {
        self.primary
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("primary", &self.primary)
            .field("versions", &self.versions())
            .finish()
    }
}
