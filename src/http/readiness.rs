//! Readiness: the process is ready while the store responds, until shutdown begins. Probes, which need no
//! token, use a recent result, and concurrent probes share one check, so that any number of them uses at most
//! one of the store's connections. Clients that watch over gRPC are notified of changes by a shared task, which
//! checks at an interval while there are watchers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use keyward_core::ports::{NotReady, StoreHealth};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::telemetry::conditions::Conditions;
use crate::telemetry::metrics;

/// Interval between checks while there are watchers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of a check: less than the usual timeout of a probe, which is one second.
const PING_TIMEOUT: Duration = Duration::from_millis(800);

/// Age up to which a probe uses a result without another check.
const RECENT: Duration = Duration::from_millis(150);
/// Age up to which it does while a check is under way.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Name of the condition that is set while the clocks differ too much.
const CLOCK: &str = "database.max_clock_difference_ms";
const CLOCK_DIFFERS: &str = "the machine's clock differs from the database's by more";

/// Readiness of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The store responds.
    Ready,
    /// The store does not respond.
    NotReady,
    /// Shutdown has begun. This is the final state.
    Ending,
}

/// Reports readiness.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn StoreHealth>,
    conditions: Conditions,
    readiness: watch::Sender<Readiness>,
    checks: Mutex<Checks>,
    /// True if the task that checks for watchers is running.
    has_watch_task: Mutex<bool>,
}

#[derive(Default)]
struct Checks {
    /// Last result of the store, and its time.
    latest: Option<(Instant, Readiness)>,
    /// Check under way, shared by the probes that wait for it.
    under_way: Option<Check>,
}

type Check = Shared<BoxFuture<'static, Readiness>>;

impl Health {
    /// Uses this store, without a check yet.
    pub(crate) fn new(store: Arc<dyn StoreHealth>, conditions: Conditions) -> Self {
        let inner = Inner {
            store,
            conditions,
            readiness: watch::Sender::new(Readiness::NotReady),
            checks: Mutex::default(),
            has_watch_task: Mutex::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Begins shutdown: from now on the process is not ready, and watchers are notified.
    pub fn end(&self) {
        self.inner.readiness.send_replace(Readiness::Ending);
        metrics::ready(false);
    }

    /// Completes when shutdown has begun.
    pub(crate) async fn ended(&self) {
        let ended = |readiness: &Readiness| *readiness == Readiness::Ending;
        // The sender lives as long as `self`.
        let _ = self.inner.readiness.subscribe().wait_for(ended).await;
    }

    /// Returns true if the process is ready now.
    pub(crate) async fn is_ready(&self) -> bool {
        self.inner.current().await == Readiness::Ready
    }

    /// Returns the conditions for operators, whether the process is ready or not.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.inner.conditions.reasons()
    }

    /// Subscribes to the readiness and all further changes.
    pub(crate) async fn watch(&self) -> watch::Receiver<Readiness> {
        let readiness = self.inner.readiness.subscribe();
        self.inner.publish().await;
        self.ensure_watch_task();
        readiness
    }

    /// Starts the task that checks for watchers, unless it is running.
    fn ensure_watch_task(&self) {
        let mut has_watch_task = self
            .inner
            .has_watch_task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !*has_watch_task {
            *has_watch_task = true;
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(CHECK_INTERVAL).await;
                    if !inner.is_watched() {
                        return;
                    }
                    inner.publish().await;
                }
            });
        }
    }
}

impl Inner {
    async fn current(self: &Arc<Self>) -> Readiness {
        let found = match self.check() {
            Ok(found) => found,
            Err(under_way) => under_way.await,
        };
        // Shutdown may have begun since then.
        let found = match *self.readiness.borrow() {
            Readiness::Ending => Readiness::Ending,
            _ => found,
        };
        metrics::ready(found == Readiness::Ready);
        found
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a recent result of the store, or the check that will have one. A check runs in its own task, so
    /// that a probe that disconnects neither ends it nor lets another begin.
    fn check(self: &Arc<Self>) -> Result<Readiness, Check> {
        let mut checks = self.checks();
        if let Some(found) = checks.recent(RECENT) {
            return Ok(found);
        }
        // A check that has ended and is still here panicked or was aborted.
        if let Some(under_way) = &checks.under_way
            && under_way.peek().is_none()
        {
            return checks.recent(MAX_AGE).ok_or_else(|| under_way.clone());
        }
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move {
            let found = inner.ping().await;
            let mut checks = inner.checks();
            checks.latest = Some((Instant::now(), found));
            checks.under_way = None;
            found
        });
        let under_way = task
            .map(|ended| ended.unwrap_or(Readiness::NotReady))
            .boxed()
            .shared();
        checks.under_way = Some(under_way.clone());
        Err(under_way)
    }

    async fn ping(&self) -> Readiness {
        if *self.readiness.borrow() == Readiness::Ending {
            return Readiness::Ending;
        }
        match tokio::time::timeout(PING_TIMEOUT, self.store.ping()).await {
            Ok(Ok(())) => {
                self.conditions.clear(CLOCK);
                Readiness::Ready
            }
            Ok(Err(error)) => {
                match error {
                    NotReady::ClockDiffers { .. } => self.conditions.set(CLOCK, CLOCK_DIFFERS),
                    NotReady::Failed(_) => self.conditions.clear(CLOCK),
                }
                Readiness::NotReady
            }
            Err(_) => Readiness::NotReady,
        }
    }

    async fn publish(self: &Arc<Self>) {
        let found = self.current().await;
        self.readiness.send_if_modified(|known| {
            let changes = *known != Readiness::Ending && *known != found;
            if changes {
                *known = found;
            }
            changes
        });
    }

    /// Returns true if there are watchers. If not, the task counts as stopped from here on. A later watcher
    /// subscribes before it checks the flag, so that it always has a task.
    fn is_watched(&self) -> bool {
        let mut has_watch_task = self
            .has_watch_task
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *has_watch_task = self.readiness.receiver_count() > 0;
        *has_watch_task
    }
}

impl Checks {
    /// Returns the last result of the store, up to this age.
    fn recent(&self, age: Duration) -> Option<Readiness> {
        let latest = self.latest.filter(|(at, _)| at.elapsed() < age);
        latest.map(|(_, found)| found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use keyward_core::Error;

    use super::*;

    #[derive(Default)]
    struct FakeStore {
        times: AtomicUsize,
        responds: AtomicBool,
        hangs: AtomicBool,
    }

    #[tonic::async_trait]
    impl StoreHealth for FakeStore {
        async fn ping(&self) -> Result<(), NotReady> {
            self.times.fetch_add(1, Ordering::SeqCst);
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            match self.responds.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err(Error::unavailable("gone").into()),
            }
        }
    }

    fn fixture() -> (Arc<FakeStore>, Health) {
        let store = Arc::new(FakeStore::default());
        store.responds.store(true, Ordering::SeqCst);
        let health = Health::new(Arc::clone(&store) as _, Conditions::default());
        (store, health)
    }

    #[tokio::test(start_paused = true)]
    async fn store_is_pinged_once_for_all_watchers_alone() {
        let (store, health) = fixture();
        let asked = || store.times.load(Ordering::SeqCst);
        tokio::time::sleep(100 * CHECK_INTERVAL).await;
        assert_eq!(asked(), 0);
        let mut watching = Vec::new();
        for _ in 0..10 {
            watching.push(health.watch().await);
        }
        // A single check for all watchers, since the result is recent.
        assert_eq!(asked(), 1);
        tokio::time::sleep(10 * CHECK_INTERVAL + CHECK_INTERVAL / 2).await;
        assert_eq!(asked(), 11);
        watching.clear();
        tokio::time::sleep(100 * CHECK_INTERVAL).await;
        assert_eq!(asked(), 11);
        // A later watcher starts the task again.
        let _watching = health.watch().await;
        tokio::time::sleep(5 * CHECK_INTERVAL + CHECK_INTERVAL / 2).await;
        assert_eq!(asked(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_checks_share_one_ping_of_the_store() {
        let (store, health) = fixture();
        store.hangs.store(true, Ordering::SeqCst);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..1000 {
            let health = health.clone();
            asking.spawn(async move { health.is_ready().await });
        }
        while let Some(ready) = asking.join_next().await {
            assert!(!ready.unwrap());
        }
        assert_eq!(store.times.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn watch_reports_each_change_and_the_shutdown() {
        let (store, health) = fixture();
        let mut watching = health.watch().await;
        assert_eq!(*watching.borrow_and_update(), Readiness::Ready);
        store.responds.store(false, Ordering::SeqCst);
        watching.changed().await.unwrap();
        assert_eq!(*watching.borrow_and_update(), Readiness::NotReady);
        store.responds.store(true, Ordering::SeqCst);
        watching.changed().await.unwrap();
        assert_eq!(*watching.borrow_and_update(), Readiness::Ready);
        health.end();
        watching.changed().await.unwrap();
        assert_eq!(*watching.borrow_and_update(), Readiness::Ending);
        // The store's results no longer matter.
        tokio::time::sleep(10 * CHECK_INTERVAL).await;
        assert_eq!(*watching.borrow(), Readiness::Ending);
        assert_eq!(*health.watch().await.borrow(), Readiness::Ending);
        assert!(!health.is_ready().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_gone() {
        let (store, health) = fixture();
        assert!(health.is_ready().await);
        store.hangs.store(true, Ordering::SeqCst);
        tokio::time::sleep(MAX_AGE).await;
        let asked = tokio::time::Instant::now();
        let (first, second) = tokio::join!(health.is_ready(), health.is_ready());
        assert!(!first && !second);
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert_eq!(*health.watch().await.borrow(), Readiness::NotReady);
    }

    #[tokio::test(start_paused = true)]
    async fn cancelled_probes_begin_no_further_checks() {
        let (store, health) = fixture();
        store.hangs.store(true, Ordering::SeqCst);
        let asked = Instant::now();
        for _ in 0..100 {
            let cancelled = tokio::time::timeout(PING_TIMEOUT / 200, health.is_ready()).await;
            assert!(cancelled.is_err());
        }
        // The probe that stays gets the result of the check that the first one began.
        assert!(!health.is_ready().await);
        assert!(asked.elapsed() < Duration::from_secs(1));
        assert_eq!(store.times.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_are_answered_while_a_check_hangs() {
        let (store, health) = fixture();
        assert!(health.is_ready().await);
        store.hangs.store(true, Ordering::SeqCst);
        tokio::time::sleep(RECENT).await;
        let hanging = tokio::spawn({
            let health = health.clone();
            async move { health.is_ready().await }
        });
        tokio::task::yield_now().await;
        let asked = Instant::now();
        for _ in 0..1000 {
            assert!(health.is_ready().await);
        }
        assert!(asked.elapsed().is_zero());
        assert!(!hanging.await.unwrap());
        // The result is at most a second old.
        assert!(!health.is_ready().await);
        assert_eq!(store.times.load(Ordering::SeqCst), 2);
    }
}
