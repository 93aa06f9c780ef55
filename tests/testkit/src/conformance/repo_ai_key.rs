//! Repo AI keys.

use keyward_core::clock::Timestamp;
use keyward_core::id::RepoAiKeyId;
use keyward_core::repo_ai_key::{AiType, FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, MAX_NAME_BYTES, Noun};

use super::repo::{delete_repo, put_repo};
use super::{Fixture, Stores, all_pages, assert_rejected, is_not_found};
use crate::fixtures::{
    NOON, World, event, read_grant, repo, repo_id, stored_repo_ai_key, write_grant,
};
use keyward_core::data_key::UsedDataKeys;

/// [`World`], with the repos `r` and `s` in `a`, `t` in `b` and `y` in `x`.
pub(super) async fn world_with_repos<S: Stores>(fixture: &Fixture<S>) -> World {
    let world = World::create(&*fixture.store).await;
    for (workspace, id) in [("a", "r"), ("a", "s"), ("b", "t"), ("x", "y")] {
        put_repo(fixture, &repo(workspace, id)).await.unwrap();
    }
    world
}

pub(super) async fn insert<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &StoredRepoAiKey,
) -> Result<(), Error> {
    let event = event(
        "repo_ai_key.create",
        Noun::RepoAiKey,
        key.key.id.to_string(),
    );
    fixture
        .repo_ai_keys()
        .insert(
            &write_grant(workspace),
            key,
            &UsedDataKeys::default(),
            &event,
        )
        .await
}

pub(super) async fn list<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    repo: &str,
) -> Vec<RepoAiKey> {
    let keys = &fixture.repo_ai_keys();
    let (grant, repo) = (&read_grant(workspace), &repo_id(repo));
    all_pages(|page| async move { keys.list(grant, repo, &page).await }).await
}

async fn get<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    repo: &str,
    id: RepoAiKeyId,
) -> Result<RepoAiKey, Error> {
    fixture
        .repo_ai_keys()
        .get(&write_grant(workspace), &repo_id(repo), id)
        .await
}

async fn find<S: Stores>(fixture: &Fixture<S>, key: &RepoAiKey) -> Option<FoundRepoAiKey> {
    fixture.repo_ai_keys().find_by_key(&key.key).await.unwrap()
}

async fn rename<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    repo: &str,
    id: RepoAiKeyId,
    name: &str,
) -> Result<(), Error> {
    let event = event("repo_ai_key.update", Noun::RepoAiKey, id.to_string());
    fixture
        .repo_ai_keys()
        .rename(&write_grant(workspace), &repo_id(repo), id, name, &event)
        .await
}

pub(super) async fn delete<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    repo: &str,
    id: RepoAiKeyId,
) -> Result<(), Error> {
    let event = event("repo_ai_key.delete", Noun::RepoAiKey, id.to_string());
    fixture
        .repo_ai_keys()
        .delete(&write_grant(workspace), &repo_id(repo), id, NOON, &event)
        .await
}

/// Returns the sealed secret in the row of a key.
async fn sealed_secret<S: Stores>(fixture: &Fixture<S>, key: &RepoAiKey) -> Option<Vec<u8>> {
    let sql = format!(
        "SELECT sealed_secret FROM repo_ai_keys WHERE key = '{}'",
        key.key
    );
    let rows = fixture.database.query(&sql).await;
    assert_eq!(rows.len(), 1);
    rows[0].try_get("", "sealed_secret").unwrap()
}

/// A key is stored with all its fields, and its verification data with its scope.
pub async fn key_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let places = [(&world.a, "r"), (&world.b, "t"), (&world.x, "y")];
    for (number, ai_type) in AiType::ALL.into_iter().enumerate() {
        let (workspace, repo) = places[number % 3];
        let mut key = stored_repo_ai_key(workspace, repo, ai_type.name());
        key.key.ai_type = ai_type;
        key.key.created_at = Timestamp::from_unix_millis(NOON.unix_millis() + 789);
        key.sealed_secret = (0..=255).cycle().take(number * 1000).collect();
        insert(fixture, workspace, &key).await.unwrap();

        let stored = get(fixture, workspace, repo, key.key.id).await.unwrap();
        assert_eq!(stored, key.key);
        assert!(list(fixture, workspace, repo).await.contains(&key.key));
        let found = find(fixture, &key.key).await.unwrap();
        assert_eq!(
            (&found.key, found.secret_hash, &found.workspace),
            (&key.key, key.secret_hash, workspace)
        );
        let sealed = sealed_secret(fixture, &key.key).await;
        assert_eq!(sealed, Some(key.sealed_secret));
    }
}

/// Live keys are listed newest first, and within one millisecond by descending creation order.
pub async fn keys_are_listed_newest_first<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let mut keys: Vec<_> = (0..9)
        .map(|number| stored_repo_ai_key(&world.a, "r", &format!("key {number}")))
        .collect();
    for (number, key) in keys.iter_mut().enumerate() {
        key.key.created_at = Timestamp::from_unix_millis(NOON.unix_millis() + number as i64 / 3);
    }
    for number in [4, 0, 8, 3, 7, 1, 5, 2, 6] {
        let key: &StoredRepoAiKey = &keys[number];
        insert(fixture, &world.a, key).await.unwrap();
    }
    let elsewhere = stored_repo_ai_key(&world.a, "s", "elsewhere");
    insert(fixture, &world.a, &elsewhere).await.unwrap();
    for number in [8, 4] {
        let deleted = keys.remove(number).key.id;
        delete(fixture, &world.a, "r", deleted).await.unwrap();
    }
    let wanted: Vec<_> = keys.into_iter().rev().map(|stored| stored.key).collect();
    assert_eq!(list(fixture, &world.a, "r").await, wanted);
    assert_eq!(list(fixture, &world.a, "s").await, [elsewhere.key]);
    assert_eq!(list(fixture, &world.a, "unknown").await, []);
}

/// A grant for another workspace, or a request for another repo, does not find a key.
pub async fn key_is_reached_through_its_repo_alone<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let key = stored_repo_ai_key(&world.a, "r", "key");
    insert(fixture, &world.a, &key).await.unwrap();
    let id = key.key.id;
    for (workspace, repo) in [
        (&world.b, "r"),
        (&world.x, "r"),
        (&world.a, "s"),
        (&world.b, "t"),
        (&world.x, "y"),
        (&world.a, "unknown"),
    ] {
        assert_eq!(list(fixture, workspace, repo).await, []);
        assert!(is_not_found(&get(fixture, workspace, repo, id).await));
        assert!(is_not_found(
            &rename(fixture, workspace, repo, id, "renamed").await
        ));
        assert!(is_not_found(&delete(fixture, workspace, repo, id).await));
    }
    for wrong in [&world.b, &world.x] {
        // A key cannot be stored outside the grant, or in a repo outside of it.
        let outside = stored_repo_ai_key(&world.a, "r", "outside");
        assert_rejected!(insert(fixture, wrong, &outside).await, Error::Internal(_));
        let foreign = stored_repo_ai_key(wrong, "r", "foreign");
        assert_rejected!(insert(fixture, wrong, &foreign).await, Error::Denied);
    }
    assert_eq!(list(fixture, &world.a, "r").await, [key.key]);
}

/// A name is unique among a repo's live keys; deleting or renaming its key makes it available.
pub async fn duplicate_name_is_rejected_within_a_repo<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let first = stored_repo_ai_key(&world.a, "r", "name");
    insert(fixture, &world.a, &first).await.unwrap();
    let second = stored_repo_ai_key(&world.a, "r", "name");
    assert_rejected!(
        insert(fixture, &world.a, &second).await,
        Error::DuplicateName
    );
    for (workspace, repo) in [(&world.a, "s"), (&world.b, "t"), (&world.x, "y")] {
        let cousin = stored_repo_ai_key(workspace, repo, "name");
        insert(fixture, workspace, &cousin).await.unwrap();
    }
    // Case and Unicode form make a different name.
    for name in ["Name", "name ", "na\u{301}me", "n\u{e1}me"] {
        let other = stored_repo_ai_key(&world.a, "r", name);
        insert(fixture, &world.a, &other).await.unwrap();
    }

    rename(fixture, &world.a, "r", first.key.id, "renamed")
        .await
        .unwrap();
    insert(fixture, &world.a, &second).await.unwrap();
    let back = rename(fixture, &world.a, "r", first.key.id, "name");
    assert_rejected!(back.await, Error::DuplicateName);
    delete(fixture, &world.a, "r", second.key.id).await.unwrap();
    let third = stored_repo_ai_key(&world.a, "r", "name");
    insert(fixture, &world.a, &third).await.unwrap();
    delete(fixture, &world.a, "r", third.key.id).await.unwrap();
    rename(fixture, &world.a, "r", first.key.id, "name")
        .await
        .unwrap();

    // The same public part or id again is an internal error and not a duplicate of a name.
    let mut twin = stored_repo_ai_key(&world.a, "r", "twin");
    twin.key.key.clone_from(&first.key.key);
    assert_rejected!(insert(fixture, &world.a, &twin).await, Error::Internal(_));
    let mut twin = stored_repo_ai_key(&world.a, "r", "twin");
    twin.key.id = first.key.id;
    assert_rejected!(insert(fixture, &world.a, &twin).await, Error::Internal(_));
}

/// Renaming a key changes only its name; its own name is not a duplicate.
pub async fn key_is_renamed<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let mut key = stored_repo_ai_key(&world.a, "r", "before");
    let bystander = stored_repo_ai_key(&world.a, "r", "bystander");
    insert(fixture, &world.a, &key).await.unwrap();
    insert(fixture, &world.a, &bystander).await.unwrap();
    for _ in 0..2 {
        rename(fixture, &world.a, "r", key.key.id, "after")
            .await
            .unwrap();
    }
    key.key.name = "after".to_owned();
    let found = find(fixture, &key.key).await.unwrap();
    assert_eq!((&found.key, found.secret_hash), (&key.key, key.secret_hash));
    let sealed = sealed_secret(fixture, &key.key).await;
    assert_eq!(sealed, Some(key.sealed_secret));
    assert_eq!(list(fixture, &world.a, "r").await, [bystander.key, key.key]);
    let missing = RepoAiKeyId::generate(NOON);
    assert_rejected!(
        rename(fixture, &world.a, "r", missing, "name").await,
        Error::NotFound(Noun::RepoAiKey)
    );
}

/// No lookup finds a deleted key. Its row stays without the sealed secret, also after its repo and its workspace are
/// deleted.
pub async fn deleted_key_loses_its_secret<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let key = stored_repo_ai_key(&world.b, "t", "key");
    insert(fixture, &world.b, &key).await.unwrap();
    let id = key.key.id;
    assert!(sealed_secret(fixture, &key.key).await.is_some());
    delete(fixture, &world.b, "t", id).await.unwrap();

    assert!(find(fixture, &key.key).await.is_none());
    assert_eq!(list(fixture, &world.b, "t").await, []);
    let answers = [
        get(fixture, &world.b, "t", id).await.map(|_| ()),
        rename(fixture, &world.b, "t", id, "renamed").await,
        delete(fixture, &world.b, "t", id).await,
    ];
    for answer in answers {
        assert_rejected!(answer, Error::NotFound(Noun::RepoAiKey));
    }
    assert_eq!(sealed_secret(fixture, &key.key).await, None);
    delete_repo(fixture, "t").await.unwrap();
    super::workspace::delete_workspace(fixture, "b")
        .await
        .unwrap();
    let at = NOON.unix_millis();
    let kept = format!(
        "repo_ai_keys WHERE workspace_id = 'b' AND repo_id = 't' AND name = 'key' \
         AND live_repo_id IS NULL AND deleted_at = {at}"
    );
    assert_eq!(fixture.database.count(&kept).await, 1);

    // It is not found in a later repo with the same id either.
    put_repo(fixture, &repo("a", "t")).await.unwrap();
    assert!(find(fixture, &key.key).await.is_none());
    assert_eq!(list(fixture, &world.a, "t").await, []);
}

/// A repo that was deleted after the grant, or created again in another workspace, is rejected like one that never
/// existed.
pub async fn key_is_not_stored_in_a_deleted_repo<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    delete_repo(fixture, "r").await.unwrap();
    let key = stored_repo_ai_key(&world.a, "r", "key");
    assert_rejected!(insert(fixture, &world.a, &key).await, Error::Denied);
    put_repo(fixture, &repo("b", "r")).await.unwrap();
    assert_rejected!(insert(fixture, &world.a, &key).await, Error::Denied);
    assert_eq!(fixture.database.count("repo_ai_keys").await, 0);
}

/// Names are stored unchanged.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let longest = "\u{1f600}".repeat(MAX_NAME_BYTES);
    for name in [
        "e\u{301}\u{e9}",
        "\u{10ffff}\u{feff}\u{202e}",
        "'\";--%_\\",
        " a b ",
        longest.as_str(),
    ] {
        let key = stored_repo_ai_key(&world.a, "r", name);
        insert(fixture, &world.a, &key).await.unwrap();
        assert_eq!(find(fixture, &key.key).await.unwrap().key, key.key);
        rename(fixture, &world.a, "r", key.key.id, "another")
            .await
            .unwrap();
        rename(fixture, &world.a, "r", key.key.id, name)
            .await
            .unwrap();
        let stored = get(fixture, &world.a, "r", key.key.id).await.unwrap();
        assert_eq!(stored, key.key);
    }
    for missing in ["", "FB_AI_", "'", "%"] {
        let found = fixture.repo_ai_keys().find_by_key(missing).await.unwrap();
        assert!(found.is_none(), "{missing}");
    }
}

/// Every change leaves its event, and a rejected change leaves none.
pub async fn events_follow_the_changes<S: Stores>(fixture: &Fixture<S>) {
    let world = world_with_repos(fixture).await;
    let before = fixture.database.events().await.len();
    let key = stored_repo_ai_key(&world.a, "r", "key");
    let other = stored_repo_ai_key(&world.a, "r", "other");
    let twin = stored_repo_ai_key(&world.a, "r", "key");
    let (id, missing) = (key.key.id, twin.key.id);
    insert(fixture, &world.a, &key).await.unwrap();
    insert(fixture, &world.a, &other).await.unwrap();
    rename(fixture, &world.a, "r", id, "renamed").await.unwrap();
    rename(fixture, &world.a, "r", id, "key").await.unwrap();
    let rejected = [
        insert(fixture, &world.a, &twin).await,
        insert(fixture, &world.a, &stored_repo_ai_key(&world.a, "t", "key")).await,
        insert(fixture, &world.b, &twin).await,
        rename(fixture, &world.a, "r", id, "other").await,
        rename(fixture, &world.a, "r", missing, "free").await,
        delete(fixture, &world.a, "r", missing).await,
        delete(fixture, &world.b, "r", id).await,
        delete_repo(fixture, "r").await,
    ];
    for (number, answer) in rejected.iter().enumerate() {
        assert!(answer.is_err(), "call {number} succeeded");
    }
    delete(fixture, &world.a, "r", id).await.unwrap();
    delete(fixture, &world.a, "r", id).await.unwrap_err();

    let events = fixture.database.events().await;
    assert_eq!(events.len(), before + 5);
    for (action, wanted) in [("create", 2), ("update", 2), ("delete", 1)] {
        let action = format!("repo_ai_key.{action}");
        let events = events.iter().filter(|event| event.action == action);
        assert_eq!(events.count(), wanted, "{action}");
    }
}
