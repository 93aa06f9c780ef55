//! The text of a keyring.
//!
//! ```json
//! {"format":"keyward-keyring-v1","primary":2,"keys":[{"version":1,"key":"<64 hex>"}]}
//! ```
//!
//! Keys are borrowed from the text and decoded in place, so the text is the only other copy. The parser's own
//! errors quote the invalid text; only their position is passed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::error::Category;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::key::KEY_BYTES;
use crate::keyring::MAX_KEYRING_KEYS;
use crate::{Error, Key256, Keyring, KeyringDefect};

const FORMAT: &str = "keyward-keyring-v1";

/// Upper bound for the encoded size of a key with its version and the surrounding text.
const ENTRY_BYTES: usize = 128;

/// Maximum size of a keyring file: 64 KiB.
pub const MAX_KEYRING_FILE_BYTES: usize = 64 * 1024;

// The text of the largest keyring can be read back, and its buffer never grows while it is written.
const _: () = assert!((MAX_KEYRING_KEYS + 1) * ENTRY_BYTES <= MAX_KEYRING_FILE_BYTES);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    #[serde(borrow)]
    format: &'a str,
    primary: u32,
    #[serde(borrow)]
    keys: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    version: u32,
    key: &'a str,
}

impl Keyring {
    /// Reads a keyring's text. The caller overwrites the text afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Keyring`] with the defect, which never quotes the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(Error::Keyring)
    }

    /// Writes the keyring in the format that [`Keyring::parse`] reads.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        // A single allocation: a growing buffer would leave copies of keys in freed memory.
        let capacity = (self.keys().len() + 1) * ENTRY_BYTES;
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        text.push_str(&format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"primary\": {},\n  \"keys\": [\n",
            self.primary()
        ));
        let mut separator = "";
        for (version, key) in self.keys() {
            text.push_str(separator);
            text.push_str(&format!("    {{ \"version\": {version}, \"key\": \""));
            push_hex(&mut text, key);
            text.push_str("\" }");
            separator = ",\n";
        }
        text.push_str("\n  ]\n}\n");
        text
    }
}

pub(crate) fn parse(text: &str) -> Result<Keyring, KeyringDefect> {
    if text.len() > MAX_KEYRING_FILE_BYTES {
        return Err(KeyringDefect::TooLarge {
            limit_bytes: MAX_KEYRING_FILE_BYTES,
        });
    }
    let text: Text<'_> = serde_json::from_str(text).map_err(|error| position(&error))?;
    if text.format != FORMAT {
        return Err(KeyringDefect::UnknownFormat);
    }
    if text.keys.is_empty() {
        return Err(KeyringDefect::NoKeys);
    }
    if text.keys.len() > MAX_KEYRING_KEYS {
        return Err(KeyringDefect::TooManyKeys {
            limit: MAX_KEYRING_KEYS,
        });
    }
    let mut keys = BTreeMap::<u32, Arc<Key256>>::new();
    for Entry { version, key } in text.keys {
        if version == 0 {
            return Err(KeyringDefect::VersionZero);
        }
        if keys.contains_key(&version) {
            return Err(KeyringDefect::DuplicateVersion { version });
        }
        let key = decode(version, key)?;
        if keys
            .values()
            .any(|other| other.expose().ct_eq(key.expose()).into())
        {
            return Err(KeyringDefect::DuplicateKey { version });
        }
        keys.insert(version, Arc::new(key));
    }
    if !keys.contains_key(&text.primary) {
        return Err(KeyringDefect::PrimaryMissing {
            version: text.primary,
        });
    }
    Ok(Keyring::from_parts(text.primary, keys))
}

fn decode(version: u32, key: &str) -> Result<Key256, KeyringDefect> {
    if key.len() != 2 * KEY_BYTES {
        return Err(KeyringDefect::KeyLength { version });
    }
    Key256::fill_with(|bytes| {
        hex::decode_to_slice(key, bytes).map_err(|_| KeyringDefect::KeyNotHex { version })
    })
}

fn position(error: &serde_json::Error) -> KeyringDefect {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Data => KeyringDefect::Shape { line, column },
        Category::Io | Category::Syntax | Category::Eof => KeyringDefect::NotJson { line, column },
    }
}

/// Writes digit by digit, since a formatted key would be another copy.
fn push_hex(text: &mut String, key: &Key256) {
    for byte in key.expose() {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from(match nibble {
                0..=9 => b'0' + nibble,
                _ => b'a' + nibble - 10,
            }));
        }
    }
}
