//! Tokens that Keyward issues: recognizable, verifiable without a look-up, and stored as a hash.
//!
//! ```text
//! body     = lower-case hex of 32 bytes from the operating system
//! token    = prefix ‖ body ‖ lower-case hex of u32(CRC-32(prefix ‖ body))
//! hash     = SHA-256(token)
//! ```
//!
//! The prefixes never change, since secret scanners search for them. The checksum is the CRC-32 of ISO 3309,
//! which GitHub's tokens have for the same two reasons: a typo is rejected before any look-up, and a scanner
//! can distinguish a token from a similar text. The checksum does not protect against forged tokens; the 256
//! random bits do. Because of them a plain hash, without salt or stretching, reveals nothing.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Error, Secret};

/// Number of random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Number of characters of the checksum.
const CHECKSUM_CHARS: usize = 8;
/// Number of characters after the prefix.
const BODY_CHARS: usize = 2 * RANDOM_BYTES + CHECKSUM_CHARS;
/// Number of characters of the body that a label shows at the beginning and at the end.
const LABEL_CHARS: (usize, usize) = (3, 4);

/// Kind of a token, which determines its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenKind {
    prefix: &'static str,
}

impl TokenKind {
    /// A key that Keyward issues: an issued key or a management key.
    pub const ISSUED_KEY: Self = Self {
        prefix: "sk-kw-v1-",
    };
    /// Beginning of the prefix of every version of [`Self::ISSUED_KEY`].
    pub const ISSUED_KEY_FAMILY: &'static str = "sk-";
    /// The public half of a repo AI key.
    pub const REPO_AI_KEY: Self = Self { prefix: "FB_AI_" };
    /// The secret half of a repo AI key.
    pub const REPO_AI_SECRET: Self = Self { prefix: "FB_AIS_" };

    /// Returns the prefix of every token of the kind.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        self.prefix
    }
}

/// The plaintext of a token, which is never printed.
#[derive(Debug, Clone)]
pub struct Token {
    kind: TokenKind,
    text: Secret<String>,
}

impl Token {
    /// Generates a token from the operating system's randomness.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system provides none.
    pub fn generate(kind: TokenKind) -> Result<Self, Error> {
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        getrandom::fill(&mut *random).map_err(|_| Error::Randomness)?;
        let mut body = Zeroizing::new([0; 2 * RANDOM_BYTES]);
        hex::encode_to_slice(*random, &mut *body).map_err(|_| Error::Randomness)?;
        // Allocated at full size: growing would leave copies behind.
        let mut text = String::with_capacity(kind.prefix.len() + BODY_CHARS);
        text.push_str(kind.prefix);
        text.extend(body.iter().copied().map(char::from));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self {
            kind,
            text: Secret::new(text),
        })
    }

    /// Reads a token of the kind; `None` if prefix, length, alphabet or checksum is wrong.
    #[must_use]
    pub fn parse(kind: TokenKind, text: &str) -> Option<Self> {
        let body = text.strip_prefix(kind.prefix)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if body.len() != BODY_CHARS || !body.bytes().all(is_hex) {
            return None;
        }
        let (unchecked, given) = text.split_at_checked(text.len() - CHECKSUM_CHARS)?;
        (checksum(unchecked) == given).then(|| Self {
            kind,
            text: Secret::new(text.to_owned()),
        })
    }

    /// Returns the plaintext. Each call may leak it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Returns the plaintext as a secret.
    #[must_use]
    pub fn secret(&self) -> &Secret<String> {
        &self.text
    }

    /// Returns the hash, which is the stored form of the token.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.expose()).into())
    }

    /// Returns the redacted form, such as `sk-kw-v1-0e6...1c96`: enough for a user to distinguish tokens.
    #[must_use]
    pub fn label(&self) -> String {
        let prefix = self.kind.prefix;
        let body = self.expose().strip_prefix(prefix).unwrap_or_default();
        let (first, last) = LABEL_CHARS;
        let first = body.get(..first).unwrap_or_default();
        let last = body.get(body.len() - last..).unwrap_or_default();
        format!("{prefix}{first}...{last}")
    }
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// SHA-256 of a token, which identifies it and does not reveal it. Displayed as 64 characters of lower-case
/// hex.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Reads 64 characters of lower-case hex; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    /// Wraps a stored hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Compares in constant time.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
