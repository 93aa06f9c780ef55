//! Tests of one cache, without a database.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::sync::atomic::AtomicUsize;

use futures_util::future::join_all;
use futures_util::poll;
use keyward_crypto::KeyHash;
use tokio::sync::Semaphore;

use super::*;

const SETTINGS: CacheSettings = CacheSettings {
    max_entries: 100,
    lifetime: Duration::from_secs(30),
    max_staleness: Duration::from_secs(2),
    poll_interval: Duration::from_millis(250),
};

struct Rig {
    state: Arc<CacheState>,
    cache: Cache<u32, usize>,
    /// Number of reads.
    reads: Arc<AtomicUsize>,
}

impl Rig {
    fn new() -> Self {
        let state = Arc::new(CacheState::new(&SETTINGS));
        state.confirm(Instant::now());
        Self {
            cache: Cache::new("test", &state, &SETTINGS),
            state,
            reads: Arc::default(),
        }
    }

    /// Returns the entry, whose value is the number of the read.
    async fn get(&self, key: u32) -> usize {
        let reads = Arc::clone(&self.reads);
        let read = async move { Ok(reads.fetch_add(1, Ordering::SeqCst) + 1) };
        let found = self.cache.get_or_read(key, &[subject()], read).await;
        found.unwrap()
    }

    /// Looks for the entry; a read waits for the gate.
    async fn wait(
        &self,
        gate: &Arc<Semaphore>,
        result: Result<usize, Error>,
    ) -> Result<usize, Error> {
        let (reads, gate) = (Arc::clone(&self.reads), Arc::clone(gate));
        let read = async move {
            reads.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            result
        };
        self.cache.get_or_read(1, &[subject()], read).await
    }
}

fn subject() -> Subject {
    Subject::IssuedKey(KeyHash::from_bytes([7; 32]))
}

#[tokio::test]
async fn entry_is_read_once_until_a_change() {
    let rig = Rig::new();
    assert_eq!((rig.get(1).await, rig.get(1).await), (1, 1));
    rig.state
        .invalidate(&[Subject::Account(KeyHash::from_bytes([7; 32]))]);
    assert_eq!((rig.get(1).await, rig.get(1).await), (2, 2));
    rig.state.invalidate_all();
    assert_eq!(rig.get(1).await, 3);
}

#[tokio::test]
async fn read_that_began_before_a_change_is_not_used_after_it() {
    let rig = Rig::new();
    let state = Arc::clone(&rig.state);
    let read = async move {
        state.invalidate(&[subject()]);
        Ok(100)
    };
    let found = rig.cache.get_or_read(1, &[subject()], read).await;
    let found = found.unwrap();
    assert_eq!(found, 100);
    assert_eq!(rig.get(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn entry_is_not_used_beyond_the_maximum_staleness() {
    let rig = Rig::new();
    assert_eq!(rig.get(1).await, 1);
    tokio::time::advance(SETTINGS.max_staleness - Duration::from_millis(1)).await;
    assert_eq!(rig.get(1).await, 1);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!((rig.get(1).await, rig.get(1).await), (2, 3));
    // A read of the feed that found no change makes the entry usable again.
    rig.state.confirm(Instant::now());
    assert_eq!(rig.get(1).await, 1);
    rig.state.withdraw();
    assert_eq!(rig.get(1).await, 4);
}

#[tokio::test]
async fn callers_of_a_missing_entry_share_one_read() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    let mut callers = join_all((0..256).map(|_| rig.wait(&gate, Ok(1))));
    assert!(poll!(&mut callers).is_pending());
    gate.add_permits(1);
    let found = callers.await;
    assert!(found.into_iter().all(|found| found.unwrap() == 1));
    assert_eq!(rig.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn callers_share_the_failure_of_a_read() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    let mut callers = join_all((0..3).map(|_| rig.wait(&gate, Err(Error::unavailable("test")))));
    assert!(poll!(&mut callers).is_pending());
    // The runtime has one thread, and begins their tasks in order.
    tokio::task::yield_now().await;
    gate.add_permits(1);
    let found = callers.await;
    for found in found {
        assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    }
    assert_eq!(rig.reads.load(Ordering::SeqCst), 1);
    // The failure is not stored.
    assert_eq!(rig.get(1).await, 2);
}

#[tokio::test]
async fn read_goes_on_for_the_others_when_its_caller_leaves() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    let mut first = Box::pin(rig.wait(&gate, Ok(1)));
    while rig.reads.load(Ordering::SeqCst) == 0 {
        assert!(poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    // More than the number of readers that may leave one after the other.
    for _ in 0..300 {
        let mut other = Box::pin(rig.wait(&gate, Ok(2)));
        assert!(poll!(&mut other).is_pending());
        tokio::task::yield_now().await;
    }
    drop(first);
    let open = async { gate.add_permits(1) };
    let (last, ()) = tokio::join!(rig.wait(&gate, Ok(2)), open);
    assert_eq!(last.unwrap(), 1);
    assert_eq!(rig.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_of_a_caller_does_not_end_the_read() {
    let rig = Rig::new();
    let gate = Arc::new(Semaphore::new(0));
    let short = Instant::now() + Duration::from_millis(50);
    let first = deadline::scope(short, rig.wait(&gate, Ok(1)));
    let other = async {
        let found = rig.wait(&gate, Ok(2));
        let open = async {
            tokio::time::advance(Duration::from_millis(60)).await;
            gate.add_permits(1);
        };
        tokio::join!(found, open).0
    };
    let (first, other) = tokio::join!(first, other);
    assert!(matches!(first, Err(Error::DeadlineExceeded)), "{first:?}");
    assert_eq!(other.unwrap(), 1);
}

#[tokio::test]
async fn larger_entries_take_more_of_the_bound() {
    let state = Arc::new(CacheState::new(&SETTINGS));
    state.confirm_always();
    let cache: Cache<u32, u32> = Cache::weighed("test", &state, &SETTINGS, |weight| *weight);
    for key in 0..100 {
        let read = async { Ok(40) };
        cache.get_or_read(key, &[subject()], read).await.unwrap();
    }
    cache.entries.run_pending_tasks().await;
    assert!(cache.entries.entry_count() <= 2);
}

#[test]
fn no_entry_is_used_if_none_is_allowed() {
    let settings = CacheSettings {
        max_entries: 0,
        ..SETTINGS
    };
    let state = CacheState::new(&settings);
    state.confirm_always();
    assert!(!state.is_fresh());
}

#[tokio::test]
async fn entries_are_bounded() {
    let rig = Rig::new();
    let number = u32::try_from(SETTINGS.max_entries).unwrap() * 10;
    for key in 0..number {
        rig.get(key).await;
    }
    rig.cache.entries.run_pending_tasks().await;
    let kept = rig.cache.entries.entry_count();
    assert!((1..=SETTINGS.max_entries).contains(&kept), "{kept} entries");
}

#[tokio::test]
async fn missing_result_without_a_change_is_not_stored() {
    let rig = Rig::new();
    let none = async { Ok(None) };
    assert_eq!(
        rig.cache.get_or_read_immutable(1, none).await.unwrap(),
        None
    );
    let some = async { Ok(Some(5)) };
    assert_eq!(
        rig.cache.get_or_read_immutable(1, some).await.unwrap(),
        Some(5)
    );
    let other = async { Ok(Some(6)) };
    assert_eq!(
        rig.cache.get_or_read_immutable(1, other).await.unwrap(),
        Some(5)
    );
}
