//! A symmetric key of 256 bits.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Error;

pub(crate) const KEY_BYTES: usize = 32;

/// A 256-bit key. It is stored on the heap, so that moving it leaves no copy on the stack, and is overwritten
/// when dropped.
///
/// Copies are explicit, with [`Key256::duplicate`]; `Clone` is not implemented:
///
/// ```compile_fail
/// let _ = keyward_crypto::Key256::from_bytes([7; 32]).clone();
/// ```
pub struct Key256(Box<[u8; KEY_BYTES]>);

impl Key256 {
    /// Generates a key from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system provides none.
    pub fn generate() -> Result<Self, Error> {
        Self::fill_with(|bytes| getrandom::fill(bytes).map_err(|_| Error::Randomness))
    }

    /// Creates a key from bytes. The argument is overwritten; other copies of the caller are not.
    pub fn from_bytes(mut bytes: [u8; KEY_BYTES]) -> Self {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        key.0.copy_from_slice(&bytes);
        bytes.zeroize();
        key
    }

    /// Returns the bytes of the key. Each call may leak them.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Returns a second copy, which the caller must protect like the first.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Lets `fill` write the bytes in place. Bytes that a failed `fill` wrote are overwritten.
    pub(crate) fn fill_with<E>(
        fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// Copies a key from a buffer; `None` unless the buffer has exactly the length of a key.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Self::fill_with(|key| {
            key.copy_from_slice(bytes.as_array::<KEY_BYTES>().ok_or(())?);
            Ok::<(), ()>(())
        })
        .ok()
    }
}

impl fmt::Debug for Key256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key256([redacted])")
    }
}

impl Drop for Key256 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Key256 {}
