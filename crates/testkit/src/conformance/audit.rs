//! The audit event is there exactly if its change is.

use keyward_core::Error;
use keyward_core::clock::Timestamp;
use keyward_core::directory::Access;
use keyward_core::error::Noun;
use keyward_core::id::ProviderKeyId;
use keyward_core::provider_key::{ResourceKind, StoredProviderKey};

use super::link::{put_link, unlink};
use super::provider_key::insert;
use super::{Fixture, Stores};
use crate::database::StoredEvent;
use crate::fixtures::{
    NOON, World, directory_grant, event, link, member, organization_id, repo, repo_id, serve_grant,
    stored_key, user_id, workspace, workspace_id, write_grant,
};
use keyward_core::vault::UsedDataKeys;

/// An event keeps everything that it tells.
pub async fn event_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    let id = key.key.id.to_string();
    let mut told = event("api_key.create", Noun::ProviderKey, &id)
        .in_organization(&world.a.organization)
        .in_workspace(&world.a.id)
        .with_detail("fields", "key,\"secret\"\u{1f511}");
    told.occurred_at = Timestamp::from_unix_millis(NOON.unix_millis() + 86_400_123);
    fixture
        .provider_keys()
        .insert(
            &write_grant(&world.a),
            &key,
            &UsedDataKeys::default(),
            &told,
        )
        .await
        .unwrap();

    let events = fixture.database.events().await;
    let wanted = StoredEvent {
        occurred_at: NOON.unix_millis() + 86_400_123,
        actor_kind: "service".to_owned(),
        actor_id: "platform".to_owned(),
        action: "api_key.create".to_owned(),
        organization_id: Some("org".to_owned()),
        workspace_id: Some("a".to_owned()),
        resource_kind: "api_key".to_owned(),
        resource_id: id,
        request_id: "request-1".to_owned(),
        source: Some("192.0.2.7".to_owned()),
        details: "{\"fields\":\"key,\\\"secret\\\"\u{1f511}\"}".to_owned(),
    };
    assert_eq!(events.last(), Some(&wanted));
    // Five from the directory, each with its own change.
    assert_eq!(events.len(), 6);
}

/// A change that is refused leaves no event, whatever refused it.
pub async fn refused_change_leaves_no_event<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    put_link(
        fixture,
        &world.a,
        &link(key.key.id, ResourceKind::Bucket, "b"),
    )
    .await
    .unwrap();
    let before = fixture.database.events().await;

    let (store, keys) = (&fixture.store, fixture.provider_keys());
    let (write, serve, grant) = (
        write_grant(&world.a),
        serve_grant(&world.a),
        directory_grant(),
    );
    let (missing, id) = (ProviderKeyId::generate(NOON), key.key.id);
    let refused = || event("refused", Noun::ProviderKey, "refused");
    let twin = StoredProviderKey {
        fingerprint: key.fingerprint,
        ..stored_key(&world.a)
    };
    let keep = |stored: &StoredProviderKey| Ok(stored.clone());
    let refuse = |_: &StoredProviderKey| Err(Error::Denied);
    let answers: Vec<Result<(), Error>> = vec![
        keys.insert(&write, &twin, &UsedDataKeys::default(), &refused())
            .await,
        keys.modify(&write, missing, &keep, &refused()).await,
        keys.modify(&write, id, &refuse, &refused()).await,
        keys.delete(&write, id, &refused()).await,
        keys.delete(&write, missing, &refused()).await,
        keys.release(&serve, missing, &refused()).await.map(|_| ()),
        store
            .link(
                &serve,
                &link(missing, ResourceKind::Bucket, "b"),
                &refused(),
            )
            .await
            .map(|_| ()),
        store
            .unlink(
                &serve,
                missing,
                &link(id, ResourceKind::Bucket, "b").resource,
                &refused(),
            )
            .await,
        store
            .delete_organization(&grant, &organization_id("org"), &refused())
            .await,
        store
            .delete_organization(&grant, &organization_id("unknown"), &refused())
            .await,
        store
            .upsert_workspace(&grant, &workspace("other", "a"), &refused())
            .await
            .map(|_| ()),
        store
            .upsert_workspace(&grant, &workspace("unknown", "a"), &refused())
            .await
            .map(|_| ()),
        store
            .delete_workspace(&grant, &workspace_id("a"), &refused())
            .await,
        store
            .delete_workspace(&grant, &workspace_id("unknown"), &refused())
            .await,
        store
            .upsert_member(&grant, &member("unknown", "user", &[]), &refused())
            .await,
        store
            .upsert_member(
                &grant,
                &member("org", "user", &[("x", Access::Read)]),
                &refused(),
            )
            .await,
        store
            .delete_member(
                &grant,
                &organization_id("org"),
                &user_id("user"),
                &refused(),
            )
            .await,
        store
            .upsert_repo(&grant, &repo("unknown", "r"), &refused())
            .await,
        store.delete_repo(&grant, &repo_id("r"), &refused()).await,
    ];
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.is_err(), "call {number} succeeded");
    }
    assert_eq!(fixture.database.events().await, before);
}

/// To link what is linked, or to unlink what is not, changes nothing and leaves no event.
pub async fn repeated_link_leaves_no_event<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let bucket = link(key.key.id, ResourceKind::Bucket, "b");
    for _ in 0..2 {
        put_link(fixture, &world.a, &bucket).await.unwrap();
    }
    for _ in 0..2 {
        unlink(fixture, &world.a, &bucket).await.unwrap();
    }
    for action in ["api_key.link", "api_key.unlink"] {
        let events = format!("audit_events WHERE action = '{action}'");
        assert_eq!(fixture.database.count(&events).await, 1, "{action}");
    }
}

/// Who deletes a workspace names the workspace alone; the event still tells the organization.
pub async fn deletion_of_a_workspace_names_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let deleted = event("workspace.delete", Noun::Workspace, "b").in_workspace(&world.b.id);
    fixture
        .store
        .delete_workspace(&directory_grant(), &world.b.id, &deleted)
        .await
        .unwrap();
    let events = fixture.database.events().await;
    let stored = events
        .iter()
        .find(|event| event.action == "workspace.delete")
        .unwrap();
    assert_eq!(stored.organization_id.as_deref(), Some("org"));
    assert_eq!(stored.workspace_id.as_deref(), Some("b"));
}
