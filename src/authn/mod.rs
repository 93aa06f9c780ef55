//! Who calls: from the `authorization` header to a [`Principal`].
//!
//! A token is checked against the issuer's published keys once and remembered by its hash until it
//! expires; the user's membership is looked up for every call, so that a change of it counts at once.
//! So is an issued key, whose plaintext is recognised by its prefix.

mod jwks;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use keyward_core::clock::Clock;
use keyward_core::error::Cause;
use keyward_core::id::{OrganizationId, UserId};
use keyward_core::issued_key::IssuedKeys;
use keyward_core::principal::{Principal, ServiceName};
use keyward_core::store::DirectoryStore;

pub use jwks::{JwksSettings, JwksSource};

use tracing::Instrument;
use tracing::field::Empty;

use crate::metrics;
use jwks::Jwks;
use token::{Claims, TokenCache, Verifier};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What issued keys of every version begin with. No JSON Web Token does: its first character is
/// `e`, for the brace of its header.
const ISSUED_KEY_PREFIX: &str = "sk-";

/// Why a caller has no principal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthnError {
    /// There is no token.
    #[error("Missing Authentication header")]
    Missing,
    /// The token is malformed, expired, not for Keyward, or of nobody known; the reason is for the
    /// log alone.
    #[error("Invalid token")]
    Invalid(&'static str),
    /// Whether the token is good cannot be told now.
    #[error("Service unavailable")]
    Unavailable(#[source] Cause),
    /// Something that should not happen.
    #[error("Internal server error")]
    Internal(#[source] Cause),
}

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub jwks: JwksSource,
}

/// What authentication is told at start.
#[derive(Debug, Clone)]
pub struct AuthnSettings {
    /// Who issues session tokens.
    pub session: Issuer,
    /// Who issues service tokens, if any are taken, and the service that each subject is.
    pub service: Option<(Issuer, BTreeMap<String, String>)>,
    /// How far clocks may differ, in seconds.
    pub clock_skew_seconds: u64,
    /// How many verified tokens are remembered.
    pub token_cache_entries: u64,
    /// How published keys are fetched and kept.
    pub jwks: JwksSettings,
}

/// Turns tokens into principals.
pub struct Authenticator {
    session: Verifier,
    service: Option<(Verifier, BTreeMap<String, String>)>,
    cache: TokenCache,
    directory: Arc<dyn DirectoryStore>,
    issued_keys: IssuedKeys,
}

impl Authenticator {
    /// Starts without fetching anything; keys are fetched when the first token needs them.
    ///
    /// # Errors
    /// The HTTP client for published keys cannot be made.
    pub fn new(
        settings: AuthnSettings,
        directory: Arc<dyn DirectoryStore>,
        issued_keys: IssuedKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthnError> {
        let skew = settings.clock_skew_seconds;
        let verifier = |issuer: Issuer| -> Result<Verifier, AuthnError> {
            let jwks = Jwks::new(issuer.jwks, settings.jwks.clone())?;
            Ok(Verifier::new(
                issuer.issuer,
                issuer.audience,
                jwks,
                skew,
                Arc::clone(&clock),
            ))
        };
        Ok(Self {
            session: verifier(settings.session)?,
            service: match settings.service {
                Some((issuer, subjects)) => Some((verifier(issuer)?, subjects)),
                None => None,
            },
            cache: TokenCache::new(settings.token_cache_entries, skew, Arc::clone(&clock)),
            directory,
            issued_keys,
        })
    }

    /// The principal that the headers name, or, where they name none, the service that the connection's
    /// verified certificate stands for.
    ///
    /// # Errors
    /// Missing or invalid, which the caller may mend; unavailable, which time may.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        certified: Option<ServiceName>,
    ) -> Result<Principal, AuthnError> {
        let span = tracing::info_span!(
            "authenticate",
            keyward.principal.kind = Empty,
            keyward.authentication.outcome = Empty,
            otel.status_code = Empty,
            error.type = Empty,
        );
        let found = self
            .principal(headers, certified)
            .instrument(span.clone())
            .await;
        let outcome = match &found {
            Ok(principal) => {
                span.record("keyward.principal.kind", kind(principal));
                "accepted"
            }
            Err(AuthnError::Missing) => "missing",
            Err(AuthnError::Invalid(_)) => "refused",
            Err(error @ (AuthnError::Unavailable(_) | AuthnError::Internal(_))) => {
                let is_internal = matches!(error, AuthnError::Internal(_));
                let kind = if is_internal {
                    "internal"
                } else {
                    "unavailable"
                };
                span.record("otel.status_code", "ERROR");
                span.record("error.type", kind);
                "failed"
            }
        };
        span.record("keyward.authentication.outcome", outcome);
        found
    }

    async fn principal(
        &self,
        headers: &HeaderMap,
        certified: Option<ServiceName>,
    ) -> Result<Principal, AuthnError> {
        if let Some(service) = certified
            && !headers.contains_key(AUTHORIZATION)
        {
            return Ok(Principal::Service(service));
        }
        let token = bearer(headers)?;
        if token.starts_with(ISSUED_KEY_PREFIX) {
            let principal = self.issued_keys.authenticate(token).await;
            return principal
                .map_err(store_failure)?
                .ok_or(AuthnError::Invalid("the key is no live one of ours"));
        }
        let remembered = self.cache.get(token);
        metrics::token_looked_up(remembered.is_some());
        let claims = match remembered {
            Some(claims) => claims,
            None => {
                let claims = self.verify(token).await?;
                self.cache.insert(token, claims.clone());
                claims
            }
        };
        match claims {
            Verified::Session(claims) => self.user(claims).await,
            Verified::Service { name, .. } => Ok(Principal::Service(name)),
        }
    }

    async fn verify(&self, token: &str) -> Result<Verified, AuthnError> {
        // Before any key is asked for: a token for someone else must not make us fetch keys.
        let address = token::address(token)?;
        if self.session.is_addressed(&address) {
            return Ok(Verified::Session(Arc::new(
                self.session.verify(token).await?,
            )));
        }
        let Some((verifier, subjects)) = &self.service else {
            return Err(AuthnError::Invalid("the issuer or the audience is wrong"));
        };
        if !verifier.is_addressed(&address) {
            return Err(AuthnError::Invalid("the issuer or the audience is wrong"));
        }
        let claims = verifier.verify(token).await?;
        let name = subjects.get(&claims.subject);
        let name = name.ok_or(AuthnError::Invalid("the subject is no registered service"))?;
        let name = ServiceName(name.clone());
        Ok(Verified::Service {
            name,
            expires_at: claims.expires_at,
        })
    }

    async fn user(&self, claims: Arc<Claims>) -> Result<Principal, AuthnError> {
        if claims.validated == Some(false) {
            return Err(AuthnError::Invalid("the user is not validated"));
        }
        let organization = claims.organization.clone();
        let organization = organization.ok_or(AuthnError::Invalid("the token has no `org`"))?;
        let organization = OrganizationId::parse(organization);
        let organization = organization.map_err(|_| AuthnError::Invalid("`org` is no id"))?;
        let user = UserId::parse(claims.subject.clone());
        let user = user.map_err(|_| AuthnError::Invalid("`sub` is no id"))?;
        match self
            .directory
            .member(&organization, &user)
            .await
            .map_err(store_failure)?
        {
            Some(member) if member.validated => Ok(Principal::User(member)),
            Some(_) => Err(AuthnError::Invalid("the member is not validated")),
            None => Err(AuthnError::Invalid(
                "the user is no member of the organization",
            )),
        }
    }
}

/// A token that was verified, and what it says.
#[derive(Clone)]
enum Verified {
    Session(Arc<Claims>),
    Service { name: ServiceName, expires_at: i64 },
}

impl Verified {
    /// When the token expires, in seconds since 1970-01-01T00:00:00Z.
    fn expires_at(&self) -> i64 {
        match self {
            Self::Session(claims) => claims.expires_at,
            Self::Service { expires_at, .. } => *expires_at,
        }
    }
}

/// What kind of principal it is, in one word.
fn kind(principal: &Principal) -> &'static str {
    match principal {
        Principal::User(_) => "user",
        Principal::Service(_) => "service",
        Principal::IssuedKey { .. } => "issued_key",
        Principal::ManagementKey { .. } => "management_key",
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, AuthnError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthnError::Missing)?;
    if values.next().is_some() {
        return Err(AuthnError::Invalid(
            "there is more than one authorization header",
        ));
    }
    let value = value
        .to_str()
        .map_err(|_| AuthnError::Invalid("the header is not text"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AuthnError::Invalid("the header is not a bearer token"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(AuthnError::Invalid("the token is too long"));
    }
    Ok(token)
}

fn store_failure(error: keyward_core::Error) -> AuthnError {
    match error {
        keyward_core::Error::Unavailable(cause) => AuthnError::Unavailable(cause),
        other => AuthnError::Internal(other.into()),
    }
}
