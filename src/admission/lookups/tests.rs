use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

/// Reads that each wait for a permit of the test, and return the number of reads that began before them.
struct Rig {
    lookups: Arc<Lookups<u32, usize>>,
    begun: Arc<AtomicUsize>,
    ends: Arc<Semaphore>,
}

impl Rig {
    fn new() -> Self {
        Self {
            lookups: Arc::new(Lookups::new(&Entrance::new(4))),
            begun: Arc::default(),
            ends: Arc::new(Semaphore::new(0)),
        }
    }

    /// Starts a call, up to its wait.
    async fn call(&self, address: u8, key: u32) -> JoinHandle<Result<usize, Overloaded>> {
        let (begun, ends) = (Arc::clone(&self.begun), Arc::clone(&self.ends));
        let read = async move {
            let number = begun.fetch_add(1, Ordering::Relaxed);
            ends.acquire().await.unwrap().forget();
            number
        };
        let lookups = Arc::clone(&self.lookups);
        let call = tokio::spawn(async move { lookups.find(&client(address), key, read).await });
        settle().await;
        call
    }

    fn is_empty(&self) -> bool {
        self.lookups.0.state().by_key.is_empty()
    }
}

fn client(address: u8) -> Owner {
    Owner::Address([127, 0, 0, address].into())
}

/// Lets the other tasks run until each of them waits.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_share_the_read_that_begins_after_them() {
    let rig = Rig::new();
    let first = rig.call(1, 1).await;
    let mut later = Vec::new();
    for _ in 0..100 {
        later.push(rig.call(1, 1).await);
    }
    assert_eq!(rig.begun.load(Ordering::Relaxed), 1);
    rig.ends.add_permits(1);
    assert_eq!(first.await.unwrap(), Ok(0));
    settle().await;
    // This call may not share the second read, which runs.
    let last = rig.call(1, 1).await;
    rig.ends.add_permits(2);
    for call in later {
        assert_eq!(call.await.unwrap(), Ok(1));
    }
    assert_eq!(last.await.unwrap(), Ok(2));
    assert!(rig.is_empty());
}

#[tokio::test]
async fn cancelled_call_does_not_affect_those_that_share_its_read() {
    let rig = Rig::new();
    let first = rig.call(1, 1).await;
    let (leader, other) = (rig.call(1, 1).await, rig.call(1, 1).await);
    leader.abort();
    assert!(leader.await.is_err());
    rig.ends.add_permits(2);
    assert_eq!(first.await.unwrap(), Ok(0));
    assert_eq!(other.await.unwrap(), Ok(1));
    assert!(rig.is_empty());
}

#[tokio::test]
async fn read_that_no_call_waits_for_ends() {
    let rig = Rig::new();
    let running = rig.call(1, 1).await;
    let pending = rig.call(1, 1).await;
    running.abort();
    settle().await;
    // The next one begins, and ends with its call too.
    assert_eq!(rig.begun.load(Ordering::Relaxed), 2);
    pending.abort();
    settle().await;
    assert!(rig.is_empty());
    let next = rig.call(1, 1).await;
    rig.ends.add_permits(1);
    assert_eq!(next.await.unwrap(), Ok(2));
}

#[tokio::test]
async fn reads_of_a_client_leave_seats_to_others() {
    let rig = Rig::new();
    let mut flood = Vec::new();
    for key in 0..50 {
        flood.push(rig.call(1, key).await);
    }
    // Of the four connections, look-ups have two, and a client one.
    assert_eq!(rig.begun.load(Ordering::Relaxed), 1);
    let other = rig.call(2, 0).await;
    assert_eq!(rig.begun.load(Ordering::Relaxed), 2);
    rig.ends.add_permits(51);
    assert_eq!(other.await.unwrap(), Ok(1));
    for call in flood {
        assert!(call.await.unwrap().is_ok());
    }
    assert!(rig.is_empty());
}

#[tokio::test(start_paused = true)]
async fn shared_read_has_the_latest_deadline() {
    let rig = Rig::new();
    let lookups = Arc::clone(&rig.lookups);
    let find = move |seconds: u64| {
        let lookups = Arc::clone(&lookups);
        let read = async { deadline::remaining().map_or(0, |left| left.as_secs() as usize) };
        let call = async move { lookups.find(&client(1), 7, read).await };
        let at = Instant::now() + Duration::from_secs(seconds);
        tokio::spawn(deadline::scope(at, call))
    };
    let seats = [rig.call(1, 1).await, rig.call(2, 2).await];
    let (short, long) = (find(1), find(9));
    settle().await;
    rig.ends.add_permits(2);
    assert_eq!(short.await.unwrap(), Ok(9));
    assert_eq!(long.await.unwrap(), Ok(9));
    for call in seats {
        assert!(call.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn panic_of_a_read_rejects_its_calls_and_no_later_one() {
    let lookups = Lookups::<u32, usize>::new(&Entrance::new(4));
    let client = client(1);
    let failed = lookups.find(&client, 1, async { panic!("a test's read") });
    assert_eq!(failed.await, Err(Overloaded));
    assert_eq!(lookups.find(&client, 1, async { 1 }).await, Ok(1));
}
