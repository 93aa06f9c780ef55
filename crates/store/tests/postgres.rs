//! The store on PostgreSQL. `tests/with-postgres` starts a server for these tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::data_key::UsedDataKeys;
use keyward_core::ledger::Charge;
use keyward_core::ports::{DirectoryStore, LedgerStore, ProviderKeyStore, StoreHealth};
use keyward_core::{Error, Noun};
use keyward_crypto::Secret;
use keyward_store::{Engine, Store, deadline};
use keyward_testkit::TestDatabase;
use keyward_testkit::conformance::Fixture;
use keyward_testkit::fixtures::{
    NOON, World, charge, directory_grant, event, issued_key, manage_grant, organization,
    serve_grant, stored_key, workspace, write_grant,
};
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::common::options::options;

async fn fixture() -> Option<Fixture<Store>> {
    Some(common::open(TestDatabase::postgres().await?).await)
}

mod conformance {
    keyward_testkit::conformance_tests!(super::super::fixture);
}

common_tests! { fixture:
    migrations_are_idempotent
    newer_database_is_rejected
    closed_store_is_unavailable
    nothing_happens_after_the_deadline
}

/// Makes the first transactions on an organization fail with this SQLSTATE. A sequence counts the attempts, because
/// sequences are not rolled back.
async fn lose_first(fixture: &Fixture<Store>, losses: i64, code: &str) {
    let sql = format!(
        "CREATE SEQUENCE attempts;
         CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('attempts') <= {losses} THEN
                 RAISE EXCEPTION 'lost' USING ERRCODE = '{code}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER lose BEFORE INSERT ON organizations
             FOR EACH ROW EXECUTE FUNCTION lose();"
    );
    fixture.database.execute(&sql).await;
}

async fn attempts(fixture: &Fixture<Store>) -> i64 {
    let rows = fixture
        .database
        .query("SELECT last_value FROM attempts")
        .await;
    rows[0].try_get("", "last_value").unwrap()
}

async fn put_organization(fixture: &Fixture<Store>) -> Result<(), Error> {
    let audit_event = event("organization.upsert", Noun::Organization, "org");
    let (grant, organization) = (directory_grant(), organization("org"));
    fixture
        .store
        .upsert_organization(&grant, &organization, &audit_event)
        .await
        .map(|_| ())
}

/// Waits until this number of the store's connections wait for a lock. Gives up before the 60 seconds after which
/// PostgreSQL cancels every statement of the store.
async fn until_waiting(fixture: &Fixture<Store>, connections: i64) {
    let waiting = "pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'keyward' AND wait_event_type = 'Lock'";
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while fixture.database.count(waiting).await != connections {
            tokio::task::yield_now().await;
        }
    });
    waited
        .await
        .expect("the store's connections do not come to wait, or to an end");
}

#[tokio::test]
async fn engine_is_chosen_by_url() {
    let Some(fixture) = fixture().await else {
        return;
    };
    assert_eq!(fixture.store.engine(), Engine::Postgres);
    fixture.store.ping().await.unwrap();
}

#[tokio::test]
async fn lost_transaction_is_run_again() {
    for code in ["40001", "40P01"] {
        let Some(fixture) = fixture().await else {
            return;
        };
        lose_first(&fixture, 2, code).await;
        put_organization(&fixture).await.unwrap();
        assert_eq!(attempts(&fixture).await, 3);
        assert_eq!(fixture.database.count("organizations").await, 1);
        assert_eq!(fixture.database.count("audit_events").await, 1);
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let Some(fixture) = fixture().await else {
        return;
    };
    lose_first(&fixture, i64::MAX, "40001").await;
    let rejected = put_organization(&fixture).await;
    assert!(
        matches!(rejected, Err(Error::Unavailable(_))),
        "{rejected:?}"
    );
    assert_eq!(attempts(&fixture).await, 5);
    assert_eq!(fixture.database.count("audit_events").await, 0);
}

#[tokio::test]
async fn other_failures_are_not_tried_again() {
    let Some(fixture) = fixture().await else {
        return;
    };
    lose_first(&fixture, i64::MAX, "P0001").await;
    let rejected = put_organization(&fixture).await;
    assert!(matches!(rejected, Err(Error::Internal(_))), "{rejected:?}");
    assert_eq!(attempts(&fixture).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlock_is_survived() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let other = fixture.database.raw().await.begin().await.unwrap();
    // The other session does not check for deadlocks, so the store's session detects it.
    other
        .execute_unprepared("SET LOCAL deadlock_timeout = '1h'")
        .await
        .unwrap();
    let lock = "SELECT * FROM workspaces WHERE id = 'b' FOR UPDATE";
    other.execute_unprepared(lock).await.unwrap();

    let store = Arc::clone(&fixture.store);
    let upsert = tokio::spawn(async move {
        let audit_event = event("workspace.upsert", Noun::Workspace, "b");
        store
            .upsert_workspace(&directory_grant(), &world.b, &audit_event)
            .await
    });
    until_waiting(&fixture, 1).await;
    // The store has locked the organization and waits for the workspace. The other session now waits for the
    // organization, and gets it only when the store's transaction is aborted.
    let want = "UPDATE organizations SET name = 'Renamed' WHERE id = 'org'";
    other.execute_unprepared(want).await.unwrap();
    assert!(!upsert.is_finished());
    other.commit().await.unwrap();
    upsert.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_reaches_the_server() {
    let Some(fixture) = fixture().await else {
        return;
    };
    World::create(&*fixture.store).await;
    let other = fixture.database.raw().await.begin().await.unwrap();
    other
        .execute_unprepared("SELECT * FROM organizations FOR UPDATE")
        .await
        .unwrap();

    let audit_event = event("workspace.upsert", Noun::Workspace, "new");
    let (grant, new) = (directory_grant(), workspace("org", "new"));
    let at = Instant::now() + Duration::from_millis(200);
    let rejected = deadline::scope(
        at,
        fixture.store.upsert_workspace(&grant, &new, &audit_event),
    )
    .await;
    assert!(
        matches!(rejected, Err(Error::DeadlineExceeded)),
        "{rejected:?}"
    );
    // The lock is still held: a server without the deadline would continue to wait.
    until_waiting(&fixture, 0).await;
    other.rollback().await.unwrap();
    assert_eq!(fixture.store.workspace(&new.id).await.unwrap(), None);
    fixture
        .store
        .upsert_workspace(&grant, &new, &audit_event)
        .await
        .unwrap();
}

/// A use of a key whose row is locked is recorded once the row is free. Until then only the first caller waits, and
/// only briefly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noting_a_use_waits_for_no_row() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let key = issued_key(&world.a);
    let audit_event = event("issued_key.create", Noun::IssuedKey, "key");
    let (keys, grant) = (fixture.issued_keys(), manage_grant(&world.a));
    keys.insert(&grant, &key, &audit_event).await.unwrap();
    let other = fixture.database.raw().await.begin().await.unwrap();
    other
        .execute_unprepared("SELECT * FROM issued_keys FOR UPDATE")
        .await
        .unwrap();

    // The caller's deadline is before the end of the lock.
    let at = Instant::now() + Duration::from_millis(200);
    deadline::scope(at, keys.record_use(key.id, NOON)).await;
    until_waiting(&fixture, 1).await;
    for _ in 0..3 {
        keys.record_use(key.id, NOON).await;
    }
    until_waiting(&fixture, 1).await;
    assert_eq!(
        keys.find_by_hash(&key.hash).await.unwrap(),
        Some(key.clone())
    );
    other.rollback().await.unwrap();
    until_waiting(&fixture, 0).await;
    let recorded = async || {
        keys.find_by_hash(&key.hash)
            .await
            .unwrap()
            .unwrap()
            .last_used_at
    };
    while recorded().await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(recorded().await, Some(NOON));
}

/// Any number of calls that wait for one key occupy one connection, and other calls proceed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_key_leaves_the_connections_to_others() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let busy = issued_key(&world.a);
    let audit_event = event("issued_key.create", Noun::IssuedKey, "key");
    let (keys, grant) = (fixture.issued_keys(), manage_grant(&world.a));
    keys.insert(&grant, &busy, &audit_event).await.unwrap();
    let other = fixture.database.raw().await.begin().await.unwrap();
    other
        .execute_unprepared("SELECT * FROM issued_keys FOR UPDATE")
        .await
        .unwrap();

    // Twice the number of connections.
    let begun = Arc::new(Semaphore::new(0));
    let charging: Vec<_> = (0..16)
        .map(|number: u32| {
            let (ledger, grant) = (fixture.ledger(), serve_grant(&world.a));
            let (begun, hash) = (Arc::clone(&begun), busy.hash);
            tokio::spawn(async move {
                begun.add_permits(1);
                let charge = Box::new(move |_| Ok(charge(&number.to_string(), 1)));
                ledger.record(&grant, &hash, charge).await
            })
        })
        .collect();
    drop(begun.acquire_many(16).await.unwrap());
    until_waiting(&fixture, 1).await;
    for _ in 0..64 {
        assert!(keys.find_by_hash(&busy.hash).await.unwrap().is_some());
    }
    until_waiting(&fixture, 1).await;
    other.rollback().await.unwrap();
    for charging in charging {
        assert!(!charging.await.unwrap().unwrap().duplicate);
    }
}

/// The time of a change is the server's time after the key was locked, not before the wait, and not the machine's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_of_a_change_is_the_servers_after_the_wait() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let key = issued_key(&world.a);
    let created = event("issued_key.create", Noun::IssuedKey, "key");
    let (keys, manage) = (fixture.issued_keys(), manage_grant(&world.a));
    keys.insert(&manage, &key, &created).await.unwrap();
    let mut options = options(fixture.database.secret_url());
    options.machine_clock = fixture.clock.clone();
    let store = Store::connect(&options).await.unwrap();

    let other = fixture.database.raw().await.begin().await.unwrap();
    let lock = "SELECT * FROM issued_keys FOR UPDATE";
    other.execute_unprepared(lock).await.unwrap();
    let (grant, hash) = (serve_grant(&world.a), key.hash);
    let charging = tokio::spawn(async move {
        let charge = |now| {
            Ok(Charge {
                recorded_at: now,
                ..charge("request", 1)
            })
        };
        store.record(&grant, &hash, Box::new(charge)).await
    });
    until_waiting(&fixture, 1).await;
    let clock = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) AS now";
    let now: i64 = fixture.database.query(clock).await[0]
        .try_get("", "now")
        .unwrap();
    other.rollback().await.unwrap();
    charging.await.unwrap().unwrap();
    let charges = fixture
        .database
        .query("SELECT recorded_at FROM charges")
        .await;
    let recorded: i64 = charges[0].try_get("", "recorded_at").unwrap();
    assert!((now..now + 60_000).contains(&recorded), "{recorded} {now}");
}

/// Returns a connection that prevents reads of workspaces.
async fn lock_workspaces(fixture: &Fixture<Store>) -> DatabaseTransaction {
    let other = fixture.database.raw().await.begin().await.unwrap();
    other
        .execute_unprepared("LOCK TABLE workspaces IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    other
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_of_a_read_reaches_the_server() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let other = lock_workspaces(&fixture).await;

    let at = Instant::now() + Duration::from_millis(200);
    let rejected = deadline::scope(at, fixture.store.workspace(&world.a.id)).await;
    assert!(
        matches!(rejected, Err(Error::DeadlineExceeded)),
        "{rejected:?}"
    );
    until_waiting(&fixture, 0).await;

    // A caller that gives up at the deadline, or before it.
    let at = Instant::now() + Duration::from_millis(200);
    let call = deadline::scope(at, fixture.store.workspace(&world.a.id));
    drop(tokio::time::timeout_at(at, call).await);
    until_waiting(&fixture, 0).await;
    let (store, id) = (Arc::clone(&fixture.store), world.a.id.clone());
    let at = Instant::now() + Duration::from_secs(5);
    let call = tokio::spawn(deadline::scope(
        at,
        async move { store.workspace(&id).await },
    ));
    until_waiting(&fixture, 1).await;
    call.abort();
    until_waiting(&fixture, 0).await;

    other.rollback().await.unwrap();
    let at = Instant::now() + Duration::from_secs(60);
    let found = deadline::scope(at, fixture.store.workspace(&world.a.id)).await;
    assert_eq!(found.unwrap(), Some(world.a));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_outlives_its_caller() {
    let Some(fixture) = fixture().await else {
        return;
    };
    // A deferred trigger runs at the commit, which waits here for a lock.
    fixture
        .database
        .execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock(1);
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON organizations
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();",
        )
        .await;
    let other = fixture.database.raw().await.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(1)";
    other.execute_unprepared(lock).await.unwrap();

    let store = Arc::clone(&fixture.store);
    let call = tokio::spawn(async move {
        let audit_event = event("organization.upsert", Noun::Organization, "org");
        store
            .upsert_organization(&directory_grant(), &organization("org"), &audit_event)
            .await
    });
    until_waiting(&fixture, 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    other.rollback().await.unwrap();
    // Closing waits for the commit.
    fixture.store.close().await;
    assert_eq!(fixture.database.count("organizations").await, 1);
    assert_eq!(fixture.database.count("audit_events").await, 1);
}

#[tokio::test]
async fn statement_timeout_is_a_deadline() {
    let Some(fixture) = fixture().await else {
        return;
    };
    lose_first(&fixture, i64::MAX, "57014").await;
    let rejected = put_organization(&fixture).await;
    assert!(
        matches!(rejected, Err(Error::DeadlineExceeded)),
        "{rejected:?}"
    );
    assert_eq!(attempts(&fixture).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_are_replaced() {
    let Some(fixture) = fixture().await else {
        return;
    };
    World::create(&*fixture.store).await;
    for _ in 0..3 {
        // Has the effect of a server restart on the connections.
        let terminated = fixture
            .database
            .query(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'keyward'",
            )
            .await;
        assert!(!terminated.is_empty());
        put_organization(&fixture).await.unwrap();
        fixture.store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn errors_do_not_hold_values() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let world = World::create(&*fixture.store).await;
    let grant = write_grant(&world.a);
    let mut key = stored_key(&world.a);
    key.key.key = "canary-key".to_owned();
    key.key.description = Some("canary-description".to_owned());
    let audit_event = || event("api_key.create", Noun::ProviderKey, "canary-event");
    fixture
        .store
        .insert(&grant, &key, &UsedDataKeys::default(), &audit_event())
        .await
        .unwrap();

    // The detail of a unique violation contains the values: "Key (id)=(…) already exists."
    let mut same_id = key.clone();
    same_id.fingerprint = stored_key(&world.a).fingerprint;
    let id = key.key.id.to_string();
    // The detail of a missing value contains the row: "Failing row contains (…)."
    fixture
        .database
        .execute("ALTER TABLE provider_keys ALTER COLUMN description SET NOT NULL")
        .await;
    let incomplete = stored_key(&world.a);
    // The message of a data exception may contain the value.
    fixture
        .database
        .execute(
            "CREATE FUNCTION quote() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.description = 'quote' THEN
                 RAISE EXCEPTION 'bad value %', NEW.key USING ERRCODE = '22P02', DETAIL = NEW.key;
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER quote BEFORE INSERT ON provider_keys
             FOR EACH ROW EXECUTE FUNCTION quote();",
        )
        .await;
    let mut quoted = stored_key(&world.a);
    quoted.key.description = Some("quote".to_owned());
    same_id.key.description = Some("same id".to_owned());

    for (mut key, code) in [(same_id, "23505"), (incomplete, "23502"), (quoted, "22P02")] {
        key.key.key = "canary-key".to_owned();
        let error = fixture
            .store
            .insert(&grant, &key, &UsedDataKeys::default(), &audit_event())
            .await
            .unwrap_err();
        let cause = error.source().unwrap();
        assert!(cause.to_string().contains(code), "{cause}");
        let everything = format!("{error} {error:?} {cause} {cause:?} {:?}", cause.source());
        for value in ["canary", id.as_str(), &key.key.id.to_string()] {
            assert!(!everything.contains(value), "{everything}");
        }
    }
}

#[tokio::test]
async fn unreachable_server_is_unavailable() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("postgresql://user:canary@127.0.0.1:{port}/canary");
    assert_connection_rejected(url, "refused").await;
}

/// Checks that the error contains the reason, and no part of the URL.
async fn assert_connection_rejected(url: String, reason: &str) {
    let options = options(Secret::new(url));
    let error = Store::connect(&options).await.err().unwrap();
    let Error::Unavailable(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains(reason), "{cause}");
    let everything = format!("{error:?} {cause}");
    for part in ["canary", "127.0.0.1"] {
        assert!(!everything.contains(part), "{everything}");
    }
}

#[tokio::test]
async fn missing_database_is_unavailable() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let missing = format!("{}_canary", database.url());
    assert_connection_rejected(missing, "the database is not there").await;
}

#[tokio::test]
async fn rejected_log_in_is_unavailable() {
    let Some(database) = TestDatabase::postgres().await else {
        return;
    };
    let unknown_user = database.url().replace("//postgres@", "//canary@");
    assert_ne!(unknown_user, database.url());
    assert_connection_rejected(unknown_user, "the server refuses the log-in").await;
}

#[tokio::test]
async fn silent_server_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgresql://user:canary@127.0.0.1:{port}/canary");
    let mut options = options(Secret::new(url));
    options.limits.acquire_timeout = Duration::from_millis(200);
    let error = Store::connect(&options).await.err().unwrap();
    let Error::Unavailable(cause) = &error else {
        panic!("{error:?}")
    };
    assert!(cause.to_string().contains("does not answer"), "{cause}");
}

/// Without space for writes the replica is not ready until a write succeeds, however long that takes.
#[tokio::test]
async fn full_disk_is_not_ready_until_a_write_succeeds() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let upsert = async || {
        let told = event("organization.upsert", Noun::Organization, "org");
        let (grant, organization) = (directory_grant(), organization("org"));
        let stored = fixture
            .store
            .upsert_organization(&grant, &organization, &told);
        stored.await.map(drop)
    };
    upsert().await.unwrap();
    fixture.store.ping().await.unwrap();
    // As a server without space: reads and the start of a transaction succeed.
    fixture
        .database
        .execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
             END $$;
             CREATE FUNCTION full_disk_of_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';
             END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON organizations
                 FOR EACH ROW EXECUTE FUNCTION full_disk();
             CREATE EVENT TRIGGER full_disk ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS')
                 EXECUTE FUNCTION full_disk_of_tables();",
        )
        .await;
    let failed = upsert().await;
    assert!(matches!(failed, Err(Error::Unavailable(_))), "{failed:?}");
    for _ in 0..3 {
        fixture.store.ping().await.unwrap_err();
    }
    fixture
        .database
        .execute("DROP EVENT TRIGGER full_disk; DROP TRIGGER full_disk ON organizations")
        .await;
    let ready = async { while fixture.store.ping().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), ready)
        .await
        .expect("it stays not ready");
    upsert().await.unwrap();
}
