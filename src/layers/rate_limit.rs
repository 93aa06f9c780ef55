//! No user and no key makes more calls than the operator allows, so that one of them cannot take what
//! the others need. Internal services pass, since they call on everyone's behalf and settle what was
//! spent; so do calls without a caller, such as probes.
//!
//! Each process counts for itself, by the monotonic clock, and begins with nothing counted.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use keyward_core::id::OrganizationId;
use keyward_core::principal::{Caller, Principal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::ERROR_DOMAIN;

/// How many principals are remembered before those are forgotten who could make a full burst again.
const REMEMBERED_PRINCIPALS: usize = 10_000;
/// The shortest time that a refused caller is asked to wait. Never zero, which would say that there
/// is nothing to wait for.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// How many calls one principal may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerRate {
    /// The mean time between two calls. Zero limits nothing.
    pub interval: Duration,
    /// How many calls may come at once after a pause.
    pub burst: NonZeroU32,
}

impl CallerRate {
    /// So many calls a second, and so many at once; without a `burst`, as many as in one second.
    /// None a second is no limit.
    #[must_use]
    pub fn per_second(requests: u32, burst: u32) -> Option<Self> {
        let requests = NonZeroU32::new(requests)?;
        Some(Self {
            interval: Duration::from_secs(1) / requests.get(),
            burst: NonZeroU32::new(burst).unwrap_or(requests),
        })
    }
}

pub(super) async fn layer(
    State(limiter): State<Limiter>,
    request: Request,
    next: Next,
) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller.map_or(Ok(()), |caller| limiter.admit(&caller.principal)) {
        Ok(()) => next.run(request).await,
        Err(wait) => super::refuse(&super::target(&request), too_many(wait).into()),
    }
}

fn too_many(wait: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info("RATE_LIMITED", ERROR_DOMAIN, []);
    details.set_retry_info(Some(wait));
    Status::with_error_details(Code::ResourceExhausted, "Too many requests", details)
}

/// Counts the calls of each principal, if there is a limit.
#[derive(Clone)]
pub(super) struct Limiter(Option<Arc<Counts>>);

struct Counts {
    limiter: DefaultKeyedRateLimiter<Counted>,
    /// With more principals than this it is time to forget some.
    forget_above: AtomicUsize,
}

impl Limiter {
    pub(super) fn new(rate: Option<CallerRate>) -> Self {
        let quota = rate.and_then(|rate| {
            let quota = Quota::with_period(rate.interval)?;
            Some(quota.allow_burst(rate.burst))
        });
        Self(quota.map(|quota| {
            Arc::new(Counts {
                limiter: RateLimiter::keyed(quota),
                forget_above: AtomicUsize::new(REMEMBERED_PRINCIPALS),
            })
        }))
    }

    /// Counts a call, or says how long to wait until the next one would be let through.
    fn admit(&self, principal: &Principal) -> Result<(), Duration> {
        let Some(counts) = &self.0 else {
            return Ok(());
        };
        if matches!(principal, Principal::Service(_)) {
            return Ok(());
        }
        let outcome = counts.limiter.check_key(&Counted::of(principal));
        counts.forget();
        outcome.map_err(|refused| {
            let now = counts.limiter.clock().now();
            refused.wait_time_from(now).max(MIN_WAIT)
        })
    }
}

impl Counts {
    /// Forgets who could make a full burst again, which changes nothing for them. The next time comes
    /// when there are twice as many as are left, so that a call costs the same however many there are.
    fn forget(&self) {
        if self.limiter.len() <= self.forget_above.load(Ordering::Relaxed) {
            return;
        }
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        let next = self.limiter.len().saturating_mul(2);
        self.forget_above
            .store(next.max(REMEMBERED_PRINCIPALS), Ordering::Relaxed);
    }
}

/// Whose calls are counted together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Counted {
    kind: &'static str,
    /// Where the id alone does not say who it is.
    organization: Option<OrganizationId>,
    id: String,
}

impl Counted {
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
    use keyward_core::principal::ServiceName;
    use keyward_crypto::KeyHash;
    use keyward_testkit::fixtures;

    use super::*;

    fn user(organization: &str, id: &str) -> Principal {
        Principal::User(fixtures::member(organization, id, &[]))
    }

    fn numbered(number: usize) -> Principal {
        user("org", &number.to_string())
    }

    fn management_key(first: u8) -> Principal {
        Principal::ManagementKey {
            hash: KeyHash::from_bytes([first; 32]),
            organization: OrganizationId::parse("org-1").unwrap(),
        }
    }

    /// A limiter that lets one call through in that time.
    fn one_in(interval: Duration) -> Limiter {
        let burst = NonZeroU32::MIN;
        Limiter::new(Some(CallerRate { interval, burst }))
    }

    fn remembered(limiter: &Limiter) -> usize {
        limiter.0.as_ref().unwrap().limiter.len()
    }

    #[test]
    fn a_rate_has_a_burst_of_one_second_unless_it_says_another() {
        assert_eq!(CallerRate::per_second(0, 0), None);
        assert_eq!(CallerRate::per_second(0, 7), None);
        let rate = CallerRate::per_second(50, 0).unwrap();
        assert_eq!(
            (rate.interval.as_millis(), rate.burst),
            (20, NonZeroU32::new(50).unwrap())
        );
        let rate = CallerRate::per_second(2, 7).unwrap();
        assert_eq!(
            (rate.interval.as_millis(), rate.burst),
            (500, NonZeroU32::new(7).unwrap())
        );
    }

    #[test]
    fn kinds_organizations_and_ids_are_counted_apart() {
        let limiter = one_in(Duration::from_secs(3600));
        for principal in [
            user("org-1", "1"),
            user("org-2", "1"),
            user("org-1", "2"),
            management_key(1),
            management_key(2),
        ] {
            assert_eq!(limiter.admit(&principal), Ok(()));
            let wait = limiter.admit(&principal).unwrap_err().as_secs();
            assert!((3000..=3600).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn services_are_not_counted() {
        let limiter = one_in(Duration::from_secs(3600));
        let service = Principal::Service(ServiceName("any".to_owned()));
        assert!((0..1000).all(|_| limiter.admit(&service).is_ok()));
        assert_eq!(remembered(&limiter), 0);
    }

    #[test]
    fn nobody_is_counted_without_a_limit() {
        let none = CallerRate::per_second(0, 0);
        let limiter = Limiter::new(none);
        assert!((0..1000).all(|_| limiter.admit(&numbered(1)).is_ok()));
        // Nor with more calls a second than a nanosecond can tell apart.
        let limiter = Limiter::new(CallerRate::per_second(u32::MAX, 1));
        assert!((0..1000).all(|_| limiter.admit(&numbered(1)).is_ok()));
    }

    #[test]
    fn who_has_paused_is_forgotten() {
        let limiter = one_in(Duration::from_nanos(1));
        for number in 0..=2 * REMEMBERED_PRINCIPALS {
            assert_eq!(limiter.admit(&numbered(number)), Ok(()));
            assert!(remembered(&limiter) <= REMEMBERED_PRINCIPALS);
        }
    }

    #[test]
    fn who_has_not_paused_is_not_forgotten() {
        let limiter = one_in(Duration::from_secs(3600));
        let all = 0..=2 * REMEMBERED_PRINCIPALS;
        assert!(
            all.clone()
                .all(|number| limiter.admit(&numbered(number)).is_ok())
        );
        assert!(
            all.clone()
                .all(|number| limiter.admit(&numbered(number)).is_err())
        );
        assert_eq!(remembered(&limiter), all.count());
    }

    #[test]
    fn a_wait_is_never_too_short_to_tell() {
        let limiter = one_in(Duration::from_micros(50));
        let refused = (0..100_000).find_map(|_| limiter.admit(&numbered(1)).err());
        assert_eq!(refused, Some(MIN_WAIT));
    }
}
