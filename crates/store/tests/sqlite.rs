//! The store on SQLite.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use keyward_core::ports::DirectoryStore;
use keyward_core::{Error, Noun};
use keyward_crypto::Secret;
use keyward_store::{Engine, Store, deadline};
use keyward_testkit::TestDatabase;
use keyward_testkit::conformance::Fixture;
use keyward_testkit::fixtures::{World, directory_grant, event, organization, repo, workspace};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::time::Instant;

use crate::common::options::options;

async fn fixture() -> Option<Fixture<Store>> {
    Some(common::open(TestDatabase::sqlite()).await)
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

#[tokio::test]
async fn database_and_its_companions_are_private() {
    let fixture = fixture().await.unwrap();
    World::create(&*fixture.store).await;
    assert_eq!(fixture.store.engine(), Engine::Sqlite);
    let file = fixture.database.file();
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", file.display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    // Bytes that WAL mode sets in the file's header.
    assert_eq!(std::fs::read(file).unwrap()[18..20], [2, 2]);
}

#[tokio::test]
async fn mode_of_a_file_that_is_there_stays() {
    let database = TestDatabase::sqlite();
    std::fs::write(database.file(), "").unwrap();
    std::fs::set_permissions(database.file(), PermissionsExt::from_mode(0o640)).unwrap();
    let fixture = common::open(database).await;
    let mode = std::fs::metadata(fixture.database.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn missing_directory_is_an_error_without_the_url() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("canary/keyward.db");
    let options = options(Secret::new(format!("sqlite:{}", file.display())));
    let error = Store::connect(&options).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn unfit_urls_are_rejected_without_repeating_them() {
    for url in [
        "canary",
        "",
        "mysql://user:canary@host/db",
        "canary://host",
        "sqlite::memory:",
        "sqlite:canary?mode=memory",
        "sqlite:canary?canary=1",
        "postgres://user:canary@host:port/db",
        "postgres://user:canary@host/db?sslmode=canary",
    ] {
        let options = options(Secret::new(url.to_owned()));
        assert!(!format!("{options:?}").contains("canary"));
        let error = Store::connect(&options).await.err().unwrap();
        assert!(
            matches!(
                error,
                Error::Invalid {
                    field: "database.url",
                    ..
                }
            ),
            "{url}: {error:?}"
        );
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

/// Takes SQLite's write lock, as another process.
async fn hold_write_lock(fixture: &Fixture<Store>) -> sea_orm::DatabaseTransaction {
    let txn = fixture.database.raw().await.begin().await.unwrap();
    txn.execute_unprepared("UPDATE organizations SET name = name")
        .await
        .unwrap();
    txn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_that_is_not_released_is_unavailable() {
    let database = TestDatabase::sqlite();
    let fixture = common::open(database).await;
    let mut options = options(fixture.database.secret_url());
    options.limits.busy_timeout = Duration::from_millis(5);
    let impatient = Store::connect(&options).await.unwrap();
    let lock = hold_write_lock(&fixture).await;
    let audit_event = event("organization.upsert", Noun::Organization, "org");
    let (grant, organization) = (directory_grant(), organization("org"));
    let rejected = impatient
        .upsert_organization(&grant, &organization, &audit_event)
        .await;
    assert!(
        matches!(rejected, Err(Error::Unavailable(_))),
        "{rejected:?}"
    );
    // Reads proceed beside a writer.
    assert_eq!(
        impatient
            .organization(&grant, &organization.id)
            .await
            .unwrap(),
        None
    );
    lock.rollback().await.unwrap();
    impatient
        .upsert_organization(&grant, &organization, &audit_event)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_is_given_up_at_the_deadline() {
    let fixture = fixture().await.unwrap();
    let lock = hold_write_lock(&fixture).await;
    let audit_event = event("organization.upsert", Noun::Organization, "org");
    let (grant, organization) = (directory_grant(), organization("org"));
    let at = Instant::now() + Duration::from_millis(100);
    let call = fixture
        .store
        .upsert_organization(&grant, &organization, &audit_event);
    let rejected = deadline::scope(at, call).await;
    assert!(
        matches!(rejected, Err(Error::DeadlineExceeded)),
        "{rejected:?}"
    );
    assert_eq!(deadline::remaining(), None);
    lock.rollback().await.unwrap();
    // The cancelled call has no later effect.
    fixture
        .store
        .upsert_workspace(&grant, &workspace("org", "a"), &audit_event)
        .await
        .unwrap_err();
    assert_eq!(fixture.database.count("organizations").await, 0);
    assert_eq!(fixture.database.count("audit_events").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_file() {
    let fixture = fixture().await.unwrap();
    World::create(&*fixture.store).await;
    // To SQLite, another store is the same as another process.
    let mut options = options(fixture.database.secret_url());
    options.limits.busy_timeout = Duration::from_secs(60);
    let mut writing = Vec::new();
    for writer in 0..4 {
        let store = Store::connect(&options).await.unwrap();
        writing.push(tokio::spawn(async move {
            for number in 0..25 {
                let id = format!("{writer}-{number}");
                let audit_event = event("repo.upsert", Noun::Repo, &id);
                store
                    .upsert_repo(&directory_grant(), &repo("a", &id), &audit_event)
                    .await
                    .unwrap();
            }
        }));
    }
    for writing in writing {
        writing.await.unwrap();
    }
    assert_eq!(fixture.database.count("repos").await, 100);
}
