//! Key-encryption keys: whatever can wrap a data key.

use async_trait::async_trait;

use crate::{AssociatedData, Error, Key256};

/// The longest wrapped key that is looked at. A wrapped key comes from storage, and a key service
/// may be asked over a network to read it.
pub const MAX_WRAPPED_KEY_BYTES: usize = 256;

/// Something that wraps data keys and unwraps them again.
///
/// The methods are asynchronous because a key service or a hardware token answers in its own time;
/// a [`Keyring`](crate::Keyring) answers at once.
///
/// An implementation names its key's version in what it wraps, binds it to `aad`, unwraps what
/// any of its versions wrapped, and refuses more than [`MAX_WRAPPED_KEY_BYTES`] unread. Where it
/// cannot be reached it fails with [`Error::Unavailable`], so that callers know to try again.
#[async_trait]
pub trait Kek: Send + Sync {
    /// Wraps a data key with the primary version.
    async fn wrap(&self, key: &Key256, aad: &AssociatedData) -> Result<Vec<u8>, Error>;

    /// Unwraps a data key with the version that it names and the `aad` it was wrapped with.
    async fn unwrap(&self, wrapped: &[u8], aad: &AssociatedData) -> Result<Key256, Error>;

    /// The version that a wrapped key names, if this holds it; for what is told of an unwrapping,
    /// and proved by nothing.
    fn version_of(&self, wrapped: &[u8]) -> Option<u32> {
        let _ = wrapped;
        None
    }

    /// The version that wraps; what was wrapped by an older one may be wrapped anew.
    fn primary_version(&self) -> u32;
}
