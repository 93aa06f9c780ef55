//! Look-ups of callers during authentication. Calls of one client that look up the same key share reads, and a call
//! holds no permit while it waits.
//!
//! A call never gets a state that is older than the call: it joins a read that has not begun, and not one that runs.
//! At most one read of a client's key runs, and at most one is to follow. Results are not cached. Different clients
//! do not share reads, so that no call waits in another client's flow.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use keyward_store::{deadline, occupancy};
use keyward_throttle::Owner;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::admission::entrance::Entrance;
use crate::admission::fair_queue::{Turn, Work};
use crate::admission::permits::{Overloaded, unoccupied};

/// Look-ups of values `V` by keys `K`.
pub(crate) struct Lookups<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    entrance: Arc<Entrance>,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    by_key: HashMap<ClientKey<K>, Reads<V>>,
    next: u64,
}

/// A key that a client looks up.
type ClientKey<K> = (Owner, K);

/// Reads of one key for one client.
struct Reads<V> {
    /// Calls that wait for a read.
    calls: usize,
    /// Held by the read that runs.
    running: Arc<tokio::sync::Mutex<()>>,
    /// Read that has not begun.
    pending: Option<Pending<V>>,
}

type Outcome<V> = Result<V, Overloaded>;
type Read<V> = Shared<BoxFuture<'static, Outcome<V>>>;

struct Pending<V> {
    number: u64,
    /// Dropped, and cancelled, with the last call that waits for it.
    read: WeakShared<BoxFuture<'static, Outcome<V>>>,
    /// Latest deadline of the calls that wait for it; `None` if one of them has no deadline.
    until: Option<Instant>,
}

impl<K, V> Lookups<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Creates look-ups whose reads take turns at this entrance.
    pub(crate) fn new(entrance: &Arc<Entrance>) -> Self {
        Self(Arc::new(Inner {
            entrance: Arc::clone(entrance),
            state: Mutex::new(State {
                by_key: HashMap::new(),
                next: 0,
            }),
        }))
    }

    /// Returns the value of a key, from a read that begins after this call.
    ///
    /// # Errors
    /// Too many calls of the client wait, or no permit is free after the wait.
    pub(crate) async fn find<R>(&self, client: &Owner, key: K, read: R) -> Result<V, Overloaded>
    where
        R: Future<Output = V> + Send + 'static,
    {
        let _waiting = self.0.entrance.wait(client)?;
        let joined = self.0.join((client.clone(), key), read);
        unoccupied(joined.read.clone()).await?
    }
}

impl<K, V> Inner<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the pending read of the key, or creates it.
    fn join<R>(self: &Arc<Self>, key: ClientKey<K>, read: R) -> Joined<K, V>
    where
        R: Future<Output = V> + Send + 'static,
    {
        let until = deadline::remaining().map(|left| Instant::now() + left);
        let state = &mut *self.state();
        let reads = state.by_key.entry(key.clone()).or_insert_with(|| Reads {
            calls: 0,
            running: Arc::default(),
            pending: None,
        });
        reads.calls += 1;
        let joined = reads.pending.as_mut().and_then(|pending| {
            let read = pending.read.upgrade()?;
            pending.until = pending.until.zip(until).map(|(one, other)| one.max(other));
            Some(read)
        });
        let read = match joined {
            Some(read) => read,
            None => {
                let number = state.next;
                state.next = number.wrapping_add(1);
                let running = Arc::clone(&reads.running);
                let task = Arc::clone(self).run(key.clone(), number, running, read);
                let shared = spawned(task);
                reads.pending = shared.downgrade().map(|read| Pending {
                    number,
                    read,
                    until,
                });
                shared
            }
        };
        Joined {
            lookups: Arc::clone(self),
            key,
            read,
        }
    }

    /// Reads after the read that runs, once the client has a turn.
    async fn run<R>(
        self: Arc<Self>,
        key: ClientKey<K>,
        number: u64,
        running: Arc<tokio::sync::Mutex<()>>,
        read: R,
    ) -> Outcome<V>
    where
        R: Future<Output = V> + Send,
    {
        let _running = running.lock_owned().await;
        let turn = Turn::new(self.entrance.queue(), key.0.clone().into());
        let begun = Arc::clone(&turn).begin(Work::Item, None::<&str>).await;
        let until = self.begin(&key, number);
        let _seat = begun?;
        let read = occupancy::scope(turn, read);
        Ok(match until {
            Some(until) => deadline::scope(until, read).await,
            None => read.await,
        })
    }

    /// Lets no further calls join a read; returns the latest deadline of those that have.
    fn begin(&self, key: &ClientKey<K>, number: u64) -> Option<Instant> {
        let mut state = self.state();
        let pending = &mut state.by_key.get_mut(key)?.pending;
        pending.take_if(|it| it.number == number)?.until
    }
}

impl<K, V> Inner<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a read in a task of its own, so that the end of one call does not affect the others. The task ends when
/// no call waits for it.
fn spawned<V>(read: impl Future<Output = Outcome<V>> + Send + 'static) -> Read<V>
where
    V: Clone + Send + Sync + 'static,
{
    let mut task = JoinSet::new();
    task.spawn(read.in_current_span());
    let ended = async move {
        match task.join_next().await {
            Some(Ok(outcome)) => outcome,
            // The read panicked.
            _ => Err(Overloaded),
        }
    };
    ended.boxed().shared()
}

/// A call that waits for a read, until this is dropped.
struct Joined<K: Eq + Hash, V> {
    lookups: Arc<Inner<K, V>>,
    key: ClientKey<K>,
    read: Read<V>,
}

impl<K: Eq + Hash, V> Drop for Joined<K, V> {
    fn drop(&mut self) {
        let mut state = self.lookups.state();
        if let Some(reads) = state.by_key.get_mut(&self.key) {
            reads.calls -= 1;
            if reads.calls == 0 {
                state.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
