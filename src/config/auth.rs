//! `[auth]`: trusted issuers of tokens.

use std::time::Duration;

use super::value::positive;
use super::{ConfigError, raw};
use crate::auth::{AuthSettings, Issuer, JwksSettings, JwksSource};

/// Returns the settings for authentication.
pub(super) fn parse(auth: raw::Auth) -> Result<AuthSettings, ConfigError> {
    let token_cache_entries = positive("auth.token_cache_entries", auth.token_cache_entries)?;
    let jwks = jwks(&auth)?;
    let session = UnparsedIssuer {
        section: "auth.session",
        issuer: auth.session.issuer,
        audience: auth.session.audience,
        jwks: auth.session.jwks,
        max_token_seconds: auth.max_token_seconds,
    };
    let session = session.parse(auth.allow_insecure_jwks)?;
    let service = match auth.service {
        None => None,
        Some(service) => {
            let issuer = UnparsedIssuer {
                section: "auth.service",
                issuer: service.issuer,
                audience: service.audience,
                jwks: service.jwks,
                max_token_seconds: service.max_token_seconds.unwrap_or(auth.max_token_seconds),
            };
            let issuer = issuer.parse(auth.allow_insecure_jwks)?;
            if issuer.issuer == session.issuer && issuer.audience == session.audience {
                let problem = "must differ from `auth.session.audience` for the same issuer";
                return Err(ConfigError::field("auth.service.audience", problem));
            }
            Some((issuer, service.subjects))
        }
    };
    Ok(AuthSettings {
        session,
        service,
        clock_skew_seconds: auth.clock_skew_seconds,
        token_cache_entries,
        jwks,
    })
}

fn jwks(auth: &raw::Auth) -> Result<JwksSettings, ConfigError> {
    let field = "auth.jwks_min_refresh_ms";
    // Otherwise clients could make Keyward call the issuer as often as they call Keyward.
    let min_refresh = positive(field, auth.jwks_min_refresh_ms)?;
    if min_refresh > auth.jwks_max_age_ms {
        let problem = "must not be greater than `auth.jwks_max_age_ms`";
        return Err(ConfigError::field(field, problem));
    }
    Ok(JwksSettings {
        min_refresh: Duration::from_millis(min_refresh),
        max_age: Duration::from_millis(auth.jwks_max_age_ms),
    })
}

/// Settings of one issuer, of any section.
struct UnparsedIssuer {
    section: &'static str,
    issuer: Option<String>,
    audience: Option<String>,
    jwks: Option<String>,
    max_token_seconds: u64,
}

impl UnparsedIssuer {
    fn parse(self, allow_insecure_jwks: bool) -> Result<Issuer, ConfigError> {
        let section = self.section;
        let required = |name: &str, value: Option<String>| {
            let given = value.filter(|value| !value.is_empty());
            given.ok_or_else(|| ConfigError::field(&format!("{section}.{name}"), "is required"))
        };
        let jwks = required("jwks", self.jwks)?;
        let jwks = JwksSource::parse(&jwks, allow_insecure_jwks)
            .map_err(|problem| ConfigError::field(&format!("{section}.jwks"), problem))?;
        Ok(Issuer {
            issuer: required("issuer", self.issuer)?,
            audience: required("audience", self.audience)?,
            jwks,
            max_token_seconds: self.max_token_seconds,
        })
    }
}
