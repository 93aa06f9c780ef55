//! Associated data, which binds a ciphertext to its record.

use std::fmt;

/// Associated data of a ciphertext: a domain and an ordered list of parts.
///
/// ```text
/// lp(x)                   = u64(length of x in bytes) ‖ x          big-endian
/// encode(domain, p₁ … pₙ) = lp(domain) ‖ lp(p₁) ‖ … ‖ lp(pₙ)
/// ```
///
/// Each length precedes its part, so the encoding is unambiguous: `("ab", "c")` and `("a", "bc")` differ, and
/// so do a missing part and an empty one. Use one domain for each kind of ciphertext, always with the same
/// parts in the same order.
#[derive(Clone, PartialEq, Eq)]
pub struct AssociatedData(Vec<u8>);

impl AssociatedData {
    /// Starts the associated data of a kind of ciphertext.
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

    /// Returns the encoding that is authenticated.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Omits the parts: they name customers' records, which must not be logged.
impl fmt::Debug for AssociatedData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssociatedData")
            .field("encoded_bytes", &self.0.len())
            .finish()
    }
}

/// Passes `lp(part)` to a sink piece by piece, so that a secret part is not copied.
pub(crate) fn encode_part(part: &[u8], mut sink: impl FnMut(&[u8])) {
    sink(&(part.len() as u64).to_be_bytes());
    sink(part);
}
