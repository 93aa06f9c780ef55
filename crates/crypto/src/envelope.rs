//! The sealed form of a secret or of a wrapped key.

use std::fmt;

use crate::Error;

/// Maximum length of a plaintext: 128 KiB.
pub const MAX_PLAINTEXT_BYTES: usize = 128 * 1024;

/// Maximum length of an envelope: the longest plaintext, the header, the nonce and the tag.
pub const MAX_ENVELOPE_BYTES: usize = HEADER_BYTES + NONCE_BYTES + MAX_PLAINTEXT_BYTES + TAG_BYTES;

pub(crate) const HEADER_BYTES: usize = 1 + KEY_VERSION_BYTES;
pub(crate) const NONCE_BYTES: usize = 24;
pub(crate) const TAG_BYTES: usize = 16;

const KEY_VERSION_BYTES: usize = 4;
/// Number of bytes at the start of an envelope that contain its format and the version of its key.
pub const ENVELOPE_HEAD_BYTES: usize = HEADER_BYTES;

/// XChaCha20-Poly1305 with a random nonce. Any other construction needs another byte.
const FORMAT: u8 = 1;

/// A sealed plaintext that names the version of its key.
///
/// ```text
/// envelope = 0x01 ‖ u32(key version) ‖ nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes)
/// ```
///
/// Parsing checks only the form. The contents of an envelope, including its key version, are authentic only
/// once it has been opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) key_version: u32,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: [u8; TAG_BYTES],
}

impl Envelope {
    /// Returns the version of the key that sealed it; never 0.
    pub fn key_version(&self) -> u32 {
        self.key_version
    }

    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// [`Error::EnvelopeTooLong`], [`Error::EnvelopeTooShort`], [`Error::EnvelopeFormat`] or
    /// [`Error::KeyVersionZero`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(Error::EnvelopeTooLong {
                limit_bytes: MAX_ENVELOPE_BYTES,
            });
        }
        let (format, rest) = bytes.split_first().ok_or(Error::EnvelopeTooShort)?;
        if *format != FORMAT {
            return Err(Error::EnvelopeFormat);
        }
        let (key_version, rest) = rest
            .split_first_chunk::<KEY_VERSION_BYTES>()
            .ok_or(Error::EnvelopeTooShort)?;
        let key_version = u32::from_be_bytes(*key_version);
        if key_version == 0 {
            return Err(Error::KeyVersionZero);
        }
        let (nonce, rest) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(Error::EnvelopeTooShort)?;
        let (ciphertext, tag) = rest
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(Error::EnvelopeTooShort)?;
        Ok(Self {
            key_version,
            nonce: *nonce,
            ciphertext: ciphertext.to_vec(),
            tag: *tag,
        })
    }

    /// Returns the stored form of the envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            header(self.key_version).as_slice(),
            self.nonce.as_slice(),
            self.ciphertext.as_slice(),
            self.tag.as_slice(),
        ]
        .concat()
    }
}

/// Omits the ciphertext, which is not secret but does not belong in a log.
impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("key_version", &self.key_version)
            .field("ciphertext_bytes", &self.ciphertext.len())
            .finish()
    }
}

/// Returns the authenticated start of an envelope.
pub(crate) fn header(key_version: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = key_version.to_be_bytes();
    [FORMAT, a, b, c, d]
}
