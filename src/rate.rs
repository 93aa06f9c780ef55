//! Rate limits calls or other events by key: a mean rate, and a burst after a pause.
//!
//! The number of remembered keys is bounded: keys that could make a full burst again are dropped periodically,
//! and while the table is full, further keys share a fixed number of slots. Keys in a shared slot also share
//! its limit, so each is allowed less and never more.
//!
//! Each process counts for itself, by the monotonic clock, and starts with no counts.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};

/// Minimum number of new keys between removals of old ones.
pub(crate) const FORGET_AFTER: usize = 10_000;
/// Maximum number of remembered keys, each with its own slot.
pub(crate) const MAX_REMEMBERED: usize = 100_000;
/// Number of slots that further keys share.
const SHARED_PLACES: usize = 1024;
/// Minimum wait that is reported. Never zero, which would mean that no wait is needed.
pub(crate) const MIN_WAIT: Duration = Duration::from_millis(1);

/// Rate of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Mean time between two events. Zero means no limit.
    pub interval: Duration,
    /// Maximum number of events at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// Allows `count` events per second and `burst` at once; a `burst` of zero allows as many as in one second.
    /// A `count` of zero means no limit.
    #[must_use]
    pub fn per_second(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(1), count, burst)
    }

    /// Allows `count` events per minute and `burst` at once; a `burst` of zero allows as many as in one minute.
    /// A `count` of zero means no limit.
    #[must_use]
    pub fn per_minute(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(60), count, burst)
    }

    fn per(time: Duration, count: u32, burst: u32) -> Option<Self> {
        let count = NonZeroU32::new(count)?;
        Some(Self {
            interval: time / count.get(),
            burst: NonZeroU32::new(burst).unwrap_or(count),
        })
    }
}

/// Limits each `K` to a rate, if there is one.
pub(crate) struct Limiter<K: Clone + Eq + Hash>(Option<Arc<Counts<K>>>);

impl<K: Clone + Eq + Hash> Clone for Limiter<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Counts<K: Clone + Eq + Hash> {
    limiter: RateLimiter<Asked<K>, Places<K>, DefaultClock>,
    places: Places<K>,
}

impl<K: Clone + Eq + Hash> Limiter<K> {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let quota = rate.and_then(|rate| {
            let quota = Quota::with_period(rate.interval)?;
            Some(quota.allow_burst(rate.burst))
        });
        Self(quota.map(|quota| {
            let places = Places(Arc::new(Mutex::new(Table::default())));
            let limiter = RateLimiter::new(quota, places.clone(), DefaultClock::default());
            Arc::new(Counts { limiter, places })
        }))
    }

    /// Returns true if a rate is set.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Counts an event, or returns the time until the next one would be admitted.
    pub(crate) fn admit(&self, who: K) -> Result<(), Duration> {
        self.check(who, true)
    }

    /// Like [`Limiter::admit`], but counts nothing.
    pub(crate) fn ask(&self, who: K) -> Result<(), Duration> {
        self.check(who, false)
    }

    fn check(&self, who: K, counts: bool) -> Result<(), Duration> {
        let Some(Counts { limiter, places }) = self.0.as_deref() else {
            return Ok(());
        };
        let outcome = limiter.check_key(&Asked { who, counts });
        if places.lock().is_time_to_forget() {
            limiter.retain_recent();
        }
        outcome.map_err(|rejected| {
            let now = limiter.clock().now();
            rejected.wait_time_from(now).max(MIN_WAIT)
        })
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.0.as_ref().map_or(0, |counts| counts.limiter.len())
    }
}

/// Query for a key.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked<K> {
    who: K,
    /// True if an admitted event is counted.
    counts: bool,
}

/// Table of counts, shared by the limiter and the removal of old keys.
struct Places<K>(Arc<Mutex<Table<K>>>);

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Places<K> {
    fn lock(&self) -> MutexGuard<'_, Table<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time at which each key could make a full burst again.
struct Table<K> {
    own: HashMap<K, Nanos>,
    /// Slots for keys that come while the table is full, found by keyed hash, so that a client cannot choose
    /// the slot that it shares.
    shared: Vec<Option<Nanos>>,
    /// Number of counted events of new keys since the last removal.
    strangers: usize,
    /// Number of such events after which keys are removed.
    forget_after: usize,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            own: HashMap::new(),
            shared: vec![None; SHARED_PLACES],
            strangers: 0,
            forget_after: FORGET_AFTER,
        }
    }
}

impl<K> Table<K> {
    fn is_time_to_forget(&self) -> bool {
        self.strangers > self.forget_after
    }
}

impl<K: Clone + Eq + Hash> StateStore for Places<K> {
    type Key = Asked<K>;

    fn measure_and_replace<T, F, E>(&self, asked: &Asked<K>, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let table = &mut *self.lock();
        if let Some(place) = table.own.get_mut(&asked.who) {
            let (outcome, after) = f(Some(*place))?;
            if asked.counts {
                *place = after;
            }
            return Ok(outcome);
        }
        let is_full = table.own.len() >= MAX_REMEMBERED;
        let hash = table.own.hasher().hash_one(&asked.who) as usize;
        let shared = table.shared.get_mut(hash % SHARED_PLACES);
        let shared = shared.filter(|_| is_full);
        let before = shared.as_ref().and_then(|place| **place);
        if asked.counts {
            table.strangers += 1;
        }
        let (outcome, after) = f(before)?;
        if asked.counts {
            match shared {
                Some(place) => *place = Some(after),
                None => drop(table.own.insert(asked.who.clone(), after)),
            }
        }
        Ok(outcome)
    }
}

impl<K: Clone + Eq + Hash> ShrinkableKeyedStateStore<Asked<K>> for Places<K> {
    /// Removes keys that could make a full burst again, which does not change their limits. The next removal
    /// comes after as many new keys as are left, so that the cost per key is constant.
    fn retain_recent(&self, drop_below: Nanos) {
        let table = &mut *self.lock();
        table.own.retain(|_, place| *place > drop_below);
        table.own.shrink_to_fit();
        table.strangers = 0;
        table.forget_after = table.own.len().max(FORGET_AFTER);
    }

    fn len(&self) -> usize {
        self.lock().own.len()
    }

    fn is_empty(&self) -> bool {
        self.lock().own.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Returns a limiter that admits `burst` events at once, and another in each interval.
    fn limiter(interval: Duration, burst: u32) -> Limiter<usize> {
        let burst = NonZeroU32::new(burst).unwrap();
        Limiter::new(Some(Rate { interval, burst }))
    }

    #[test]
    fn a_rate_has_a_burst_of_its_time_unless_it_says_another() {
        let parts = |rate: Option<Rate>| {
            let rate = rate.unwrap();
            (rate.interval.as_millis(), rate.burst.get())
        };
        assert_eq!(Rate::per_second(0, 0), None);
        assert_eq!(Rate::per_second(0, 7), None);
        assert_eq!(parts(Rate::per_second(50, 0)), (20, 50));
        assert_eq!(parts(Rate::per_second(2, 7)), (500, 7));
        assert_eq!(Rate::per_minute(0, 7), None);
        assert_eq!(parts(Rate::per_minute(600, 0)), (100, 600));
        assert_eq!(parts(Rate::per_minute(2, 7)), (30_000, 7));
    }

    #[test]
    fn exactly_the_burst_is_let_through_and_each_is_counted_alone() {
        let limiter = limiter(HOUR, 3);
        for who in 0..10 {
            assert_eq!([(); 3].map(|()| limiter.admit(who)), [Ok(()); 3]);
            let wait = limiter.admit(who).unwrap_err().as_secs();
            assert!((3000..=3600).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn no_key_is_counted_without_a_limit() {
        let none = Limiter::new(None);
        assert!(!none.is_on());
        assert!((0..1000).all(|_| none.admit(1).is_ok()));
        // A rate above one event per nanosecond is unlimited.
        let none = Limiter::new(Rate::per_second(u32::MAX, 1));
        assert!((0..1000).all(|_| none.admit(1).is_ok()));
    }

    #[test]
    fn to_ask_counts_nothing_and_is_answered_alike() {
        let limiter = limiter(HOUR, 2);
        for _ in 0..2 {
            assert!((0..100).all(|_| limiter.ask(1).is_ok()));
            assert_eq!(limiter.admit(1), Ok(()));
        }
        assert!(limiter.ask(1).is_err());
        assert!(limiter.admit(1).is_err());
        assert!((2..100).all(|who| limiter.ask(who).is_ok()));
        assert_eq!(limiter.remembered(), 1);
    }

    #[test]
    fn idle_key_is_evicted() {
        let limiter = limiter(Duration::from_nanos(1), 1);
        for who in 0..=2 * FORGET_AFTER {
            assert_eq!(limiter.admit(who), Ok(()));
            assert!(limiter.remembered() <= FORGET_AFTER);
        }
    }

    #[test]
    fn active_key_is_not_evicted() {
        let limiter = limiter(HOUR, 1);
        let all = 0..=2 * FORGET_AFTER;
        assert!(all.clone().all(|who| limiter.admit(who).is_ok()));
        assert!(all.clone().all(|who| limiter.admit(who).is_err()));
        assert_eq!(limiter.remembered(), all.count());
    }

    #[test]
    fn many_keys_stay_bounded_and_limited() {
        let limiter = limiter(HOUR, 1);
        assert!((0..MAX_REMEMBERED).all(|who| limiter.admit(who).is_ok()));
        let further = MAX_REMEMBERED..10 * MAX_REMEMBERED;
        let admitted = further.filter(|who| limiter.admit(*who).is_ok()).count();
        assert_eq!(admitted, SHARED_PLACES);
        assert_eq!(limiter.remembered(), MAX_REMEMBERED);
        // Remembered keys keep their counts.
        assert!((0..MAX_REMEMBERED).all(|who| limiter.ask(who).is_err()));
    }

    #[test]
    fn idle_keys_make_room_when_full() {
        // A full burst is available again after this time, which is shorter than the test's loop.
        let limiter = limiter(Duration::from_nanos(1), 1);
        {
            let counts = limiter.0.as_ref().unwrap();
            let mut table = counts.places.lock();
            table.own = (0..MAX_REMEMBERED)
                .map(|who| (who, Nanos::new(1)))
                .collect();
            table.forget_after = MAX_REMEMBERED;
        }
        for who in MAX_REMEMBERED..=2 * MAX_REMEMBERED {
            limiter.admit(who).unwrap_or_default();
        }
        assert_eq!(limiter.remembered(), 0);
        assert_eq!(limiter.admit(1), Ok(()));
        assert_eq!(limiter.remembered(), 1);
    }

    #[test]
    fn a_wait_is_never_too_short_to_tell() {
        let limiter = limiter(Duration::from_micros(50), 1);
        let rejected = (0..100_000).find_map(|_| limiter.admit(1).err());
        assert_eq!(rejected, Some(MIN_WAIT));
    }
}
