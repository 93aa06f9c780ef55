//! Lets the callers of this process that change one key's account wait for each other before they
//! take a connection, not with one in hand: else the callers of one busy key would keep the
//! connections from all others. Which replica comes first the row's lock decides.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

use keyward_crypto::KeyHash;
use tokio::sync::Mutex;

/// How many keys are remembered before those are forgotten for whom no one waits.
const REMEMBERED_KEYS: usize = 1024;

/// A gate for each key for whom someone waits.
#[derive(Default)]
pub(crate) struct Turns(std::sync::Mutex<Gates>);

#[derive(Default)]
struct Gates {
    by_key: HashMap<[u8; 32], Weak<Mutex<()>>>,
    forget_above: usize,
}

impl Turns {
    /// The gate of a key, which lets one in at a time, in order.
    pub(crate) fn of(&self, key: &KeyHash) -> Arc<Mutex<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.by_key.get(key.as_bytes()).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.by_key.len() >= gates.forget_above.max(REMEMBERED_KEYS) {
            gates.by_key.retain(|_, gate| gate.strong_count() > 0);
            // With as many as now in use again before the next look, a call costs the same always.
            gates.forget_above = 2 * gates.by_key.len();
        }
        let gate = Arc::default();
        gates.by_key.insert(*key.as_bytes(), Arc::downgrade(&gate));
        gate
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
    fn a_key_has_one_gate_while_someone_waits() {
        let turns = Turns::default();
        let first = turns.of(&key(1));
        let held = first.try_lock().unwrap();
        assert!(turns.of(&key(1)).try_lock().is_err());
        assert!(turns.of(&key(2)).try_lock().is_ok());
        drop(held);
        assert!(turns.of(&key(1)).try_lock().is_ok());
    }

    #[test]
    fn gates_for_whom_no_one_waits_are_forgotten() {
        let turns = Turns::default();
        let kept = turns.of(&key(0));
        for number in 1..10 * REMEMBERED_KEYS {
            turns.of(&key(number));
        }
        assert!(turns.0.lock().unwrap().by_key.len() <= REMEMBERED_KEYS);
        assert!(Arc::ptr_eq(&kept, &turns.of(&key(0))));
    }
}
