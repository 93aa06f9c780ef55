//! Counts calls, or whatever else comes one by one, by whoever makes them: so many in a time, and so
//! many at once after a pause.
//!
//! What is remembered is bounded, however many come: those who could make a full burst again are
//! forgotten now and then, and when there are still too many, the further ones share a fixed number of
//! places. They then share what one of them may do, which is less for each and never more.
//!
//! Each process counts for itself, by the monotonic clock, and begins with nothing counted.

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

/// After how many who were not remembered, at least, it is time to forget some.
pub(crate) const FORGET_AFTER: usize = 10_000;
/// How many are remembered at most, each in a place of their own.
pub(crate) const MAX_REMEMBERED: usize = 100_000;
/// How many places the further ones share.
const SHARED_PLACES: usize = 1024;
/// The shortest time that somebody is asked to wait. Never zero, which would say that there is nothing
/// to wait for.
pub(crate) const MIN_WAIT: Duration = Duration::from_millis(1);

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The mean time between two. Zero limits nothing.
    pub interval: Duration,
    /// How many may come at once after a pause.
    pub burst: NonZeroU32,
}

impl Rate {
    /// So many a second, and so many at once; without a `burst`, as many as in one second. None a
    /// second is no limit.
    #[must_use]
    pub fn per_second(count: u32, burst: u32) -> Option<Self> {
        Self::per(Duration::from_secs(1), count, burst)
    }

    /// So many a minute, and so many at once; without a `burst`, as many as in one minute. None a
    /// minute is no limit.
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

/// Holds each `K` to a rate, if there is one.
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

    /// Whether anything is limited.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Counts one, or says how long to wait until the next would be let through.
    pub(crate) fn admit(&self, who: K) -> Result<(), Duration> {
        self.check(who, true)
    }

    /// As [`Limiter::admit`], and counts nothing.
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
        outcome.map_err(|refused| {
            let now = limiter.clock().now();
            refused.wait_time_from(now).max(MIN_WAIT)
        })
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.0.as_ref().map_or(0, |counts| counts.limiter.len())
    }
}

/// A question about somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked<K> {
    who: K,
    /// Whether it is counted when it is answered with yes.
    counts: bool,
}

/// Who has been counted, for the limiter and for who forgets.
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

/// For each, when they would be as if they had never come.
struct Table<K> {
    own: HashMap<K, Nanos>,
    /// The places of whoever comes when there are too many, found by their keyed hash: nobody can
    /// choose whose place to take.
    shared: Vec<Option<Nanos>>,
    /// How many were counted who were not remembered, since some were forgotten.
    strangers: usize,
    /// With more strangers than this it is time to forget.
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
    /// Forgets who could make a full burst again, which changes nothing for them. The next time comes
    /// when as many strangers have come as are left, so that one costs the same however many there are.
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

    /// A limiter that lets so many through at once, and one more in each interval.
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
    fn nobody_is_counted_without_a_limit() {
        let none = Limiter::new(None);
        assert!(!none.is_on());
        assert!((0..1000).all(|_| none.admit(1).is_ok()));
        // Nor with more a second than a nanosecond can tell apart.
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
    fn who_has_paused_is_forgotten() {
        let limiter = limiter(Duration::from_nanos(1), 1);
        for who in 0..=2 * FORGET_AFTER {
            assert_eq!(limiter.admit(who), Ok(()));
            assert!(limiter.remembered() <= FORGET_AFTER);
        }
    }

    #[test]
    fn who_has_not_paused_is_not_forgotten() {
        let limiter = limiter(HOUR, 1);
        let all = 0..=2 * FORGET_AFTER;
        assert!(all.clone().all(|who| limiter.admit(who).is_ok()));
        assert!(all.clone().all(|who| limiter.admit(who).is_err()));
        assert_eq!(limiter.remembered(), all.count());
    }

    #[test]
    fn however_many_come_there_is_a_bound_and_no_way_around_the_limit() {
        let limiter = limiter(HOUR, 1);
        assert!((0..MAX_REMEMBERED).all(|who| limiter.admit(who).is_ok()));
        let further = MAX_REMEMBERED..10 * MAX_REMEMBERED;
        let admitted = further.filter(|who| limiter.admit(*who).is_ok()).count();
        assert_eq!(admitted, SHARED_PLACES);
        assert_eq!(limiter.remembered(), MAX_REMEMBERED);
        // Who was there before is counted as before.
        assert!((0..MAX_REMEMBERED).all(|who| limiter.ask(who).is_err()));
    }

    #[test]
    fn when_those_who_filled_it_have_paused_there_is_room_again() {
        // In this time a full burst comes back, and the crowd of the test takes longer to come.
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
        let refused = (0..100_000).find_map(|_| limiter.admit(1).err());
        assert_eq!(refused, Some(MIN_WAIT));
    }
}
