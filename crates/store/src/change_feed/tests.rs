//! Tests of the feed and of the caches that follow it. A row that a test changes past the store shows if a call used
//! an entry.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::sync::Arc;
use std::time::Duration;

use keyward_core::Noun;
use keyward_core::clock::Timestamp;
use keyward_core::data_key::UsedDataKeys;
use keyward_core::issued_key::IssuedKey;
use keyward_core::policy::{Grant, Manage};
use keyward_core::ports::{
    DirectoryStore, IssuedKeyStore, LedgerStore, ManagementKeyStore, RepoAiKeyStore,
};
use keyward_core::tenancy::Access;
use keyward_testkit::fixtures::{
    NOON, World, charge, directory_grant, event, issued_key, manage_grant, management_key, member,
    organization_grant, organization_id, repo, reservation, serve_grant, stored_repo_ai_key,
    user_id, write_grant,
};
use keyward_testkit::{ManualClock, TestDatabase};
use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::follower::{Reader, open};
use super::*;
use crate::connect::Connector;
use crate::test_options::options;
use crate::{Store, StoreOptions, TimeSource};

/// One of the replicas on a database. It reads the feed only when a test says so.
struct Replica {
    store: Store,
    reader: Reader,
    connection: PgListener,
}

impl Replica {
    async fn new(database: &TestDatabase) -> Self {
        let store = Store::connect(&options(database.secret_url()))
            .await
            .unwrap();
        let Connector::Postgres(connect) = store.pool.connector() else {
            unreachable!("not on PostgreSQL")
        };
        let (connection, _) = open(connect).await.unwrap();
        let mut replica = Self {
            reader: Reader::default(),
            connection,
            store,
        };
        replica.read().await;
        replica
    }

    async fn read(&mut self) {
        let follower = &self.store.follower;
        let read = self.reader.read(&mut self.connection, follower);
        read.await.unwrap();
    }

    async fn find(&self, key: &IssuedKey) -> Option<IssuedKey> {
        IssuedKeyStore::find_by_hash(&self.store, &key.hash)
            .await
            .unwrap()
    }

    async fn is_disabled(&self, key: &IssuedKey) -> bool {
        self.find(key).await.unwrap().disabled
    }
}

struct Rig {
    database: TestDatabase,
    /// Makes the changes.
    one: Replica,
    /// Follows them.
    other: Replica,
    world: World,
    key: IssuedKey,
}

impl Rig {
    async fn new() -> Option<Self> {
        let database = TestDatabase::postgres().await?;
        let store = Store::connect(&options(database.secret_url()))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        let world = World::create(&store).await;
        let key = inserted(&store, &world).await;
        Some(Self {
            one: Replica::new(&database).await,
            other: Replica::new(&database).await,
            database,
            world,
            key,
        })
    }

    /// Disables the key past the store, so that no follower notices.
    async fn disable_unnoticed(&self) {
        self.database
            .execute("UPDATE issued_keys SET disabled = TRUE")
            .await;
    }

    /// Fills the other replica's entry, and then makes it differ from the row.
    async fn fill_and_disable_unnoticed(&self) {
        assert!(!self.other.is_disabled(&self.key).await);
        self.disable_unnoticed().await;
        assert!(
            !self.other.is_disabled(&self.key).await,
            "no entry was used"
        );
    }
}

fn grant(world: &World) -> Grant<Manage> {
    manage_grant(&world.a)
}

async fn inserted(store: &Store, world: &World) -> IssuedKey {
    let key = issued_key(&world.a);
    let created = event("issued_key.create", Noun::IssuedKey, "key");
    IssuedKeyStore::insert(store, &grant(world), &key, &created)
        .await
        .unwrap();
    key
}

async fn disable(store: &Store, world: &World, key: &IssuedKey) {
    let changed = event("issued_key.update", Noun::IssuedKey, "key");
    let change = |key: &IssuedKey| IssuedKey {
        disabled: true,
        ..key.clone()
    };
    store
        .modify(&grant(world), &key.hash, NOON, &change, &changed)
        .await
        .unwrap();
}

async fn spend(store: &Store, world: &World, key: &IssuedKey) {
    let made = move |now| {
        Ok(keyward_core::ledger::Charge {
            recorded_at: now,
            ..charge("charge", 5)
        })
    };
    store
        .record(&serve_grant(&world.a), &key.hash, Box::new(made))
        .await
        .unwrap();
}

#[tokio::test]
async fn replica_sees_a_change_of_a_key_when_it_reads_the_feed() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    assert!(!rig.one.is_disabled(&rig.key).await);
    assert!(!rig.other.is_disabled(&rig.key).await);
    disable(&rig.one.store, &rig.world, &rig.key).await;
    // At once on the replica that made the change.
    assert!(rig.one.is_disabled(&rig.key).await);
    assert!(!rig.other.is_disabled(&rig.key).await, "no entry was used");
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn replica_sees_a_new_and_a_deleted_key() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    let key = issued_key(&rig.world.a);
    assert!(rig.other.find(&key).await.is_none());
    let created = event("issued_key.create", Noun::IssuedKey, "key");
    let store = &rig.one.store;
    IssuedKeyStore::insert(store, &grant(&rig.world), &key, &created)
        .await
        .unwrap();
    assert!(rig.other.find(&key).await.is_none(), "no entry was used");
    rig.other.read().await;
    assert!(rig.other.find(&key).await.is_some());
    let deleted = event("issued_key.delete", Noun::IssuedKey, "key");
    IssuedKeyStore::delete(store, &grant(&rig.world), &key.hash, NOON, &deleted)
        .await
        .unwrap();
    assert!(rig.other.find(&key).await.is_some(), "no entry was used");
    rig.other.read().await;
    assert!(rig.other.find(&key).await.is_none());
}

#[tokio::test]
async fn replica_sees_a_charge_when_it_reads_the_feed() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    let spent = async |replica: &Replica| {
        let found = replica.store.find_metered(&rig.key.hash, NOON).await;
        found.unwrap().unwrap().account.usage.total.get()
    };
    assert_eq!((spent(&rig.one).await, spent(&rig.other).await), (0, 0));
    spend(&rig.one.store, &rig.world, &rig.key).await;
    assert_eq!(spent(&rig.one).await, 5);
    assert_eq!(spent(&rig.other).await, 0, "no entry was used");
    rig.other.read().await;
    assert_eq!(spent(&rig.other).await, 5);
}

#[tokio::test]
async fn replica_sees_changes_of_callers_when_it_reads_the_feed() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    let organization = organization_id("org");
    let administrators = organization_grant(&organization);
    let manager = management_key("org");
    let changed = || event("test", Noun::Member, "id");
    let store = &rig.one.store;
    ManagementKeyStore::insert(store, &administrators, &manager, &changed())
        .await
        .unwrap();
    let directory = directory_grant();
    let user = member("org", "user", &[("a", Access::Write), ("b", Access::Read)]);
    store
        .upsert_member(&directory, &user, &changed())
        .await
        .unwrap();

    let found = async |replica: &Replica| {
        let member = replica.store.member(&organization, &user_id("user")).await;
        let key = ManagementKeyStore::find_by_hash(&replica.store, &manager.hash).await;
        let access = member.unwrap().map(|member| member.access.len());
        (access, key.unwrap().is_some())
    };
    rig.other.read().await;
    assert_eq!(found(&rig.other).await, (Some(2), true));
    assert_eq!(found(&rig.one).await, (Some(2), true));
    ManagementKeyStore::revoke(store, &administrators, &manager.hash, NOON, &changed())
        .await
        .unwrap();
    // It deletes the access to the workspace.
    store
        .delete_workspace(&directory, &rig.world.b.id, &changed())
        .await
        .unwrap();
    assert_eq!(found(&rig.one).await, (Some(1), false));
    assert_eq!(
        found(&rig.other).await,
        (Some(2), true),
        "no entry was used"
    );
    rig.other.read().await;
    assert_eq!(found(&rig.other).await, (Some(1), false));
    store
        .delete_member(&directory, &organization, &user.user, &changed())
        .await
        .unwrap();
    assert_eq!(found(&rig.other).await.0, Some(1), "no entry was used");
    rig.other.read().await;
    assert_eq!(found(&rig.other).await.0, None);
    let user = member("org", "user", &[("a", Access::Write)]);
    store
        .upsert_member(&directory, &user, &changed())
        .await
        .unwrap();
    assert_eq!(found(&rig.other).await.0, None, "no entry was used");
    rig.other.read().await;
    assert_eq!(found(&rig.other).await.0, Some(1));
}

#[tokio::test]
async fn replica_sees_changes_of_a_repo_ai_key_when_it_reads_the_feed() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    let changed = || event("test", Noun::RepoAiKey, "id");
    let store = &rig.one.store;
    let repo = repo("a", "repo");
    store
        .upsert_repo(&directory_grant(), &repo, &changed())
        .await
        .unwrap();
    let (key, grant) = (
        stored_repo_ai_key(&rig.world.a, "repo", "first"),
        write_grant(&rig.world.a),
    );
    let name = async |replica: &Replica| {
        let found = replica.store.find_by_key(&key.key.key).await.unwrap();
        found.map(|found| found.key.name)
    };
    let first = Some("first".to_owned());
    let second = Some("second".to_owned());
    assert_eq!(name(&rig.other).await, None);
    RepoAiKeyStore::insert(store, &grant, &key, &UsedDataKeys::default(), &changed())
        .await
        .unwrap();
    assert_eq!(name(&rig.other).await, None, "no entry was used");
    rig.other.read().await;
    assert_eq!(name(&rig.other).await, first);
    let id = key.key.id;
    RepoAiKeyStore::rename(store, &grant, &repo.id, id, "second", &changed())
        .await
        .unwrap();
    assert_eq!(name(&rig.other).await, first, "no entry was used");
    rig.other.read().await;
    assert_eq!(name(&rig.other).await, second);
    RepoAiKeyStore::delete(store, &grant, &repo.id, id, NOON, &changed())
        .await
        .unwrap();
    assert_eq!(name(&rig.one).await, None);
    assert_eq!(name(&rig.other).await, second, "no entry was used");
    rig.other.read().await;
    assert_eq!(name(&rig.other).await, None);
}

#[tokio::test]
async fn change_of_a_transaction_that_stays_open_is_not_missed() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    // It has a lower number than the later transactions.
    let open = rig.database.raw().await.begin().await.unwrap();
    let disabled = format!(
        "UPDATE issued_keys SET disabled = TRUE; \
         INSERT INTO changes (transaction_id, recorded_at, kind, organization_id, resource_id) \
         VALUES ({TRANSACTION}, 0, 'issued_key', 'org', '{}')",
        rig.key.hash
    );
    open.execute_unprepared(&disabled).await.unwrap();
    let later = inserted(&rig.one.store, &rig.world).await;
    assert!(!rig.other.is_disabled(&rig.key).await);
    assert!(!rig.other.is_disabled(&later).await);
    disable(&rig.one.store, &rig.world, &later).await;
    rig.other.read().await;
    // The open transaction does not delay the later one.
    assert!(rig.other.is_disabled(&later).await);
    assert!(!rig.other.is_disabled(&rig.key).await);
    open.commit().await.unwrap();
    assert!(!rig.other.is_disabled(&rig.key).await, "no entry was used");
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn replica_that_missed_deleted_rows_empties_its_caches() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    rig.other.read().await;
    rig.fill_and_disable_unnoticed().await;
    spend(&rig.one.store, &rig.world, &rig.key).await;
    let trimmed = rig.one.store.trim_once(true, Duration::ZERO, 100).await;
    assert_eq!(trimmed.unwrap(), 1);
    assert!(!rig.other.is_disabled(&rig.key).await, "no entry was used");
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn deletion_of_rows_is_bounded() {
    let Some(rig) = Rig::new().await else {
        return;
    };
    let store = &rig.one.store;
    let rows = "INSERT INTO changes (transaction_id, recorded_at, kind, resource_id) \
         SELECT 1, 0, 'account', n::text FROM generate_series(1, 30) AS n";
    rig.database.execute(rows).await;
    assert_eq!(store.trim_once(true, Duration::ZERO, 20).await.unwrap(), 20);
    assert_eq!(store.trim_once(true, Duration::ZERO, 20).await.unwrap(), 10);
    store.trim_changes().await.unwrap();
    let kept = rig.database.count("changes WHERE kind <> 'trimmed'").await;
    assert!(kept > 0, "new rows were deleted");
}

#[tokio::test]
async fn malformed_row_empties_the_caches() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    rig.fill_and_disable_unnoticed().await;
    let row = format!(
        "INSERT INTO changes (transaction_id, recorded_at, kind, resource_id) \
         VALUES ({TRANSACTION}, 0, 'issued_key', 'no hash')"
    );
    rig.database.execute(&row).await;
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn rows_restored_from_another_server_are_ignored() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    rig.fill_and_disable_unnoticed().await;
    let rows = "INSERT INTO changes (transaction_id, recorded_at, kind, resource_id) \
         SELECT 1000000000000, 0, 'trimmed', n::text FROM generate_series(1, 10001) AS n";
    rig.database.execute(rows).await;
    rig.other.read().await;
    assert!(!rig.other.is_disabled(&rig.key).await, "no entry was used");
}

#[tokio::test]
async fn replica_on_another_server_empties_its_caches() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    rig.fill_and_disable_unnoticed().await;
    rig.other.reader.pretend_another_server();
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn replica_behind_by_too_many_rows_empties_its_caches() {
    let Some(mut rig) = Rig::new().await else {
        return;
    };
    rig.fill_and_disable_unnoticed().await;
    let rows = format!(
        "INSERT INTO changes (transaction_id, recorded_at, kind, resource_id) \
         SELECT {TRANSACTION}, 0, 'unknown', n::text FROM generate_series(1, 10001) AS n"
    );
    rig.database.execute(&rows).await;
    rig.other.read().await;
    assert!(rig.other.is_disabled(&rig.key).await);
}

#[tokio::test]
async fn read_of_a_read_only_server_fails() {
    let Some(rig) = Rig::new().await else {
        return;
    };
    let rows = rig
        .database
        .query("SELECT current_database()::text AS name")
        .await;
    let name: String = rows[0].try_get("", "name").unwrap();
    let standby = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
    rig.database.execute(&standby).await;
    let Connector::Postgres(connect) = rig.one.store.pool.connector() else {
        return;
    };
    let (mut connection, _) = open(connect).await.unwrap();
    let mut reader = Reader::default();
    let read = reader.read(&mut connection, &rig.one.store.follower).await;
    assert_eq!(read.unwrap_err().to_string(), "the server is read-only");
}

/// Returns a store whose follower runs until the handle is aborted.
async fn following(options: &StoreOptions) -> (Store, tokio::task::JoinHandle<()>) {
    let store = Store::connect(options).await.unwrap();
    let follower = store.clone();
    let running = tokio::spawn(async move { follower.follow_changes().await });
    while !store.caches.issued_keys.is_fresh() {
        tokio::task::yield_now().await;
    }
    (store, running)
}

/// Returns once the key is disabled for a store that has an entry of it.
async fn await_disabled(store: &Store, key: &IssuedKey) {
    while !IssuedKeyStore::find_by_hash(store, &key.hash)
        .await
        .unwrap()
        .unwrap()
        .disabled
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commit_notifies_the_other_replicas() {
    let Some(rig) = Rig::new().await else {
        return;
    };
    let mut options = options(rig.database.secret_url());
    // Without a notification, the test would not end in time.
    options.limits.cache.poll_interval = Duration::from_secs(3600);
    options.limits.cache.max_staleness = Duration::from_secs(7200);
    options.limits.cache.lifetime = Duration::from_secs(7200);
    let (one, running) = following(&options).await;
    let (other, other_running) = following(&options).await;
    for _ in 0..20 {
        let key = inserted(&one, &rig.world).await;
        let found = IssuedKeyStore::find_by_hash(&other, &key.hash)
            .await
            .unwrap();
        drop(found);
        disable(&one, &rig.world, &key).await;
        await_disabled(&other, &key).await;
    }
    running.abort();
    other_running.abort();
}

#[tokio::test]
async fn replica_that_is_not_notified_reads_the_feed_at_its_interval() {
    let Some(rig) = Rig::new().await else {
        return;
    };
    let mut options = options(rig.database.secret_url());
    options.limits.cache.poll_interval = Duration::from_millis(20);
    options.limits.cache.lifetime = Duration::from_secs(7200);
    let (other, running) = following(&options).await;
    let found = IssuedKeyStore::find_by_hash(&other, &rig.key.hash).await;
    assert!(!found.unwrap().unwrap().disabled);
    // This replica does not follow, and so does not notify.
    disable(&rig.one.store, &rig.world, &rig.key).await;
    await_disabled(&other, &rig.key).await;
    running.abort();
}

#[tokio::test]
async fn follower_whose_connection_is_lost_opens_another_one() {
    let Some(rig) = Rig::new().await else {
        return;
    };
    let mut options = options(rig.database.secret_url());
    options.limits.cache.poll_interval = Duration::from_millis(20);
    options.limits.cache.lifetime = Duration::from_secs(7200);
    let (other, running) = following(&options).await;
    rig.database
        .query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    disable(&rig.one.store, &rig.world, &rig.key).await;
    await_disabled(&other, &rig.key).await;
    while !other.caches.issued_keys.is_fresh() {
        tokio::task::yield_now().await;
    }
    running.abort();
}

#[tokio::test]
async fn cache_on_sqlite_needs_the_lock_of_the_file() {
    let database = TestDatabase::sqlite();
    let store = Store::connect(&options(database.secret_url()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let world = World::create(&store).await;
    let key = inserted(&store, &world).await;
    let is_disabled = async |store: &Store| {
        let found = IssuedKeyStore::find_by_hash(store, &key.hash).await;
        found.unwrap().unwrap().disabled
    };
    let set = async |disabled: bool| {
        let sql = format!("UPDATE issued_keys SET disabled = {disabled}");
        database.execute(&sql).await;
    };
    store.claim().unwrap();
    let follower = store.clone();
    let running = tokio::spawn(async move { follower.follow_changes().await });
    while !store.caches.issued_keys.is_fresh() {
        tokio::task::yield_now().await;
    }
    assert!(!is_disabled(&store).await);
    set(true).await;
    assert!(!is_disabled(&store).await, "no entry was used");
    disable(&store, &world, &key).await;
    assert!(is_disabled(&store).await);
    running.abort();
    running.await.unwrap_err();
    set(false).await;
    assert!(!is_disabled(&store).await, "an entry was used");
}

#[tokio::test]
async fn failed_commit_on_sqlite_ends_the_use_of_entries() {
    let database = TestDatabase::sqlite();
    let store = Store::connect(&options(database.secret_url()))
        .await
        .unwrap();
    store.claim().unwrap();
    let follower = store.clone();
    let running = tokio::spawn(async move { follower.follow_changes().await });
    let is_fresh = || store.caches.issued_keys.is_fresh();
    while !is_fresh() {
        tokio::task::yield_now().await;
    }
    // It may still succeed, and nothing would tell.
    store.follower.note_commit(&[], false);
    assert!(!is_fresh());
    store.migrate().await.unwrap();
    World::create(&store).await;
    assert!(is_fresh());
    running.abort();
    running.await.unwrap_err();
    assert!(!is_fresh());
    store.follower.note_commit(&[], false);
    store.follower.note_commit(&[], true);
    assert!(!is_fresh(), "nothing is followed");
}

#[tokio::test]
async fn entry_has_the_last_use_that_was_recorded_since() {
    let database = TestDatabase::sqlite();
    let store = Store::connect(&options(database.secret_url()))
        .await
        .unwrap();
    store.migrate().await.unwrap();
    store.follower.confirm_always_for_tests();
    let world = World::create(&store).await;
    let key = inserted(&store, &world).await;
    let last_use = async || {
        let found = store.find_metered(&key.hash, NOON).await.unwrap().unwrap();
        found.key.last_used_at
    };
    assert_eq!(last_use().await, None);
    IssuedKeyStore::record_use(&store, key.id, NOON).await;
    assert_eq!(last_use().await, Some(NOON));
}

/// An account changes with time: reservations expire, and days end.
async fn account_of_an_entry_changes_with_time(database: TestDatabase) {
    let clock = Arc::new(ManualClock::new(NOON));
    let mut options = options(database.secret_url());
    options.time_source = TimeSource::Machine;
    options.machine_clock = Arc::clone(&clock) as _;
    let store = Store::connect(&options).await.unwrap();
    store.migrate().await.unwrap();
    store.follower.confirm_always_for_tests();
    let world = World::create(&store).await;
    let key = inserted(&store, &world).await;
    let held = reservation("reservation", 7);
    let expires_at = held.expires_at;
    let made = move |_| held.clone();
    store
        .reserve(
            &serve_grant(&world.a),
            &key.hash,
            Box::new(made),
            Box::new(|_, _| Ok(())),
        )
        .await
        .unwrap();
    spend(&store, &world, &key).await;
    let account = async |now: Timestamp| {
        let found = store.find_metered(&key.hash, now).await.unwrap().unwrap();
        let account = found.account;
        (account.held.get(), account.usage.daily.get())
    };
    let millisecond = Duration::from_millis(1);
    assert_eq!(account(NOON).await, (7, 5));
    assert_eq!(account(expires_at.minus(millisecond)).await, (7, 5));
    assert_eq!(account(expires_at).await, (0, 5));
    let midnight = NOON.plus(Duration::from_secs(12 * 3600));
    assert_eq!(account(midnight.minus(millisecond)).await, (0, 5));
    assert_eq!(account(midnight).await, (0, 0));
}

#[tokio::test]
async fn account_of_an_entry_changes_with_time_on_sqlite() {
    account_of_an_entry_changes_with_time(TestDatabase::sqlite()).await;
}

#[tokio::test]
async fn account_of_an_entry_changes_with_time_on_postgres() {
    if let Some(database) = TestDatabase::postgres().await {
        account_of_an_entry_changes_with_time(database).await;
    }
}
