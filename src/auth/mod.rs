//! Authentication: turns the `authorization` header into a [`Principal`].
//!
//! A token is verified with the issuer's published keys. The result is cached by the token's hash until the token
//! expires, the maximum age of the keys has passed, or the issuer withdraws the signing key. The user's membership is looked up
//! for every call, so that a change takes effect at once. Issued keys, which are recognized by their prefix,
//! are also looked up for every call. Calls that look up the same at the same time share reads, see `callers.rs`.

mod callers;
mod error;
mod jwks;
mod jwt;
mod key_set;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use keyward_core::clock::Clock;
use keyward_core::id::{OrganizationId, UserId};
use keyward_core::ports::DirectoryStore;
use keyward_core::principal::{Principal, ServiceName};
use keyward_core::services::IssuedKeys;
use keyward_crypto::TokenKind;
use keyward_throttle::Owner;

pub use error::{AuthError, SharedCause};
pub use jwks::{JwksSettings, JwksSource, NotAJwksSource};
pub use jwt::Issuer;

use tracing::Instrument;
use tracing::field::Empty;

use crate::admission::entrance::Entrance;
use crate::telemetry::conditions::Conditions;
use crate::telemetry::metrics;
use callers::Callers;
use jwks::Jwks;
use jwt::{Claims, IssuerKind, Proof, Token, TokenCache, Verified, Verifier};

/// Maximum length of a token, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Error for a key set that cannot be used at start: its setting and the reason, without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` names a key set that cannot be used: {reason}")]
pub struct KeySetProblem {
    field: &'static str,
    reason: Arc<str>,
}

/// Settings for authentication.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Issuer of session tokens.
    pub session: Issuer,
    /// Issuer of service tokens, if they are accepted, and the service of each subject.
    pub service: Option<(Issuer, BTreeMap<String, String>)>,
    /// Tolerated clock skew, in seconds.
    pub clock_skew_seconds: u64,
    /// Maximum number of cached tokens.
    pub token_cache_entries: u64,
    /// Settings for fetching and caching published keys.
    pub jwks: JwksSettings,
}

/// Turns tokens into principals.
pub struct Authenticator {
    session: Verifier,
    service: Option<(Verifier, BTreeMap<String, String>)>,
    cache: TokenCache,
    callers: Callers,
}

impl Authenticator {
    /// Creates an authenticator. Keys are fetched when the first token needs them.
    ///
    /// # Errors
    /// The HTTP client for published keys cannot be created.
    pub(crate) fn new(
        settings: AuthSettings,
        directory: Arc<dyn DirectoryStore>,
        issued_keys: IssuedKeys,
        entrance: &Arc<Entrance>,
        clock: Arc<dyn Clock>,
        conditions: &Conditions,
    ) -> Result<Self, AuthError> {
        let skew = settings.clock_skew_seconds;
        let verifier = |field, issuer: Issuer| -> Result<Verifier, AuthError> {
            let source = issuer.jwks.clone();
            let jwks = Jwks::new(field, source, settings.jwks.clone(), conditions.clone())?;
            Ok(Verifier::new(issuer, jwks, skew, Arc::clone(&clock)))
        };
        Ok(Self {
            session: verifier("auth.session.jwks", settings.session)?,
            service: match settings.service {
                Some((issuer, subjects)) => {
                    Some((verifier("auth.service.jwks", issuer)?, subjects))
                }
                None => None,
            },
            cache: TokenCache::new(settings.token_cache_entries),
            callers: Callers::new(directory, issued_keys, entrance),
        })
    }

    /// Fetches the issuers' keys before the first call needs them: files immediately; URLs in the background,
    /// where a failure is logged and does not stop the start.
    ///
    /// # Errors
    /// A file that is missing or does not hold a key set with a usable key.
    pub async fn prepare(&self) -> Result<(), KeySetProblem> {
        for verifier in self.verifiers() {
            let prepared = verifier.jwks().prepare().await;
            prepared.map_err(|(field, reason)| KeySetProblem { field, reason })?;
        }
        Ok(())
    }

    /// Drops all cached tokens and published keys, so that the next call fetches the keys.
    pub fn drop_tokens_and_keys(&self) {
        for verifier in self.verifiers() {
            verifier.jwks().drop_keys();
        }
        self.cache.clear();
    }

    fn verifiers(&self) -> impl Iterator<Item = &Verifier> {
        let service = self.service.as_ref().map(|(verifier, _)| verifier);
        std::iter::once(&self.session).chain(service)
    }

    /// Returns the principal that the headers identify or, without a token, the service of the connection's
    /// verified certificate. Look-ups wait in the client's flow.
    ///
    /// # Errors
    /// Missing or invalid, which the caller can correct; unavailable or overloaded, which are transient.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certified: Option<ServiceName>,
        client: &Owner,
    ) -> Result<Principal, AuthError> {
        let span = tracing::info_span!(
            "authenticate",
            keyward.principal.kind = Empty,
            keyward.authentication.outcome = Empty,
            otel.status_code = Empty,
            error.type = Empty,
        );
        let found = self
            .principal(headers, certified, client)
            .instrument(span.clone())
            .await;
        let outcome = match &found {
            Ok(principal) => {
                span.record("keyward.principal.kind", kind(principal));
                "accepted"
            }
            Err(AuthError::Missing) => "missing",
            Err(AuthError::Invalid(_)) => "refused",
            Err(error) => {
                let kind = match error {
                    AuthError::Internal(_) => "internal",
                    AuthError::Overloaded(_) => "overloaded",
                    _ => "unavailable",
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
        client: &Owner,
    ) -> Result<Principal, AuthError> {
        if let Some(service) = certified
            && !headers.contains_key(AUTHORIZATION)
        {
            return Ok(Principal::Service(service));
        }
        let token = bearer(headers)?;
        // A JSON Web Token never begins like this: its first character is `e`, for the brace of its header.
        if token.starts_with(TokenKind::ISSUED_KEY_FAMILY) {
            let principal = self.callers.key(client, token).await?;
            return principal.ok_or(AuthError::Invalid(
                "the key is unknown, disabled, expired or deleted",
            ));
        }
        let remembered = self.cache.get(token, |kind, proof| {
            let verifier = self.verifier(kind);
            verifier.is_some_and(|verifier| verifier.is_still_good(proof))
        });
        metrics::token_looked_up(remembered.is_some());
        let verified = match remembered {
            Some(verified) => verified,
            None => {
                let (verified, proof) = self.verify(token).await?;
                self.cache.insert(token, verified.clone(), proof);
                verified
            }
        };
        match verified {
            Verified::Session(claims) => self.user(claims, client).await,
            Verified::Service(name) => Ok(Principal::Service(name)),
        }
    }

    fn verifier(&self, kind: IssuerKind) -> Option<&Verifier> {
        match kind {
            IssuerKind::Session => Some(&self.session),
            IssuerKind::Service => self.service.as_ref().map(|(verifier, _)| verifier),
        }
    }

    async fn verify(&self, token: &str) -> Result<(Verified, Proof), AuthError> {
        let token = Token::read(token)?;
        // Checked before a key is needed: a token for another audience must not make Keyward fetch keys.
        if self.session.is_addressed(&token.claims) {
            let proof = self.session.verify(&token).await?;
            return Ok((Verified::Session(Arc::new(token.claims)), proof));
        }
        let addressed = self
            .service
            .as_ref()
            .filter(|(verifier, _)| verifier.is_addressed(&token.claims));
        let Some((verifier, subjects)) = addressed else {
            return Err(AuthError::Invalid("the issuer or the audience is wrong"));
        };
        let proof = verifier.verify(&token).await?;
        let name = subjects.get(&token.claims.subject);
        let name = name.ok_or(AuthError::Invalid(
            "the subject is not a registered service",
        ))?;
        Ok((Verified::Service(ServiceName(name.clone())), proof))
    }

    async fn user(&self, claims: Arc<Claims>, client: &Owner) -> Result<Principal, AuthError> {
        if claims.validated == Some(false) {
            return Err(AuthError::Invalid("the user is not validated"));
        }
        let organization = claims.organization.clone();
        let organization = organization.ok_or(AuthError::Invalid("the token has no `org`"))?;
        let organization = OrganizationId::parse(organization);
        let organization = organization.map_err(|_| AuthError::Invalid("`org` is not an ID"))?;
        let user = UserId::parse(claims.subject.clone());
        let user = user.map_err(|_| AuthError::Invalid("`sub` is not an ID"))?;
        match self.callers.member(client, organization, user).await? {
            Some(member) if member.validated => Ok(Principal::User(member)),
            Some(_) => Err(AuthError::Invalid("the member is not validated")),
            None => Err(AuthError::Invalid(
                "the user is not a member of the organization",
            )),
        }
    }
}

/// Returns the kind of principal, in one word.
fn kind(principal: &Principal) -> &'static str {
    match principal {
        Principal::User(_) => "user",
        Principal::Service(_) => "service",
        Principal::IssuedKey { .. } => "issued_key",
        Principal::ManagementKey { .. } => "management_key",
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Invalid(
            "there is more than one authorization header",
        ));
    }
    let value = value
        .to_str()
        .map_err(|_| AuthError::Invalid("the header is not text"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AuthError::Invalid("the header is not a bearer token"));
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(AuthError::Invalid("the token is too long"));
    }
    Ok(token)
}
