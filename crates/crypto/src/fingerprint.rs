//! Keyed fingerprints, with which equal secrets are found without opening them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Key256;
use crate::aad::encode_part;
use crate::key::KEY_BYTES;

const BLOCK_BYTES: usize = 64;

/// Returns a keyed digest of `parts`, equal exactly when the key, the domain and all parts are equal.
///
/// ```text
/// fingerprint(key, domain, p₁ … pₙ) = HMAC-SHA256(key, encode(domain, p₁ … pₙ))
/// ```
///
/// The encoding is that of [`AssociatedData`](crate::AssociatedData). Guesses cannot be checked against a
/// fingerprint without the key, so it may be stored in a database next to the data that it describes.
pub fn fingerprint(key: &Key256, domain: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads a short key with zeros to one block. Padding it here avoids the fallible constructor.
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    for (to, from) in block.iter_mut().zip(key.expose()) {
        *to = *from;
    }
    const { assert!(KEY_BYTES <= BLOCK_BYTES) };
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    encode_part(domain.as_bytes(), |bytes| mac.update(bytes));
    for part in parts {
        encode_part(part, |bytes| mac.update(bytes));
    }
    mac.finalize().into_bytes().into()
}
