//! Sealing and opening with XChaCha20-Poly1305.
//!
//! The associated data is a required argument, and the header of the envelope is authenticated before it. An
//! envelope therefore does not open as another record's or as another version's.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::envelope::{MAX_PLAINTEXT_BYTES, NONCE_BYTES, header};
use crate::{AssociatedData, Envelope, Error, Key256, Secret};

/// Seals a plaintext under a key and its version, bound to `aad`.
///
/// ```text
/// c ‖ tag = XChaCha20-Poly1305(key, nonce, plaintext, header(key_version) ‖ aad)
/// ```
///
/// # Errors
///
/// [`Error::KeyVersionZero`], [`Error::PlaintextTooLong`] or [`Error::Randomness`].
pub fn seal(
    key: &Key256,
    key_version: u32,
    plaintext: &[u8],
    aad: &AssociatedData,
) -> Result<Envelope, Error> {
    const TOO_LONG: Error = Error::PlaintextTooLong {
        limit_bytes: MAX_PLAINTEXT_BYTES,
    };
    if key_version == 0 {
        return Err(Error::KeyVersionZero);
    }
    if plaintext.len() > MAX_PLAINTEXT_BYTES {
        return Err(TOO_LONG);
    }
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| Error::Randomness)?;
    let mut buffer = Zeroizing::new(plaintext.to_vec());
    // The primitive rejects only a plaintext that is too long for its block counter.
    let tag = XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(
            &nonce.into(),
            &authenticated(key_version, aad),
            buffer.as_mut_slice().into(),
        )
        .map_err(|_| TOO_LONG)?;
    Ok(Envelope {
        key_version,
        nonce,
        ciphertext: std::mem::take(&mut *buffer),
        tag: tag.into(),
    })
}

/// Opens an envelope under the key of its version and the `aad` that it was sealed with.
///
/// # Errors
///
/// [`Error::DecryptionFailed`], which does not reveal if the key, the associated data or a byte of the
/// envelope was wrong.
pub fn open(
    key: &Key256,
    envelope: &Envelope,
    aad: &AssociatedData,
) -> Result<Secret<Vec<u8>>, Error> {
    // The tag is checked before any byte is decrypted, so a failure leaves no plaintext here.
    let mut buffer = Zeroizing::new(envelope.ciphertext.clone());
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(
            &envelope.nonce.into(),
            &authenticated(envelope.key_version, aad),
            buffer.as_mut_slice().into(),
            &envelope.tag.into(),
        )
        .map_err(|_| Error::DecryptionFailed)?;
    Ok(Secret::new(std::mem::take(&mut *buffer)))
}

/// Returns the data that the primitive authenticates. The header has a fixed length, so the concatenation is
/// unambiguous.
fn authenticated(key_version: u32, aad: &AssociatedData) -> Vec<u8> {
    [header(key_version).as_slice(), aad.as_bytes()].concat()
}
