//! Issued keys.

use keyward_core::account::{Account, MeteredKey};
use keyward_core::clock::Timestamp;
use keyward_core::issued_key::IssuedKey;
use keyward_core::page::{PageRequest, Position};
use keyward_core::tenancy::Workspace;
use keyward_core::window::LimitReset;
use keyward_core::{Error, Noun};

use super::ledger::record;
use super::{Fixture, Stores, assert_rejected, at_once, is_not_found};
use crate::fixtures::{
    NOON, World, after_noon, charge, event, issued_key, manage_grant, nanos, organization_id,
    serve_grant, workspace,
};

pub(super) async fn insert<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
) -> Result<(), Error> {
    let event = event("issued_key.create", Noun::IssuedKey, key.hash.to_string());
    fixture
        .issued_keys()
        .insert(&manage_grant(workspace), key, &event)
        .await
}

/// Stores a key without a limit.
pub(super) async fn put<S: Stores>(fixture: &Fixture<S>, workspace: &Workspace) -> IssuedKey {
    let key = issued_key(workspace);
    insert(fixture, workspace, &key).await.unwrap();
    key
}

async fn get<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
) -> Result<MeteredKey, Error> {
    fixture
        .issued_keys()
        .get(&manage_grant(workspace), &key.hash, NOON)
        .await
}

async fn find<S: Stores>(fixture: &Fixture<S>, key: &IssuedKey) -> Option<MeteredKey> {
    let found = fixture.issued_keys().find_metered(&key.hash, NOON).await;
    found.unwrap()
}

async fn modify<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
    change: impl Fn(&mut IssuedKey) + Send + Sync,
) -> Result<MeteredKey, Error> {
    let event = event("issued_key.update", Noun::IssuedKey, key.hash.to_string());
    let change = |stored: &IssuedKey| {
        let mut next = stored.clone();
        change(&mut next);
        next
    };
    fixture
        .issued_keys()
        .modify(&manage_grant(workspace), &key.hash, NOON, &change, &event)
        .await
}

pub(super) async fn delete<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    key: &IssuedKey,
) -> Result<(), Error> {
    let event = event("issued_key.delete", Noun::IssuedKey, key.hash.to_string());
    fixture
        .issued_keys()
        .delete(&manage_grant(workspace), &key.hash, NOON, &event)
        .await
}

async fn list<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    include_disabled: bool,
    offset: u64,
    limit: u32,
) -> Vec<IssuedKey> {
    let page = PageRequest { limit, after: None };
    let grant = manage_grant(workspace);
    let keys = fixture.issued_keys();
    let listed = keys.list(&grant, include_disabled, offset, &page, NOON);
    let listed = listed.await.unwrap().items.into_iter();
    listed.map(|metered| metered.key).collect()
}

/// Lists the keys page by page, and issues a key after each page.
async fn list_in_pages<S: Stores>(
    fixture: &Fixture<S>,
    workspace: &Workspace,
    include_disabled: bool,
    limit: u32,
) -> Vec<IssuedKey> {
    let grant = manage_grant(workspace);
    let keys = fixture.issued_keys();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { limit, after };
        let page = keys.list(&grant, include_disabled, 0, &page, NOON).await;
        let page = page.unwrap();
        assert!(page.items.len() <= limit as usize);
        found.extend(page.items.into_iter().map(|metered| metered.key));
        let newest = IssuedKey {
            created_at: after_noon(1_000),
            ..issued_key(workspace)
        };
        insert(fixture, workspace, &newest).await.unwrap();
        let Some(next) = page.next else { return found };
        after = Some(Position::from_sort_key(&next).unwrap());
    }
}

/// Returns a key with a value in every field.
fn full_key(workspace: &Workspace) -> IssuedKey {
    IssuedKey {
        name: "one\nline\ttab".to_owned(),
        disabled: true,
        limit: Some(nanos(i64::MAX)),
        limit_reset: Some(LimitReset::Weekly),
        include_byok_in_limit: true,
        expires_at: Some(after_noon(789)),
        creator_user_id: Some("creator".to_owned()),
        external_user: Some("external".to_owned()),
        created_at: after_noon(1),
        updated_at: Some(after_noon(2)),
        last_used_at: Some(after_noon(-3)),
        ..issued_key(workspace)
    }
}

/// A key is stored with all its fields and an empty account.
pub async fn key_is_stored_whole<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for key in [full_key(&world.a), issued_key(&world.a)] {
        insert(fixture, &world.a, &key).await.unwrap();
        let wanted = MeteredKey {
            key: key.clone(),
            account: Account::default(),
        };
        assert_eq!(get(fixture, &world.a, &key).await.unwrap(), wanted);
        assert_eq!(find(fixture, &key).await, Some(wanted));
    }
    for reset in LimitReset::ALL {
        let key = IssuedKey {
            limit_reset: Some(reset),
            ..issued_key(&world.a)
        };
        insert(fixture, &world.a, &key).await.unwrap();
        assert_eq!(find(fixture, &key).await.unwrap().key, key);
    }
    // A hash identifies one key permanently.
    let twin = IssuedKey {
        hash: full_key(&world.b).hash,
        ..issued_key(&world.b)
    };
    insert(fixture, &world.b, &twin).await.unwrap();
    delete(fixture, &world.b, &twin).await.unwrap();
    let again = IssuedKey {
        hash: twin.hash,
        ..issued_key(&world.b)
    };
    assert_rejected!(insert(fixture, &world.b, &again).await, Error::Internal(_));
}

/// Keys are listed newest first, and within one millisecond by descending creation order. Pages start and end as
/// requested, and disabled keys are listed only on request.
pub async fn keys_are_listed_newest_first<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let keys: Vec<_> = (0..9)
        .map(|number| IssuedKey {
            created_at: after_noon(number / 3),
            disabled: number % 2 == 0,
            ..issued_key(&world.a)
        })
        .collect();
    for number in [4, 0, 8, 3, 7, 1, 5, 2, 6] {
        insert(fixture, &world.a, &keys[number]).await.unwrap();
    }
    let elsewhere = put(fixture, &world.b).await;
    let deleted = put(fixture, &world.a).await;
    delete(fixture, &world.a, &deleted).await.unwrap();

    let all: Vec<_> = keys.into_iter().rev().collect();
    let enabled: Vec<_> = all.iter().filter(|key| !key.disabled).cloned().collect();
    assert_eq!(list(fixture, &world.a, true, 0, 100).await, all);
    assert_eq!(list(fixture, &world.a, true, 2, 4).await, all[2..6]);
    assert_eq!(list(fixture, &world.a, true, 8, 4).await, all[8..]);
    assert_eq!(list(fixture, &world.a, true, u64::MAX, 4).await, []);
    assert_eq!(list(fixture, &world.a, false, 0, 100).await, enabled);
    assert_eq!(list(fixture, &world.a, false, 1, 2).await, enabled[1..3]);
    assert_eq!(list(fixture, &world.b, true, 0, 100).await, [elsewhere]);
    assert_eq!(list(fixture, &world.x, true, 0, 100).await, []);
}

/// A client that reads page by page finds each key once, regardless of keys that are issued meanwhile.
pub async fn key_pages_are_stable<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for number in [4, 0, 8, 3, 7, 1, 5, 2, 6] {
        let key = IssuedKey {
            created_at: after_noon(number / 3),
            disabled: number % 2 == 0,
            ..issued_key(&world.a)
        };
        insert(fixture, &world.a, &key).await.unwrap();
    }
    for limit in [1, 2, 3, 4, 9, 100] {
        for include_disabled in [true, false] {
            let expected = list(fixture, &world.a, include_disabled, 0, 1000).await;
            let found = list_in_pages(fixture, &world.a, include_disabled, limit).await;
            assert_eq!(found, expected, "{limit} {include_disabled}");
        }
    }
}

/// A grant for one workspace does not find another workspace's key.
pub async fn grant_reaches_no_other_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    for wrong in [&world.b, &world.x] {
        assert_eq!(list(fixture, wrong, true, 0, 100).await, []);
        assert!(is_not_found(&get(fixture, wrong, &key).await));
        assert!(is_not_found(&modify(fixture, wrong, &key, |_| ()).await));
        assert!(is_not_found(&delete(fixture, wrong, &key).await));
        // A key cannot be stored in or moved to a scope outside the grant.
        assert_rejected!(
            insert(fixture, wrong, &issued_key(&world.a)).await,
            Error::Internal(_)
        );
        let moving = modify(fixture, &world.a, &key, |next| {
            next.workspace = wrong.id.clone();
        });
        assert_rejected!(moving.await, Error::Internal(_));
    }
    let strange = IssuedKey {
        organization: organization_id("other"),
        ..issued_key(&world.a)
    };
    assert_rejected!(
        insert(fixture, &world.a, &strange).await,
        Error::Internal(_)
    );
    assert_eq!(get(fixture, &world.a, &key).await.unwrap().key, key);
}

/// A key's workspace is found without a grant, with its default flag.
pub async fn key_is_located<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for workspace in [&world.a, &world.b, &world.x] {
        let key = put(fixture, workspace).await;
        let located = fixture.issued_keys().locate(&key.hash).await.unwrap();
        assert_eq!(located.as_ref(), Some(workspace));
    }
    let unknown = issued_key(&world.a).hash;
    assert_eq!(fixture.issued_keys().locate(&unknown).await.unwrap(), None);
}

/// An update replaces every mutable field, and neither the key's identifiers nor its usage.
pub async fn change_is_stored<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (key, bystander) = (put(fixture, &world.a).await, put(fixture, &world.a).await);
    let recorded = record(fixture, &world.a, &key, &charge("r", 7)).await;
    let spent = recorded.unwrap().metered;
    let full = full_key(&world.a);
    let wanted = IssuedKey {
        id: key.id,
        hash: key.hash,
        label: key.label.clone(),
        created_at: key.created_at,
        last_used_at: spent.key.last_used_at,
        ..full.clone()
    };
    let changed = modify(fixture, &world.a, &key, |next| {
        *next = IssuedKey {
            id: next.id,
            hash: next.hash,
            ..full.clone()
        };
    });
    let changed = changed.await.unwrap();
    assert_eq!(changed.key, wanted);
    assert_eq!(changed.account, spent.account);
    assert_eq!(get(fixture, &world.a, &key).await.unwrap(), changed);
    let reverted = modify(fixture, &world.a, &key, |next| *next = key.clone());
    let reverted = reverted.await.unwrap().key;
    assert_eq!((reverted.limit, reverted.limit_reset), (None, None));
    assert_eq!((reverted.expires_at, reverted.updated_at), (None, None));
    let untouched = get(fixture, &world.a, &bystander).await.unwrap().key;
    assert_eq!(untouched, bystander);

    let other = issued_key(&world.a);
    let renaming = modify(fixture, &world.a, &key, |next| next.hash = other.hash);
    assert_rejected!(renaming.await, Error::Internal(_));
    let renaming = modify(fixture, &world.a, &key, |next| next.id = other.id);
    assert_rejected!(renaming.await, Error::Internal(_));
}

/// Every change leaves its event, and a rejected change leaves none.
pub async fn changes_leave_events<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let count = async || {
        let events = "audit_events WHERE resource_kind = 'issued_key'";
        fixture.database.count(events).await
    };
    let key = put(fixture, &world.a).await;
    modify(fixture, &world.a, &key, |_| ()).await.unwrap();
    delete(fixture, &world.a, &key).await.unwrap();
    assert_eq!(count().await, 3);
    let unknown = issued_key(&world.a);
    for missing in [&key, &unknown] {
        let changed = modify(fixture, &world.a, missing, |_| ()).await;
        assert!(is_not_found(&changed));
        assert!(is_not_found(&delete(fixture, &world.a, missing).await));
    }
    insert(fixture, &world.a, &key).await.unwrap_err();
    assert_eq!(count().await, 3);
}

/// Concurrent updates of a key and charges to it are all applied.
pub async fn changes_and_charges_are_not_lost<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.a).await;
    let calls = (0..32).map(|number| {
        let (keys, ledger) = (fixture.issued_keys(), fixture.ledger());
        let (manage, serve) = (manage_grant(&world.a), serve_grant(&world.a));
        let hash = key.hash;
        async move {
            if number % 2 == 0 {
                let charge = charge(&number.to_string(), 1);
                return ledger
                    .record(&serve, &hash, Box::new(move |_| Ok(charge.clone())))
                    .await
                    .map(|_| ());
            }
            let event = event("issued_key.update", Noun::IssuedKey, hash.to_string());
            let raise = |key: &IssuedKey| IssuedKey {
                limit: Some(nanos(key.limit.map_or(0, |limit| limit.get()) + 1)),
                ..key.clone()
            };
            let changed = keys.modify(&manage, &hash, NOON, &raise, &event).await;
            changed.map(|_| ())
        }
    });
    for answer in at_once(calls).await {
        answer.unwrap();
    }
    let metered = find(fixture, &key).await.unwrap();
    assert_eq!(metered.key.limit, Some(nanos(16)));
    assert_eq!(metered.account.usage.total, nanos(16));
}

/// No lookup finds a deleted key, and it does not prevent the deletion of its workspace, but its row stays.
pub async fn deleted_key_is_found_by_nothing<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let key = put(fixture, &world.b).await;
    delete(fixture, &world.b, &key).await.unwrap();
    assert_eq!(find(fixture, &key).await, None);
    assert_eq!(fixture.issued_keys().locate(&key.hash).await.unwrap(), None);
    assert_eq!(list(fixture, &world.b, true, 0, 100).await, []);
    assert!(is_not_found(&get(fixture, &world.b, &key).await));
    assert!(is_not_found(&modify(fixture, &world.b, &key, |_| ()).await));
    assert!(is_not_found(&delete(fixture, &world.b, &key).await));
    fixture
        .database
        .execute("DELETE FROM workspaces WHERE id = 'b'")
        .await;
    let rows = "issued_keys WHERE deleted_at IS NOT NULL AND workspace_id = 'b'";
    assert_eq!(fixture.database.count(rows).await, 1);
}

/// A workspace that was deleted after the grant is rejected like one that never existed.
pub async fn key_is_not_stored_in_a_deleted_workspace<S: Stores>(fixture: &Fixture<S>) {
    World::create(&*fixture.store).await;
    let gone = workspace("org", "gone");
    assert_rejected!(
        insert(fixture, &gone, &issued_key(&gone)).await,
        Error::Denied
    );
    assert_eq!(fixture.database.count("issued_keys").await, 0);
}

/// Texts are stored unchanged.
pub async fn odd_text_survives<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    for text in [
        "",
        "e\u{301}\u{e9}",
        "\u{10ffff}\u{feff}\u{202e}",
        "'\";--%_\\",
        "a\r\nb\tc ",
        &"\u{10ffff}".repeat(255),
    ] {
        let key = IssuedKey {
            name: text.to_owned(),
            creator_user_id: Some(text.to_owned()),
            external_user: Some(text.to_owned()),
            ..issued_key(&world.a)
        };
        insert(fixture, &world.a, &key).await.unwrap();
        assert_eq!(find(fixture, &key).await.unwrap().key, key);
    }
}

/// A use is recorded unless another one was recorded a moment ago; a record from a clock that was ahead is corrected.
pub async fn last_use_is_noted_once_in_a_while<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (key, bystander) = (put(fixture, &world.a).await, put(fixture, &world.a).await);
    for (now, wanted) in [
        (0, 0),
        (59_999, 0),
        (60_000, 60_000),
        (1, 60_000),
        (119_999, 60_000),
        (300_000, 300_000),
        (240_000, 240_000),
    ] {
        let keys = fixture.issued_keys();
        keys.record_use(key.id, after_noon(now)).await;
        let recorded = find(fixture, &key).await.unwrap().key.last_used_at;
        assert_eq!(recorded, Some(after_noon(wanted)), "at {now}");
    }
    let other: Option<Timestamp> = find(fixture, &bystander).await.unwrap().key.last_used_at;
    assert_eq!(other, None);
}
