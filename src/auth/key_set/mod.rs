//! Key set of an issuer (RFC 7517): selects the entries that can verify tokens, and those that may have signed
//! a given token.
//!
//! Each entry is parsed by itself (RFC 7517, section 5): an entry that is malformed, or of an unsupported type,
//! use or algorithm, is skipped and does not affect the others. Several keys may have the same `kid`, and a key
//! or a token may have none (section 4.5); then each key that fits the token's algorithm is tried, up to a
//! bound.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Maximum number of keys used from a set; further ones are ignored.
pub(super) const MAX_KEYS: usize = 100;
/// Maximum number of keys that are tried for one token.
pub(super) const MAX_TRIED: usize = 16;
/// Size of a coordinate on P-256, and of a public key of Ed25519, in bytes.
const POINT_BYTES: usize = 32;
/// Accepted sizes of an RSA modulus, in bytes: 2048 to 8192 bits (RFC 7518, section 3.3).
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Accepted signature algorithms: never `none`, never one with a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureAlgorithm {
    Es256,
    Ed25519,
    Rs256,
}

impl SignatureAlgorithm {
    /// Parses an `alg`. `Ed25519` (RFC 9864) and the older `EdDSA` (RFC 8037) are equivalent here, since Ed448
    /// is not supported.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::Ed25519),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }
}

/// SHA-256 thumbprint of a public key (RFC 7638), which depends only on the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Thumbprint([u8; 32]);

/// Keys of a set that can verify tokens.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    algorithm: SignatureAlgorithm,
    public: PublicKey,
    thumbprint: Thumbprint,
}

enum PublicKey {
    /// A key of ES256 or Ed25519.
    Parsed(ParsedPublicKey),
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

/// Error for a text that is not a usable key set. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeySetDefect {
    #[error("it is not a JSON object with a list of `keys`")]
    NotAKeySet,
    #[error(
        "none of its {entries} keys can verify a token: {malformed} are malformed, {unfit} have a type, \
         use or algorithm that is not taken"
    )]
    NoUsableKey {
        entries: usize,
        malformed: usize,
        unfit: usize,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// Supported members of an entry. Others are ignored (RFC 7517, section 4).
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// Reason for skipping an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    Malformed,
    Unfit,
}

impl KeySet {
    /// Parses a key set.
    ///
    /// # Errors
    /// The text is not a key set, or no entry of it is usable.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetDefect> {
        let document: Document =
            serde_json::from_slice(text).map_err(|_| KeySetDefect::NotAKeySet)?;
        let entries = document.keys.len();
        let (mut keys, mut malformed, mut unfit) = (Vec::new(), 0, 0);
        for entry in document.keys {
            match Key::read(entry) {
                Ok(key) if keys.len() < MAX_KEYS => keys.push(key),
                Ok(_) => {
                    tracing::warn!(entries, taken = MAX_KEYS, "ignored the last keys of a JWKS");
                    break;
                }
                Err(Skipped::Malformed) => malformed += 1,
                Err(Skipped::Unfit) => unfit += 1,
            }
        }
        if keys.is_empty() {
            return Err(KeySetDefect::NoUsableKey {
                entries,
                malformed,
                unfit,
            });
        }
        if malformed + unfit > 0 {
            tracing::debug!(malformed, unfit, "skipped keys of a JWKS");
        }
        Ok(Self { keys })
    }

    /// Returns true if the set has this key.
    pub(super) fn holds(&self, thumbprint: Thumbprint) -> bool {
        self.keys.iter().any(|key| key.thumbprint == thumbprint)
    }

    /// Finds the key that signed a message. Keys with the token's `kid` are tried before keys without one; a
    /// token without `kid` may be signed by any key. `None` if no key of this set signed it: a newer set may
    /// have the key, also under a `kid` that this set has.
    pub(super) fn find(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Thumbprint> {
        let named = |key: &&Key| id.is_some() && key.id.as_deref() == id;
        let unnamed = |key: &&Key| id.is_none() || key.id.is_none();
        let candidates = self.keys.iter().filter(named);
        let candidates = candidates.chain(self.keys.iter().filter(unnamed));
        candidates
            .filter(|key| key.algorithm == algorithm)
            .take(MAX_TRIED)
            .find(|key| key.public.verifies(message, signature))
            .map(|key| key.thumbprint)
    }
}

impl Key {
    fn read(entry: Value) -> Result<Self, Skipped> {
        let entry: Entry = serde_json::from_value(entry).map_err(|_| Skipped::Malformed)?;
        let algorithm = match (entry.kty.as_str(), entry.crv.as_deref()) {
            ("EC", Some("P-256")) => SignatureAlgorithm::Es256,
            ("OKP", Some("Ed25519")) => SignatureAlgorithm::Ed25519,
            ("RSA", _) => SignatureAlgorithm::Rs256,
            _ => return Err(Skipped::Unfit),
        };
        let is_declared = entry.alg.as_deref().is_none_or(|name| {
            let declared = SignatureAlgorithm::parse(name);
            declared == Some(algorithm)
        });
        let signs = entry.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = entry
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !is_declared || !signs || !verifies {
            return Err(Skipped::Unfit);
        }
        let (public, thumbprint) = match algorithm {
            SignatureAlgorithm::Es256 => p256(&point(&entry.x)?, &point(&entry.y)?)?,
            SignatureAlgorithm::Ed25519 => ed25519(&point(&entry.x)?)?,
            SignatureAlgorithm::Rs256 => rsa(&number(&entry.n)?, &number(&entry.e)?)?,
        };
        Ok(Self {
            id: entry.kid,
            algorithm,
            public,
            thumbprint,
        })
    }
}

impl PublicKey {
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Parsed(key) => key.verify_sig(message, signature).is_ok(),
            Self::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
        }
    }
}

fn p256(x: &[u8], y: &[u8]) -> Result<(PublicKey, Thumbprint), Skipped> {
    // An uncompressed point (SEC 1, section 2.3.3).
    let bytes = [&[4], x, y].concat();
    let key =
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).map_err(|_| Skipped::Malformed)?;
    let (x, y) = (base64url(x), base64url(y));
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok((PublicKey::Parsed(key), thumbprint(&members)))
}

fn ed25519(x: &[u8]) -> Result<(PublicKey, Thumbprint), Skipped> {
    let key = ParsedPublicKey::new(&ED25519, x).map_err(|_| Skipped::Malformed)?;
    let x = base64url(x);
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Ok((PublicKey::Parsed(key), thumbprint(&members)))
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<(PublicKey, Thumbprint), Skipped> {
    if !RSA_BYTES.contains(&modulus.len()) || exponent.is_empty() {
        return Err(Skipped::Malformed);
    }
    let (e, n) = (base64url(exponent), base64url(modulus));
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    let key = PublicKey::Rsa {
        modulus: modulus.to_vec(),
        exponent: exponent.to_vec(),
    };
    Ok((key, thumbprint(&members)))
}

/// Hashes the required members in lexicographic order and without whitespace (RFC 7638, section 3).
fn thumbprint(members: &str) -> Thumbprint {
    Thumbprint(Sha256::digest(members).into())
}

/// Decodes a member of fixed size.
fn point(member: &Option<String>) -> Result<Vec<u8>, Skipped> {
    let bytes = decode(member)?;
    match bytes.len() {
        POINT_BYTES => Ok(bytes),
        _ => Err(Skipped::Malformed),
    }
}

/// Decodes an unsigned number, without the leading zeros that some issuers write.
fn number(member: &Option<String>) -> Result<Vec<u8>, Skipped> {
    let bytes = decode(member)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Ok(bytes.get(zeros..).unwrap_or_default().to_vec())
}

fn decode(member: &Option<String>) -> Result<Vec<u8>, Skipped> {
    let text = member.as_deref().ok_or(Skipped::Malformed)?;
    // Padding is not allowed (RFC 7515, section 2), but some issuers write it.
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| Skipped::Malformed)
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests;
