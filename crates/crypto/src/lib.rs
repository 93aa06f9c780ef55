//! Secrets, authenticated encryption, envelopes, keyrings and tokens.
//!
//! This crate seals and opens bytes. It does not depend on storage, wire formats or the environment. Callers
//! bind a ciphertext to its record with [`AssociatedData`], and it opens only with the same associated data.
//!
//! # The construction
//!
//! `‖` is concatenation, `u32(n)` and `u64(n)` are big-endian.
//!
//! Parts are joined so that different lists of parts give different bytes:
//!
//! ```text
//! lp(x)                      = u64(length of x in bytes) ‖ x
//! encode(domain, p₁ … pₙ)    = lp(domain) ‖ lp(p₁) ‖ … ‖ lp(pₙ)
//! ```
//!
//! Sealing binds a plaintext to a key version and to its associated data:
//!
//! ```text
//! header(v)                  = 0x01 ‖ u32(v)                      v ≠ 0
//! nonce                      = 24 bytes from the operating system
//! c ‖ tag                    = XChaCha20-Poly1305(key, nonce, plaintext, header(v) ‖ aad)
//! envelope                   = header(v) ‖ nonce ‖ c ‖ tag
//! ```
//!
//! Data keys (DEKs) are wrapped by key-encryption keys (KEKs) in the same form:
//!
//! ```text
//! wrap(KEKᵥ, DEK, aad)       = seal(KEKᵥ, v, DEK, aad)            v = the primary version
//! unwrap(w, aad)             = open(KEKᵥ, w, aad)                 v = the version w names
//! ```
//!
//! Equal secrets are found without opening them:
//!
//! ```text
//! fingerprint(key, domain, p₁ … pₙ) = HMAC-SHA256(key, encode(domain, p₁ … pₙ))
//! ```
//!
//! A random nonce of 192 bits may be generated for every message: after 2⁸⁰ messages under a key, the
//! probability that two share a nonce is still below 2⁻³². An envelope does not hide the length of its
//! plaintext.
//!
//! # Invariants
//!
//! * No type that contains key material implements `Serialize`, `Display` or a derived `Debug`.
//! * Key material is overwritten when it is dropped.
//! * Reading a secret requires a call of `expose`, which a review can search for.
//! * A failed opening reports only "decryption failed", regardless of the reason.
//! * No error contains a byte of the parsed text.

#![deny(clippy::indexing_slicing)]

mod aad;
mod aead;
mod envelope;
mod error;
mod fingerprint;
mod kek;
mod key;
mod keyring;
mod keyring_file;
mod keyring_text;
mod private_file;
mod secret;
mod token;

pub use crate::aad::AssociatedData;
pub use crate::aead::{open, seal};
pub use crate::envelope::{ENVELOPE_HEAD_BYTES, Envelope, MAX_ENVELOPE_BYTES, MAX_PLAINTEXT_BYTES};
pub use crate::error::{Error, KeyringDefect, KeyringFileDefect};
pub use crate::fingerprint::fingerprint;
pub use crate::kek::{Kek, MAX_WRAPPED_KEY_BYTES};
pub use crate::key::Key256;
pub use crate::keyring::{Keyring, MAX_KEYRING_KEYS};
pub use crate::keyring_text::MAX_KEYRING_FILE_BYTES;
pub use crate::private_file::{GroupAccess, PrivateFileDefect, read_private_file};
pub use crate::secret::Secret;
pub use crate::token::{KeyHash, Token, TokenKind};
