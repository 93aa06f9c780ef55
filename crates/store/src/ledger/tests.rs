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
        let lock = self.database.raw().await.begin().await.unwrap();
        let update = "UPDATE issued_keys SET name = name";
        lock.execute_unprepared(update).await.unwrap();
        lock
    }

    /// Adds a charge to the queue.
    async fn wait(&self, number: i64) -> Call {
        let (store, hash) = (self.store.clone(), self.key.hash);
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
    failed_change_fails_alone
    dropped_call_that_waits_changes_nothing
}
