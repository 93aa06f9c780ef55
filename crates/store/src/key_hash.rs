//! The hash of an issued key or a management key in its column.

use keyward_core::Error;
use keyward_crypto::KeyHash;

/// Parses the hash of a key.
pub(crate) fn parse(text: &str) -> Result<KeyHash, Error> {
    KeyHash::parse(text).ok_or_else(|| Error::internal("a stored hash is malformed"))
}
