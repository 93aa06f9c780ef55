//! Calls that wait for a look-up of their caller, before they are authenticated.
//!
//! Look-ups run in a fair queue of their own whose owners are client networks, on at most half of the database's
//! connections: a client with many look-ups delays those of other clients by its running ones only.
//!
//! The number of waiting calls is bounded by a dynamic threshold: a client may have at most half as many as there is
//! room left (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998). A
//! client without waiting calls finds room beside any number of such clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_throttle::{KeyedCounts, Owner};

use crate::admission::fair_queue::FairQueue;
use crate::admission::permits::{Overloaded, mark_limited};

/// Maximum number of calls that wait for a look-up. A single client has at most a third of them.
const MAX_WAITING: usize = 2000;
/// Maximum number of further calls, each of a client that has no other waiting call.
const MAX_NEWCOMERS: usize = 500;
/// Connections to the database that look-ups leave to other calls, as a divisor of all.
const WHOLE_PER_REST: usize = 2;

/// Calls that wait for a look-up, and the queue in which look-ups take turns.
pub(crate) struct Entrance {
    waiting: Mutex<Waiting>,
    queue: Arc<FairQueue>,
}

#[derive(Default)]
struct Waiting {
    all: usize,
    by_client: KeyedCounts<Owner>,
}

impl Entrance {
    /// Creates an entrance for a database with this number of connections.
    pub(crate) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            queue: FairQueue::new(connections / WHOLE_PER_REST),
        })
    }

    /// Returns the queue of look-ups.
    pub(super) fn queue(&self) -> &Arc<FairQueue> {
        &self.queue
    }

    /// Lets a call of this client wait.
    ///
    /// # Errors
    /// Too many calls of the client wait, compared to the room that is left.
    pub(super) fn wait(self: &Arc<Self>, client: &Owner) -> Result<WaitingCall, Overloaded> {
        let mut waiting = self.waiting();
        let share = MAX_WAITING.saturating_sub(waiting.all) / 2;
        let own = waiting.by_client.get(client);
        let is_newcomer = own == 0 && waiting.all < MAX_WAITING + MAX_NEWCOMERS;
        if own >= share && !is_newcomer {
            drop(waiting);
            mark_limited();
            return Err(Overloaded);
        }
        waiting.all += 1;
        waiting.by_client.add(client.clone(), 1);
        drop(waiting);
        Ok(WaitingCall {
            entrance: Arc::clone(self),
            client: client.clone(),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting call, until this is dropped.
pub(super) struct WaitingCall {
    entrance: Arc<Entrance>,
    client: Owner,
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        let mut waiting = self.entrance.waiting();
        waiting.all -= 1;
        waiting.by_client.subtract(&self.client, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Owner {
        Owner::Address(std::net::Ipv4Addr::from(number).into())
    }

    /// Lets calls of a client wait until one is rejected.
    fn fill(entrance: &Arc<Entrance>, number: u32) -> Vec<WaitingCall> {
        std::iter::from_fn(|| entrance.wait(&client(number)).ok()).collect()
    }

    #[test]
    fn single_client_has_a_third_of_the_room() {
        let entrance = Entrance::new(10);
        let held = fill(&entrance, 1);
        assert_eq!(held.len(), MAX_WAITING.div_ceil(3));
        drop(held);
        let waiting = entrance.waiting();
        assert!(waiting.all == 0 && waiting.by_client.is_empty());
    }

    #[test]
    fn newcomer_finds_room_beside_a_hundred_full_clients() {
        let entrance = Entrance::new(10);
        let clients = || (0..100).flat_map(|number| fill(&entrance, number));
        let mut held: Vec<_> = clients().collect();
        // None is left more than its share by the later ones.
        held.extend(clients());
        assert!((0..100).all(|number| entrance.wait(&client(number)).is_err()));
        assert!(entrance.wait(&client(100)).is_ok());
        assert!(entrance.waiting().all <= MAX_WAITING + 100);
    }

    #[test]
    fn waiting_calls_of_all_clients_are_bounded() {
        let entrance = Entrance::new(10);
        let all = MAX_WAITING + MAX_NEWCOMERS;
        let clients = 0..2 * all as u32;
        let held: Vec<_> = clients
            .filter_map(|number| entrance.wait(&client(number)).ok())
            .collect();
        assert_eq!(held.len(), all);
    }
}
