//! Reads the rows of `fill.rs` with the current code, and writes further rows.

use std::time::Duration;

use keyward_core::Noun;
use keyward_core::audit_filter::AuditFilter;
use keyward_core::clock::Timestamp;
use keyward_core::data_key::{DataKeyPurpose, UsedDataKeys, WrappedDataKey};
use keyward_core::page::{PageRequest, Position};
use keyward_core::ports::{
    AuditStore, DataKeyStore, DirectoryStore, IssuedKeyStore, LedgerStore, ManagementKeyStore,
    ProviderKeyStore, RepoAiKeyStore,
};
use keyward_core::retention::Retention;
use keyward_core::tenancy::Access;
use keyward_crypto::KeyHash;
use keyward_store::Store;
use keyward_testkit::fixtures::{
    NOON, audit_grant, creator, directory_grant, event, issued_key, manage_grant, management_key,
    organization_grant, organization_id, read_grant, repo, repo_id, serve_grant, stored_key,
    stored_repo_ai_key, user_id, workspace, workspace_id, write_grant,
};

fn page<K>() -> PageRequest<K> {
    PageRequest {
        limit: 10,
        after: None,
    }
}

fn hash(digit: &str) -> KeyHash {
    KeyHash::parse(&digit.repeat(64)).unwrap()
}

/// Reads all rows that a program of these migrations stored.
pub(crate) async fn everything(store: &Store, migrations: &[String]) {
    for migration in migrations {
        match migration.as_str() {
            "m0001_directory" => directory(store).await,
            "m0002_vault" => data_keys(store).await,
            "m0003_provider_keys" => provider_keys(store).await,
            "m0004_audit" => audit(store).await,
            "m0005_repo_ai_keys_and_management_keys" => keys_of_ours(store).await,
            "m0006_issued_keys" => issued_keys(store).await,
            "m0010_retention_runs" => retention_runs(store).await,
            // The migration creates no table, or one that only followers read.
            _ => {}
        }
    }
}

async fn retention_runs(store: &Store) {
    let retention = Retention {
        kept_for: Duration::from_millis(1),
        passed: Duration::ZERO,
    };
    let stored = Some(Timestamp::from_unix_millis(1_785_585_600_000));
    let before = store.advance_audit_cutoff(retention).await.unwrap();
    assert_eq!(before, stored);
    let before = store.advance_ledger_cutoff(retention).await.unwrap();
    assert_eq!(before, stored);
}

async fn directory(store: &Store) {
    let default = store
        .default_workspace(&organization_id("org"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((default.id.as_str(), default.is_default), ("a", true));
    let workspace = store.workspace(&workspace_id("b")).await.unwrap().unwrap();
    assert_eq!(workspace.name, "B \u{1f511}");
    let member = store
        .member(&organization_id("org"), &user_id("user"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((member.role.name(), member.validated), ("BILLING", true));
    assert_eq!(member.access[&workspace_id("a")], Access::Write);
    let repo = store.repo(&repo_id("repo")).await.unwrap().unwrap();
    assert_eq!(repo.workspace, workspace_id("a"));
}

async fn data_keys(store: &Store) {
    let a = store.workspace(&workspace_id("a")).await.unwrap().unwrap();
    let keys = store.data_keys(&read_grant(&a)).await.unwrap();
    let found: Vec<_> = keys
        .into_iter()
        .map(|key| (key.purpose, key.wrapped))
        .collect();
    let expected = [
        (DataKeyPurpose::Fingerprint, vec![2]),
        (DataKeyPurpose::Seal, vec![1, 0, 255]),
    ];
    assert_eq!(found, expected);
}

async fn provider_keys(store: &Store) {
    let a = store.workspace(&workspace_id("a")).await.unwrap().unwrap();
    let keys: &dyn ProviderKeyStore = store;
    let listed = keys
        .list(&[read_grant(&a)], None, &first_page())
        .await
        .unwrap()
        .items;
    let [bare, whole] = &listed[..] else {
        panic!("{} keys", listed.len())
    };
    assert_eq!((bare.key.key.as_str(), &bare.key.endpoint), ("bare", &None));
    assert_eq!((whole.key.key.as_str(), whole.key.version), ("AKIA", 4));
    assert_eq!(whole.key.description.as_deref(), Some("d"));
    assert_eq!(
        (&bare.key.created_by, &whole.key.created_by),
        (&None, &None)
    );
    let links = keys
        .links(&serve_grant(&a), whole.key.id, &page())
        .await
        .unwrap();
    assert_eq!(links.items[0].resource.id.as_str(), "bucket-1");
}

async fn audit(store: &Store) {
    let filter = AuditFilter {
        end: Some(Timestamp::from_unix_millis(NOON.unix_millis() + 2)),
        ..AuditFilter::default()
    };
    let events = store
        .events(&audit_grant(), &filter, &page())
        .await
        .unwrap()
        .items;
    let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["organization.upsert", "api_key.create"]);
    assert_eq!(events[1].details["fields"], "key");
}

async fn keys_of_ours(store: &Store) {
    let a = store.workspace(&workspace_id("a")).await.unwrap().unwrap();
    let keys: &dyn RepoAiKeyStore = store;
    let listed = keys
        .list(&read_grant(&a), &repo_id("repo"), &first_page())
        .await
        .unwrap()
        .items;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "live");
    assert_eq!(listed[0].created_by, None);
    assert!(keys.find_by_key("FB_AI_live").await.unwrap().is_some());
    assert!(keys.find_by_key("FB_AI_gone").await.unwrap().is_none());
    let keys: &dyn ManagementKeyStore = store;
    let key = keys.find_by_hash(&hash("1")).await.unwrap().unwrap();
    assert_eq!(
        (key.name.as_str(), key.last_used_at.is_some()),
        ("CI", true)
    );
    assert_eq!(key.created_by, None);
    assert_eq!(keys.find_by_hash(&hash("2")).await.unwrap(), None);
}

async fn issued_keys(store: &Store) {
    let keys: &dyn IssuedKeyStore = store;
    let now = Timestamp::from_unix_millis(NOON.unix_millis() + 10);
    let metered = keys.find_metered(&hash("3"), now).await.unwrap().unwrap();
    assert_eq!(metered.key.name, "App");
    assert_eq!(metered.key.external_user.as_deref(), Some("someone"));
    assert_eq!(metered.key.created_by, None);
    assert_eq!(metered.account.usage.total.get(), 30);
    assert_eq!(metered.account.byok_usage.total.get(), 4);
    assert_eq!(metered.account.held.get(), 6);
    assert_eq!(keys.find_by_hash(&hash("4")).await.unwrap(), None);
    assert!(store.locate_key(&hash("4")).await.unwrap().is_some());
}

fn first_page() -> PageRequest<Position> {
    PageRequest {
        limit: 100,
        after: None,
    }
}

/// Stores one more row of each kind.
pub(crate) async fn and_goes_on(store: &Store) {
    let a = workspace("org", "a");
    let audit_event = |action, noun| event(action, noun, "one more");
    // Before any secret is sealed: a workspace that has sealed secrets gets no first key.
    let data_key = WrappedDataKey {
        purpose: DataKeyPurpose::Seal,
        version: 2,
        wrapped: vec![3],
        created_at: NOON,
    };
    store
        .insert_missing_data_keys(&read_grant(&a), &[data_key])
        .await
        .unwrap();
    let provider: &dyn ProviderKeyStore = store;
    let key = stored_key(&a);
    provider
        .insert(
            &write_grant(&a),
            &key,
            &UsedDataKeys::default(),
            &audit_event("api_key.create", Noun::ProviderKey),
        )
        .await
        .unwrap();
    let of_repo: &dyn RepoAiKeyStore = store;
    let key = stored_repo_ai_key(&a, "repo", "one more");
    of_repo
        .insert(
            &write_grant(&a),
            &key,
            &UsedDataKeys::default(),
            &audit_event("repo_ai_key.create", Noun::RepoAiKey),
        )
        .await
        .unwrap();
    let managing: &dyn ManagementKeyStore = store;
    let key = management_key("org");
    managing
        .insert(
            &organization_grant(&organization_id("org")),
            &key,
            &audit_event("management_key.create", Noun::ManagementKey),
        )
        .await
        .unwrap();
    let issued: &dyn IssuedKeyStore = store;
    let key = issued_key(&a);
    issued
        .insert(
            &manage_grant(&a),
            &key,
            &audit_event("issued_key.create", Noun::IssuedKey),
        )
        .await
        .unwrap();
    let found = issued.find_by_hash(&key.hash).await.unwrap();
    assert_eq!(found.unwrap().created_by, Some(creator()));
    store
        .upsert_repo(
            &directory_grant(),
            &repo("a", "one-more"),
            &audit_event("repo.upsert", Noun::Repo),
        )
        .await
        .unwrap();
}
