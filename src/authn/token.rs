//! JSON Web Tokens: signature, issuer, audience and times (RFC 7519, RFC 8725).

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use keyward_core::clock::Clock;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::jwks::Jwks;
use super::{AuthnError, Verified};

/// The algorithms that are taken: never `none`, never one with a shared secret.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];

/// What a verified token says.
#[derive(Deserialize)]
pub(super) struct Claims {
    /// Whose token it is.
    #[serde(rename = "sub")]
    pub(super) subject: String,
    /// The organization, in a session token.
    #[serde(rename = "org")]
    pub(super) organization: Option<String>,
    /// Whether the issuer has validated the user, if it says so.
    pub(super) validated: Option<bool>,
    /// When it expires, in seconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "exp", deserialize_with = "whole_seconds")]
    pub(super) expires_at: i64,
    #[serde(rename = "nbf", default, deserialize_with = "whole_seconds_if_any")]
    not_before: Option<i64>,
}

/// A NumericDate may have a fraction (RFC 7519, section 2); it is dropped.
fn whole_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    // The conversion saturates, which is as good as forever either way.
    Ok(f64::deserialize(deserializer)?.floor() as i64)
}

fn whole_seconds_if_any<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    whole_seconds(deserializer).map(Some)
}

/// For whom a token says that it is; not verified.
#[derive(Deserialize)]
pub(super) struct Address {
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Reads for whom a token says that it is, to find the one issuer whose keys are then asked.
pub(super) fn address(token: &str) -> Result<Address, AuthnError> {
    jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| AuthnError::Invalid("the token is malformed"))
}

/// Verifies the tokens of one issuer.
pub(super) struct Verifier {
    issuer: String,
    audience: String,
    jwks: Jwks,
    skew_seconds: i64,
    clock: Arc<dyn Clock>,
}

impl Verifier {
    pub(super) fn new(
        issuer: String,
        audience: String,
        jwks: Jwks,
        skew_seconds: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let skew_seconds = i64::try_from(skew_seconds).unwrap_or(0);
        Self {
            issuer,
            audience,
            jwks,
            skew_seconds,
            clock,
        }
    }

    /// Whether the token says that it is from this issuer and for this audience.
    pub(super) fn is_addressed(&self, address: &Address) -> bool {
        let audience = match &address.aud {
            Some(Audience::One(one)) => *one == self.audience,
            Some(Audience::Many(many)) => many.contains(&self.audience),
            None => false,
        };
        audience && address.iss.as_deref() == Some(self.issuer.as_str())
    }

    /// Checks everything that a token says against the issuer's published keys.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, AuthnError> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| AuthnError::Invalid("the token's header is malformed"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(AuthnError::Invalid("the token's algorithm is not taken"));
        }
        // None is understood here, and one that is not must be refused (RFC 7515, section 4.1.11).
        if header.crit.is_some() {
            return Err(AuthnError::Invalid("the token has critical headers"));
        }
        let key = self.jwks.key(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // The times are checked below, by the clock that everything else goes by.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(|error| AuthnError::Invalid(reason(error.kind())))?
            .claims;
        let now = self.clock.now().unix_millis().div_euclid(1000);
        if is_expired(claims.expires_at, now, self.skew_seconds) {
            return Err(AuthnError::Invalid("the token has expired"));
        }
        if claims
            .not_before
            .is_some_and(|start| start > now.saturating_add(self.skew_seconds))
        {
            return Err(AuthnError::Invalid("the token is not valid yet"));
        }
        Ok(claims)
    }
}

fn is_expired(expires_at: i64, now: i64, skew_seconds: i64) -> bool {
    expires_at.saturating_add(skew_seconds) <= now
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "the signature is wrong",
        ErrorKind::InvalidIssuer => "the issuer is wrong",
        ErrorKind::InvalidAudience => "the audience is wrong",
        ErrorKind::InvalidAlgorithm => "the algorithm is not the key's",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing",
        _ => "the token is malformed",
    }
}

/// Remembers verified tokens by hash until they expire, at most so many.
pub(super) struct TokenCache {
    verified: moka::sync::Cache<[u8; 32], Verified>,
    skew_seconds: i64,
    clock: Arc<dyn Clock>,
}

impl TokenCache {
    pub(super) fn new(entries: u64, skew_seconds: u64, clock: Arc<dyn Clock>) -> Self {
        let skew_seconds = i64::try_from(skew_seconds).unwrap_or(0);
        Self {
            verified: moka::sync::Cache::new(entries),
            skew_seconds,
            clock,
        }
    }

    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        let hash = hash(token);
        let verified = self.verified.get(&hash)?;
        let now = self.clock.now().unix_millis().div_euclid(1000);
        if is_expired(verified.expires_at(), now, self.skew_seconds) {
            self.verified.invalidate(&hash);
            return None;
        }
        Some(verified)
    }

    pub(super) fn insert(&self, token: &str, verified: Verified) {
        self.verified.insert(hash(token), verified);
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
