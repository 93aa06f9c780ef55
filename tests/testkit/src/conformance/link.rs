//! Links from resources to the provider key that they use.

use keyward_core::clock::Timestamp;
use keyward_core::id::ProviderKeyId;
use keyward_core::page::PageRequest;
use keyward_core::provider_key::{Link, Resource, ResourceKind};
use keyward_core::tenancy::Workspace;
use keyward_core::{Error, Noun};

use super::provider_key::{delete, get, insert, list, same};
use super::{Fixture, Stores, assert_rejected, is_not_found};
use crate::fixtures::{NOON, World, event, link, serve_grant, stored_key};

pub(super) async fn put_link<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    link: &Link,
) -> Result<Link, Error> {
    let event = event("api_key.link", Noun::ProviderKey, link.key.to_string());
    fixture
        .store
        .link(&serve_grant(workspace), link, &event)
        .await
}

pub(super) async fn unlink<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    link: &Link,
) -> Result<(), Error> {
    let event = event("api_key.unlink", Noun::ProviderKey, link.key.to_string());
    fixture
        .store
        .unlink(&serve_grant(workspace), link.key, &link.resource, &event)
        .await
}

/// A listed key has the number of buckets and AI models that use it.
pub async fn links_are_counted<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let keys = [stored_key(&world.a), stored_key(&world.a)];
    for key in &keys {
        insert(fixture, &world.a, key).await.unwrap();
    }
    let [first, second] = [keys[0].key.id, keys[1].key.id];
    for link in [
        link(first, ResourceKind::Bucket, "one"),
        link(first, ResourceKind::Bucket, "two"),
        link(first, ResourceKind::AiModel, "one"),
        link(second, ResourceKind::AiModel, "one"),
    ] {
        put_link(fixture, &world.a, &link).await.unwrap();
    }
    let listed = list(fixture, &[&world.a], None).await;
    let counts: Vec<_> = listed
        .iter()
        .map(|key| (key.key.id, key.buckets, key.ai_models))
        .collect();
    assert_eq!(counts, [(second, 0, 1), (first, 2, 1)]);
}

/// A deletion of a key is permanent, and is rejected while resources use the key.
pub async fn key_is_deleted_unless_linked<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let links = [
        link(key.key.id, ResourceKind::Bucket, "one"),
        link(key.key.id, ResourceKind::Bucket, "two"),
        link(key.key.id, ResourceKind::AiModel, "one"),
    ];
    for link in &links {
        put_link(fixture, &world.a, link).await.unwrap();
    }
    assert_rejected!(
        delete(fixture, &world.a, key.key.id).await,
        Error::ProviderKeyInUse {
            buckets: 2,
            ai_models: 1
        }
    );
    unlink(fixture, &world.a, &links[0]).await.unwrap();
    unlink(fixture, &world.a, &links[2]).await.unwrap();
    assert_rejected!(
        delete(fixture, &world.a, key.key.id).await,
        Error::ProviderKeyInUse {
            buckets: 1,
            ai_models: 0
        }
    );
    same(&get(fixture, &world.a, key.key.id).await.unwrap(), &key);
    unlink(fixture, &world.a, &links[1]).await.unwrap();
    delete(fixture, &world.a, key.key.id).await.unwrap();
    assert!(is_not_found(&get(fixture, &world.a, key.key.id).await));
    assert!(is_not_found(&delete(fixture, &world.a, key.key.id).await));
}

/// A repeated link returns the first link.
pub async fn first_link_stays<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let first = link(key.key.id, ResourceKind::Bucket, "bucket");
    assert_eq!(put_link(fixture, &world.a, &first).await.unwrap(), first);
    let created_at = Timestamp::from_unix_millis(NOON.unix_millis() + 1);
    let again = Link {
        created_at,
        ..first.clone()
    };
    assert_eq!(put_link(fixture, &world.a, &again).await.unwrap(), first);
    // A resource of another kind with the same id is another resource.
    let other = link(key.key.id, ResourceKind::AiModel, "bucket");
    assert_eq!(put_link(fixture, &world.a, &other).await.unwrap(), other);
    let missing = link(
        ProviderKeyId::generate(NOON),
        ResourceKind::Bucket,
        "bucket",
    );
    assert!(is_not_found(&put_link(fixture, &world.a, &missing).await));
}

/// Removing a missing link is not an error; a missing key is.
pub async fn unlinking_is_idempotent<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = stored_key(&world.a);
    insert(fixture, &world.a, &key).await.unwrap();
    let link = link(key.key.id, ResourceKind::Bucket, "bucket");
    unlink(fixture, &world.a, &link).await.unwrap();
    put_link(fixture, &world.a, &link).await.unwrap();
    for _ in 0..2 {
        unlink(fixture, &world.a, &link).await.unwrap();
    }
    assert_eq!(fixture.database.count("provider_key_links").await, 0);
    let missing = Link {
        key: ProviderKeyId::generate(NOON),
        ..link
    };
    assert!(is_not_found(&unlink(fixture, &world.a, &missing).await));
}

/// Pages contain every link of one key once, ordered by kind and then by the resource id's bytes.
pub async fn links_page_by_kind_and_id<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let keys = [stored_key(&world.a), stored_key(&world.a)];
    for key in &keys {
        insert(fixture, &world.a, key).await.unwrap();
    }
    let id = keys[0].key.id;
    let mut wanted = Vec::new();
    for resource in ["b:2", "B", "a", "é", "z", ":"] {
        for kind in [ResourceKind::Bucket, ResourceKind::AiModel] {
            let link = link(id, kind, resource);
            put_link(fixture, &world.a, &link).await.unwrap();
            wanted.push(link);
        }
    }
    put_link(
        fixture,
        &world.a,
        &link(keys[1].key.id, ResourceKind::Bucket, "b"),
    )
    .await
    .unwrap();
    wanted.sort_by_key(|link| link.resource.sort_key());

    let grant = serve_grant(&world.a);
    let mut found = Vec::new();
    let mut request = PageRequest {
        limit: 5,
        after: None,
    };
    loop {
        let page = fixture.store.links(&grant, id, &request).await.unwrap();
        assert!(page.items.len() <= 5);
        found.extend(page.items);
        let Some(next) = page.next else { break };
        request.after = Some(Resource::from_sort_key(&next).unwrap());
    }
    assert_eq!(found, wanted);
}
