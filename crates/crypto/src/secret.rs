//! Plaintext in memory, which cannot be printed and is overwritten when dropped.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret value that is overwritten when dropped and never printed.
///
/// It has no `Display`:
///
/// ```compile_fail
/// println!("{}", keyward_crypto::Secret::new(String::from("hunter2")));
/// ```
///
/// no `Serialize`:
///
/// ```compile_fail
/// let _ = serde_json::to_string(&keyward_crypto::Secret::new(String::from("hunter2")));
/// ```
///
/// and no `PartialEq`, because a comparison byte by byte reveals the position of the first wrong byte:
///
/// ```compile_fail
/// use keyward_crypto::Secret;
/// let _ = Secret::new(String::from("hunter2")) == Secret::new(String::from("hunter2"));
/// ```
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps the value. The caller must overwrite copies made before this call.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Returns the secret. Each call may leak it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> ZeroizeOnDrop for Secret<T> {}
