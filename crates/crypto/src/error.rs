//! What can go wrong. No error carries a byte of a secret, of a key or of what was parsed.

use std::io;
use std::path::PathBuf;

use crate::private_file::PrivateFileDefect;

/// Any failure of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Randomness,

    /// A key-encryption key that is kept elsewhere, such as in a key service, cannot be reached now.
    /// The text is for the log: it names the reason, and no secret.
    #[error("the key-encryption key cannot be reached: {0}")]
    Unavailable(String),

    /// There is no key version 0; it stands for "never set".
    #[error("key version 0 does not exist")]
    KeyVersionZero,

    /// A plaintext is too long to be sealed.
    #[error("the plaintext is longer than {limit_bytes} bytes")]
    PlaintextTooLong {
        /// The longest that is sealed.
        limit_bytes: usize,
    },

    /// An envelope is too long to be read.
    #[error("the envelope is longer than {limit_bytes} bytes")]
    EnvelopeTooLong {
        /// The longest that is read.
        limit_bytes: usize,
    },

    /// An envelope ends before its tag does.
    #[error("the envelope is shorter than its header, nonce and tag")]
    EnvelopeTooShort,

    /// An envelope starts with a format byte that this version does not know.
    #[error("the envelope's format is unknown")]
    EnvelopeFormat,

    /// An envelope did not open: wrong key, wrong associated data or changed bytes.
    #[error("decryption failed")]
    DecryptionFailed,

    /// A wrapped key is too long to be looked at.
    #[error("the wrapped key is longer than {limit_bytes} bytes")]
    WrappedKeyTooLong {
        /// The longest that is looked at.
        limit_bytes: usize,
    },

    /// What was wrapped is authentic, but is not a key of 256 bits.
    #[error("the wrapped key has the wrong length")]
    WrappedKeyLength,

    /// No key of this version is on the keyring.
    #[error("the keyring has no key of version {version}")]
    UnknownKeyVersion {
        /// The version asked for.
        version: u32,
    },

    /// The primary version cannot be removed from its keyring.
    #[error("version {version} is the keyring's primary and cannot be removed")]
    PrimaryNotRemovable {
        /// The primary version.
        version: u32,
    },

    /// A keyring has no room for another version.
    #[error("the keyring already has {limit} keys, or its highest version has no successor")]
    KeyringFull {
        /// The most keys that a keyring holds.
        limit: usize,
    },

    /// The text of a keyring is not usable.
    #[error("keyring: {0}")]
    Keyring(KeyringDefect),

    /// The file of a keyring is not usable.
    #[error("keyring file {}: {defect}", path.display())]
    KeyringFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        defect: KeyringFileDefect,
    },
}

/// What is wrong with the text of a keyring. It never quotes the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringDefect {
    /// It is too large to be read.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is read.
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

    /// It is JSON with a member that is unknown, missing, repeated or of the wrong type.
    #[error("has an unknown, missing, repeated or mistyped member (line {line}, column {column})")]
    Shape {
        /// The line where reading stopped, from 1.
        line: usize,
        /// The column where reading stopped.
        column: usize,
    },

    /// Its `format` is not one that this version knows.
    #[error("has an unknown format")]
    UnknownFormat,

    /// It lists no keys.
    #[error("lists no keys")]
    NoKeys,

    /// It lists too many keys.
    #[error("lists more than {limit} keys")]
    TooManyKeys {
        /// The most keys that a keyring holds.
        limit: usize,
    },

    /// A key has version 0.
    #[error("has a key of version 0")]
    VersionZero,

    /// Two keys have one version.
    #[error("has two keys of version {version}")]
    DuplicateVersion {
        /// The version.
        version: u32,
    },

    /// Two versions have one key, so turning from one to the other changes nothing.
    #[error("has the key of version {version} under another version too")]
    DuplicateKey {
        /// The later of the two in the list.
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
        /// The version named.
        version: u32,
    },
}

/// What is wrong with the file of a keyring. It never quotes the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringFileDefect {
    /// It cannot be opened.
    #[error("cannot be opened: {0}")]
    CannotOpen(io::ErrorKind),

    /// It is a directory, a pipe, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,

    /// It belongs to another user than root and the user of this process.
    #[error("belongs to another user; its owner must be root or the user of this process")]
    OwnedByAnother,

    /// Its mode lets others at it than its owner, or a group of ours where its owner is root.
    #[error(
        "has mode {mode:04o}, which lets its group or others in; it must be 0600 or stricter, \
         or 0640 or stricter where it is root's and of a group of this process"
    )]
    OpenToOthers {
        /// The permission bits found.
        mode: u32,
    },

    /// It is too large to be read.
    #[error("is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The most that is read.
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

    /// It is there already, and a keyring is never overwritten.
    #[error("already exists and is not overwritten")]
    AlreadyExists,

    /// It cannot be created.
    #[error("cannot be created: {0}")]
    CannotCreate(io::ErrorKind),

    /// It cannot be written; what was written has been removed.
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
