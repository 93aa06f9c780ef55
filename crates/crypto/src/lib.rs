//! Secrets, authenticated encryption, envelopes, keyrings and tokens.
//!
//! This crate turns bytes into sealed bytes and back. It knows nothing of storage, wire formats
//! or the environment; callers say what a ciphertext belongs to by [`AssociatedData`], and
//! nothing opens without the same words.
//!
//! # The construction
//!
//! `‖` is concatenation, `u32(n)` and `u64(n)` are big-endian.
//!
//! Parts are joined so that no two lists of parts give the same bytes:
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
//! A random nonce of 192 bits may be drawn for every message: after 2⁸⁰ messages under one key
//! the chance that two share a nonce is still under 2⁻³². What an envelope does not hide is the
//! length of its plaintext.
//!
//! # Invariants
//!
//! * Nothing that holds key material implements `Serialize`, `Display` or a derived `Debug`.
//! * Key material is overwritten when it is dropped.
//! * Reading a secret takes a call of `expose`, which a review can search for.
//! * A failed opening says only "decryption failed", whatever the reason.
//! * No error carries a byte of what was parsed.

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
pub use crate::keyring_file::MAX_KEYRING_FILE_BYTES;
pub use crate::private_file::{GroupAccess, PrivateFileDefect, read_private_file};
pub use crate::secret::Secret;
pub use crate::token::{KeyHash, Token, TokenKind};
