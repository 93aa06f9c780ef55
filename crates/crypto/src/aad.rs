//! Associated data: what a ciphertext belongs to.

use std::fmt;

/// What a ciphertext belongs to: a domain and an ordered list of parts.
///
/// ```text
/// lp(x)                   = u64(length of x in bytes) ‖ x          big-endian
/// encode(domain, p₁ … pₙ) = lp(domain) ‖ lp(p₁) ‖ … ‖ lp(pₙ)
/// ```
///
/// Each length stands before its part, so the parts can be read back in only one way: `("ab",
/// "c")` and `("a", "bc")` differ, and so do a missing part and an empty one. Use one domain for
/// one kind of ciphertext, always with the same parts in the same order.
#[derive(Clone, PartialEq, Eq)]
pub struct AssociatedData(Vec<u8>);

impl AssociatedData {
    /// Starts the associated data of one kind of ciphertext.
    pub fn new(domain: &'static str) -> Self {
        let mut encoded = Vec::new();
        encode_part(domain.as_bytes(), |bytes| encoded.extend_from_slice(bytes));
        Self(encoded)
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        encode_part(part.as_ref(), |bytes| self.0.extend_from_slice(bytes));
        self
    }

    /// Adds a number, as its eight big-endian bytes.
    #[must_use]
    pub fn with_u64(self, n: u64) -> Self {
        self.with(n.to_be_bytes())
    }

    /// The encoding, as it is authenticated.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Parts name people's records, which have no place in a log.
impl fmt::Debug for AssociatedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssociatedData")
            .field("encoded_bytes", &self.0.len())
            .finish()
    }
}

/// Hands `lp(part)` to a sink piece by piece, so that a secret part need not be copied.
pub(crate) fn encode_part(part: &[u8], mut sink: impl FnMut(&[u8])) {
    sink(&(part.len() as u64).to_be_bytes());
    sink(part);
}
