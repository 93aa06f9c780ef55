//! Tests of batches, on both engines.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::join_all;
use futures_util::poll;
use keyward_core::Noun;
use keyward_core::issued_key::IssuedKey;
use keyward_core::ledger::Charge;
use keyward_core::ports::IssuedKeyStore;
use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::{World, charge, event, issued_key, manage_grant, serve_grant};
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};

use super::*;
use crate::TimeSource;
use crate::test_options::options;

/// Locks every row of the keys, and the whole file on SQLite.
const LOCK_ROWS: &str = "UPDATE issued_keys SET name = name";

/// Clock whose every reading is a millisecond later, so that charges with the same time are of one batch.
struct Counting(AtomicI64);

impl keyward_core::clock::Clock for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

struct Rig {
    database: TestDatabase,
    store: Store,
    world: World,
    key: IssuedKey,
}

type Call = Pin<Box<dyn Future<Output = Result<Recorded, Error>> + Send>>;

impl Rig {
    async fn new(database: TestDatabase) -> Self {
        let mut options = options(database.secret_url());
        options.time_source = TimeSource::Machine;
        options.machine_clock = Arc::new(Counting(AtomicI64::new(1_785_585_600_000)));
        let store = Store::connect(&options).await.unwrap();
        store.migrate().await.unwrap();
        let world = World::create(&store).await;
        let key = issued_key(&world.a);
        let created = event("issued_key.create", Noun::IssuedKey, "key");
        store
            .insert(&manage_grant(&world.a), &key, &created)
            .await
            .unwrap();
        Self {
            database,
            store,
            world,
            key,
        }
    }

    /// Lets every batch wait until the transaction ends.
    async fn lock(&self) -> DatabaseTransaction {
        self.locked_by(match self.store.engine {
            crate::Engine::Sqlite => LOCK_ROWS,
            crate::Engine::Postgres => "LOCK TABLE issued_keys IN EXCLUSIVE MODE",
        })
        .await
    }

    async fn locked_by(&self, statement: &str) -> DatabaseTransaction {
        let lock = self.database.raw().await.begin().await.unwrap();
        lock.execute_unprepared(statement).await.unwrap();
        lock
    }

    /// Stores another key of the same lane.
    async fn insert_neighbor(&self) -> IssuedKey {
        let lane = |key: &IssuedKey| usize::from(key.hash.as_bytes()[0]) % crate::MAX_LANES;
        let keys = std::iter::repeat_with(|| issued_key(&self.world.a));
        let mut keys = keys.filter(|key| lane(key) == lane(&self.key));
        let key = keys.next().unwrap();
        let created = event("issued_key.create", Noun::IssuedKey, "key");
        let grant = manage_grant(&self.world.a);
        self.store.insert(&grant, &key, &created).await.unwrap();
        key
    }

    /// Adds a charge to the queue.
    async fn wait(&self, number: i64) -> Call {
        self.wait_for(&self.key, number).await
    }

    /// Adds a charge of a key to the queue.
    async fn wait_for(&self, key: &IssuedKey, number: i64) -> Call {
        let (store, hash) = (self.store.clone(), key.hash);
        let grant = serve_grant(&self.world.a);
        let made = move |now| {
            Ok(Charge {
                recorded_at: now,
                ..charge(&number.to_string(), number)
            })
        };
        let mut call: Call =
            Box::pin(async move { store.record(&grant, &hash, Box::new(made)).await });
        assert!(poll!(&mut call).is_pending());
        call
    }
}

async fn waiting_changes_share_a_transaction(rig: Rig) {
    let lock = rig.lock().await;
    share_a_transaction(rig, lock).await;
}

async fn changes_of_a_locked_key_share_a_transaction(rig: Rig) {
    let lock = rig.locked_by(LOCK_ROWS).await;
    share_a_transaction(rig, lock).await;
}

/// Queues changes of one key until the lock is released, and expects a few transactions.
async fn share_a_transaction(rig: Rig, lock: DatabaseTransaction) {
    let mut calls = Vec::new();
    for number in 1..=60 {
        calls.push(rig.wait(number).await);
    }
    lock.rollback().await.unwrap();
    for outcome in join_all(calls).await {
        assert!(!outcome.unwrap().duplicate);
    }
    assert_eq!(rig.database.count("charges").await, 60);
    // The first change alone, and the others, which arrived while it waited.
    let times = "(SELECT DISTINCT recorded_at FROM charges) AS times";
    assert!(rig.database.count(times).await <= 3);
    let sums = "issued_keys WHERE usage_nanos = 1830";
    assert_eq!(rig.database.count(sums).await, 1);
    let sums = "daily_usage WHERE usage_nanos = 1830";
    assert_eq!(rig.database.count(sums).await, 1);
}

async fn failed_change_fails_alone(rig: Rig) {
    let trigger = match rig.store.engine {
        crate::Engine::Sqlite => {
            "CREATE TRIGGER fail BEFORE INSERT ON charges WHEN NEW.amount_nanos = 13
             BEGIN SELECT json('not JSON'); END"
        }
        crate::Engine::Postgres => {
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'failed'; END $$;
             CREATE TRIGGER fail BEFORE INSERT ON charges FOR EACH ROW
             WHEN (NEW.amount_nanos = 13) EXECUTE FUNCTION fail()"
        }
    };
    rig.database.execute(trigger).await;
    let lock = rig.lock().await;
    let mut calls = Vec::new();
    for number in 1..=20 {
        calls.push(rig.wait(number).await);
    }
    lock.rollback().await.unwrap();
    for (number, outcome) in (1..).zip(join_all(calls).await) {
        assert_eq!(outcome.is_err(), number == 13, "{number}: {outcome:?}");
    }
    assert_eq!(rig.database.count("charges").await, 19);
    let sums = "issued_keys WHERE usage_nanos = 197";
    assert_eq!(rig.database.count(sums).await, 1);
}

async fn unreadable_key_fails_alone(rig: Rig) {
    let unreadable = rig.insert_neighbor().await;
    let update = format!(
        "UPDATE issued_keys SET limit_reset = 'unknown' WHERE hash = '{}'",
        unreadable.hash
    );
    rig.database.execute(&update).await;
    let lock = rig.lock().await;
    let first = rig.wait(1).await;
    let failing = rig.wait_for(&unreadable, 2).await;
    let last = rig.wait(3).await;
    lock.rollback().await.unwrap();
    first.await.unwrap();
    let failed = failing.await;
    assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
    assert_eq!(last.await.unwrap().metered.account.usage.total.get(), 4);
    assert_eq!(rig.database.count("charges").await, 2);
}

async fn dropped_calls_leave_their_slots_to_others(rig: Rig) {
    let lock = rig.lock().await;
    let first = rig.wait(1).await;
    for _ in 0..3 {
        let mut abandoned = Vec::new();
        // The first call has one of the key's 64 slots.
        for number in 2..=64 {
            abandoned.push(rig.wait(number).await);
        }
    }
    let last = rig.wait(65).await;
    lock.rollback().await.unwrap();
    first.await.unwrap();
    assert_eq!(last.await.unwrap().metered.account.usage.total.get(), 66);
}

async fn dropped_call_that_waits_changes_nothing(rig: Rig) {
    let lock = rig.lock().await;
    let first = rig.wait(1).await;
    let (dropped, last) = (rig.wait(2).await, rig.wait(3).await);
    drop(dropped);
    lock.rollback().await.unwrap();
    first.await.unwrap();
    let recorded = last.await.unwrap();
    assert_eq!(recorded.metered.account.usage.total.get(), 4);
    assert_eq!(rig.database.count("charges").await, 2);
}

macro_rules! each_engine {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Rig::new(super::TestDatabase::sqlite()).await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(database) = super::TestDatabase::postgres().await {
                    super::$test(super::Rig::new(database).await).await;
                }
            })*
        }
    };
}

each_engine! {
    waiting_changes_share_a_transaction
    changes_of_a_locked_key_share_a_transaction
    failed_change_fails_alone
    unreadable_key_fails_alone
    dropped_calls_leave_their_slots_to_others
    dropped_call_that_waits_changes_nothing
}
