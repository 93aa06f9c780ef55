//! Slots of the calls of this process that change a key or its account, and a lock for each key whose settings change.
//! Calls wait for both before they take a connection. Otherwise the callers of one busy key would use up the
//! connections. Between replicas, and between a change of settings and a batch of the ledger, the row's lock decides the
//! order.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use keyward_core::Error;
use keyward_crypto::KeyHash;
use tokio::sync::Mutex;

/// Number of locks above which those without waiting calls are removed.
const REMEMBERED_KEYS: usize = 1024;

/// Maximum number of calls that change one key's account or wait to; further calls are rejected.
const MAX_PER_KEY: usize = 64;
/// Maximum number of such calls for all keys together. A busy gateway has several times this number of calls in
/// progress, most of which are other calls; they find permits regardless of the number of these calls.
const MAX_OF_ALL_KEYS: usize = 512;

/// A lock for each key that calls wait for.
#[derive(Default)]
pub(crate) struct PerKeyQueue(std::sync::Mutex<State>);

/// A slot among the calls that change a key's account or wait to, until it is dropped.
pub(crate) struct Waiter {
    queue: Arc<PerKeyQueue>,
    key: [u8; 32],
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.waiting -= 1;
        if let Some(count) = state.waiting_by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.waiting_by_key.remove(&self.key);
            }
        }
    }
}

#[derive(Default)]
struct State {
    locks: HashMap<[u8; 32], Weak<Mutex<()>>>,
    prune_above: usize,
    waiting: usize,
    waiting_by_key: HashMap<[u8; 32], usize>,
}

impl PerKeyQueue {
    /// Takes a slot for one more call that changes this key.
    ///
    /// # Errors
    /// [`Error::KeyBusy`]: the key, or all keys together, have the maximum number of calls.
    pub(crate) fn join(self: &Arc<Self>, key: &KeyHash) -> Result<Waiter, Error> {
        let key = *key.as_bytes();
        let mut state = self.state();
        let of_key = state.waiting_by_key.get(&key).copied().unwrap_or_default();
        if of_key >= MAX_PER_KEY || state.waiting >= MAX_OF_ALL_KEYS {
            return Err(Error::KeyBusy);
        }
        state.waiting += 1;
        state.waiting_by_key.insert(key, of_key + 1);
        drop(state);
        Ok(Waiter {
            queue: Arc::clone(self),
            key,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fair lock of a key.
    pub(crate) fn lock_of(&self, key: &KeyHash) -> Arc<Mutex<()>> {
        let mut state = self.state();
        if let Some(lock) = state.locks.get(key.as_bytes()).and_then(Weak::upgrade) {
            return lock;
        }
        if state.locks.len() >= state.prune_above.max(REMEMBERED_KEYS) {
            state.locks.retain(|_, lock| lock.strong_count() > 0);
            // The next scan happens after as many new keys as are in use now, so the amortized cost of a call is
            // constant.
            state.prune_above = 2 * state.locks.len();
        }
        let lock = Arc::default();
        state.locks.insert(*key.as_bytes(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;

    fn key(number: usize) -> KeyHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        KeyHash::from_bytes(bytes)
    }

    #[test]
    fn key_in_use_has_one_lock() {
        let queue = Arc::<PerKeyQueue>::default();
        let first = queue.lock_of(&key(1));
        let held = first.try_lock().unwrap();
        assert!(queue.lock_of(&key(1)).try_lock().is_err());
        assert!(queue.lock_of(&key(2)).try_lock().is_ok());
        drop(held);
        assert!(queue.lock_of(&key(1)).try_lock().is_ok());
    }

    #[test]
    fn locks_out_of_use_are_removed() {
        let queue = Arc::<PerKeyQueue>::default();
        let kept = queue.lock_of(&key(0));
        for number in 1..10 * REMEMBERED_KEYS {
            queue.lock_of(&key(number));
        }
        assert!(queue.0.lock().unwrap().locks.len() <= REMEMBERED_KEYS);
        assert!(Arc::ptr_eq(&kept, &queue.lock_of(&key(0))));
    }

    #[test]
    fn calls_that_wait_for_one_key_are_bounded() {
        let queue = Arc::<PerKeyQueue>::default();
        let busy: Vec<_> = (0..MAX_PER_KEY)
            .map(|_| queue.join(&key(1)).unwrap())
            .collect();
        let rejected = queue.join(&key(1)).map(drop);
        assert!(matches!(rejected, Err(Error::KeyBusy)), "{rejected:?}");
        assert!(queue.join(&key(2)).is_ok());
        drop(busy);
        assert!(queue.join(&key(1)).is_ok());
        assert!(queue.state().waiting_by_key.is_empty());
    }

    #[test]
    fn calls_that_wait_for_any_key_are_bounded() {
        let queue = Arc::<PerKeyQueue>::default();
        let waiting: Vec<_> = (0..MAX_OF_ALL_KEYS)
            .map(|number| queue.join(&key(number)).unwrap())
            .collect();
        assert!(queue.join(&key(MAX_OF_ALL_KEYS)).is_err());
        drop(waiting);
        assert_eq!(queue.state().waiting, 0);
    }
}
