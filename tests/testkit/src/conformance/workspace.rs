//! Workspaces and the default workspace.

use keyward_core::data_key::{DataKeyPurpose, WrappedDataKey};
use keyward_core::page::PageRequest;
use keyward_core::tenancy::{Access, Workspace};
use keyward_core::{Error, Noun};

use super::organization::{ODD_IDS, get_organization, odd_ids_by_bytes, put_organization};
use super::repo::{delete_repo, put_repo};
use super::{Fixture, Stores, assert_rejected, issued_key};
use crate::fixtures::{
    NOON, World, directory_grant, event, member, organization, organization_id, repo, stored_key,
    workspace, workspace_id, write_grant,
};
use keyward_core::data_key::UsedDataKeys;

pub(super) async fn put_workspace<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
) -> Result<Workspace, Error> {
    let event = event("workspace.upsert", Noun::Workspace, workspace.id.as_str());
    fixture
        .store
        .upsert_workspace(&directory_grant(), workspace, &event)
        .await
}

pub(super) async fn delete_workspace<S: Stores>(
    fixture: &Fixture<S>,
    id: &str,
) -> Result<(), Error> {
    let event = event("workspace.delete", Noun::Workspace, id);
    fixture
        .store
        .delete_workspace(&directory_grant(), &workspace_id(id), &event)
        .await
}

/// An organization's first workspace is its default even if the request does not ask for it.
pub async fn first_workspace_is_the_default<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    assert!(world.a.is_default && !world.b.is_default && world.x.is_default);
    let all = fixture
        .store
        .workspaces(&organization_id("org"))
        .await
        .unwrap();
    assert_eq!(all, [world.a.clone(), world.b.clone()]);
    for workspace in [world.a, world.b, world.x] {
        let found = fixture.store.workspace(&workspace.id).await.unwrap();
        assert_eq!(found, Some(workspace));
    }
    assert_eq!(
        fixture
            .store
            .workspace(&workspace_id("unknown"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        fixture
            .store
            .workspaces(&organization_id("unknown"))
            .await
            .unwrap(),
        []
    );
}

/// A workspace that asks for the default replaces the earlier default; an upsert without it does not give the default
/// up.
pub async fn default_moves_to_the_workspace_that_asks<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let b = Workspace {
        is_default: true,
        name: "Renamed".to_owned(),
        ..world.b
    };
    assert_eq!(put_workspace(fixture, &b).await.unwrap(), b);
    let a = Workspace {
        is_default: false,
        ..world.a
    };
    assert_eq!(
        fixture
            .store
            .workspaces(&organization_id("org"))
            .await
            .unwrap(),
        [a.clone(), b.clone()]
    );
    let unasked = Workspace {
        is_default: false,
        ..b.clone()
    };
    assert_eq!(put_workspace(fixture, &unasked).await.unwrap(), b);
    assert_eq!(put_workspace(fixture, &a).await.unwrap(), a);
    let organization = get_organization(fixture, "org").await.unwrap();
    assert_eq!(organization.default_workspace, Some(b.id));
}

/// Deleting the default workspace leaves its organization without a default, until the next upsert.
pub async fn default_passes_to_no_other_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    delete_workspace(fixture, "a").await.unwrap();
    assert_eq!(
        get_organization(fixture, "org")
            .await
            .unwrap()
            .default_workspace,
        None
    );
    let left = fixture
        .store
        .workspaces(&organization_id("org"))
        .await
        .unwrap();
    assert_eq!(left, std::slice::from_ref(&world.b));
    assert!(put_workspace(fixture, &world.b).await.unwrap().is_default);
}

/// An organization's default workspace is found, if it has one.
pub async fn default_is_found_by_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let default = async |id: &str| {
        let found = fixture.store.default_workspace(&organization_id(id)).await;
        found.unwrap()
    };
    assert_eq!(default("org").await.as_ref(), Some(&world.a));
    assert_eq!(default("other").await, Some(world.x));
    let b = Workspace {
        is_default: true,
        ..world.b
    };
    put_workspace(fixture, &b).await.unwrap();
    assert_eq!(default("org").await, Some(b));
    delete_workspace(fixture, "b").await.unwrap();
    put_organization(fixture, &organization("empty")).await;
    for id in ["org", "empty", "unknown"] {
        assert_eq!(default(id).await, None, "{id}");
    }
}

/// A workspace stays in its organization, which must exist.
pub async fn workspace_does_not_change_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let moved = Workspace {
        organization: organization_id("other"),
        ..world.b.clone()
    };
    assert_rejected!(
        put_workspace(fixture, &moved).await,
        Error::Immovable {
            noun: Noun::Workspace,
            parent: Noun::Organization
        }
    );
    assert_rejected!(
        put_workspace(fixture, &workspace("unknown", "new")).await,
        Error::NotFound(Noun::Organization)
    );
    assert_eq!(
        fixture.store.workspace(&world.b.id).await.unwrap(),
        Some(world.b)
    );
    assert_eq!(
        fixture.store.workspace(&workspace_id("new")).await.unwrap(),
        None
    );
}

/// Pages contain every workspace of one organization once, ordered by the bytes of the id.
pub async fn workspaces_page_in_byte_order<S: Stores>(fixture: &Fixture<S>) {
    for id in ["org", "other"] {
        put_organization(fixture, &organization(id)).await;
    }
    put_workspace(fixture, &workspace("other", "elsewhere"))
        .await
        .unwrap();
    for id in ODD_IDS {
        put_workspace(fixture, &workspace("org", id)).await.unwrap();
    }
    let id = organization_id("org");
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 4,
        after: None,
    };
    loop {
        let page = fixture
            .store
            .workspaces_page(&directory_grant(), &id, &request)
            .await
            .unwrap();
        found.extend(page.items);
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    let ids: Vec<_> = found
        .iter()
        .map(|workspace| workspace.id.to_string())
        .collect();
    assert_eq!(ids, odd_ids_by_bytes());
    assert_eq!(fixture.store.workspaces(&id).await.unwrap(), found);
    let defaults: Vec<_> = found
        .iter()
        .filter(|workspace| workspace.is_default)
        .collect();
    assert!(matches!(defaults[..], [only] if only.id.as_str() == ODD_IDS[0]));
}

/// A workspace is deleted only if it has no repos, provider keys or live issued keys.
pub async fn workspace_with_content_is_not_deleted<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    assert_rejected!(
        delete_workspace(fixture, "unknown").await,
        Error::NotFound(Noun::Workspace)
    );
    put_repo(fixture, &repo("a", "r")).await.unwrap();
    let key = stored_key(&world.a);
    let created = event("api_key.create", Noun::ProviderKey, key.key.id.to_string());
    fixture
        .provider_keys()
        .insert(
            &write_grant(&world.a),
            &key,
            &UsedDataKeys::default(),
            &created,
        )
        .await
        .unwrap();
    let issued = issued_key::put(fixture, &world.a).await;

    let repos = Error::NotEmpty {
        noun: Noun::Workspace,
        held: "repos",
    }
    .to_string();
    let rejected = delete_workspace(fixture, "a").await.unwrap_err();
    assert_eq!(rejected.to_string(), repos);
    delete_repo(fixture, "r").await.unwrap();
    assert_rejected!(
        delete_workspace(fixture, "a").await,
        Error::NotEmpty {
            noun: Noun::Workspace,
            held: "API keys"
        }
    );
    let deleted = event("api_key.delete", Noun::ProviderKey, key.key.id.to_string());
    fixture
        .provider_keys()
        .delete(&write_grant(&world.a), key.key.id, &deleted)
        .await
        .unwrap();
    assert_rejected!(
        delete_workspace(fixture, "a").await,
        Error::NotEmpty {
            noun: Noun::Workspace,
            held: "issued keys"
        }
    );
    issued_key::delete(fixture, &world.a, &issued)
        .await
        .unwrap();
    delete_workspace(fixture, "a").await.unwrap();
    assert_eq!(fixture.store.workspace(&world.a.id).await.unwrap(), None);
}

/// Deleting a workspace deletes its data keys and the members' access to it, and no other rows.
pub async fn deleted_workspace_takes_data_keys_and_access<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = WrappedDataKey {
        purpose: DataKeyPurpose::Seal,
        version: 1,
        wrapped: vec![7],
        created_at: NOON,
    };
    for workspace in [&world.a, &world.b] {
        let keys = std::slice::from_ref(&key);
        let grant = write_grant(workspace);
        fixture
            .store
            .insert_missing_data_keys(&grant, keys)
            .await
            .unwrap();
    }
    let user = member("org", "user", &[("a", Access::Write), ("b", Access::Read)]);
    let joined = event("member.upsert", Noun::Member, "user");
    fixture
        .store
        .upsert_member(&directory_grant(), &user, &joined)
        .await
        .unwrap();

    delete_workspace(fixture, "a").await.unwrap();
    assert_eq!(
        fixture
            .store
            .data_keys(&write_grant(&world.a))
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        fixture
            .store
            .data_keys(&write_grant(&world.b))
            .await
            .unwrap(),
        [key]
    );
    let found = fixture
        .store
        .member(&user.organization, &user.user)
        .await
        .unwrap();
    assert_eq!(found, Some(member("org", "user", &[("b", Access::Read)])));
}
