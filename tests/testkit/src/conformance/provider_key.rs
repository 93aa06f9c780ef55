//! Provider keys.

use keyward_core::clock::Timestamp;
use keyward_core::id::ProviderKeyId;
use keyward_core::page::PageRequest;
use keyward_core::provider::Provider;
use keyward_core::provider_key::{ListedProviderKey, ResourceKind, StoredProviderKey};
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, Noun};

use super::link::{put_link, unlink};
use super::{Fixture, Stores, all_pages, assert_rejected, is_not_found};
use crate::fixtures::{
    NOON, World, event, link, read_grant, serve_grant, stored_key, workspace, write_grant,
};
use keyward_core::data_key::{BOUND, UsedDataKeys};

pub(super) async fn insert<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &StoredProviderKey,
) -> Result<(), Error> {
    let event = event("api_key.create", Noun::ProviderKey, key.key.id.to_string());
    fixture
        .provider_keys()
        .insert(
            &write_grant(workspace),
            key,
            &UsedDataKeys::default(),
            &event,
        )
        .await
}

pub(super) async fn get<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    id: ProviderKeyId,
) -> Result<StoredProviderKey, Error> {
    let event = event("api_key.resolve", Noun::ProviderKey, id.to_string());
    fixture
        .provider_keys()
        .release(&serve_grant(workspace), id, &event)
        .await
}

async fn modify<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    id: ProviderKeyId,
    change: impl Fn(&mut StoredProviderKey) -> Result<(), Error> + Send + Sync,
) -> Result<(), Error> {
    let event = event("api_key.update", Noun::ProviderKey, id.to_string());
    let change = |stored: &StoredProviderKey| {
        let mut next = stored.clone();
        change(&mut next).map(|()| next)
    };
    fixture
        .provider_keys()
        .modify(
            &write_grant(workspace),
            id,
            &change,
            &UsedDataKeys::default(),
            &event,
        )
        .await
}

pub(super) async fn delete<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    id: ProviderKeyId,
) -> Result<(), Error> {
    let event = event("api_key.delete", Noun::ProviderKey, id.to_string());
    fixture
        .provider_keys()
        .delete(&write_grant(workspace), id, &event)
        .await
}

pub(super) async fn list<S: Stores>(
    fixture: &Fixture<S>,
    workspaces: &[&Workspace],
    providers: Option<&[&str]>,
) -> Vec<ListedProviderKey> {
    let grants: Vec<_> = workspaces
        .iter()
        .map(|workspace| read_grant(workspace))
        .collect();
    let providers: Option<Vec<_>> = providers.map(|names| {
        names
            .iter()
            .map(|&name| Provider::from_stored(name.to_owned()))
            .collect()
    });
    let keys = &fixture.provider_keys();
    let (grants, providers) = (&grants, providers.as_deref());
    all_pages(|page| async move { keys.list(grants, providers, &page).await }).await
}

pub(super) fn same(found: &StoredProviderKey, wanted: &StoredProviderKey) {
    assert_eq!(found.key, wanted.key);
    assert!(found == wanted, "the sealed part differs");
}

/// A key is stored with all its fields.
pub async fn key_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut full = stored_key(&world.a);
    full.key.endpoint = Some("https://storage.example".to_owned());
    full.key.region = Some("eu-west-1".to_owned());
    full.key.tenant_id = Some("tenant".to_owned());
    full.key.subscription_id = Some("subscription".to_owned());
    full.key.description = Some("one\nline\ttab".to_owned());
    full.key.created_at = Timestamp::from_unix_millis(NOON.unix_millis() + 789);
    (full.key.version, full.secret_version) = (u64::from(u32::MAX) + 1, 17);
    full.sealed_secret = (0..=255).cycle().take(100_000).collect();
    for key in [full, stored_key(&world.a)] {
        insert(fixture, &world.a, &key).await.unwrap();
        same(&get(fixture, &world.a, key.key.id).await.unwrap(), &key);
    }
}

/// Keys are listed newest first, and within one millisecond by descending creation order.
pub async fn keys_are_listed_newest_first<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut keys: Vec<_> = (0..9).map(|_| stored_key(&world.a)).collect();
    for (number, key) in keys.iter_mut().enumerate() {
        key.key.created_at = Timestamp::from_unix_millis(NOON.unix_millis() + number as i64 / 3);
        if number % 2 == 0 {
            key.key.workspace = world.b.id.clone();
        }
    }
    for number in [4, 0, 8, 3, 7, 1, 5, 2, 6] {
        let key: &StoredProviderKey = &keys[number];
        let workspace = if number % 2 == 0 { &world.b } else { &world.a };
        insert(fixture, workspace, key).await.unwrap();
    }
    let listed = list(fixture, &[&world.a, &world.b], None).await;
    let listed: Vec<_> = listed.into_iter().map(|listed| listed.key).collect();
    let wanted: Vec<_> = keys.into_iter().rev().map(|stored| stored.key).collect();
    assert_eq!(listed, wanted);
}

/// Only keys of the granted workspaces and the requested providers are listed.
pub async fn keys_are_listed_by_workspace_and_provider<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for (workspace, provider) in [
        (&world.a, "AWS"),
        (&world.a, "OPENAI"),
        (&world.b, "AWS"),
        (&world.x, "GCP"),
    ] {
        let mut key = stored_key(workspace);
        key.key.provider = Provider::from_stored(provider.to_owned());
        insert(fixture, workspace, &key).await.unwrap();
    }
    for (workspaces, providers, wanted) in [
        (&[&world.a, &world.b][..], None, 3),
        (&[&world.a], None, 2),
        (&[&world.x], None, 1),
        (&[], None, 0),
        (&[&world.a, &world.b], Some(&["AWS"][..]), 2),
        (&[&world.a, &world.b], Some(&["AWS", "OPENAI"]), 3),
        (&[&world.a, &world.b], Some(&["GCP"]), 0),
        (&[&world.a, &world.b], Some(&[]), 0),
    ] {
        assert_eq!(
            list(fixture, workspaces, providers).await.len(),
            wanted,
            "{providers:?}"
        );
    }
    // More workspaces than one statement may contain.
    let many: Vec<_> = (0..1200)
        .map(|n| workspace("org", &format!("many-{n}")))
        .collect();
    let many: Vec<_> = many.iter().chain([&world.b, &world.a]).collect();
    let listed = list(fixture, &many, None).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted_by_key(|listed| std::cmp::Reverse(listed.key.id)));
}

/// A grant for one workspace cannot read, change or link another workspace's key.
pub async fn grant_reaches_no_other_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let id = key.key.id;
    let existing = link(id, ResourceKind::Bucket, "bucket");
    put_link(fixture, &world.a, &existing).await.unwrap();

    for wrong in [&world.b, &world.x] {
        assert_eq!(list(fixture, &[wrong], None).await, []);
        assert!(is_not_found(&get(fixture, wrong, id).await));
        assert!(is_not_found(&modify(fixture, wrong, id, |_| Ok(())).await));
        assert!(is_not_found(&delete(fixture, wrong, id).await));
        assert!(is_not_found(&put_link(fixture, wrong, &existing).await));
        let new = link(id, ResourceKind::AiModel, "model");
        assert!(is_not_found(&put_link(fixture, wrong, &new).await));
        assert!(is_not_found(&unlink(fixture, wrong, &existing).await));
        let page = PageRequest {
            limit: 10,
            after: None,
        };
        assert!(is_not_found(
            &fixture.store.links(&serve_grant(wrong), id, &page).await
        ));
        // A key cannot be stored in or moved to a scope outside the grant.
        assert_rejected!(
            insert(fixture, wrong, &stored_key(&world.a)).await,
            Error::Internal(_)
        );
        let moved = wrong.id.clone();
        let moving = modify(fixture, &world.a, id, |next| {
            next.key.workspace = moved.clone();
            Ok(())
        });
        assert_rejected!(moving.await, Error::Internal(_));
    }
    same(&get(fixture, &world.a, id).await.unwrap(), &key);
    let listed = list(fixture, &[&world.a], None).await;
    assert_eq!(
        (listed.len(), listed[0].buckets, listed[0].ai_models),
        (1, 1, 0)
    );
}

/// Credentials are unique within a workspace, but may repeat in another one.
pub async fn duplicate_is_rejected_within_a_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let twin = StoredProviderKey {
        fingerprint: key.fingerprint,
        ..stored_key(&world.a)
    };
    assert_rejected!(
        insert(fixture, &world.a, &twin).await,
        Error::DuplicateCredentials
    );
    let cousin = StoredProviderKey {
        fingerprint: key.fingerprint,
        ..stored_key(&world.b)
    };
    insert(fixture, &world.b, &cousin).await.unwrap();
    // The same id again is an internal error and not a duplicate of credentials.
    let mut same_id = stored_key(&world.a);
    same_id.key.id = key.key.id;
    assert_rejected!(
        insert(fixture, &world.a, &same_id).await,
        Error::Internal(_)
    );
    // A deleted key does not count as a duplicate.
    delete(fixture, &world.a, key.key.id).await.unwrap();
    insert(fixture, &world.a, &twin).await.unwrap();
}

/// An update replaces every field except id, workspace and creation.
pub async fn change_is_stored<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut wanted = stored_key(&world.a);
    wanted.key.region = Some("cleared later".to_owned());
    let bystander = stored_key(&world.a);
    insert(fixture, &world.a, &wanted).await.unwrap();
    insert(fixture, &world.a, &bystander).await.unwrap();

    let fresh = stored_key(&world.a);
    wanted.key.provider = Provider::from_stored("GCP".to_owned());
    wanted.key.key = "another key".to_owned();
    wanted.key.endpoint = Some("https://endpoint.example".to_owned());
    wanted.key.region = None;
    wanted.key.tenant_id = Some("tenant".to_owned());
    wanted.key.subscription_id = Some("subscription".to_owned());
    wanted.key.description = Some("description".to_owned());
    (wanted.key.version, wanted.secret_version) = (2, 2);
    (wanted.sealed_secret, wanted.fingerprint) = (vec![5; 90], fresh.fingerprint);
    let next = wanted.clone();
    let change = |stored: &mut StoredProviderKey| {
        *stored = next.clone();
        Ok(())
    };
    modify(fixture, &world.a, wanted.key.id, change)
        .await
        .unwrap();
    same(
        &get(fixture, &world.a, wanted.key.id).await.unwrap(),
        &wanted,
    );
    same(
        &get(fixture, &world.a, bystander.key.id).await.unwrap(),
        &bystander,
    );
}

/// An update that the caller or the duplicate check rejects changes nothing.
pub async fn rejected_change_changes_nothing<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (key, other) = (stored_key(&world.a), stored_key(&world.a));
    insert(fixture, &world.a, &key).await.unwrap();
    insert(fixture, &world.a, &other).await.unwrap();
    let into_duplicate = modify(fixture, &world.a, key.key.id, |next| {
        next.key.description = Some("changed".to_owned());
        next.fingerprint = other.fingerprint;
        Ok(())
    });
    assert_rejected!(into_duplicate.await, Error::DuplicateCredentials);
    let rejecting = modify(fixture, &world.a, key.key.id, |_| Err(Error::Denied));
    assert_rejected!(rejecting.await, Error::Denied);
    let missing = modify(fixture, &world.a, ProviderKeyId::generate(NOON), |_| Ok(()));
    assert!(is_not_found(&missing.await));
    same(&get(fixture, &world.a, key.key.id).await.unwrap(), &key);
    // Keeping the key's own credentials is not a duplicate.
    modify(fixture, &world.a, key.key.id, |_| Ok(()))
        .await
        .unwrap();
}

/// A key's workspace is found without a grant, with its default flag.
pub async fn key_is_located<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for workspace in [&world.a, &world.b, &world.x] {
        let key = stored_key(workspace);
        insert(fixture, workspace, &key).await.unwrap();
        let located = fixture.provider_keys().locate(key.key.id).await.unwrap();
        assert_eq!(located.as_ref(), Some(workspace));
    }
    assert_eq!(
        fixture
            .provider_keys()
            .locate(ProviderKeyId::generate(NOON))
            .await
            .unwrap(),
        None
    );
}

/// A workspace that was deleted after the grant is rejected like one that never existed.
pub async fn key_is_not_stored_in_a_deleted_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let gone = workspace("org", "gone");
    assert_rejected!(
        insert(fixture, &gone, &stored_key(&gone)).await,
        Error::Denied
    );
    assert_eq!(fixture.database.count("provider_keys").await, 0);
}

/// Texts are stored unchanged. A text with a NUL, which the core rejects earlier, is stored whole or rejected, but not
/// truncated.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for text in [
        "",
        "e\u{301}\u{e9}",
        "\u{10ffff}\u{feff}\u{202e}",
        "'\";--%_\\",
        "a\r\nb\tc ",
    ] {
        let mut key = stored_key(&world.a);
        key.key.key = text.to_owned();
        key.key.description = Some(text.to_owned());
        insert(fixture, &world.a, &key).await.unwrap();
        same(&get(fixture, &world.a, key.key.id).await.unwrap(), &key);
    }
    let mut key = stored_key(&world.a);
    key.key.description = Some("before\0after".to_owned());
    match insert(fixture, &world.a, &key).await {
        Ok(()) => same(&get(fixture, &world.a, key.key.id).await.unwrap(), &key),
        Err(error) => assert!(matches!(error, Error::Internal(_)), "{error:?}"),
    }
}

/// Keys with an unbound secret are found by id, in pages, and are not found again after resealing.
pub async fn unbound_secrets_are_found_and_resealed<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut unbound = Vec::new();
    for (workspace, form) in [
        (&world.a, 1),
        (&world.b, BOUND),
        (&world.x, 1),
        (&world.a, 0),
    ] {
        let mut key = stored_key(workspace);
        key.sealed_secret = vec![form; 4];
        insert(fixture, workspace, &key).await.unwrap();
        if form != BOUND {
            unbound.push((key.key.id, workspace));
        }
    }
    unbound.sort_by_key(|(id, _)| id.as_uuid());
    let ids: Vec<_> = unbound.iter().map(|(id, _)| *id).collect();
    let keys = fixture.provider_keys();
    assert_eq!(keys.unbound(None, 10).await.unwrap(), ids);
    assert_eq!(keys.unbound(None, 2).await.unwrap(), ids[..2]);
    assert_eq!(keys.unbound(Some(ids[1]), 2).await.unwrap(), ids[2..]);
    assert_eq!(keys.unbound(Some(ids[2]), 2).await.unwrap(), []);

    let (id, workspace) = unbound[0];
    let audit_event = || event("api_key.bind", Noun::ProviderKey, id.to_string());
    let change = |stored: &StoredProviderKey| {
        let mut next = stored.clone();
        next.sealed_secret[0] = BOUND;
        Ok(next)
    };
    let grant = serve_grant(&world.b);
    let elsewhere = keys
        .reseal(
            &grant,
            id,
            &change,
            &UsedDataKeys::default(),
            &audit_event(),
        )
        .await;
    assert!(is_not_found(&elsewhere), "{elsewhere:?}");
    let grant = serve_grant(workspace);
    keys.reseal(
        &grant,
        id,
        &change,
        &UsedDataKeys::default(),
        &audit_event(),
    )
    .await
    .unwrap();
    assert_eq!(keys.unbound(None, 10).await.unwrap(), ids[1..]);
    let stored = get(fixture, workspace, id).await.unwrap();
    assert!(stored.is_bound());
}
