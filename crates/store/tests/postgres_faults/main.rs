//! The store on PostgreSQL when connections go silent, commits hang, or other sessions hold locks.
//! `tests/with-postgres` starts a server for these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod network;
#[path = "../common/options.rs"]
mod options;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyward_core::ports::{DirectoryStore, IssuedKeyStore, LedgerStore, StoreHealth};
use keyward_core::{Error, Noun};
use keyward_crypto::Secret;
use keyward_store::{Store, deadline};
use keyward_testkit::TestDatabase;
use keyward_testkit::fixtures::{
    World, charge, directory_grant, event, issued_key, manage_grant, repo, serve_grant,
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::sync::watch;
use tokio::time::Instant;

use network::{Network, Silence};

/// Documented maximum time until service resumes after every connection went silent, plus a margin for a busy test
/// machine.
const RESUMES_WITHIN: Duration = Duration::from_secs(15 + 5);
const CONNECTIONS: u32 = 4;

async fn open(url: &str) -> Arc<Store> {
    let mut options = options::options(Secret::new(url.to_owned()));
    options.limits.max_connections = CONNECTIONS;
    let store = Store::connect(&options).await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

async fn upsert(store: &Store, id: &str) -> Result<(), Error> {
    let audit_event = event("repo.upsert", Noun::Repo, id);
    let at = Instant::now() + Duration::from_secs(2);
    let repo = repo("a", id);
    let grant = directory_grant();
    let call = store.upsert_repo(&grant, &repo, &audit_event);
    deadline::scope(at, call).await.map(|_| ())
}

/// Service resumes for callers that call continuously, and for callers that find idle connections.
async fn silence_is_survived(manner: Silence) {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let (base, name) = database.url().rsplit_once('/').unwrap();
    let (user, server) = base.rsplit_once('@').unwrap();
    let network = Network::to(server.to_owned()).await;
    let url = format!("{user}@127.0.0.1:{}/{name}", network.port);
    let store = open(&url).await;
    World::create(&*store).await;

    for load in ["busy", "idle"] {
        let (ends, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(watch::Sender::new(0_usize)),
        );
        let callers = |count: usize| -> Vec<_> {
            let caller = |caller: usize| {
                let (store, ends, done) = (store.clone(), ends.clone(), done.clone());
                tokio::spawn(async move {
                    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
                    for number in 0.. {
                        if upsert(&store, &format!("{caller}-{number}")).await.is_ok() {
                            longest = longest.max(last.elapsed());
                            last = Instant::now();
                            done.send_modify(|done| *done += 1);
                        }
                        if ends.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    longest
                })
            };
            (0..count).map(caller).collect()
        };
        let until = async |wanted: usize| {
            let mut calls = done.subscribe();
            let enough = *calls.borrow() + wanted;
            let served = calls.wait_for(|calls| *calls >= enough);
            let served = tokio::time::timeout(RESUMES_WITHIN, served).await;
            assert!(served.is_ok(), "no service, {load}");
        };
        let calling = callers(8);
        until(20).await;
        if load == "idle" {
            ends.store(true, Ordering::SeqCst);
            for caller in calling {
                caller.await.unwrap();
            }
            network.silence(manner);
            let started = Instant::now();
            while upsert(&store, "idle").await.is_err() {
                assert!(started.elapsed() < RESUMES_WITHIN);
            }
            println!(
                "{manner:?}, idle: {:?} until served again",
                started.elapsed()
            );
        } else {
            network.silence(manner);
            until(20).await;
            ends.store(true, Ordering::SeqCst);
            let mut longest = Duration::ZERO;
            for caller in calling {
                longest = longest.max(caller.await.unwrap());
            }
            println!("{manner:?}, busy: {longest:?} until served again");
            assert!(longest < RESUMES_WITHIN, "{longest:?}");
        }
        store.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_resumes_after_connections_froze() {
    silence_is_survived(Silence::Frozen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_resumes_after_answers_were_swallowed() {
    silence_is_survived(Silence::Swallowed).await;
}

/// Another session locks the rows of more keys than there are connections.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_row_lock_blocks_no_other_key() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = open(database.url()).await;
    let world = World::create(&*store).await;
    let mut keys = Vec::new();
    for _ in 0..=4 * CONNECTIONS {
        let mut key = issued_key(&world.a);
        key.name = format!("key {}", keys.len());
        let audit_event = event("issued_key.create", Noun::IssuedKey, "key");
        let grant = manage_grant(&world.a);
        IssuedKeyStore::insert(&*store, &grant, &key, &audit_event)
            .await
            .unwrap();
        keys.push(key);
    }
    let free = keys.pop().unwrap();
    let foreign = database.raw().await.begin().await.unwrap();
    let locks = format!(
        "SELECT * FROM issued_keys WHERE name <> '{}' FOR UPDATE",
        free.name
    );
    foreign.execute_unprepared(&locks).await.unwrap();
    let record = |hash, request: String| {
        let (store, grant) = (store.clone(), serve_grant(&world.a));
        async move {
            let charge = Box::new(move |_| Ok(charge(&request, 1)));
            store.record(&grant, &hash, charge).await
        }
    };
    let mut waiting = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        for caller in 0..4 {
            waiting.push(tokio::spawn(record(key.hash, format!("{number}-{caller}"))));
        }
    }
    // By then each of them has found its row locked.
    let waits = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while database.count(waits).await == 0 {
        tokio::task::yield_now().await;
    }
    let mut took = Vec::new();
    for number in 0..100 {
        let began = Instant::now();
        record(free.hash, format!("free-{number}")).await.unwrap();
        assert!(store.find_by_hash(&free.hash).await.unwrap().is_some());
        took.push(began.elapsed());
    }
    took.sort();
    println!("p50 {:?}, p99 {:?} beside locked keys", took[50], took[98]);
    assert!(took[50] < Duration::from_millis(500), "{:?}", took[50]);
    foreign.rollback().await.unwrap();
    for waiting in waiting {
        assert!(!waiting.await.unwrap().unwrap().duplicate);
    }
}

/// A commit that hangs releases the lock of its key, and its caller gets the error that the outcome is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn hung_commit_is_given_up_as_unknown() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = open(database.url()).await;
    let world = World::create(&*store).await;
    let key = issued_key(&world.a);
    let audit_event = event("issued_key.create", Noun::IssuedKey, "key");
    let grant = manage_grant(&world.a);
    IssuedKeyStore::insert(&*store, &grant, &key, &audit_event)
        .await
        .unwrap();
    // A deferred trigger runs at the commit, which waits here for a lock.
    database
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 SET LOCAL lock_timeout = 0;
                 PERFORM pg_advisory_xact_lock(1);
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON charges
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();",
        )
        .await;
    let other = database.raw().await.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(1)";
    other.execute_unprepared(lock).await.unwrap();
    let began = Instant::now();
    let serve = serve_grant(&world.a);
    let sent = || Box::new(|_| Ok(charge("request", 1)));
    let rejected = store.record(&serve, &key.hash, sent()).await;
    assert!(
        matches!(rejected, Err(Error::Unavailable(_))),
        "{rejected:?}"
    );
    println!("{:?} until the outcome was unknown", began.elapsed());
    assert!(began.elapsed() < RESUMES_WITHIN);
    // The lock of the key is free: the next caller gets to the row, which the server still has locked.
    let next = deadline::scope(
        Instant::now() + Duration::from_secs(1),
        store.record(&serve, &key.hash, sent()),
    );
    let next = next.await;
    assert!(matches!(next, Err(Error::DeadlineExceeded)), "{next:?}");
    other.rollback().await.unwrap();
    // The request id makes the retry safe, regardless of the outcome of the first commit.
    store.record(&serve, &key.hash, sent()).await.unwrap();
    assert_eq!(database.count("charges").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_ended_when_idle_is_unavailable() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = open(database.url()).await;
    World::create(&*store).await;
    // SQLSTATE of idle_in_transaction_session_timeout.
    database
        .execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'idle' USING ERRCODE = '25P03';
             END $$;
             CREATE TRIGGER fail BEFORE INSERT ON repos FOR EACH ROW EXECUTE FUNCTION fail();",
        )
        .await;
    let rejected = upsert(&store, "new").await;
    assert!(
        matches!(rejected, Err(Error::Unavailable(_))),
        "{rejected:?}"
    );
}

/// Another process's migration changes columns for which statements were prepared.
#[tokio::test(flavor = "multi_thread")]
async fn changed_columns_fail_no_call() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let store = open(database.url()).await;
    let world = World::create(&*store).await;
    // Prepares the statements on every connection.
    let read = || {
        let calls = (0..CONNECTIONS).map(|_| store.workspace(&world.a.id));
        futures_util::future::join_all(calls)
    };
    for found in read().await {
        found.unwrap();
    }
    database
        .execute("ALTER TABLE workspaces ALTER COLUMN name TYPE varchar(200)")
        .await;
    for found in read().await {
        assert_eq!(found.unwrap(), Some(world.a.clone()));
    }
}
