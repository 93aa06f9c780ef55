//! JSON Web Tokens: signature, issuer, audience and times (RFC 7519, RFC 8725).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::clock::Clock;
use keyward_core::principal::ServiceName;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::error::AuthError;
use super::jwks::{Jwks, JwksSource, Published};
use super::key_set::{SignatureAlgorithm, Thumbprint};

/// A parsed token that is not verified yet.
pub(super) struct Token<'a> {
    algorithm: SignatureAlgorithm,
    key_id: Option<String>,
    pub(super) claims: Claims,
    message: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Claims of a token.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "iss")]
    issuer: String,
    #[serde(rename = "aud")]
    audience: Audience,
    /// Subject of the token.
    #[serde(rename = "sub")]
    pub(super) subject: String,
    /// Organization, in a session token.
    #[serde(rename = "org")]
    pub(super) organization: Option<String>,
    /// True if the issuer has validated the user. `None` if the token does not say.
    pub(super) validated: Option<bool>,
    /// Expiration time, in seconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "exp", deserialize_with = "whole_seconds")]
    expires_at: i64,
    #[serde(rename = "nbf", default, deserialize_with = "optional_whole_seconds")]
    not_before: Option<i64>,
    #[serde(rename = "iat", default, deserialize_with = "optional_whole_seconds")]
    issued_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Reads a NumericDate and drops its fraction (RFC 7519, section 2).
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    // The conversion saturates; a time that far away has the same effect as the exact one.
    Ok(f64::deserialize(deserializer)?.floor() as i64)
}

fn optional_whole_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    whole_seconds(deserializer).map(Some)
}

impl<'a> Token<'a> {
    /// Parses a token. Rejects tokens that no key could make valid.
    pub(super) fn read(text: &'a str) -> Result<Self, AuthError> {
        let malformed = || AuthError::Invalid("the token is malformed");
        let (message, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = message.split_once('.').ok_or_else(malformed)?;
        let header: Header = part(header).ok_or_else(malformed)?;
        let algorithm = SignatureAlgorithm::parse(&header.alg)
            .ok_or(AuthError::Invalid("the token's algorithm is not taken"))?;
        // No extensions are supported, and a token that needs one must be rejected (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(AuthError::Invalid("the token has critical headers"));
        }
        Ok(Self {
            algorithm,
            key_id: header.kid,
            claims: part(claims).ok_or_else(malformed)?,
            message,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?,
        })
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Proof of verification: the key that signed the token, and the time of the check.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    thumbprint: Thumbprint,
    verified_at: Instant,
    /// In seconds since 1970-01-01T00:00:00Z.
    expires_at: i64,
}

/// Trusted issuer of tokens.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Required `iss` of a token.
    pub issuer: String,
    /// Required `aud` of a token.
    pub audience: String,
    /// Source of the issuer's published keys.
    pub jwks: JwksSource,
    /// Maximum lifetime of a token, from `iat`, or from now without `iat`, to `exp`, in seconds. Tokens with a
    /// longer lifetime are rejected. 0 means no limit.
    pub max_token_seconds: u64,
}

/// Verifies the tokens of one issuer.
pub(super) struct Verifier {
    issuer: String,
    audience: String,
    /// Maximum lifetime of a token, in seconds. `None` means no limit.
    max_token_seconds: Option<i64>,
    jwks: Jwks,
    skew_seconds: i64,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    pub(super) fn new(
        issuer: Issuer,
        jwks: Jwks,
        skew_seconds: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let seconds = |count| i64::try_from(count).unwrap_or(i64::MAX);
        Self {
            issuer: issuer.issuer,
            audience: issuer.audience,
            max_token_seconds: (issuer.max_token_seconds > 0)
                .then(|| seconds(issuer.max_token_seconds)),
            jwks,
            skew_seconds: seconds(skew_seconds),
            clock,
        }
    }

    /// Returns the issuer's published keys.
    pub(super) fn jwks(&self) -> &Jwks {
        &self.jwks
    }

    /// Returns true if the token claims this issuer and audience.
    pub(super) fn is_addressed(&self, claims: &Claims) -> bool {
        let audience = match &claims.audience {
            Audience::One(one) => *one == self.audience,
            Audience::Many(many) => many.contains(&self.audience),
        };
        audience && claims.issuer == self.issuer
    }

    /// Verifies the token's times against the clock, and its signature with the issuer's published keys.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Result<Proof, AuthError> {
        // Checked first, so that a token whose times are invalid does not make Keyward fetch keys.
        self.check_times(&token.claims)?;
        let known = self.jwks.known();
        let found = known.usable().and_then(|keys| self.find(keys, token));
        let thumbprint = match found {
            Some(thumbprint) => thumbprint,
            // The issuer may have published the key since, also under a key id that was another key's.
            None => {
                let newer = self.jwks.newer_than(&known).await?;
                let found = self.find(&newer, token);
                found.ok_or(AuthError::Invalid("no published key signed the token"))?
            }
        };
        Ok(Proof {
            thumbprint,
            verified_at: Instant::now(),
            expires_at: token.claims.expires_at,
        })
    }

    fn find(&self, keys: &Published, token: &Token<'_>) -> Option<Thumbprint> {
        keys.set().find(
            token.key_id.as_deref(),
            token.algorithm,
            token.message.as_bytes(),
            &token.signature,
        )
    }

    fn check_times(&self, claims: &Claims) -> Result<(), AuthError> {
        let now = self.now();
        let latest = now.saturating_add(self.skew_seconds);
        if self.is_expired(claims.expires_at, now) {
            return Err(AuthError::Invalid("the token has expired"));
        }
        if claims.not_before.is_some_and(|start| start > latest) {
            return Err(AuthError::Invalid("the token is not valid yet"));
        }
        // An `iat` in the future does not shorten the lifetime.
        let issued_at = claims.issued_at.unwrap_or(now).min(latest);
        let lifetime = claims.expires_at.saturating_sub(issued_at);
        if self.max_token_seconds.is_some_and(|most| lifetime > most) {
            return Err(AuthError::Invalid("the token's lifetime is too long"));
        }
        Ok(())
    }

    /// Returns true if a verified token is still valid: it has not expired, it was verified within the keys'
    /// maximum age, and the key that signed it is still published.
    pub(super) fn is_still_good(&self, proof: &Proof) -> bool {
        let known = self.jwks.known();
        let is_published = || {
            let keys = known.usable();
            keys.is_some_and(|keys| keys.set().holds(proof.thumbprint))
        };
        !self.is_expired(proof.expires_at, self.now())
            && proof.verified_at.elapsed() < self.jwks.max_age()
            && is_published()
    }

    fn is_expired(&self, expires_at: i64, now: i64) -> bool {
        expires_at.saturating_add(self.skew_seconds) <= now
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_millis().div_euclid(1000)
    }
}

/// Content of a verified token.
#[derive(Clone)]
pub(super) enum Verified {
    Session(Arc<Claims>),
    Service(ServiceName),
}

/// The two issuers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IssuerKind {
    Session,
    Service,
}

impl Verified {
    /// Returns the issuer of the token.
    fn kind(&self) -> IssuerKind {
        match self {
            Self::Session(_) => IssuerKind::Session,
            Self::Service(_) => IssuerKind::Service,
        }
    }
}

/// Caches a bounded number of verified tokens by hash. An entry is used only while its proof holds.
pub(super) struct TokenCache {
    verified: moka::sync::Cache<[u8; 32], (Verified, Proof)>,
}

impl TokenCache {
    /// Caches up to `entries` tokens.
    pub(super) fn new(entries: u64) -> Self {
        let verified = moka::sync::Cache::new(entries);
        Self { verified }
    }

    pub(super) fn get(
        &self,
        token: &str,
        is_good: impl Fn(IssuerKind, &Proof) -> bool,
    ) -> Option<Verified> {
        let hash = hash(token);
        let (verified, proof) = self.verified.get(&hash)?;
        if !is_good(verified.kind(), &proof) {
            self.verified.invalidate(&hash);
            return None;
        }
        Some(verified)
    }

    pub(super) fn insert(&self, token: &str, verified: Verified, proof: Proof) {
        self.verified.insert(hash(token), (verified, proof));
    }

    pub(super) fn clear(&self) {
        self.verified.invalidate_all();
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
