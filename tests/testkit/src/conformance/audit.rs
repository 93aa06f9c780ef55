//! An audit event exists exactly if its change exists.

use keyward_core::clock::Timestamp;
use keyward_core::id::ProviderKeyId;
use keyward_core::provider_key::{ResourceKind, StoredProviderKey};
use keyward_core::tenancy::{Access, Member, Organization, OrganizationRole, Repo, Workspace};
use keyward_core::{Error, Noun};

use super::link::{put_link, unlink};
use super::provider_key::insert;
use super::{Fixture, Stores};
use crate::database::StoredEvent;
use crate::fixtures::{
    NOON, World, directory_grant, event, link, member, organization, organization_id, repo,
    repo_id, serve_grant, stored_key, user_id, workspace, workspace_id, write_grant,
};
use keyward_core::data_key::UsedDataKeys;

/// An event is stored with all its fields.
pub async fn event_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    let id = key.key.id.to_string();
    let mut sent = event("api_key.create", Noun::ProviderKey, &id)
        .with_detail("fields", "key,\"secret\"\u{1f511}");
    sent.occurred_at = Timestamp::from_unix_millis(NOON.unix_millis() + 86_400_123);
    fixture
        .provider_keys()
        .insert(
            &write_grant(&world.a),
            &key,
            &UsedDataKeys::default(),
            &sent,
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
        details: "{\"fields\":\"key,\\\"secret\\\"\u{1f511}\",\"provider.new\":\"AWS\"}".to_owned(),
    };
    assert_eq!(events.last(), Some(&wanted));
    // Five events from the directory, each for its own change.
    assert_eq!(events.len(), 6);
}

/// A rejected change leaves no event, regardless of the reason.
pub async fn rejected_change_leaves_no_event<S: Stores>(fixture: &Fixture<S>) {
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
    let rejected = || event("refused", Noun::ProviderKey, "refused");
    let twin = StoredProviderKey {
        fingerprint: key.fingerprint,
        ..stored_key(&world.a)
    };
    let keep = |stored: &StoredProviderKey| Ok(stored.clone());
    let reject = |_: &StoredProviderKey| Err(Error::Denied);
    let answers: Vec<Result<(), Error>> = vec![
        keys.insert(&write, &twin, &UsedDataKeys::default(), &rejected())
            .await,
        keys.modify(
            &write,
            missing,
            &keep,
            &UsedDataKeys::default(),
            &rejected(),
        )
        .await,
        keys.modify(&write, id, &reject, &UsedDataKeys::default(), &rejected())
            .await,
        keys.delete(&write, id, &rejected()).await,
        keys.delete(&write, missing, &rejected()).await,
        keys.release(&serve, missing, &rejected()).await.map(|_| ()),
        store
            .link(
                &serve,
                &link(missing, ResourceKind::Bucket, "b"),
                &rejected(),
            )
            .await
            .map(|_| ()),
        store
            .unlink(
                &serve,
                missing,
                &link(id, ResourceKind::Bucket, "b").resource,
                &rejected(),
            )
            .await,
        store
            .delete_organization(&grant, &organization_id("org"), &rejected())
            .await,
        store
            .delete_organization(&grant, &organization_id("unknown"), &rejected())
            .await,
        store
            .upsert_workspace(&grant, &workspace("other", "a"), &rejected())
            .await
            .map(|_| ()),
        store
            .upsert_workspace(&grant, &workspace("unknown", "a"), &rejected())
            .await
            .map(|_| ()),
        store
            .delete_workspace(&grant, &workspace_id("a"), &rejected())
            .await,
        store
            .delete_workspace(&grant, &workspace_id("unknown"), &rejected())
            .await,
        store
            .upsert_member(&grant, &member("unknown", "user", &[]), &rejected())
            .await,
        store
            .upsert_member(
                &grant,
                &member("org", "user", &[("x", Access::Read)]),
                &rejected(),
            )
            .await,
        store
            .delete_member(
                &grant,
                &organization_id("org"),
                &user_id("user"),
                &rejected(),
            )
            .await,
        store
            .upsert_repo(&grant, &repo("unknown", "r"), &rejected())
            .await,
        store.delete_repo(&grant, &repo_id("r"), &rejected()).await,
    ];
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.is_err(), "call {number} succeeded");
    }
    assert_eq!(fixture.database.events().await, before);
}

/// A link that exists, or an unlink of a missing link, changes nothing and leaves no event.
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

/// Returns the events of an action, the oldest first.
async fn events_of<S: Stores>(fixture: &Fixture<S>, action: &str) -> Vec<StoredEvent> {
    let mut events = fixture.database.events().await;
    events.retain(|event| event.action == action);
    events
}

/// A caller that deletes a workspace names only the workspace; the event also names the organization.
pub async fn deletion_of_a_workspace_names_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let deleted = event("workspace.delete", Noun::Workspace, "b");
    fixture
        .store
        .delete_workspace(&directory_grant(), &world.b.id, &deleted)
        .await
        .unwrap();
    let stored = &events_of(fixture, "workspace.delete").await[0];
    assert_eq!(stored.organization_id.as_deref(), Some("org"));
    assert_eq!(stored.workspace_id.as_deref(), Some("b"));
}

/// Events of a repo name its workspace and organization, and its old and new name.
pub async fn repo_events_name_their_organization<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let (store, grant) = (&fixture.store, directory_grant());
    let upsert = event("repo.upsert", Noun::Repo, "r");
    let created = repo("b", "r");
    let renamed = Repo {
        name: "Renamed".to_owned(),
        ..created.clone()
    };
    store.upsert_repo(&grant, &created, &upsert).await.unwrap();
    let upsert = event("repo.upsert", Noun::Repo, "r");
    store.upsert_repo(&grant, &renamed, &upsert).await.unwrap();
    let delete = event("repo.delete", Noun::Repo, "r");
    store
        .delete_repo(&grant, &created.id, &delete)
        .await
        .unwrap();

    let mut events = events_of(fixture, "repo.upsert").await;
    events.extend(events_of(fixture, "repo.delete").await);
    for event in &events {
        assert_eq!(event.organization_id.as_deref(), Some("org"));
        assert_eq!(event.workspace_id.as_deref(), Some("b"));
    }
    let details: Vec<_> = events.iter().map(|event| event.details.as_str()).collect();
    let creation = format!(r#"{{"name.new":"{}"}}"#, created.name);
    let change = format!(r#"{{"name.new":"Renamed","name.old":"{}"}}"#, created.name);
    assert_eq!(details, [creation.as_str(), &change, "{}"]);
}

/// Events of a member contain the access that was granted and revoked.
pub async fn member_events_name_each_access<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let (store, grant) = (&fixture.store, directory_grant());
    let first = member("org", "user", &[("a", Access::Read), ("b", Access::Write)]);
    let second = Member {
        role: OrganizationRole::Owner,
        ..member("org", "user", &[("a", Access::Admin)])
    };
    for member in [&first, &second, &second] {
        let upsert = event("member.upsert", Noun::Member, "user");
        store.upsert_member(&grant, member, &upsert).await.unwrap();
    }
    let events = events_of(fixture, "member.upsert").await;
    let details: Vec<_> = events.iter().map(|event| event.details.as_str()).collect();
    assert_eq!(
        details,
        [
            r#"{"access.a.new":"READ","access.b.new":"WRITE","role.new":"USER","validated.new":"true"}"#,
            r#"{"access.a.new":"ADMIN","access.a.old":"READ","access.b.old":"WRITE","role.new":"OWNER","role.old":"USER"}"#,
            "{}",
        ]
    );
}

/// Events of an organization and its workspaces contain the old and the new values.
pub async fn directory_events_name_the_changes<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (store, grant) = (&fixture.store, directory_grant());
    let renamed = Organization {
        name: "Renamed".to_owned(),
        ..organization("org")
    };
    let upsert = event("organization.changed", Noun::Organization, "org");
    let stored = store.upsert_organization(&grant, &renamed, &upsert).await;
    assert_eq!(
        stored.unwrap(),
        Organization {
            default_workspace: Some(world.a.id),
            ..renamed
        }
    );
    let changed = Workspace {
        is_default: true,
        ..world.b
    };
    let upsert = event("workspace.changed", Noun::Workspace, "b");
    store
        .upsert_workspace(&grant, &changed, &upsert)
        .await
        .unwrap();

    let details = async |action| events_of(fixture, action).await[0].details.clone();
    assert_eq!(
        details("organization.changed").await,
        r#"{"name.new":"Renamed","name.old":"Organization org"}"#
    );
    assert_eq!(
        details("workspace.changed").await,
        r#"{"is_default.new":"true","is_default.old":"false"}"#
    );
}
