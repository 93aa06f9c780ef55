//! Guarantees for concurrent calls.

use std::sync::Arc;

use keyward_core::provider_key::{ResourceKind, StoredProviderKey};
use keyward_core::tenancy::{Access, Workspace};
use keyward_core::{Error, Noun};

use super::link::unlink;
use super::provider_key::insert;
use super::{Fixture, Stores, at_once, is_not_found, repo_ai_key};
use crate::fixtures::{
    NOON, World, directory_grant, event, link, member, organization, organization_id, repo,
    repo_id, serve_grant, stored_key, stored_repo_ai_key, workspace, workspace_id, write_grant,
};
use keyward_core::data_key::UsedDataKeys;

/// Of 64 concurrent inserts of the same credentials one succeeds, and 63 are duplicates.
pub async fn identical_inserts_make_one_key<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let fingerprint = stored_key(&world.a).fingerprint;
    let calls = (0..64).map(|_| {
        let store = fixture.provider_keys();
        let key = StoredProviderKey {
            fingerprint,
            ..stored_key(&world.a)
        };
        let grant = write_grant(&world.a);
        async move {
            let event = event("api_key.create", Noun::ProviderKey, key.key.id.to_string());
            store
                .insert(&grant, &key, &UsedDataKeys::default(), &event)
                .await
        }
    });
    let answers = at_once(calls).await;
    let inserted = answers.iter().filter(|answer| answer.is_ok()).count();
    let rejected = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::DuplicateCredentials)))
        .count();
    assert_eq!((inserted, rejected), (1, 63), "{answers:?}");
    assert_eq!(fixture.database.count("provider_keys").await, 1);
    assert_eq!(
        fixture
            .database
            .count("audit_events WHERE action = 'api_key.create'")
            .await,
        1
    );
}

/// Of a concurrent link and deletion one succeeds and the other is rejected, and no link to a missing key is left.
pub async fn link_and_delete_exclude_each_other<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut linked_rounds = 0;
    for round in 0..200 {
        let key = stored_key(&world.a);
        insert(fixture, &world.a, &key).await.unwrap();
        let id = key.key.id;
        let bucket = link(id, ResourceKind::Bucket, "bucket");

        let linking = {
            let (store, bucket) = (fixture.provider_keys(), bucket.clone());
            let grant = serve_grant(&world.a);
            async move {
                let event = event("api_key.link", Noun::ProviderKey, id.to_string());
                store.link(&grant, &bucket, &event).await.map(|_| ())
            }
        };
        let deleting = {
            let (store, grant) = (fixture.provider_keys(), write_grant(&world.a));
            async move {
                let event = event("api_key.delete", Noun::ProviderKey, id.to_string());
                store.delete(&grant, id, &event).await
            }
        };
        let (linking, deleting) = taking_turns(round, linking, deleting).await;
        match (&linking, &deleting) {
            (
                Ok(()),
                Err(Error::ProviderKeyInUse {
                    buckets: 1,
                    ai_models: 0,
                }),
            ) => {
                linked_rounds += 1;
                unlink(fixture, &world.a, &bucket).await.unwrap();
            }
            (Err(Error::NotFound(Noun::ProviderKey)), Ok(())) => {}
            _ => panic!("round {round}: link {linking:?}, delete {deleting:?}"),
        }
        let orphans =
            "provider_key_links WHERE provider_key_id NOT IN (SELECT id FROM provider_keys)";
        assert_eq!(fixture.database.count(orphans).await, 0);
    }
    assert_eq!(fixture.database.count("provider_keys").await, linked_rounds);
}

/// Fifty concurrent changes are all applied.
pub async fn changes_are_not_lost<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let id = key.key.id;
    let calls = (0..50).map(|_| {
        let (store, grant) = (fixture.provider_keys(), write_grant(&world.a));
        async move {
            let event = event("api_key.update", Noun::ProviderKey, id.to_string());
            let change = |stored: &StoredProviderKey| {
                let mut next = stored.clone();
                next.key.version += 1;
                Ok(next)
            };
            store
                .modify(&grant, id, &change, &UsedDataKeys::default(), &event)
                .await
        }
    });
    for answer in at_once(calls).await {
        answer.unwrap();
    }
    let released = event("api_key.resolve", Noun::ProviderKey, id.to_string());
    let stored = fixture
        .provider_keys()
        .release(&serve_grant(&world.a), id, &released)
        .await
        .unwrap();
    assert_eq!(stored.key.version, 51);
    assert_eq!(
        fixture
            .database
            .count("audit_events WHERE action = 'api_key.update'")
            .await,
        50
    );
}

/// Concurrent upserts of the same resources all succeed, and leave one of each and one default.
pub async fn upserts_agree<S: Stores>(fixture: &Fixture<S>) {
    let calls = (0..32).map(|number| {
        let store = Arc::clone(&fixture.store);
        async move {
            let grant = directory_grant();
            let event = || event("directory.upsert", Noun::Organization, "org");
            store
                .upsert_organization(&grant, &organization("org"), &event())
                .await?;
            for id in ["a", "b", "c"] {
                let asks = Workspace {
                    is_default: number % 3 == 0,
                    ..workspace("org", id)
                };
                store.upsert_workspace(&grant, &asks, &event()).await?;
            }
            let access = [
                [("a", Access::Read), ("b", Access::Read)],
                [("b", Access::Admin), ("c", Access::Admin)],
            ];
            let user = member("org", "user", &access[number % 2]);
            store.upsert_member(&grant, &user, &event()).await?;
            store.upsert_repo(&grant, &repo("a", "r"), &event()).await
        }
    });
    for answer in at_once(calls).await {
        answer.unwrap();
    }
    let workspaces = fixture
        .store
        .workspaces(&organization_id("org"))
        .await
        .unwrap();
    assert_eq!(workspaces.len(), 3);
    assert_eq!(
        workspaces
            .iter()
            .filter(|workspace| workspace.is_default)
            .count(),
        1
    );
    let user = member("org", "user", &[]);
    let user = fixture
        .store
        .member(&user.organization, &user.user)
        .await
        .unwrap()
        .unwrap();
    let levels: Vec<_> = user.access.into_values().collect();
    assert!(
        levels == [Access::Read; 2] || levels == [Access::Admin; 2],
        "two replacements mixed: {levels:?}"
    );
}

/// Of many organizations that claim a workspace concurrently, one gets it, and the others get an error.
pub async fn one_organization_gets_a_contested_workspace<S: Stores>(fixture: &Fixture<S>) {
    let names: Vec<String> = (0..16).map(|number| format!("org-{number}")).collect();
    for name in &names {
        let event = event("organization.upsert", Noun::Organization, name);
        let organization = organization(name);
        let grant = directory_grant();
        fixture
            .store
            .upsert_organization(&grant, &organization, &event)
            .await
            .unwrap();
    }
    let calls = names.into_iter().map(|name| {
        let store = Arc::clone(&fixture.store);
        async move {
            let event = event("workspace.upsert", Noun::Workspace, "contested");
            let workspace = workspace(&name, "contested");
            store
                .upsert_workspace(&directory_grant(), &workspace, &event)
                .await
        }
    });
    let answers = at_once(calls).await;
    let winners: Vec<_> = answers.iter().flatten().collect();
    let rejected = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Error::Immovable { .. })));
    assert_eq!((winners.len(), rejected.count()), (1, 15), "{answers:?}");
    let stored = fixture
        .store
        .workspace(&workspace_id("contested"))
        .await
        .unwrap();
    assert_eq!(stored.as_ref(), Some(winners[0]));
}

/// Of many keys that claim one name concurrently, by creation or by renaming, one gets it.
pub async fn contested_name_is_taken_by_one_key<S: Stores>(fixture: &Fixture<S>) {
    let world = repo_ai_key::world_with_repos(fixture).await;
    let check = |answers: Vec<Result<(), Error>>| {
        let rejected = answers
            .iter()
            .filter(|answer| matches!(answer, Err(Error::DuplicateName)));
        let rejected = rejected.count();
        let succeeded = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!((succeeded, rejected), (1, 15), "{answers:?}");
    };
    let creating = (0..16).map(|_| {
        let (store, grant) = (fixture.repo_ai_keys(), write_grant(&world.a));
        let key = stored_repo_ai_key(&world.a, "r", "contested");
        async move {
            let event = event(
                "repo_ai_key.create",
                Noun::RepoAiKey,
                key.key.id.to_string(),
            );
            store
                .insert(&grant, &key, &UsedDataKeys::default(), &event)
                .await
        }
    });
    check(at_once(creating).await);
    assert_eq!(repo_ai_key::list(fixture, &world.a, "r").await.len(), 1);

    let mut keys = Vec::new();
    for number in 0..16 {
        let key = stored_repo_ai_key(&world.a, "s", &format!("key {number}"));
        repo_ai_key::insert(fixture, &world.a, &key).await.unwrap();
        keys.push(key.key.id);
    }
    let renaming = keys.into_iter().map(|id| {
        let (store, grant) = (fixture.repo_ai_keys(), write_grant(&world.a));
        async move {
            let event = event("repo_ai_key.update", Noun::RepoAiKey, id.to_string());
            let repo = repo_id("s");
            store.rename(&grant, &repo, id, "contested", &event).await
        }
    });
    check(at_once(renaming).await);
    let kept = repo_ai_key::list(fixture, &world.a, "s").await;
    let contested = kept.iter().filter(|key| key.name == "contested").count();
    assert_eq!((kept.len(), contested), (16, 1));
}

/// Of concurrent deletions one succeeds.
pub async fn repo_ai_key_is_deleted_once<S: Stores>(fixture: &Fixture<S>) {
    let world = repo_ai_key::world_with_repos(fixture).await;
    let key = stored_repo_ai_key(&world.a, "r", "key");
    repo_ai_key::insert(fixture, &world.a, &key).await.unwrap();
    let id = key.key.id;
    let deleting = (0..16).map(|_| {
        let (store, grant) = (fixture.repo_ai_keys(), write_grant(&world.a));
        async move {
            let event = event("repo_ai_key.delete", Noun::RepoAiKey, id.to_string());
            store.delete(&grant, &repo_id("r"), id, NOON, &event).await
        }
    });
    let answers = at_once(deleting).await;
    let deleted = answers.iter().filter(|answer| answer.is_ok()).count();
    let missing = answers.iter().filter(|answer| is_not_found(answer)).count();
    assert_eq!((deleted, missing), (1, 15), "{answers:?}");
}

/// Runs both concurrently. The first call to start has an advantage, so the order alternates.
pub(super) async fn taking_turns<T, U>(
    round: usize,
    left: impl Future<Output = T> + Send + 'static,
    right: impl Future<Output = U> + Send + 'static,
) -> (T, U)
where
    T: Send + 'static,
    U: Send + 'static,
{
    if round.is_multiple_of(2) {
        let (left, right) = (tokio::spawn(left), tokio::spawn(right));
        (left.await.unwrap(), right.await.unwrap())
    } else {
        let (right, left) = (tokio::spawn(right), tokio::spawn(left));
        (left.await.unwrap(), right.await.unwrap())
    }
}
