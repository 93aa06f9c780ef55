//! Tests that run on both engines.

pub(crate) mod options;

use std::sync::Arc;
use std::time::Duration;

use keyward_core::data_key::UsedDataKeys;
use keyward_core::ports::{DirectoryStore, NotReady, ProviderKeyStore, StoreHealth};
use keyward_core::{Error, Noun};
use keyward_store::{MigrateError, SchemaState, SchemaTooNew, Store, TimeSource, deadline};
use keyward_testkit::conformance::Fixture;
use keyward_testkit::fixtures::{
    World, directory_grant, event, organization, serve_grant, stored_key, workspace_id, write_grant,
};
use keyward_testkit::{ManualClock, TestDatabase};
use tokio::time::Instant;

/// Opens a store on this database, with the current schema.
pub(crate) async fn open(database: TestDatabase) -> Fixture<Store> {
    let mut options = options::options(database.secret_url());
    options.limits.max_connections = 8;
    // The machine may be busy with other tests.
    (options.limits.acquire_timeout, options.limits.busy_timeout) =
        (Duration::from_secs(60), Duration::from_secs(60));
    let clock = Arc::new(ManualClock::default());
    options.machine_clock = Arc::clone(&clock) as _;
    options.time_source = TimeSource::Machine;
    let store = Store::connect(&options).await.unwrap();
    assert!(matches!(
        store.schema().await.unwrap(),
        SchemaState::Older { .. }
    ));
    assert!(store.migrate().await.unwrap() > 0);
    Fixture {
        store: Arc::new(store),
        clock,
        database,
    }
}

/// A repeated migration does nothing, even in several processes at once.
pub(crate) async fn migrations_are_idempotent(fixture: &Fixture<Store>) {
    World::create(&*fixture.store).await;
    assert_eq!(fixture.store.schema().await.unwrap(), SchemaState::Current);
    let migrating: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move { store.migrate().await })
        })
        .collect();
    for migrating in migrating {
        assert_eq!(migrating.await.unwrap().unwrap(), 0);
    }
    assert!(
        fixture
            .store
            .workspace(&workspace_id("a"))
            .await
            .unwrap()
            .is_some()
    );
}

/// A database that a newer program has migrated is rejected.
pub(crate) async fn newer_database_is_rejected(fixture: &Fixture<Store>) {
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    fixture.database.execute(newer).await;
    let Err(MigrateError::TooNew(found)) = fixture.store.migrate().await else {
        panic!("a newer database was migrated");
    };
    let expected = SchemaTooNew {
        found: "m9999_future".to_owned(),
        known: Store::migrations().pop().unwrap(),
    };
    assert_eq!(found, expected);
    let state = fixture.store.schema().await.unwrap();
    assert_eq!(state, SchemaState::Newer(expected));
    // Also if it lacks some of the known migrations.
    let older = "DELETE FROM seaql_migrations WHERE version LIKE 'm0001%'";
    fixture.database.execute(older).await;
    assert!(fixture.store.migrate().await.is_err());
    let state = fixture.store.schema().await.unwrap();
    assert!(matches!(state, SchemaState::Newer(_)), "{state:?}");
}

fn ping_error(error: NotReady) -> Error {
    match error {
        NotReady::Failed(error) => error,
        NotReady::ClockDiffers { .. } => panic!("{error}"),
    }
}

fn migrate_error(error: MigrateError) -> Error {
    match error {
        MigrateError::Failed(error) => error,
        MigrateError::TooNew(_) => panic!("{error}"),
    }
}

/// A closed store is unavailable for reads, writes and pings.
pub(crate) async fn closed_store_is_unavailable(fixture: &Fixture<Store>) {
    let world = World::create(&*fixture.store).await;
    let store = &fixture.store;
    store.close().await;
    let key = stored_key(&world.a);
    let audit_event = || event("api_key.create", Noun::ProviderKey, "key");
    let answers = [
        store.ping().await.map_err(ping_error),
        store.workspace(&world.a.id).await.map(|_| ()),
        store
            .insert(
                &write_grant(&world.a),
                &key,
                &UsedDataKeys::default(),
                &audit_event(),
            )
            .await,
        store
            .release(&serve_grant(&world.a), key.key.id, &audit_event())
            .await
            .map(|_| ()),
        store
            .upsert_organization(&directory_grant(), &organization("org"), &audit_event())
            .await
            .map(|_| ()),
        store.migrate().await.map(drop).map_err(migrate_error),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
}

/// The store neither reads nor writes after the deadline.
pub(crate) async fn nothing_happens_after_the_deadline(fixture: &Fixture<Store>) {
    let audit_event = event("organization.upsert", Noun::Organization, "org");
    let (grant, organization) = (directory_grant(), organization("org"));
    let store = &fixture.store;
    let answers = deadline::scope(Instant::now(), async {
        [
            store
                .upsert_organization(&grant, &organization, &audit_event)
                .await
                .map(|_| ()),
            store
                .organization(&grant, &organization.id)
                .await
                .map(|_| ()),
            store.ping().await.map_err(ping_error),
        ]
    });
    for answer in answers.await {
        assert!(matches!(answer, Err(Error::DeadlineExceeded)), "{answer:?}");
    }
    assert_eq!(fixture.database.count("organizations").await, 0);
    assert_eq!(fixture.database.count("audit_events").await, 0);
}

/// Generates a test for each of these functions.
#[macro_export]
macro_rules! common_tests {
    ($fixture:path: $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(fixture) = $fixture().await {
                    common::$test(&fixture).await;
                }
            }
        )*
    };
}
