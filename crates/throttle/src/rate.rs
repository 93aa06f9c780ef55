//! Rate limits calls or other events by key: a mean rate, and a burst after a pause.
//!
//! The number of tracked keys is bounded: keys that could make a full burst again are dropped periodically,
//! and while the table is full, further keys share a fixed number of slots. Keys in a shared slot also share
//! its limit, so each is allowed less and never more.
//!
//! Each process counts for itself, by the monotonic clock, and starts with no counts.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::Quota;
use governor::clock::{Clock, DefaultClock};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

/// Minimum number of new keys between removals of old ones.
const MIN_KEYS_PER_REMOVAL: usize = 10_000;
/// Maximum number of tracked keys, each with its own slot.
const MAX_KEYS: usize = 100_000;
/// Number of slots that further keys share.
const SHARED_SLOTS: usize = 1024;
/// Minimum wait that is reported. Never zero, which would mean that no wait is needed.
const MIN_WAIT: Duration = Duration::from_millis(1);

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
pub struct RateLimiter<K: Clone + Eq + Hash>(Option<Arc<Counts<K>>>);

impl<K: Clone + Eq + Hash> Clone for RateLimiter<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Counts<K: Clone + Eq + Hash> {
    limiter: governor::RateLimiter<Query<K>, KeyTable<K>, DefaultClock>,
    table: KeyTable<K>,
    rate: Rate,
}

impl<K: Clone + Eq + Hash> RateLimiter<K> {
    /// Limits to this rate. `None` means no limit.
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        let quota = rate.and_then(|rate| {
            let quota = Quota::with_period(rate.interval)?;
            Some((rate, quota.allow_burst(rate.burst)))
        });
        Self(quota.map(|(rate, quota)| {
            let table = KeyTable(Arc::new(Mutex::new(Table::default())));
            let limiter = governor::RateLimiter::new(quota, table.clone(), DefaultClock::default());
            Arc::new(Counts {
                limiter,
                table,
                rate,
            })
        }))
    }

    /// Returns true if a rate is set.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Counts an event of a key.
    ///
    /// # Errors
    /// The key is over its limit. The error is the time until the next event would be admitted.
    pub fn admit(&self, key: K) -> Result<(), Duration> {
        self.query(key, NonZeroU32::MIN, true)
    }

    /// Like [`RateLimiter::admit`] of this number of events, but counts nothing. More events than the burst are over
    /// the limit.
    ///
    /// # Errors
    /// The key would be over its limit. The error is the time until the events would be admitted, or until the
    /// burst would be.
    pub fn check(&self, key: K, events: NonZeroU32) -> Result<(), Duration> {
        self.query(key, events, false)
    }

    fn query(&self, key: K, events: NonZeroU32, counts: bool) -> Result<(), Duration> {
        let Some(Counts {
            limiter,
            table,
            rate,
        }) = self.0.as_deref()
        else {
            return Ok(());
        };
        let query = Query { key, counts };
        // More events than the burst are an error without a time.
        let outcome = limiter.check_key_n(&query, events.min(rate.burst));
        let outcome = outcome.unwrap_or(Ok(()));
        if table.lock().is_removal_due() {
            limiter.retain_recent();
        }
        if outcome.is_ok() && events > rate.burst {
            return Err(rate.interval.max(MIN_WAIT));
        }
        outcome.map_err(|rejected| {
            let now = limiter.clock().now();
            rejected.wait_time_from(now).max(MIN_WAIT)
        })
    }

    /// Returns the number of keys that have a slot of their own.
    #[must_use]
    pub fn tracked_keys(&self) -> usize {
        self.0.as_ref().map_or(0, |counts| counts.limiter.len())
    }
}

/// Query for a key.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Query<K> {
    key: K,
    /// True if an admitted event is counted.
    counts: bool,
}

/// Table of counts, shared by the limiter and the removal of old keys.
struct KeyTable<K>(Arc<Mutex<Table<K>>>);

impl<K> Clone for KeyTable<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> KeyTable<K> {
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
    new_keys: usize,
    /// Number of such events after which keys are removed.
    keys_per_removal: usize,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            own: HashMap::new(),
            shared: vec![None; SHARED_SLOTS],
            new_keys: 0,
            keys_per_removal: MIN_KEYS_PER_REMOVAL,
        }
    }
}

impl<K> Table<K> {
    fn is_removal_due(&self) -> bool {
        self.new_keys > self.keys_per_removal
    }
}

impl<K: Clone + Eq + Hash> StateStore for KeyTable<K> {
    type Key = Query<K>;

    fn measure_and_replace<T, F, E>(&self, query: &Query<K>, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let table = &mut *self.lock();
        if let Some(slot) = table.own.get_mut(&query.key) {
            let (outcome, after) = f(Some(*slot))?;
            if query.counts {
                *slot = after;
            }
            return Ok(outcome);
        }
        let is_full = table.own.len() >= MAX_KEYS;
        let hash = table.own.hasher().hash_one(&query.key) as usize;
        let shared = table.shared.get_mut(hash % SHARED_SLOTS);
        let shared = shared.filter(|_| is_full);
        let before = shared.as_ref().and_then(|slot| **slot);
        if query.counts {
            table.new_keys += 1;
        }
        let (outcome, after) = f(before)?;
        if query.counts {
            match shared {
                Some(slot) => *slot = Some(after),
                None => drop(table.own.insert(query.key.clone(), after)),
            }
        }
        Ok(outcome)
    }
}

impl<K: Clone + Eq + Hash> ShrinkableKeyedStateStore<Query<K>> for KeyTable<K> {
    /// Removes keys that could make a full burst again, which does not change their limits. The next removal
    /// comes after as many new keys as are left, so that the cost per key is constant.
    fn retain_recent(&self, drop_below: Nanos) {
        let table = &mut *self.lock();
        table.own.retain(|_, slot| *slot > drop_below);
        table.own.shrink_to_fit();
        table.new_keys = 0;
        table.keys_per_removal = table.own.len().max(MIN_KEYS_PER_REMOVAL);
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
    fn limiter(interval: Duration, burst: u32) -> RateLimiter<usize> {
        let burst = NonZeroU32::new(burst).unwrap();
        RateLimiter::new(Some(Rate { interval, burst }))
    }

    #[test]
    fn rate_without_a_burst_allows_that_of_its_time() {
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
    fn each_key_is_admitted_exactly_its_burst() {
        let limiter = limiter(HOUR, 3);
        for key in 0..10 {
            assert_eq!([(); 3].map(|()| limiter.admit(key)), [Ok(()); 3]);
            let wait = limiter.admit(key).unwrap_err().as_secs();
            assert!((3000..=3600).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn no_key_is_counted_without_a_limit() {
        let none = RateLimiter::new(None);
        assert!(!none.is_on());
        assert!((0..1000).all(|_| none.admit(1).is_ok()));
        // A rate above one event per nanosecond is unlimited.
        let none = RateLimiter::new(Rate::per_second(u32::MAX, 1));
        assert!((0..1000).all(|_| none.admit(1).is_ok()));
    }

    #[test]
    fn check_counts_nothing_and_answers_like_admit() {
        let limiter = limiter(HOUR, 2);
        let check = |key| limiter.check(key, NonZeroU32::MIN);
        for _ in 0..2 {
            assert!((0..100).all(|_| check(1).is_ok()));
            assert_eq!(limiter.admit(1), Ok(()));
        }
        assert!(check(1).is_err());
        assert!(limiter.admit(1).is_err());
        assert!((2..100).all(|key| check(key).is_ok()));
        assert_eq!(limiter.tracked_keys(), 1);
    }

    #[test]
    fn check_of_several_events_is_bounded_by_the_rest() {
        let limiter = limiter(HOUR, 3);
        let check = |events| limiter.check(1, NonZeroU32::new(events).unwrap());
        for admitted in [3, 2, 1, 0] {
            for events in 1..=5 {
                assert_eq!(check(events).is_ok(), events <= admitted, "{events}");
            }
            assert_eq!(limiter.admit(1).is_ok(), admitted > 0);
        }
    }

    #[test]
    fn idle_key_is_evicted() {
        let limiter = limiter(Duration::from_nanos(1), 1);
        for key in 0..=2 * MIN_KEYS_PER_REMOVAL {
            assert_eq!(limiter.admit(key), Ok(()));
            assert!(limiter.tracked_keys() <= MIN_KEYS_PER_REMOVAL);
        }
    }

    #[test]
    fn active_key_is_not_evicted() {
        let limiter = limiter(HOUR, 1);
        let all = 0..=2 * MIN_KEYS_PER_REMOVAL;
        assert!(all.clone().all(|key| limiter.admit(key).is_ok()));
        assert!(all.clone().all(|key| limiter.admit(key).is_err()));
        assert_eq!(limiter.tracked_keys(), all.count());
    }

    #[test]
    fn many_keys_stay_bounded_and_limited() {
        let limiter = limiter(HOUR, 1);
        assert!((0..MAX_KEYS).all(|key| limiter.admit(key).is_ok()));
        let further = MAX_KEYS..10 * MAX_KEYS;
        let admitted = further.filter(|key| limiter.admit(*key).is_ok()).count();
        assert_eq!(admitted, SHARED_SLOTS);
        assert_eq!(limiter.tracked_keys(), MAX_KEYS);
        // Tracked keys keep their counts.
        assert!((0..MAX_KEYS).all(|key| limiter.check(key, NonZeroU32::MIN).is_err()));
    }

    #[test]
    fn idle_keys_make_room_when_full() {
        // A full burst is available again after this time, which is shorter than the test's loop.
        let limiter = limiter(Duration::from_nanos(1), 1);
        {
            let counts = limiter.0.as_ref().unwrap();
            let mut table = counts.table.lock();
            table.own = (0..MAX_KEYS).map(|key| (key, Nanos::new(1))).collect();
            table.keys_per_removal = MAX_KEYS;
        }
        for key in MAX_KEYS..=2 * MAX_KEYS {
            limiter.admit(key).unwrap_or_default();
        }
        assert_eq!(limiter.tracked_keys(), 0);
        assert_eq!(limiter.admit(1), Ok(()));
        assert_eq!(limiter.tracked_keys(), 1);
    }

    #[test]
    fn wait_is_never_below_the_minimum() {
        let limiter = limiter(Duration::from_micros(50), 1);
        let rejected = (0..100_000).find_map(|_| limiter.admit(1).err());
        assert_eq!(rejected, Some(MIN_WAIT));
    }
}
