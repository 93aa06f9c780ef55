//! Queues of changes of keys' accounts, from which batches are taken.
//!
//! A key's changes are always in one lane, so that they are applied in the order of their arrival and no two batches
//! of this process wait for each other's rows. A lane runs one batch at a time: changes that arrive meanwhile form the
//! next one. A change on an idle lane thus waits for nothing, and a busy lane commits many changes at once. Keys take
//! turns within a lane, so that a key with many changes delays those of another key by one batch.
//!
//! If another process has locked a key's row, the key leaves its lane and waits alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::change::{Key, PendingChange};

/// Maximum number of changes in one transaction.
const MAX_BATCH: usize = 256;

/// The lanes of a store, and the keys that wait alone.
pub(crate) struct LedgerQueue(Mutex<State>);

struct State {
    lanes: Vec<Lane>,
    /// Changes of keys whose rows are locked by others. Each has a runner of its own.
    alone: HashMap<Key, VecDeque<PendingChange>>,
}

#[derive(Default)]
struct Lane {
    is_running: bool,
    by_key: HashMap<Key, VecDeque<PendingChange>>,
    /// Keys with changes, the next one first.
    turns: VecDeque<Key>,
}

/// Source of the batches of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// The lane with this number.
    Lane(usize),
    /// One key.
    Alone(Key),
}

impl LedgerQueue {
    /// Creates a queue with this number of lanes, at least one.
    pub(crate) fn new(lanes: usize) -> Self {
        Self(Mutex::new(State {
            lanes: std::iter::repeat_with(Lane::default)
                .take(lanes.max(1))
                .collect(),
            alone: HashMap::new(),
        }))
    }

    /// Adds a change. Returns the runner that the caller must start, if it does not run yet.
    pub(super) fn push(&self, item: PendingChange) -> Option<Runner> {
        let state = &mut *self.state();
        let key = item.key();
        if let Some(waiting) = state.alone.get_mut(&key) {
            waiting.push_back(item);
            return None;
        }
        let number = usize::from(key[0]) % state.lanes.len();
        let lane = state.lanes.get_mut(number)?;
        lane.push(key, item);
        let starts = !std::mem::replace(&mut lane.is_running, true);
        starts.then_some(Runner::Lane(number))
    }

    /// Takes the next batch of a runner. An empty one ends it.
    pub(super) fn next(&self, runner: Runner) -> Vec<PendingChange> {
        let state = &mut *self.state();
        match runner {
            Runner::Lane(number) => {
                let Some(lane) = state.lanes.get_mut(number) else {
                    return Vec::new();
                };
                let batch = lane.take();
                lane.is_running = !batch.is_empty();
                batch
            }
            Runner::Alone(key) => {
                let Some(waiting) = state.alone.get_mut(&key) else {
                    return Vec::new();
                };
                let batch: Vec<PendingChange> =
                    waiting.drain(..waiting.len().min(MAX_BATCH)).collect();
                if batch.is_empty() {
                    state.alone.remove(&key);
                }
                batch
            }
        }
    }

    /// Drops changes whose callers gave up, and frees their slots.
    pub(super) fn drop_abandoned(&self) {
        let state = &mut *self.state();
        for lane in &mut state.lanes {
            lane.by_key.retain(|_, waiting| has_callers(waiting));
            let by_key = &lane.by_key;
            lane.turns.retain(|key| by_key.contains_key(key));
        }
        // A runner removes its key when it finds no change.
        for waiting in state.alone.values_mut() {
            has_callers(waiting);
        }
    }

    /// Moves a key out of its lane. The given changes of the key precede those in the lane. A lane does this only for
    /// the changes of its own batch, so that a key has at most one runner. Returns the runner that the caller must start.
    pub(super) fn set_apart(&self, key: Key, items: Vec<PendingChange>) -> Runner {
        let state = &mut *self.state();
        let number = usize::from(key[0]) % state.lanes.len();
        let later = state
            .lanes
            .get_mut(number)
            .and_then(|lane| lane.remove(key));
        let waiting = state.alone.entry(key).or_default();
        waiting.extend(items);
        waiting.extend(later.into_iter().flatten());
        Runner::Alone(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops abandoned changes of one key. Returns true if others are left.
fn has_callers(waiting: &mut VecDeque<PendingChange>) -> bool {
    waiting.retain(|item| !item.is_abandoned());
    !waiting.is_empty()
}

impl Lane {
    fn push(&mut self, key: Key, item: PendingChange) {
        let waiting = self.by_key.entry(key).or_default();
        if waiting.is_empty() {
            self.turns.push_back(key);
        }
        waiting.push_back(item);
    }

    fn take(&mut self) -> Vec<PendingChange> {
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH {
            let Some(key) = self.turns.pop_front() else {
                break;
            };
            let Some(waiting) = self.by_key.get_mut(&key) else {
                continue;
            };
            batch.extend(waiting.pop_front());
            if waiting.is_empty() {
                self.by_key.remove(&key);
            } else {
                self.turns.push_back(key);
            }
        }
        batch
    }

    fn remove(&mut self, key: Key) -> Option<VecDeque<PendingChange>> {
        let removed = self.by_key.remove(&key)?;
        self.turns.retain(|other| *other != key);
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use std::sync::Arc;

    use super::*;
    use crate::ledger::change::test_change;
    use crate::per_key_queue::PerKeyQueue;

    struct Rig {
        slots: Arc<PerKeyQueue>,
        queue: LedgerQueue,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                slots: Arc::default(),
                queue: LedgerQueue::new(1),
            }
        }

        fn push(&self, key: u8) -> Option<Runner> {
            self.queue.push(test_change(&self.slots, key))
        }

        fn next(&self, runner: Runner) -> Vec<u8> {
            let batch = self.queue.next(runner);
            batch.iter().map(|item| item.key()[0]).collect()
        }
    }

    #[test]
    fn idle_lane_starts_with_the_first_change() {
        let rig = Rig::new();
        let runner = rig.push(1).unwrap();
        assert_eq!(rig.push(1), None);
        assert_eq!(rig.next(runner), [1, 1]);
        assert_eq!(rig.push(1), None);
        assert_eq!(rig.next(runner), [1]);
        assert_eq!(rig.next(runner), [0; 0]);
        assert_eq!(rig.push(1), Some(runner));
    }

    #[test]
    fn keys_take_turns_in_bounded_batches() {
        let rig = Rig::new();
        let runner = rig.push(0).unwrap();
        for key in 0..7 {
            for _ in 0..40 {
                rig.push(key);
            }
        }
        rig.push(7);
        let batch = rig.next(runner);
        assert_eq!(batch.len(), MAX_BATCH);
        assert_eq!(batch[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn key_apart_keeps_the_order_of_its_changes() {
        let rig = Rig::new();
        let lane = rig.push(1).unwrap();
        rig.push(2);
        let items = rig.queue.next(lane);
        rig.push(1);
        rig.push(2);
        let (one, two): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.key()[0] == 1);
        drop(two);
        let alone = rig.queue.set_apart(*one[0].hash.as_bytes(), one);
        // Its later change, and those that follow, leave the lane too.
        assert_eq!(rig.push(1), None);
        assert_eq!(rig.next(lane), [2]);
        assert_eq!(rig.next(alone), [1, 1, 1]);
        assert_eq!(rig.next(alone), [0; 0]);
        // Then the key is back in its lane.
        assert_eq!(rig.push(1), None);
        assert_eq!(rig.next(lane), [1]);
    }
}
