//! Evicts a connection when another waits to be accepted and every slot is taken: closes the oldest connection
//! that has presented neither a valid token nor a valid certificate. Idle connections and streams that watch
//! health therefore cannot keep slots from probes and callers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::activity::Activity;

/// Open connections that may be evicted, oldest first.
#[derive(Default)]
pub(crate) struct OpenConnections {
    next: AtomicU64,
    connections: Mutex<BTreeMap<u64, (AbortHandle, Arc<Activity>)>>,
}

/// Removes a connection when it ends.
pub(crate) struct OpenGuard {
    open: Arc<OpenConnections>,
    number: u64,
}

impl OpenConnections {
    /// Returns the number of a new connection.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a connection.
    pub(crate) fn insert(&self, number: u64, task: AbortHandle, activity: Arc<Activity>) {
        // The task may have ended already, on another thread.
        if !task.is_finished() {
            self.connections().insert(number, (task, activity));
        }
    }

    /// Returns a guard that removes the connection on drop.
    pub(crate) fn guard(self: Arc<Self>, number: u64) -> OpenGuard {
        OpenGuard { open: self, number }
    }

    /// Closes the oldest unauthenticated connection. Returns false if all are authenticated.
    pub(crate) fn evict(&self) -> bool {
        let mut connections = self.connections();
        connections.retain(|_, (task, _)| !task.is_finished());
        let oldest = connections
            .iter()
            .find(|(_, (_, activity))| !activity.is_authenticated())
            .map(|(number, _)| *number);
        match oldest.and_then(|number| connections.remove(&number)) {
            Some((task, _)) => {
                task.abort();
                true
            }
            None => false,
        }
    }

    fn connections(&self) -> MutexGuard<'_, BTreeMap<u64, (AbortHandle, Arc<Activity>)>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.open.connections().remove(&self.number);
    }
}
