//! Rejects requests from addresses that fail authentication too often.
//!
//! Beyond the limit, calls are rejected before the token is looked up or verified, so a flood of unknown keys from
//! an address costs no more than the failures that are allowed. An attempt under way counts as a failure until it
//! succeeds; attempts with the same token count once. Other clients may share the address
//! (NAT, proxy): tokens that authenticated recently bypass the check, which needs no lookup, and are then verified
//! as usual. Calls without a token are not counted, since they cost nothing, and neither are calls whose token
//! could not be verified. A client that disconnects before its token is verified counts as a failure; otherwise
//! starting requests would be free.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use keyward_throttle::{KeyedCounts, Rate, RateLimiter};
use tokio::time::Instant;

use crate::http::client_ip::ClientIp;

/// Maximum number of tokens remembered as good, 8 bytes each.
const REMEMBERED_TOKENS: usize = 16 * 1024;

/// Time after which a disconnect or an expired deadline is attributed to a slow server, not to the client.
const MAX_CLIENT_DELAY: Duration = Duration::from_secs(1);

/// Counts failures by address, and remembers good tokens.
#[derive(Clone)]
pub(super) struct Failures {
    limiter: RateLimiter<IpAddr>,
    good: Arc<GoodTokens>,
    under_way: Arc<Mutex<UnderWay>>,
}

/// Attempts under way with tokens that are not known as good.
#[derive(Default)]
struct UnderWay {
    /// Number of attempts with a token from an address.
    attempts: KeyedCounts<(IpAddr, u64)>,
    /// Number of different tokens from an address.
    tokens: KeyedCounts<IpAddr>,
}

impl Failures {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self {
            limiter: RateLimiter::new(rate),
            good: Arc::new(GoodTokens::new(REMEMBERED_TOKENS)),
            under_way: Arc::default(),
        }
    }

    /// Begins an attempt, or returns the time until the next attempt is allowed.
    pub(super) fn attempt(
        &self,
        client: Option<ClientIp>,
        headers: &HeaderMap,
    ) -> Result<Attempt<'_>, Duration> {
        let counted =
            client.filter(|_| self.limiter.is_on() && headers.contains_key(AUTHORIZATION));
        let Some(client) = counted else {
            return Ok(Attempt(None));
        };
        let address = client.network();
        let token = self.good.tag(headers);
        let was_good = self.good.holds(token);
        if !was_good {
            self.begin(address, token)?;
        }
        Ok(Attempt(Some(CountedAttempt {
            failures: self,
            address,
            token,
            was_good,
            began: Instant::now(),
        })))
    }

    /// Begins an attempt with a token that is not known as good, unless as many failures as are left are under way.
    fn begin(&self, address: IpAddr, token: u64) -> Result<(), Duration> {
        let mut under_way = self.under_way();
        let is_new = under_way.attempts.get(&(address, token)) == 0;
        let tokens = under_way.tokens.get(&address) + usize::from(is_new);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let failures = NonZeroU32::new(tokens).unwrap_or(NonZeroU32::MIN);
        self.limiter.check(address, failures)?;
        under_way.attempts.add((address, token), 1);
        under_way.tokens.add(address, usize::from(is_new));
        Ok(())
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt to verify a token, if it is counted.
pub(super) struct Attempt<'a>(Option<CountedAttempt<'a>>);

struct CountedAttempt<'a> {
    failures: &'a Failures,
    address: IpAddr,
    token: u64,
    was_good: bool,
    began: Instant,
}

impl Attempt<'_> {
    /// Records that the token is good.
    pub(super) fn succeeded(mut self) {
        if let Some(attempt) = self.0.take() {
            attempt.failures.good.insert(attempt.token);
        }
    }

    /// Records that the token is invalid.
    pub(super) fn failed(mut self) {
        if let Some(attempt) = self.0.take() {
            attempt.failures.good.remove(attempt.token);
            attempt.count();
        }
    }

    /// Records that the token could not be verified.
    pub(super) fn abandoned(mut self) {
        self.0 = None;
    }
}

impl CountedAttempt<'_> {
    fn count(&self) {
        // The limit may be exceeded already by attempts with the same token, or with one that was good.
        let _ = self.failures.limiter.admit(self.address);
    }
}

/// Ends the attempt. A failure is counted before this, so that it counts as one of the two at any time.
impl Drop for CountedAttempt<'_> {
    fn drop(&mut self) {
        if self.was_good {
            return;
        }
        let mut under_way = self.failures.under_way();
        let attempt = (self.address, self.token);
        under_way.attempts.subtract(&attempt, 1);
        if under_way.attempts.get(&attempt) == 0 {
            under_way.tokens.subtract(&self.address, 1);
        }
    }
}

/// The client has disconnected or the deadline has passed. Counts a failure if the token was not known as good and
/// less than `MAX_CLIENT_DELAY` has passed; after that the server was too slow.
impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.0.take()
            && !attempt.was_good
            && attempt.began.elapsed() < MAX_CLIENT_DELAY
        {
            attempt.count();
        }
    }
}

/// Remembers tokens by a short keyed hash; the key is secret and a newer tag may replace another. A token that
/// collides with a good one is still verified.
struct GoodTokens {
    key: RandomState,
    tags: Box<[AtomicU64]>,
}

impl GoodTokens {
    fn new(count: usize) -> Self {
        Self {
            key: RandomState::new(),
            tags: (0..count).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the tag of the `authorization` headers. Never 0, which marks an empty slot.
    fn tag(&self, headers: &HeaderMap) -> u64 {
        let values = headers.get_all(AUTHORIZATION).iter();
        let values: Vec<&[u8]> = values.map(HeaderValue::as_bytes).collect();
        self.key.hash_one(values).max(1)
    }

    fn slot(&self, tag: u64) -> Option<&AtomicU64> {
        let count = self.tags.len() as u64;
        let slot = tag.checked_rem(count)?;
        self.tags.get(usize::try_from(slot).ok()?)
    }

    fn holds(&self, tag: u64) -> bool {
        let slot = self.slot(tag);
        slot.is_some_and(|slot| slot.load(Ordering::Relaxed) == tag)
    }

    fn insert(&self, tag: u64) {
        // Most calls find the tag and avoid a write that would contend for the cache line.
        if let Some(slot) = self.slot(tag)
            && slot.load(Ordering::Relaxed) != tag
        {
            slot.store(tag, Ordering::Relaxed);
        }
    }

    fn remove(&self, tag: u64) {
        if let Some(slot) = self.slot(tag) {
            // Another token's tag stays.
            let _ = slot.compare_exchange(tag, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    /// Number of failures that are allowed.
    const BURST: u32 = 3;

    fn failures() -> Failures {
        Failures::new(Some(Rate {
            interval: Duration::from_secs(3600),
            burst: NonZeroU32::new(BURST).unwrap(),
        }))
    }

    fn client() -> Option<ClientIp> {
        Some(ClientIp([127, 0, 0, 1].into()))
    }

    fn headers(tokens: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for token in tokens {
            headers.append(AUTHORIZATION, token.parse().unwrap());
        }
        headers
    }

    #[test]
    fn disconnect_counts_as_failure_unless_the_token_is_good() {
        let failures = failures();
        let (good, unknown) = (headers(&["Bearer good"]), headers(&["Bearer unknown"]));
        failures.attempt(client(), &good).unwrap().succeeded();
        for _ in 0..10 {
            drop(failures.attempt(client(), &good).unwrap());
        }
        for _ in 0..BURST {
            drop(failures.attempt(client(), &unknown).unwrap());
        }
        assert!(failures.attempt(client(), &unknown).is_err());
        assert!(failures.attempt(client(), &good).is_ok());
    }

    #[test]
    fn attempts_under_way_count_until_they_succeed() {
        let failures = failures();
        let attempt = |token: &str| failures.attempt(client(), &headers(&[token]));
        let mut held: Vec<_> = ["Bearer 1", "Bearer 2", "Bearer 3"]
            .map(|token| attempt(token).ok().unwrap())
            .into();
        assert!(attempt("Bearer 4").is_err());
        // The same token costs a single look-up.
        held.push(attempt("Bearer 3").ok().unwrap());
        held.remove(0).succeeded();
        let another = attempt("Bearer 4").ok().unwrap();
        assert!(attempt("Bearer 5").is_err());
        another.failed();
        assert!(attempt("Bearer 5").is_err());
        for attempt in held {
            attempt.abandoned();
        }
        assert!(failures.under_way().tokens.is_empty());
        assert!(failures.under_way().attempts.is_empty());
        assert!(attempt("Bearer 5").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn long_wait_before_disconnect_is_not_a_failure() {
        let failures = failures();
        let unknown = headers(&["Bearer unknown"]);
        for _ in 0..2 * BURST {
            let attempt = failures.attempt(client(), &unknown).unwrap();
            tokio::time::advance(MAX_CLIENT_DELAY).await;
            drop(attempt);
        }
        assert!(failures.attempt(client(), &unknown).is_ok());
    }

    #[test]
    fn without_a_limit_an_address_or_a_token_nothing_is_counted() {
        let (none, some) = (Failures::new(None), failures());
        let (empty, token) = (HeaderMap::new(), headers(&["Bearer unknown"]));
        for _ in 0..2 * BURST {
            none.attempt(client(), &token).unwrap().failed();
            some.attempt(None, &token).unwrap().failed();
            some.attempt(client(), &empty).unwrap().failed();
        }
        assert_eq!(some.limiter.tracked_keys(), 0);
    }

    #[test]
    fn a_good_token_is_remembered_until_it_is_bad() {
        let good = GoodTokens::new(REMEMBERED_TOKENS);
        let tag = good.tag(&headers(&["Bearer one"]));
        assert!(!good.holds(tag));
        good.insert(tag);
        good.insert(tag);
        assert!(good.holds(tag));
        for other in [
            &["Bearer two"][..],
            &["Bearer one", "Bearer one"],
            &["Bearer on", "e"],
        ] {
            let other = good.tag(&headers(other));
            assert!(!good.holds(other));
            good.remove(other);
        }
        assert!(good.holds(tag));
        good.remove(tag);
        assert!(!good.holds(tag));
    }

    #[test]
    fn a_newer_token_takes_the_place_of_an_older_one() {
        let good = GoodTokens::new(1);
        good.insert(7);
        good.insert(8);
        assert_eq!((good.holds(7), good.holds(8)), (false, true));
        // Removing an older token does not affect the newer one.
        good.remove(7);
        assert!(good.holds(8));
    }
}
