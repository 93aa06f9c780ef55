//! Caches of rows that calls read often.
//!
//! All caches have the same rules. They are written here:
//!
//! - **Invalidation.** Every subject of a change has a generation, a number that only grows. The generation is a part
//!   of an entry's key: a call looks for the entry of the present generation, and a read that began before a change
//!   stores its result under the earlier generation, where no later call looks. A change of this process advances the
//!   generation after the commit and before its response. A change of another replica advances it when the follower of
//!   the feed finds it ([`change_feed`](crate::change_feed)).
//! - **Staleness.** Entries are used only while the follower confirms that it has seen every change up to a time at most
//!   [`CacheSettings::max_staleness`] ago. Otherwise calls read the database.
//! - **Bounds.** A cache has at most [`CacheSettings::max_entries`] entries, each for at most
//!   [`CacheSettings::lifetime`]. An unknown key is an entry too, and a member with many workspaces counts as several.
//! - **Concurrent reads.** Calls that look for the same missing entry share one read, and its failure. Each of them
//!   began before that read's result became outdated, because the entry's key has the generation that all of them saw.

mod generations;

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use keyward_core::Error;
use keyward_core::account::MeteredKey;
use keyward_core::clock::Timestamp;
use keyward_core::id::{OrganizationId, UserId};
use keyward_core::last_use;
use keyward_core::management_key::ManagementKey;
use keyward_core::repo_ai_key::FoundRepoAiKey;
use keyward_core::tenancy::{Member, Workspace};
use moka::future::Cache as Entries;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;
use uuid::Uuid;

use crate::subject::Subject;
use crate::{deadline, metrics};

use generations::Generations;

/// Settings for the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Maximum number of entries of each cache; 0 disables the caches.
    pub max_entries: u64,
    /// Maximum lifetime of an entry.
    pub lifetime: Duration,
    /// Maximum age of the state that an entry may reflect.
    pub max_staleness: Duration,
    /// Interval at which a replica reads the changes of others when it is not notified.
    pub poll_interval: Duration,
}

/// State that all caches of a store share.
pub(crate) struct CacheState {
    generations: Generations,
    started: Instant,
    /// Milliseconds from `started` to the time up to which all changes are known, plus one; 0 if no time is known.
    known_until: AtomicU64,
    max_staleness: Duration,
    is_enabled: bool,
}

/// Value of `known_until` for a database that no other process changes.
const ALWAYS: u64 = u64::MAX;

impl CacheState {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        Self {
            generations: Generations::default(),
            started: Instant::now(),
            known_until: AtomicU64::new(0),
            max_staleness: settings.max_staleness,
            is_enabled: settings.max_entries > 0,
        }
    }

    /// Outdates the entries of these subjects.
    pub(crate) fn invalidate(&self, subjects: &[Subject]) {
        for subject in subjects {
            self.generations.advance(subject);
        }
    }

    /// Outdates all entries.
    pub(crate) fn invalidate_all(&self) {
        self.generations.advance_all();
    }

    /// Records that the generations reflect every change before this time.
    pub(crate) fn confirm(&self, until: Instant) {
        let millis = until.saturating_duration_since(self.started).as_millis();
        let millis = u64::try_from(millis).unwrap_or(ALWAYS - 2);
        self.known_until.store(millis + 1, Ordering::Release);
    }

    /// Records that only this process changes the database.
    pub(crate) fn confirm_always(&self) {
        self.known_until.store(ALWAYS, Ordering::Release);
    }

    /// Records that changes are not followed any more.
    pub(crate) fn withdraw(&self) {
        self.known_until.store(0, Ordering::Release);
    }

    /// Returns true if entries may be used.
    pub(crate) fn is_fresh(&self) -> bool {
        match self.known_until.load(Ordering::Acquire) {
            _ if !self.is_enabled => false,
            0 => false,
            ALWAYS => true,
            millis => {
                let until = self.started + Duration::from_millis(millis - 1);
                until.elapsed() < self.max_staleness
            }
        }
    }
}

/// The caches of a store.
pub(crate) struct Caches {
    /// Live issued keys with their accounts, by hash and by day, since an account has sums per day.
    pub(crate) issued_keys: Cache<([u8; 32], i64), Option<Arc<ExpiringKey>>>,
    /// Workspaces of issued keys, live or deleted, by hash. A key never moves.
    pub(crate) locations: Cache<[u8; 32], Arc<Workspace>>,
    /// Live management keys by hash.
    pub(crate) management_keys: Cache<[u8; 32], Option<Arc<ManagementKey>>>,
    /// Live repo AI keys by their public half.
    pub(crate) repo_ai_keys: Cache<String, Option<Arc<FoundRepoAiKey>>>,
    /// Members by organization and user.
    pub(crate) members: Cache<(OrganizationId, UserId), Option<Arc<Member>>>,
    /// Last uses of keys that this process has recorded.
    pub(crate) recorded_uses: moka::sync::Cache<Uuid, Timestamp>,
}

/// A key with its account, and the time from which the account is another one without a change.
#[derive(Debug, Clone)]
pub(crate) struct ExpiringKey {
    pub(crate) metered: MeteredKey,
    /// Earliest expiry of a reservation that the account holds.
    pub(crate) until: Option<Timestamp>,
}

impl Caches {
    pub(crate) fn new(state: &Arc<CacheState>, settings: &CacheSettings) -> Self {
        Self {
            issued_keys: Cache::new("issued_keys", state, settings),
            locations: Cache::new("locations", state, settings),
            management_keys: Cache::new("management_keys", state, settings),
            repo_ai_keys: Cache::new("repo_ai_keys", state, settings),
            members: Cache::weighed("members", state, settings, member_weight),
            recorded_uses: moka::sync::Cache::builder()
                .max_capacity(settings.max_entries)
                .time_to_live(last_use::LAG)
                .build(),
        }
    }
}

/// Number of a member's workspaces that take about as much memory as an entry.
const WORKSPACES_PER_ENTRY: usize = 8;

fn member_weight(member: &Option<Arc<Member>>) -> u32 {
    let workspaces = member.as_ref().map_or(0, |member| member.access.len());
    u32::try_from(1 + workspaces / WORKSPACES_PER_ENTRY).unwrap_or(u32::MAX)
}

/// Maximum time for a read that calls share.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// A call that waits for an entry. Ends its task when it is dropped, unless the task reads for others too.
struct Waiter {
    task: AbortHandle,
    reads: Arc<AtomicBool>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.reads.load(Ordering::Acquire) {
            self.task.abort();
        }
    }
}

/// Failure of a read, which several callers get.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the read that several calls share failed")]
struct ReadFailed(#[source] Arc<Error>);

/// Converts the failure of a shared read to the error of one call, whose own deadline has not passed.
fn shared(error: Arc<Error>) -> Error {
    match &*error {
        Error::Unavailable(_) | Error::DeadlineExceeded => Error::unavailable(ReadFailed(error)),
        _ => Error::internal(ReadFailed(error)),
    }
}

/// A cache of the results of one kind of read.
pub(crate) struct Cache<K, V> {
    name: &'static str,
    state: Arc<CacheState>,
    entries: Entries<(K, u64), V>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(
        name: &'static str,
        state: &Arc<CacheState>,
        settings: &CacheSettings,
    ) -> Self {
        Self::weighed(name, state, settings, |_| 1)
    }

    /// Creates a cache with larger entries: each takes the place of as many.
    pub(crate) fn weighed(
        name: &'static str,
        state: &Arc<CacheState>,
        settings: &CacheSettings,
        weight: fn(&V) -> u32,
    ) -> Self {
        let entries = Entries::builder()
            .max_capacity(settings.max_entries)
            .weigher(move |_, value| weight(value))
            .time_to_live(settings.lifetime)
            .build();
        Self {
            name,
            state: Arc::clone(state),
            entries,
        }
    }

    /// Returns true if entries may be used.
    pub(crate) fn is_fresh(&self) -> bool {
        self.state.is_fresh()
    }

    /// Returns the entry, or reads it from the database. The subjects are those whose changes outdate the entry.
    ///
    /// # Errors
    /// Those of the read; the call's deadline passed.
    pub(crate) async fn get_or_read(
        &self,
        key: K,
        subjects: &[Subject],
        read: impl Future<Output = Result<V, Error>> + Send + 'static,
    ) -> Result<V, Error> {
        if !self.state.is_fresh() {
            metrics::cache_lookup(self.name, "unused");
            return read.await;
        }
        let generation = self.state.generations.sum(subjects);
        if let Some(value) = self.entries.get(&(key.clone(), generation)).await {
            metrics::cache_lookup(self.name, "hit");
            return Ok(value);
        }
        metrics::cache_lookup(self.name, "miss");
        // Nobody looks for them again.
        for earlier in [1, 2] {
            let outdated = (key.clone(), generation.wrapping_sub(earlier));
            self.entries.invalidate(&outdated).await;
        }
        self.share((key, generation), read).await
    }

    /// Reads an entry, or waits for the call that reads it. The read is a task of its own with its own time limit, so
    /// that it does not end with the call that began it.
    async fn share(
        &self,
        key: (K, u64),
        read: impl Future<Output = Result<V, Error>> + Send + 'static,
    ) -> Result<V, Error> {
        let reads = Arc::new(AtomicBool::new(false));
        let (entries, begun) = (self.entries.clone(), Arc::clone(&reads));
        let limited = deadline::scope(Instant::now() + READ_LIMIT, read);
        let finding = async move {
            let init = async {
                begun.store(true, Ordering::Release);
                limited.await
            };
            entries.try_get_with(key, init).await
        };
        let finding = tokio::spawn(finding.in_current_span());
        let _waiter = Waiter {
            task: finding.abort_handle(),
            reads,
        };
        let found = match deadline::current() {
            Some(at) => timeout_at(at, finding)
                .await
                .map_err(|_| Error::DeadlineExceeded)?,
            None => finding.await,
        };
        match found {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(shared(error)),
            Err(_) => Err(Error::unavailable("a read was broken off")),
        }
    }

    /// Returns the entry, or reads it from the database. The entry must be one that no change outdates. A result of
    /// `None` is not stored.
    ///
    /// # Errors
    /// Those of the read.
    pub(crate) async fn get_or_read_immutable(
        &self,
        key: K,
        read: impl Future<Output = Result<Option<V>, Error>> + Send,
    ) -> Result<Option<V>, Error> {
        let key = (key, 0);
        if let Some(value) = self.entries.get(&key).await {
            metrics::cache_lookup(self.name, "hit");
            return Ok(Some(value));
        }
        metrics::cache_lookup(self.name, "miss");
        let found = read.await?;
        if let Some(value) = &found {
            self.entries.insert(key, value.clone()).await;
        }
        Ok(found)
    }

    /// Drops an entry of the present generation.
    pub(crate) async fn remove(&self, key: K, subjects: &[Subject]) {
        let generation = self.state.generations.sum(subjects);
        self.entries.invalidate(&(key, generation)).await;
    }
}

#[cfg(test)]
mod tests;
