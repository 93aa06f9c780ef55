//! Data keys, and whether the store answers.

use std::sync::Arc;

use keyward_core::error::Error;
use keyward_core::vault::{DataKeyPurpose, KekMismatch, Vault, WrappedDataKey};
use keyward_crypto::Keyring;

use super::{Fixture, Stores, assert_refused, at_once};
use crate::ManualClock;
use crate::fixtures::{NOON, World, workspace, write_grant};

fn data_key(purpose: DataKeyPurpose, version: u32, wrapped: &[u8]) -> WrappedDataKey {
    WrappedDataKey {
        purpose,
        version,
        wrapped: wrapped.to_vec(),
        created_at: NOON,
    }
}

/// A workspace has its own data keys, and what is there already is not replaced.
pub async fn data_keys_are_stored_per_workspace<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let (a, b) = (write_grant(&world.a), write_grant(&world.b));
    let store = &fixture.store;
    assert_eq!(store.data_keys(&a).await.unwrap(), []);
    store.insert_missing_data_keys(&a, &[]).await.unwrap();

    let seal = data_key(DataKeyPurpose::Seal, 1, &[0, 255, 1]);
    let fingerprint = data_key(DataKeyPurpose::Fingerprint, 1, &[2]);
    store
        .insert_missing_data_keys(&a, std::slice::from_ref(&seal))
        .await
        .unwrap();
    let late = data_key(DataKeyPurpose::Seal, 1, &[9]);
    let next = data_key(DataKeyPurpose::Seal, u32::MAX, &[3]);
    let all = [late, fingerprint.clone(), next.clone()];
    store.insert_missing_data_keys(&a, &all).await.unwrap();
    assert_eq!(
        store.data_keys(&a).await.unwrap(),
        [fingerprint, seal, next]
    );
    assert_eq!(store.data_keys(&b).await.unwrap(), []);

    let gone = write_grant(&workspace("org", "gone"));
    assert_refused!(
        store.insert_missing_data_keys(&gone, &all).await,
        Error::Denied
    );
}

/// Of those who make a data key at once, one is heard, and no one fails.
pub async fn one_data_key_wins<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let calls = (0..32_u8).map(|number| {
        let (store, grant) = (Arc::clone(&fixture.store), write_grant(&world.a));
        async move {
            let keys = [
                data_key(DataKeyPurpose::Seal, 1, &[number]),
                data_key(DataKeyPurpose::Fingerprint, 1, &[number]),
            ];
            store.insert_missing_data_keys(&grant, &keys).await?;
            store.data_keys(&grant).await
        }
    });
    let mut seen: Vec<_> = at_once(calls)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    seen.dedup();
    assert_eq!(seen.len(), 1, "the callers do not agree");
    assert_eq!(seen[0].len(), 2);
}

/// Any data key tells whose key-encryption key wrapped it; where there is none, any may.
pub async fn any_data_key_proves_the_kek<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let vault = |keyring: Keyring| {
        let clock = Arc::new(ManualClock::default());
        Vault::new(Arc::new(keyring), fixture.store.clone(), clock)
    };
    let [ours, other] = [(); 2].map(|()| vault(Keyring::generate().unwrap()));
    assert_eq!(fixture.store.any_data_key().await.unwrap(), None);
    ours.verify_kek().await.unwrap();
    other.verify_kek().await.unwrap();

    let grant = write_grant(&world.b);
    ours.keys(&grant).await.unwrap();
    let (workspace, key) = fixture.store.any_data_key().await.unwrap().unwrap();
    assert_eq!(workspace, world.b.id);
    assert!(
        fixture
            .store
            .data_keys(&grant)
            .await
            .unwrap()
            .contains(&key)
    );
    ours.verify_kek().await.unwrap();
    assert_refused!(
        other.verify_kek().await,
        Error::Internal(cause) if cause.is::<KekMismatch>()
    );
}

/// A store that can be reached says so.
pub async fn store_answers<S: Stores>(fixture: &Fixture<S>) {
    fixture.store.ping().await.unwrap();
}
