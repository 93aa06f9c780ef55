//! Key-encryption keys, which wrap data keys.

use async_trait::async_trait;

use crate::{AssociatedData, Error, Key256};

/// Maximum length of a wrapped key. Wrapped keys come from storage, and a key service may have to read them
/// over a network.
pub const MAX_WRAPPED_KEY_BYTES: usize = 256;

/// Wraps and unwraps data keys.
///
/// The methods are asynchronous because a key service or a hardware token responds with a delay; a
/// [`Keyring`](crate::Keyring) responds immediately.
///
/// An implementation includes its key's version in the wrapped key, binds the wrapped key to `aad`, unwraps
/// the keys that any of its versions wrapped, and rejects more than [`MAX_WRAPPED_KEY_BYTES`] without reading
/// them. If the key-encryption key cannot be reached, it fails with [`Error::Unavailable`], so that callers
/// retry.
#[async_trait]
pub trait Kek: Send + Sync {
    /// Wraps a data key with the primary version.
    async fn wrap(&self, key: &Key256, aad: &AssociatedData) -> Result<Vec<u8>, Error>;

    /// Unwraps a data key with the version that it names and the `aad` that it was wrapped with.
    async fn unwrap(&self, wrapped: &[u8], aad: &AssociatedData) -> Result<Key256, Error>;

    /// Returns the version that a wrapped key names, if this key-encryption key has it. The value is for
    /// reports about an unwrapping; it is not authenticated.
    fn version_of(&self, wrapped: &[u8]) -> Option<u32> {
        let _ = wrapped;
        None
    }

    /// Returns the version that wraps; a key that an older version wrapped may be wrapped again.
    fn primary_version(&self) -> u32;
}
