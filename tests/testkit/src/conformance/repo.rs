//! Repos.

use keyward_core::page::PageRequest;
use keyward_core::tenancy::Repo;
use keyward_core::{Error, Noun};

use super::organization::{ODD_IDS, odd_ids_by_bytes};
use super::{Fixture, Stores, assert_rejected, repo_ai_key};
use crate::fixtures::{
    World, directory_grant, event, repo, repo_id, stored_repo_ai_key, workspace_id,
};

pub(super) async fn put_repo<S: Stores>(fixture: &Fixture<S>, repo: &Repo) -> Result<(), Error> {
    let event = event("repo.upsert", Noun::Repo, repo.id.as_str());
    fixture
        .store
        .upsert_repo(&directory_grant(), repo, &event)
        .await
}

pub(super) async fn delete_repo<S: Stores>(fixture: &Fixture<S>, id: &str) -> Result<(), Error> {
    let event = event("repo.delete", Noun::Repo, id);
    fixture
        .store
        .delete_repo(&directory_grant(), &repo_id(id), &event)
        .await
}

/// A repo equals the last upsert, until it is deleted.
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
    assert_rejected!(delete_repo(fixture, "r").await, Error::NotFound(Noun::Repo));
}

/// A repo stays in its workspace, which must exist.
pub async fn repo_does_not_change_its_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    put_repo(fixture, &repo("a", "r")).await.unwrap();
    assert_rejected!(
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
        assert_rejected!(
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

/// Pages contain every repo of one workspace once, ordered by the bytes of the id.
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

/// A repo is deleted only if it has no live AI keys; deleted keys do not prevent it.
pub async fn repo_with_live_keys_is_not_deleted<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for id in ["r", "s"] {
        put_repo(fixture, &repo("a", id)).await.unwrap();
    }
    let keys = ["first", "second"].map(|name| stored_repo_ai_key(&world.a, "r", name));
    for key in &keys {
        repo_ai_key::insert(fixture, &world.a, key).await.unwrap();
    }
    for key in &keys {
        assert_rejected!(
            delete_repo(fixture, "r").await,
            Error::NotEmpty {
                noun: Noun::Repo,
                held: "AI keys"
            }
        );
        assert!(fixture.store.repo(&repo_id("r")).await.unwrap().is_some());
        repo_ai_key::delete(fixture, &world.a, "r", key.key.id)
            .await
            .unwrap();
    }
    delete_repo(fixture, "r").await.unwrap();
    assert_eq!(fixture.store.repo(&repo_id("r")).await.unwrap(), None);
    delete_repo(fixture, "s").await.unwrap();
    assert_eq!(fixture.database.count("repo_ai_keys").await, 2);
}
