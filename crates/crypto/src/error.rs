//! Errors of this crate. No error contains a byte of a secret, of a key or of a parsed text.

use std::io;
use std::path::PathBuf;

use crate::private_file::PrivateFileDefect;

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system provided no random bytes.
    #[error("the operating system gave no random bytes")]
    Randomness,

    /// A key-encryption key outside of this process, such as in a key service, cannot be reached. The text is
    /// for the log: it contains the reason, and no secret.
    #[error("the key-encryption key cannot be reached: {0}")]
    Unavailable(String),

    /// Key version 0 does not exist; it stands for "never set".
    #[error("key version 0 does not exist")]
    KeyVersionZero,

    /// The plaintext is too long.
    #[error("the plaintext is longer than {limit_bytes} bytes")]
    PlaintextTooLong {
        /// Maximum length.
        limit_bytes: usize,
    },

    /// The envelope is too long.
    #[error("the envelope is longer than {limit_bytes} bytes")]
    EnvelopeTooLong {
        /// Maximum length.
        limit_bytes: usize,
    },

    /// The envelope ends before its tag does.
    #[error("the envelope is shorter than its header, nonce and tag")]
    EnvelopeTooShort,

    /// The envelope starts with an unknown format byte.
    #[error("the envelope's format is unknown")]
    EnvelopeFormat,

    /// The envelope did not open: wrong key, wrong associated data or changed bytes.
    #[error("decryption failed")]
    DecryptionFailed,

    /// The wrapped key is too long.
    #[error("the wrapped key is longer than {limit_bytes} bytes")]
    WrappedKeyTooLong {
        /// Maximum length.
        limit_bytes: usize,
    },

    /// The unwrapped bytes are authentic, but are not a key of 256 bits.
    #[error("the wrapped key has the wrong length")]
    WrappedKeyLength,

    /// The keyring has no key of this version.
    #[error("the keyring has no key of version {version}")]
    UnknownKeyVersion {
        /// The requested version.
        version: u32,
    },

    /// The primary version cannot be removed from its keyring.
    #[error("version {version} is the keyring's primary and cannot be removed")]
    PrimaryNotRemovable {
        /// The primary version.
        version: u32,
    },

    /// The keyring cannot have another version.
    #[error("the keyring already has {limit} keys, or its highest version has no successor")]
    KeyringFull {
        /// Maximum number of keys.
        limit: usize,
    },

    /// The text of a keyring is invalid.
    #[error("keyring: {0}")]
    Keyring(KeyringDefect),

    /// The file of a keyring is invalid.
    #[error("keyring file {}: {defect}", path.display())]
    KeyringFile {
        /// The file.
        path: PathBuf,
        /// The defect of the file.
        defect: KeyringFileDefect,
    },
}

/// Defect of a keyring's text. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringDefect {
    /// It is too large.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Maximum size.
        limit_bytes: usize,
    },

    /// It is not JSON.
    #[error("is not JSON (line {line}, column {column})")]
    NotJson {
        /// The line where reading stopped, from 1.
        line: usize,
        /// The column where reading stopped.
        column: usize,
    },

    /// It is JSON with an unknown, missing, repeated or mistyped member.
    #[error("has an unknown, missing, repeated or mistyped member (line {line}, column {column})")]
    Shape {
        /// The line where reading stopped, from 1.
        line: usize,
        /// The column where reading stopped.
        column: usize,
    },

    /// Its `format` is unknown.
    #[error("has an unknown format")]
    UnknownFormat,

    /// It lists no keys.
    #[error("lists no keys")]
    NoKeys,

    /// It lists too many keys.
    #[error("lists more than {limit} keys")]
    TooManyKeys {
        /// Maximum number of keys.
        limit: usize,
    },

    /// A key has version 0.
    #[error("has a key of version 0")]
    VersionZero,

    /// Two keys have the same version.
    #[error("has two keys of version {version}")]
    DuplicateVersion {
        /// The version.
        version: u32,
    },

    /// Two versions have the same key, so that a rotation between them has no effect.
    #[error("has the key of version {version} under another version too")]
    DuplicateKey {
        /// The version that comes later in the list.
        version: u32,
    },

    /// A key does not have 64 digits.
    #[error("has a key of version {version} that is not 64 hexadecimal digits long")]
    KeyLength {
        /// The key's version.
        version: u32,
    },

    /// A key has a character that is not a hexadecimal digit.
    #[error("has a key of version {version} that is not hexadecimal")]
    KeyNotHex {
        /// The key's version.
        version: u32,
    },

    /// The primary is not among the keys.
    #[error("names version {version} as primary but has no such key")]
    PrimaryMissing {
        /// The primary version.
        version: u32,
    },
}

/// Defect of a keyring's file. It never quotes the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringFileDefect {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    CannotOpen(io::ErrorKind),

    /// It is a directory, a pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,

    /// It belongs to a user other than root and the user of this process.
    #[error("belongs to another user; its owner must be root or the user of this process")]
    OwnedByAnother,

    /// Its mode gives access to users other than its owner and, if its owner is root, a group of this
    /// process.
    #[error(
        "has mode {mode:04o}, which lets its group or others in; it must be 0600 or stricter, \
         or 0640 or stricter where it is root's and of a group of this process"
    )]
    OpenToOthers {
        /// Permission bits of the file.
        mode: u32,
    },

    /// It is too large.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Maximum size.
        limit_bytes: usize,
    },

    /// It cannot be read.
    #[error("cannot be read: {0}")]
    CannotRead(io::ErrorKind),

    /// It is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,

    /// Its text is not a keyring.
    #[error("{0}")]
    Text(KeyringDefect),

    /// It already exists, and a keyring is never overwritten.
    #[error("already exists and is not overwritten")]
    AlreadyExists,

    /// It cannot be created.
    #[error("cannot be created: {0}")]
    CannotCreate(io::ErrorKind),

    /// It cannot be written; the incomplete file has been removed.
    #[error("cannot be written: {0}")]
    CannotWrite(io::ErrorKind),
}

impl From<PrivateFileDefect> for KeyringFileDefect {
    fn from(defect: PrivateFileDefect) -> Self {
        match defect {
            PrivateFileDefect::CannotOpen(kind) => Self::CannotOpen(kind),
            PrivateFileDefect::NotRegular => Self::NotRegular,
            PrivateFileDefect::OwnedByAnother => Self::OwnedByAnother,
            PrivateFileDefect::OpenToOthers { mode } => Self::OpenToOthers { mode },
            PrivateFileDefect::TooLarge { limit_bytes } => Self::TooLarge { limit_bytes },
            PrivateFileDefect::CannotRead(kind) => Self::CannotRead(kind),
        }
    }
}
