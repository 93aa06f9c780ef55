//! A live key prevents the deletion of its parent: if one call creates the key and another one deletes the parent at
//! once, exactly one of them succeeds.

use std::sync::Arc;

use keyward_core::data_key::{DataKeyPurpose, UsedDataKeys, WrappedDataKey};
use keyward_core::id::WorkspaceId;
use keyward_core::page::{Page, PageRequest};
use keyward_core::provider_key::{ResourceKind, StoredProviderKey};
use keyward_core::services::Vault;
use keyward_core::{Error, Noun};
use keyward_crypto::Keyring;

use super::organization::put_organization;
use super::race::taking_turns;
use super::repo::put_repo;
use super::workspace::put_workspace;
use super::{
    Fixture, Stores, assert_rejected, is_not_found, issued_key, management_key, provider_key,
    repo_ai_key,
};
use crate::ManualClock;
use crate::fixtures::{
    self, NOON, World, directory_grant, event, link, manage_grant, organization,
    organization_grant, repo, repo_id, serve_grant, stored_key, stored_repo_ai_key, workspace,
    write_grant,
};

/// Number of rounds of each test.
const ROUNDS: usize = 200;

/// A live repo AI key prevents the deletion of its repo.
pub async fn repo_ai_key_holds_its_repo<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for round in 0..ROUNDS {
        put_repo(fixture, &repo("a", "r")).await.unwrap();
        let key = stored_repo_ai_key(&world.a, "r", "key");
        let id = key.key.id;
        let (store, grant) = (fixture.repo_ai_keys(), write_grant(&world.a));
        let creating = async move {
            let event = event("repo_ai_key.create", Noun::RepoAiKey, id.to_string());
            store
                .insert(&grant, &key, &UsedDataKeys::default(), &event)
                .await
        };
        let store = Arc::clone(&fixture.store);
        let deleting = async move {
            let event = event("repo.delete", Noun::Repo, "r");
            let (grant, repo) = (directory_grant(), repo_id("r"));
            store.delete_repo(&grant, &repo, &event).await
        };
        match taking_turns(round, creating, deleting).await {
            (
                Ok(()),
                Err(Error::NotEmpty {
                    noun: Noun::Repo,
                    held: "AI keys",
                }),
            ) => repo_ai_key::delete(fixture, &world.a, "r", id)
                .await
                .unwrap(),
            (Err(Error::Denied), Ok(())) => {}
            answers => panic!("round {round}: create and delete: {answers:?}"),
        }
        let live = "repo_ai_keys WHERE live_repo_id IS NOT NULL";
        assert_eq!(fixture.database.count(live).await, 0);
    }
}

/// A grant does not cover a workspace that another organization has created with the same id since.
pub async fn grant_reaches_no_namesake<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let grant = manage_grant(&world.b);
    let deletion = event("workspace.delete", Noun::Workspace, "b");
    fixture
        .store
        .delete_workspace(&directory_grant(), &world.b.id, &deletion)
        .await
        .unwrap();
    let namesake = workspace("other", "b");
    put_workspace(fixture, &namesake).await.unwrap();

    let key = fixtures::issued_key(&world.b);
    let creation = event("issued_key.create", Noun::IssuedKey, "key");
    let keys = fixture.issued_keys();
    let rejected = keys.insert(&grant, &key, &creation).await;
    assert!(matches!(rejected, Err(Error::Denied)), "{rejected:?}");

    let theirs = issued_key::put(fixture, &namesake).await;
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let listed = keys.list(&grant, true, 0, &page, NOON).await.unwrap();
    assert_eq!(listed, Page::default());
    let found = keys.get(&grant, &theirs.hash, NOON).await;
    assert!(is_not_found(&found), "{found:?}");
    let deletion = event("issued_key.delete", Noun::IssuedKey, "key");
    let deleted = keys.delete(&grant, &theirs.hash, NOON, &deletion).await;
    assert!(is_not_found(&deleted), "{deleted:?}");
}

/// A grant cannot store, list or seal in a workspace that another organization has created with the same id since.
pub async fn grant_seals_nothing_in_a_namesake<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let grant = write_grant(&world.b);
    delete_workspace(fixture, &world.b.id).await.unwrap();
    let namesake = workspace("other", "b");
    put_workspace(fixture, &namesake).await.unwrap();
    put_repo(fixture, &repo("b", "r")).await.unwrap();
    let theirs = stored_key(&namesake);
    provider_key::insert(fixture, &namesake, &theirs)
        .await
        .unwrap();
    let their_repo_key = stored_repo_ai_key(&namesake, "r", "theirs");
    repo_ai_key::insert(fixture, &namesake, &their_repo_key)
        .await
        .unwrap();

    let used = UsedDataKeys::default();
    let audit_event = || event("api_key.create", Noun::ProviderKey, "key");
    let key = stored_key(&world.b);
    let keys = fixture.provider_keys();
    let stored = keys.insert(&grant, &key, &used, &audit_event()).await;
    assert_rejected!(stored, Error::Denied);
    let key = stored_repo_ai_key(&world.b, "r", "ours");
    let repo_keys = fixture.repo_ai_keys();
    let stored = repo_keys.insert(&grant, &key, &used, &audit_event()).await;
    assert_rejected!(stored, Error::Denied);
    let seal = WrappedDataKey {
        purpose: DataKeyPurpose::Seal,
        version: 7,
        wrapped: vec![7],
        created_at: NOON,
    };
    let made = fixture
        .store
        .insert_missing_data_keys(&grant, &[seal])
        .await;
    assert_rejected!(made, Error::Denied);

    assert_eq!(provider_key::list(fixture, &[&world.b], None).await, []);
    assert_eq!(repo_ai_key::list(fixture, &world.b, "r").await, []);
    let listed = provider_key::list(fixture, &[&namesake], None).await;
    assert_eq!(listed[0].key.id, theirs.key.id);
}

/// A grant finds no provider key in a workspace that another organization has created with the same id since: it cannot
/// change, delete, release, link or list any.
pub async fn grant_changes_no_key_of_a_namesake<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (write, serve) = (write_grant(&world.b), serve_grant(&world.b));
    delete_workspace(fixture, &world.b.id).await.unwrap();
    let namesake = workspace("other", "b");
    put_workspace(fixture, &namesake).await.unwrap();
    let theirs = stored_key(&namesake);
    provider_key::insert(fixture, &namesake, &theirs)
        .await
        .unwrap();
    let events = fixture.database.count("audit_events").await;

    let (keys, id) = (fixture.provider_keys(), theirs.key.id);
    let audit_event = || event("api_key.change", Noun::ProviderKey, "key");
    let kept = |stored: &StoredProviderKey| Ok(stored.clone());
    let modified = keys
        .modify(&write, id, &kept, &UsedDataKeys::default(), &audit_event())
        .await;
    assert!(is_not_found(&modified), "{modified:?}");
    let deleted = keys.delete(&write, id, &audit_event()).await;
    assert!(is_not_found(&deleted), "{deleted:?}");
    let released = keys.release(&serve, id, &audit_event()).await.map(drop);
    assert!(is_not_found(&released), "{released:?}");
    let link = link(id, ResourceKind::Bucket, "bucket");
    let linked = keys.link(&serve, &link, &audit_event()).await;
    assert!(is_not_found(&linked), "{linked:?}");
    let unlinked = keys
        .unlink(&serve, id, &link.resource, &audit_event())
        .await;
    assert!(is_not_found(&unlinked), "{unlinked:?}");
    let page = PageRequest {
        limit: 10,
        after: None,
    };
    let links = keys.links(&serve, id, &page).await;
    assert!(is_not_found(&links), "{links:?}");

    assert_eq!(fixture.database.count("audit_events").await, events);
    let listed = provider_key::list(fixture, &[&namesake], None).await;
    assert_eq!(listed[0].key, theirs.key);
}

/// A secret that was sealed for a workspace is not stored after the workspace was deleted and created again with other
/// data keys.
pub async fn secret_of_replaced_data_keys_is_rejected<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let grant = write_grant(&world.b);
    let vault = vault(fixture);
    let before = vault.keys(&grant).await.unwrap();
    delete_workspace(fixture, &world.b.id).await.unwrap();
    put_workspace(fixture, &world.b).await.unwrap();
    let after = vault.keys(&grant).await.unwrap();

    let audit_event = || event("api_key.create", Noun::ProviderKey, "key");
    let key = stored_key(&world.b);
    let keys = fixture.provider_keys();
    let stored = keys
        .insert(&grant, &key, before.used(), &audit_event())
        .await;
    assert_rejected!(stored, Error::Unavailable(_));
    assert_eq!(fixture.database.count("provider_keys").await, 0);
    put_repo(fixture, &repo("b", "r")).await.unwrap();
    let repo_key = stored_repo_ai_key(&world.b, "r", "key");
    let repo_keys = fixture.repo_ai_keys();
    let stored = repo_keys
        .insert(&grant, &repo_key, before.used(), &audit_event())
        .await;
    assert_rejected!(stored, Error::Unavailable(_));
    assert_eq!(fixture.database.count("repo_ai_keys").await, 0);

    keys.insert(&grant, &key, after.used(), &audit_event())
        .await
        .unwrap();
    let (id, kept) = (key.key.id, |stored: &StoredProviderKey| Ok(stored.clone()));
    let changed = keys
        .modify(&grant, id, &kept, before.used(), &audit_event())
        .await;
    assert_rejected!(changed, Error::Unavailable(_));
    let serve = serve_grant(&world.b);
    let changed = keys
        .reseal(&serve, id, &kept, before.used(), &audit_event())
        .await;
    assert_rejected!(changed, Error::Unavailable(_));
    keys.modify(&grant, id, &kept, after.used(), &audit_event())
        .await
        .unwrap();
    keys.reseal(&serve, id, &kept, after.used(), &audit_event())
        .await
        .unwrap();
    repo_keys
        .insert(&grant, &repo_key, after.used(), &audit_event())
        .await
        .unwrap();
}

/// A live provider key prevents the deletion of its workspace.
pub async fn provider_key_holds_its_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let workspace = workspace("org", "w");
    for round in 0..ROUNDS {
        put_workspace(fixture, &workspace).await.unwrap();
        let key = stored_key(&workspace);
        let id = key.key.id;
        let (store, grant) = (fixture.provider_keys(), write_grant(&workspace));
        let creating = async move {
            let event = event("api_key.create", Noun::ProviderKey, id.to_string());
            let used = UsedDataKeys::default();
            store.insert(&grant, &key, &used, &event).await
        };
        let (store, deleted) = (Arc::clone(&fixture.store), workspace.id.clone());
        let deleting = async move {
            let event = event("workspace.delete", Noun::Workspace, deleted.as_str());
            store
                .delete_workspace(&directory_grant(), &deleted, &event)
                .await
        };
        match taking_turns(round, creating, deleting).await {
            (
                Ok(()),
                Err(Error::NotEmpty {
                    noun: Noun::Workspace,
                    held: "API keys",
                }),
            ) => {
                let event = event("api_key.delete", Noun::ProviderKey, id.to_string());
                let grant = write_grant(&workspace);
                fixture
                    .provider_keys()
                    .delete(&grant, id, &event)
                    .await
                    .unwrap();
            }
            (Err(Error::Denied), Ok(())) => {}
            answers => panic!("round {round}: create and delete: {answers:?}"),
        }
        assert_eq!(fixture.database.count("provider_keys").await, 0);
    }
}

async fn delete_workspace<S: Stores>(fixture: &Fixture<S>, id: &WorkspaceId) -> Result<(), Error> {
    let event = event("workspace.delete", Noun::Workspace, id.as_str());
    fixture
        .store
        .delete_workspace(&directory_grant(), id, &event)
        .await
}

fn vault<S: Stores>(fixture: &Fixture<S>) -> Vault {
    let keyring = Arc::new(Keyring::generate().unwrap());
    Vault::new(
        keyring,
        fixture.store.clone(),
        Arc::new(ManualClock::default()),
    )
}

/// A live issued key prevents the deletion of its workspace.
pub async fn issued_key_holds_its_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let workspace = workspace("org", "w");
    for round in 0..ROUNDS {
        put_workspace(fixture, &workspace).await.unwrap();
        let key = fixtures::issued_key(&workspace);
        let (store, grant) = (fixture.issued_keys(), manage_grant(&workspace));
        let created = key.clone();
        let creating = async move {
            let name = created.hash.to_string();
            let event = event("issued_key.create", Noun::IssuedKey, name);
            store.insert(&grant, &created, &event).await
        };
        let (store, id) = (Arc::clone(&fixture.store), workspace.id.clone());
        let deleting = async move {
            let event = event("workspace.delete", Noun::Workspace, id.as_str());
            store
                .delete_workspace(&directory_grant(), &id, &event)
                .await
        };
        match taking_turns(round, creating, deleting).await {
            (
                Ok(()),
                Err(Error::NotEmpty {
                    noun: Noun::Workspace,
                    held: "issued keys",
                }),
            ) => issued_key::delete(fixture, &workspace, &key).await.unwrap(),
            (Err(Error::Denied), Ok(())) => {}
            answers => panic!("round {round}: create and delete: {answers:?}"),
        }
        let live = "issued_keys WHERE live_workspace_id IS NOT NULL";
        assert_eq!(fixture.database.count(live).await, 0);
    }
}

/// A live management key prevents the deletion of its organization.
pub async fn management_key_holds_its_organization<S: Stores>(fixture: &Fixture<S>) {
    for round in 0..ROUNDS {
        put_organization(fixture, &organization("org")).await;
        let key = fixtures::management_key("org");
        let (id, hash) = (key.organization.clone(), key.hash);
        let (store, grant) = (fixture.management_keys(), organization_grant(&id));
        let creating = async move {
            let name = hash.to_string();
            let event = event("management_key.create", Noun::ManagementKey, name);
            store.insert(&grant, &key, &event).await
        };
        let (store, deleted) = (Arc::clone(&fixture.store), id.clone());
        let deleting = async move {
            let event = event("organization.delete", Noun::Organization, deleted.as_str());
            store
                .delete_organization(&directory_grant(), &deleted, &event)
                .await
        };
        match taking_turns(round, creating, deleting).await {
            (
                Ok(()),
                Err(Error::NotEmpty {
                    noun: Noun::Organization,
                    held: "management keys",
                }),
            ) => management_key::revoke(fixture, &id, &hash).await.unwrap(),
            (Err(Error::NotFound(Noun::Organization)), Ok(())) => {}
            answers => panic!("round {round}: create and delete: {answers:?}"),
        }
        let live = "management_keys WHERE live_organization_id IS NOT NULL";
        assert_eq!(fixture.database.count(live).await, 0);
    }
}
