//! Organizations, workspaces and repos.

use keyward_core::Error;
use keyward_core::directory::{Access, Organization, Repo, Workspace};
use keyward_core::error::Noun;
use keyward_core::page::PageRequest;
use keyward_core::vault::{DataKeyPurpose, WrappedDataKey};

use super::{Fixture, Stores, assert_refused};
use crate::fixtures::{
    NOON, World, directory_grant, event, member, organization, organization_id, repo, repo_id,
    stored_key, user_id, workspace, workspace_id, write_grant,
};

/// Identifiers that sort differently in most languages than by their bytes.
pub(super) const ODD_IDS: [&str; 11] =
    ["Z", "a", "B", "é", "É", "z", "a b", "a-b", "aa", "😀", "１"];

/// [`ODD_IDS`] as UTF-8 sorts them.
pub(super) fn odd_ids_by_bytes() -> Vec<String> {
    let mut ids = ODD_IDS.map(str::to_owned).to_vec();
    ids.sort();
    ids
}

async fn put_organization<S: Stores>(fixture: &Fixture<S>, organization: &Organization) {
    let event = event(
        "organization.upsert",
        Noun::Organization,
        organization.id.as_str(),
    );
    let stored = fixture
        .store
        .upsert_organization(&directory_grant(), organization, &event)
        .await
        .unwrap();
    assert_eq!(
        (stored.id, stored.name),
        (organization.id.clone(), organization.name.clone())
    );
}

async fn put_workspace<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
) -> Result<Workspace, Error> {
    let event = event("workspace.upsert", Noun::Workspace, workspace.id.as_str());
    fixture
        .store
        .upsert_workspace(&directory_grant(), workspace, &event)
        .await
}

async fn put_repo<S: Stores>(fixture: &Fixture<S>, repo: &Repo) -> Result<(), Error> {
    let event = event("repo.upsert", Noun::Repo, repo.id.as_str());
    fixture
        .store
        .upsert_repo(&directory_grant(), repo, &event)
        .await
}

async fn delete_organization<S: Stores>(fixture: &Fixture<S>, id: &str) -> Result<(), Error> {
    let event = event("organization.delete", Noun::Organization, id);
    fixture
        .store
        .delete_organization(&directory_grant(), &organization_id(id), &event)
        .await
}

async fn delete_workspace<S: Stores>(fixture: &Fixture<S>, id: &str) -> Result<(), Error> {
    let event = event("workspace.delete", Noun::Workspace, id);
    fixture
        .store
        .delete_workspace(&directory_grant(), &workspace_id(id), &event)
        .await
}

async fn delete_repo<S: Stores>(fixture: &Fixture<S>, id: &str) -> Result<(), Error> {
    let event = event("repo.delete", Noun::Repo, id);
    fixture
        .store
        .delete_repo(&directory_grant(), &repo_id(id), &event)
        .await
}

async fn get_organization<S: Stores>(fixture: &Fixture<S>, id: &str) -> Option<Organization> {
    fixture
        .store
        .organization(&directory_grant(), &organization_id(id))
        .await
        .unwrap()
}

/// An organization is what the last upsert said, but for its default workspace.
pub async fn organization_is_created_and_renamed<S: Stores>(fixture: &Fixture<S>) {
    assert_eq!(get_organization(fixture, "org").await, None);
    let mut wanted = organization("org");
    wanted.default_workspace = Some(workspace_id("made up"));
    put_organization(fixture, &wanted).await;
    wanted.default_workspace = None;
    assert_eq!(get_organization(fixture, "org").await, Some(wanted.clone()));

    let first = put_workspace(fixture, &workspace("org", "a"))
        .await
        .unwrap();
    wanted.name = "Another name".to_owned();
    put_organization(fixture, &wanted).await;
    wanted.default_workspace = Some(first.id);
    assert_eq!(get_organization(fixture, "org").await, Some(wanted));
}

/// Pages hold every organization once, in the order of the ids' bytes.
pub async fn organizations_page_in_byte_order<S: Stores>(fixture: &Fixture<S>) {
    for id in ODD_IDS {
        put_organization(fixture, &organization(id)).await;
    }
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 3,
        after: None,
    };
    loop {
        let page = fixture
            .store
            .organizations(&directory_grant(), &request)
            .await
            .unwrap();
        assert!(page.items.len() <= 3);
        found.extend(
            page.items
                .into_iter()
                .map(|organization| organization.id.to_string()),
        );
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    assert_eq!(found, odd_ids_by_bytes());
}

/// An organization goes only when it has neither workspaces nor members.
pub async fn organization_with_content_is_not_deleted<S: Stores>(fixture: &Fixture<S>) {
    assert_refused!(
        delete_organization(fixture, "org").await,
        Error::NotFound(Noun::Organization)
    );
    put_organization(fixture, &organization("org")).await;
    put_workspace(fixture, &workspace("org", "a"))
        .await
        .unwrap();
    let joined = event("member.upsert", Noun::Member, "user");
    let user = member("org", "user", &[]);
    fixture
        .store
        .upsert_member(&directory_grant(), &user, &joined)
        .await
        .unwrap();

    assert_refused!(
        delete_organization(fixture, "org").await,
        Error::NotEmpty {
            noun: Noun::Organization,
            held: "workspaces"
        }
    );
    delete_workspace(fixture, "a").await.unwrap();
    assert_refused!(
        delete_organization(fixture, "org").await,
        Error::NotEmpty {
            noun: Noun::Organization,
            held: "members"
        }
    );
    let left = event("member.delete", Noun::Member, "user");
    let (organization, user) = (organization_id("org"), user_id("user"));
    fixture
        .store
        .delete_member(&directory_grant(), &organization, &user, &left)
        .await
        .unwrap();
    delete_organization(fixture, "org").await.unwrap();
    assert_eq!(get_organization(fixture, "org").await, None);
}

/// An organization's first workspace is its default even if it does not ask.
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

/// A workspace that asks takes the default from the one that had it; not asking gives nothing up.
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

/// With the default workspace its organization's default goes, until the next upsert.
pub async fn default_passes_to_no_one<S: Stores>(fixture: &Fixture<S>) {
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

/// A workspace stays in its organization, which must be there.
pub async fn workspace_does_not_change_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let moved = Workspace {
        organization: organization_id("other"),
        ..world.b.clone()
    };
    assert_refused!(
        put_workspace(fixture, &moved).await,
        Error::Immovable {
            noun: Noun::Workspace,
            parent: Noun::Organization
        }
    );
    assert_refused!(
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

/// Pages hold every workspace of one organization once, in the order of the ids' bytes.
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

/// A workspace goes only when it has neither repos nor provider keys.
pub async fn workspace_with_content_is_not_deleted<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    assert_refused!(
        delete_workspace(fixture, "unknown").await,
        Error::NotFound(Noun::Workspace)
    );
    put_repo(fixture, &repo("a", "r")).await.unwrap();
    let key = stored_key(&world.a);
    let created = event("api_key.create", Noun::ProviderKey, key.key.id.to_string());
    fixture
        .store
        .insert(&write_grant(&world.a), &key, &created)
        .await
        .unwrap();

    let repos = Error::NotEmpty {
        noun: Noun::Workspace,
        held: "repos",
    }
    .to_string();
    let refused = delete_workspace(fixture, "a").await.unwrap_err();
    assert_eq!(refused.to_string(), repos);
    delete_repo(fixture, "r").await.unwrap();
    assert_refused!(
        delete_workspace(fixture, "a").await,
        Error::NotEmpty {
            noun: Noun::Workspace,
            held: "API keys"
        }
    );
    let deleted = event("api_key.delete", Noun::ProviderKey, key.key.id.to_string());
    fixture
        .store
        .delete(&write_grant(&world.a), key.key.id, &deleted)
        .await
        .unwrap();
    delete_workspace(fixture, "a").await.unwrap();
    assert_eq!(fixture.store.workspace(&world.a.id).await.unwrap(), None);
}

/// A deleted workspace takes its data keys and the members' access to it, and nothing else.
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

/// A repo is what the last upsert said, until it is deleted.
pub async fn repo_is_created_renamed_and_deleted<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let mut wanted = repo("a", "r");
    assert_eq!(fixture.store.repo(&wanted.id).await.unwrap(), None);
    put_repo(fixture, &wanted).await.unwrap();
    assert_eq!(
        fixture.store.repo(&wanted.id).await.unwrap(),
        Some(wanted.clone())
    );
    wanted.name = "Another name".to_owned();
    put_repo(fixture, &wanted).await.unwrap();
    assert_eq!(
        fixture.store.repo(&wanted.id).await.unwrap(),
        Some(wanted.clone())
    );
    delete_repo(fixture, "r").await.unwrap();
    assert_eq!(fixture.store.repo(&wanted.id).await.unwrap(), None);
    assert_refused!(delete_repo(fixture, "r").await, Error::NotFound(Noun::Repo));
}

/// A repo stays in its workspace, which must be there.
pub async fn repo_does_not_change_its_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    put_repo(fixture, &repo("a", "r")).await.unwrap();
    assert_refused!(
        put_repo(
            fixture,
            &Repo {
                workspace: workspace_id("b"),
                ..repo("a", "r")
            }
        )
        .await,
        Error::Immovable {
            noun: Noun::Repo,
            parent: Noun::Workspace
        }
    );
    for id in ["r", "new"] {
        assert_refused!(
            put_repo(fixture, &repo("unknown", id)).await,
            Error::NotFound(Noun::Workspace)
        );
    }
    assert_eq!(
        fixture.store.repo(&repo_id("r")).await.unwrap(),
        Some(repo("a", "r"))
    );
    assert_eq!(fixture.store.repo(&repo_id("new")).await.unwrap(), None);
}

/// Pages hold every repo of one workspace once, in the order of the ids' bytes.
pub async fn repos_page_in_byte_order<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    put_repo(fixture, &repo("b", "elsewhere")).await.unwrap();
    for id in ODD_IDS {
        put_repo(fixture, &repo("a", id)).await.unwrap();
    }
    let id = workspace_id("a");
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 5,
        after: None,
    };
    loop {
        let page = fixture
            .store
            .repos(&directory_grant(), &id, &request)
            .await
            .unwrap();
        found.extend(page.items.into_iter().map(|repo| repo.id.to_string()));
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    assert_eq!(found, odd_ids_by_bytes());
}

/// Texts come back as they went in, and ids that look alike are not the same.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    // Composed and decomposed, case, width, a trailing space, and what SQL would misread.
    let ids = [
        "é",
        "e\u{301}",
        "Ä",
        "ä",
        "ｄ",
        "d",
        "d ",
        "'; DROP TABLE repos; --",
        "%_\\",
        "\u{10ffff}",
    ];
    for id in ids {
        let mut organization = organization(id);
        organization.name = format!("{id}\u{202e}\u{feff}\u{1f468}\u{200d}\u{1f469}");
        put_organization(fixture, &organization).await;
        assert_eq!(get_organization(fixture, id).await, Some(organization));
    }
    let longest = "\u{1f600}".repeat(255);
    let named = Organization {
        name: longest.clone(),
        ..organization(&longest)
    };
    put_organization(fixture, &named).await;
    assert!(get_organization(fixture, &longest).await.is_some());
}
