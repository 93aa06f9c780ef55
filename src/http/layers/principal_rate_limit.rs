//! Limits the rate of calls of each user and each key, so that a single caller cannot starve the others.
//! Internal services are exempt, since they call on behalf of all users and settle charges; so are calls
//! without a caller, such as probes.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_core::id::OrganizationId;
use keyward_core::principal::{Caller, Principal};
use keyward_throttle::RateLimiter;
use tonic::Code;

use super::RejectionSpec;
use crate::telemetry::metrics::RejectReason;

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::RateLimit,
    code: Code::ResourceExhausted,
    reason: "RATE_LIMITED",
    message: "Too many requests",
};

pub(super) async fn layer(
    State(limiter): State<RateLimiter<RateKey>>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller.map_or(Ok(()), |caller| admit(&limiter, &caller.principal)) {
        Ok(()) => next.run(request).await,
        Err(wait) => super::reject_with_retry(&super::target(&request), &REJECTION, wait),
    }
}

/// Counts a call of a principal that is limited.
fn admit(limiter: &RateLimiter<RateKey>, principal: &Principal) -> Result<(), Duration> {
    match principal {
        Principal::Service(_) => Ok(()),
        _ if !limiter.is_on() => Ok(()),
        principal => limiter.admit(RateKey::of(principal)),
    }
}

/// Key by which calls are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RateKey {
    kind: &'static str,
    /// Set if the id is not unique across organizations.
    organization: Option<OrganizationId>,
    id: String,
}

impl RateKey {
    fn of(principal: &Principal) -> Self {
        let actor = principal.actor();
        let organization = match principal {
            Principal::User(member) => Some(member.organization.clone()),
            _ => None,
        };
        Self {
            kind: actor.kind,
            organization,
            id: actor.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use keyward_core::principal::ServiceName;
    use keyward_crypto::KeyHash;
    use keyward_testkit::fixtures;

    use super::*;
    use keyward_throttle::Rate;

    fn user(organization: &str, id: &str) -> Principal {
        Principal::User(fixtures::member(organization, id, &[]))
    }

    fn management_key(first: u8) -> Principal {
        Principal::ManagementKey {
            hash: KeyHash::from_bytes([first; 32]),
            organization: OrganizationId::parse("org-1").unwrap(),
        }
    }

    /// Returns a limiter that admits one call per hour.
    fn limiter() -> RateLimiter<RateKey> {
        let interval = Duration::from_secs(3600);
        let burst = NonZeroU32::MIN;
        RateLimiter::new(Some(Rate { interval, burst }))
    }

    #[test]
    fn kinds_organizations_and_ids_are_counted_apart() {
        let limiter = limiter();
        for principal in [
            user("org-1", "1"),
            user("org-2", "1"),
            user("org-1", "2"),
            management_key(1),
            management_key(2),
        ] {
            assert_eq!(admit(&limiter, &principal), Ok(()));
            let wait = admit(&limiter, &principal).unwrap_err().as_secs();
            assert!((3000..=3600).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn services_are_not_counted() {
        let limiter = limiter();
        let service = Principal::Service(ServiceName("any".to_owned()));
        assert!((0..1000).all(|_| admit(&limiter, &service).is_ok()));
        assert_eq!(limiter.tracked_keys(), 0);
    }
}
