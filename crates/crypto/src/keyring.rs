//! A keyring: the primary version of a key-encryption key, and its older versions.
//!
//! Rings are never changed in place. Rotation is two steps, so that every process can read what
//! the new key wraps before any process wraps with it: add the version everywhere, then make it
//! primary.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::kek::MAX_WRAPPED_KEY_BYTES;
use crate::{AssociatedData, Envelope, Error, Kek, Key256, open, seal};

/// The most keys that a keyring holds. At this number its file is still well under its bound.
pub const MAX_KEYRING_KEYS: usize = 256;

/// The versions of a key-encryption key. It wraps with the primary and unwraps with the version
/// that a wrapped key names.
pub struct Keyring {
    primary: u32,
    /// Never empty, never without the primary. Rings made from one another share their keys.
    keys: BTreeMap<u32, Arc<Key256>>,
}

impl Keyring {
    /// Makes a ring of one fresh key, version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn generate() -> Result<Self, Error> {
        let keys = BTreeMap::from([(1, Arc::new(Key256::generate()?))]);
        Ok(Self { primary: 1, keys })
    }

    /// The version that wraps.
    pub fn primary(&self) -> u32 {
        self.primary
    }

    /// All versions, in ascending order.
    pub fn versions(&self) -> Vec<u32> {
        self.keys.keys().copied().collect()
    }

    /// A ring with one more, fresh key, which is not yet primary. Its version is one above the
    /// highest on this ring.
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

    /// A ring with the same keys and another primary.
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

    /// A ring without one of its keys. What that key wrapped stays shut for good.
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

    /// Puts a ring together. The caller has checked that the primary is among the keys.
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
