//! Management keys.

use keyward_core::id::{ManagementKeyId, OrganizationId};
use keyward_core::management_key::ManagementKey;
use keyward_core::page::PageRequest;
use keyward_core::tenancy::{Member, OrganizationRole};
use keyward_core::{Error, MAX_NAME_BYTES, Noun};
use keyward_crypto::KeyHash;

use super::organization::{delete_organization, put_organization};
use super::{Fixture, Stores, assert_rejected, at_once, is_not_found, member};
use crate::fixtures::{
    self, NOON, World, administrator_grant, after_noon, directory_grant, event, management_key,
    organization, organization_grant, organization_id,
};

pub(super) async fn insert<S: Stores>(
    fixture: &Fixture<S>,
    organization: &OrganizationId,
    key: &ManagementKey,
) -> Result<(), Error> {
    let event = event(
        "management_key.create",
        Noun::ManagementKey,
        key.hash.to_string(),
    );
    fixture
        .management_keys()
        .insert(&organization_grant(organization), key, &event)
        .await
}

pub(super) async fn revoke<S: Stores>(
    fixture: &Fixture<S>,
    organization: &OrganizationId,
    hash: &KeyHash,
) -> Result<(), Error> {
    let event = event(
        "management_key.revoke",
        Noun::ManagementKey,
        hash.to_string(),
    );
    fixture
        .management_keys()
        .revoke(&organization_grant(organization), hash, NOON, &event)
        .await
}

async fn find<S: Stores>(fixture: &Fixture<S>, key: &ManagementKey) -> Option<ManagementKey> {
    fixture
        .management_keys()
        .find_by_hash(&key.hash)
        .await
        .unwrap()
}

/// Returns every page of an organization's keys.
async fn list<S: Stores>(
    fixture: &Fixture<S>,
    organization: &OrganizationId,
    limit: u32,
) -> Vec<ManagementKey> {
    let grant = organization_grant(organization);
    let mut found = Vec::new();
    let mut request = PageRequest { limit, after: None };
    loop {
        let page = fixture
            .management_keys()
            .list(&grant, &request)
            .await
            .unwrap();
        assert!(page.items.len() <= limit as usize);
        found.extend(page.items);
        assert!(found.len() < 1000, "the pages do not end");
        let Some(next) = page.next else { break };
        request.after = Some(ManagementKeyId::parse(&next).unwrap());
    }
    found
}

/// A key is stored with all its fields.
pub async fn key_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let mut used = management_key("org");
    used.created_at = after_noon(789);
    used.last_used_at = Some(after_noon(1_000_000));
    for key in [used, management_key("org"), management_key("other")] {
        insert(fixture, &key.organization, &key).await.unwrap();
        assert_eq!(find(fixture, &key).await, Some(key));
    }
    assert_eq!(find(fixture, &management_key("org")).await, None);
    assert_eq!(list(fixture, &world.x.organization, 10).await.len(), 1);
}

/// Texts are stored unchanged.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let longest = "\u{1f600}".repeat(MAX_NAME_BYTES);
    for name in [
        "e\u{301}\u{e9}",
        "\u{10ffff}\u{feff}\u{202e}",
        "'\";--%_\\",
        " a b ",
        longest.as_str(),
    ] {
        // Names need not be unique.
        for _ in 0..2 {
            let mut key = management_key("org");
            key.name = name.to_owned();
            insert(fixture, &world.a.organization, &key).await.unwrap();
            assert_eq!(find(fixture, &key).await, Some(key));
        }
    }
}

/// Pages contain every live key of one organization once, the newest first.
pub async fn keys_page_newest_first<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (own, other) = (&world.a.organization, &world.x.organization);
    let mut keys: Vec<_> = (0..10).map(|_| management_key("org")).collect();
    let elsewhere = management_key("other");
    insert(fixture, other, &elsewhere).await.unwrap();
    for number in [4, 0, 8, 3, 9, 7, 1, 5, 2, 6] {
        insert(fixture, own, &keys[number]).await.unwrap();
    }
    let revoked = keys.remove(5);
    revoke(fixture, own, &revoked.hash).await.unwrap();
    keys.reverse();
    for limit in [1, 2, 3, 9, 10, 1000] {
        assert_eq!(list(fixture, own, limit).await, keys, "{limit}");
    }
    assert_eq!(list(fixture, other, 1).await, [elsewhere]);
    assert_eq!(list(fixture, &organization_id("unknown"), 1).await, []);
}

/// A grant for one organization does not find another organization's key.
pub async fn grant_reaches_no_other_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (own, other) = (&world.a.organization, &world.x.organization);
    let key = management_key("org");
    insert(fixture, own, &key).await.unwrap();
    assert_eq!(list(fixture, other, 10).await, []);
    assert_rejected!(
        revoke(fixture, other, &key.hash).await,
        Error::NotFound(Noun::ManagementKey)
    );
    let outside = management_key("org");
    assert_rejected!(insert(fixture, other, &outside).await, Error::Internal(_));
    assert_eq!(find(fixture, &outside).await, None);
    assert_eq!(list(fixture, own, 10).await, [key]);
}

/// A key needs an existing organization and a unique hash.
pub async fn key_needs_its_organization<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let unknown = management_key("unknown");
    assert_rejected!(
        insert(fixture, &unknown.organization, &unknown).await,
        Error::NotFound(Noun::Organization)
    );
    assert_eq!(fixture.database.count("management_keys").await, 0);
    let key = management_key("org");
    insert(fixture, &world.a.organization, &key).await.unwrap();
    let twin = ManagementKey {
        hash: key.hash,
        ..management_key("org")
    };
    assert_rejected!(
        insert(fixture, &world.a.organization, &twin).await,
        Error::Internal(_)
    );
}

/// No lookup finds a revoked key, and its row stays.
pub async fn revoked_key_is_found_by_nothing<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let organization = &world.a.organization;
    let key = management_key("org");
    insert(fixture, organization, &key).await.unwrap();
    let revoking = (0..16).map(|_| {
        let (store, grant) = (fixture.management_keys(), organization_grant(organization));
        let hash = key.hash;
        async move {
            let event = event(
                "management_key.revoke",
                Noun::ManagementKey,
                hash.to_string(),
            );
            store.revoke(&grant, &hash, NOON, &event).await
        }
    });
    let answers = at_once(revoking).await;
    let revoked = answers.iter().filter(|answer| answer.is_ok()).count();
    let missing = answers.iter().filter(|answer| is_not_found(answer)).count();
    assert_eq!((revoked, missing), (1, 15), "{answers:?}");

    assert_eq!(find(fixture, &key).await, None);
    assert_eq!(list(fixture, organization, 10).await, []);
    fixture.management_keys().record_use(key.id, NOON).await;
    let kept = format!(
        "management_keys WHERE hash = '{}' AND organization_id = 'org' \
         AND live_organization_id IS NULL AND revoked_at = {} AND last_used_at IS NULL",
        key.hash,
        NOON.unix_millis()
    );
    assert_eq!(fixture.database.count(&kept).await, 1);
}

/// A use is recorded unless another one was recorded a moment ago, and other keys do not change.
pub async fn use_is_noted_once_in_a_while<S: Stores>(fixture: &Fixture<S>) {
    const MINUTE: i64 = 60_000;
    let world = World::create(&*fixture.store).await;
    let (key, bystander) = (management_key("org"), management_key("org"));
    insert(fixture, &world.a.organization, &key).await.unwrap();
    insert(fixture, &world.a.organization, &bystander)
        .await
        .unwrap();
    for (now, recorded) in [
        (0, 0),
        (1, 0),
        (MINUTE - 1, 0),
        (MINUTE, MINUTE),
        (MINUTE + 1, MINUTE),
        // The clock is slightly behind.
        (1, MINUTE),
        (5 * MINUTE, 5 * MINUTE),
        // The earlier clock was ahead.
        (MINUTE, MINUTE),
    ] {
        let keys = fixture.management_keys();
        keys.record_use(key.id, after_noon(now)).await;
        let found = find(fixture, &key).await.unwrap();
        assert_eq!(found.last_used_at, Some(after_noon(recorded)), "{now}");
        let unchanged = ManagementKey {
            last_used_at: None,
            ..found
        };
        assert_eq!(unchanged, key);
    }
    assert_eq!(find(fixture, &bystander).await, Some(bystander));
    // A use of a key is not a change and leaves no event.
    let events = "audit_events WHERE resource_kind = 'management_key'";
    assert_eq!(fixture.database.count(events).await, 2);
    // A missing key has no use.
    let missing = ManagementKeyId::generate(NOON);
    fixture.management_keys().record_use(missing, NOON).await;
}

/// Of concurrent uses one is recorded.
pub async fn simultaneous_uses_are_one_note<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = management_key("org");
    insert(fixture, &world.a.organization, &key).await.unwrap();
    // Values that a second record would change.
    let using = (0..16).map(|number| {
        let (store, id) = (fixture.management_keys(), key.id);
        async move { store.record_use(id, after_noon(number)).await }
    });
    at_once(using).await;
    let first = find(fixture, &key).await.unwrap().last_used_at.unwrap();
    assert!((after_noon(0)..after_noon(16)).contains(&first));
    for number in 0..16 {
        let keys = fixture.management_keys();
        keys.record_use(key.id, after_noon(number)).await;
    }
    assert_eq!(find(fixture, &key).await.unwrap().last_used_at, Some(first));
}

/// Every change leaves its event, and a rejected change leaves none.
pub async fn events_follow_the_changes<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (own, other) = (&world.a.organization, &world.x.organization);
    let before = fixture.database.events().await.len();
    let (key, unknown) = (management_key("org"), management_key("unknown"));
    insert(fixture, own, &key).await.unwrap();
    let rejected = [
        insert(fixture, &unknown.organization, &unknown).await,
        insert(fixture, own, &unknown).await,
        insert(fixture, own, &key).await,
        revoke(fixture, other, &key.hash).await,
        revoke(fixture, own, &unknown.hash).await,
    ];
    for (number, answer) in rejected.iter().enumerate() {
        assert!(answer.is_err(), "call {number} succeeded");
    }
    revoke(fixture, own, &key.hash).await.unwrap();
    revoke(fixture, own, &key.hash).await.unwrap_err();
    let actions: Vec<_> = fixture
        .database
        .events()
        .await
        .split_off(before)
        .into_iter()
        .map(|event| event.action)
        .collect();
    assert_eq!(actions, ["management_key.create", "management_key.revoke"]);
}

/// A member's grant stores no key once the member has lost its rights, even if its organization was deleted and
/// created again since.
pub async fn former_administrator_stores_nothing<S: Stores>(fixture: &Fixture<S>) {
    put_organization(fixture, &organization("org")).await;
    let mut administrator = fixtures::member("org", "administrator", &[]);
    (administrator.role, administrator.validated) = (OrganizationRole::Administrators, true);
    let grant = administrator_grant(&administrator);
    let insert = async || {
        let key = management_key("org");
        let name = key.hash.to_string();
        let event = event("management_key.create", Noun::ManagementKey, name);
        fixture.management_keys().insert(&grant, &key, &event).await
    };
    assert_rejected!(insert().await, Error::Denied);
    member::put(fixture, &administrator).await.unwrap();
    insert().await.unwrap();
    for (role, validated) in [
        (OrganizationRole::User, true),
        (OrganizationRole::Administrators, false),
    ] {
        let changed = Member {
            role,
            validated,
            ..administrator.clone()
        };
        member::put(fixture, &changed).await.unwrap();
        assert_rejected!(insert().await, Error::Denied);
    }
    member::put(fixture, &administrator).await.unwrap();
    insert().await.unwrap();

    let organization_id = administrator.organization.clone();
    for key in list(fixture, &organization_id, 10).await {
        revoke(fixture, &organization_id, &key.hash).await.unwrap();
    }
    let deletion = event("member.delete", Noun::Member, "administrator");
    let (directory, user) = (directory_grant(), &administrator.user);
    fixture
        .store
        .delete_member(&directory, &organization_id, user, &deletion)
        .await
        .unwrap();
    delete_organization(fixture, "org").await.unwrap();
    assert_rejected!(insert().await, Error::NotFound(Noun::Organization));
    put_organization(fixture, &organization("org")).await;
    assert_rejected!(insert().await, Error::Denied);
    assert_eq!(list(fixture, &organization_id, 10).await, []);
}
