//! Data keys, and readiness of the store.

use std::sync::Arc;

use keyward_core::Error;
use keyward_core::data_key::{BOUND, DataKeyPurpose, DataKeysLost, WrappedDataKey, is_bound};
use keyward_core::services::{KekMismatch, SecretContext, Vault, VerifyKekError};
use keyward_crypto::{AssociatedData, Envelope, Kek, Key256, Keyring, Secret};

use super::repo::put_repo;
use super::{Fixture, Stores, assert_rejected, at_once, provider_key, repo_ai_key};
use crate::ManualClock;
use crate::fixtures::{NOON, World, repo, stored_key, stored_repo_ai_key, workspace, write_grant};

fn data_key(purpose: DataKeyPurpose, version: u32, wrapped: &[u8]) -> WrappedDataKey {
    WrappedDataKey {
        purpose,
        version,
        wrapped: wrapped.to_vec(),
        created_at: NOON,
    }
}

/// A workspace has its own data keys, and existing ones are not replaced.
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
    assert_rejected!(
        store.insert_missing_data_keys(&gone, &all).await,
        Error::Denied
    );
}

/// Of concurrent calls that create a data key, one stores its key, and none fails.
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

/// Lost data keys are not created again while the workspace has secrets that were sealed with them.
pub async fn lost_data_keys_are_not_replaced<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let keyring = Arc::new(Keyring::generate().unwrap());
    let vault = Vault::new(
        keyring,
        fixture.store.clone(),
        Arc::new(ManualClock::default()),
    );
    put_repo(fixture, &repo("b", "r")).await.unwrap();
    vault.keys(&write_grant(&world.a)).await.unwrap();
    vault.keys(&write_grant(&world.b)).await.unwrap();
    let key = stored_key(&world.a);
    provider_key::insert(fixture, &world.a, &key).await.unwrap();
    let repo_key = stored_repo_ai_key(&world.b, "r", "key");
    repo_ai_key::insert(fixture, &world.b, &repo_key)
        .await
        .unwrap();

    let lose = async |lost: &str| {
        let lost = format!("DELETE FROM data_keys WHERE {lost}");
        fixture.database.execute(&lost).await;
        let found = vault.keys(&write_grant(&world.a)).await.map(|_| ());
        let Err(Error::Internal(cause)) = found else {
            panic!("{found:?}");
        };
        cause
            .downcast_ref::<DataKeysLost>()
            .unwrap()
            .missing
            .clone()
    };
    let (seal, fingerprint) = (DataKeyPurpose::Seal, DataKeyPurpose::Fingerprint);
    assert_eq!(
        lose("workspace_id = 'a' AND purpose = 'seal'").await,
        [seal]
    );
    assert_eq!(lose("workspace_id = 'a'").await, [seal, fingerprint]);
    assert_eq!(fixture.database.count("data_keys").await, 2);
    fixture.database.execute("DELETE FROM data_keys").await;
    let found = vault.keys(&write_grant(&world.b)).await.map(|_| ());
    assert_rejected!(found, Error::Internal(_));
    assert_eq!(fixture.database.count("data_keys").await, 0);

    // A workspace whose repo AI key is deleted has no sealed secrets.
    repo_ai_key::delete(fixture, &world.b, "r", repo_key.key.id)
        .await
        .unwrap();
    vault.keys(&write_grant(&world.b)).await.unwrap();
    assert_eq!(fixture.database.count("data_keys").await, 2);
}

/// Data keys wrapped by each version of the key-encryption key show if it is correct; without data keys, any is
/// accepted.
pub async fn every_kek_version_is_proven<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let vault = |keyring: &Keyring| {
        let clock = Arc::new(ManualClock::default());
        let keyring = Arc::new(keyring.with_primary(keyring.primary()).unwrap());
        Vault::new(keyring, fixture.store.clone(), clock)
    };
    let verify = async |keyring: &Keyring| {
        vault(keyring)
            .verify_kek()
            .await
            .map_err(|error| match error {
                VerifyKekError::Mismatch(mismatch) => mismatch,
                VerifyKekError::Failed(error) => panic!("{error:?}"),
            })
    };
    let [first, other] = [(); 2].map(|()| Keyring::generate().unwrap());
    assert_eq!(fixture.store.sample_data_keys(4).await.unwrap(), []);
    verify(&first).await.unwrap();
    verify(&other).await.unwrap();

    vault(&first).keys(&write_grant(&world.a)).await.unwrap();
    verify(&first).await.unwrap();
    let foreign = Err(KekMismatch::Foreign { versions: vec![1] });
    assert_eq!(verify(&other).await, foreign);

    // Another workspace's keys are wrapped by the second version.
    let second = first.with_new_version().unwrap().with_primary(2).unwrap();
    vault(&second).keys(&write_grant(&world.b)).await.unwrap();
    verify(&second).await.unwrap();
    assert_eq!(fixture.store.sample_data_keys(4).await.unwrap().len(), 4);
    assert_eq!(fixture.store.sample_data_keys(1).await.unwrap().len(), 2);
    let lacking = |versions| Err(KekMismatch::Missing { versions });
    assert_eq!(verify(&first).await, lacking(vec![2]));
    assert_eq!(verify(&second.without(1).unwrap()).await, lacking(vec![1]));
    let other_second = first.with_new_version().unwrap();
    let foreign = Err(KekMismatch::Foreign { versions: vec![2] });
    assert_eq!(verify(&other_second).await, foreign);
}

/// A damaged data key is not reported as a missing key-encryption key while others are intact.
pub async fn damaged_data_key_is_not_a_missing_kek<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let clock = Arc::new(ManualClock::default());
    let keyring = Arc::new(Keyring::generate().unwrap());
    let vault = Vault::new(keyring, fixture.store.clone(), clock);
    let (a, b) = (write_grant(&world.a), write_grant(&world.b));
    vault.keys(&a).await.unwrap();
    vault.keys(&b).await.unwrap();
    // The first key is replaced, by the other purpose's key of the same workspace and by a truncated one.
    for wrapped in [
        "(SELECT d.wrapped FROM data_keys AS d WHERE d.workspace_id = 'a' \
            AND d.purpose = 'seal')",
        "substr(wrapped, 1, 3)",
    ] {
        let damage = format!(
            "UPDATE data_keys SET wrapped = {wrapped} \
             WHERE workspace_id = 'a' AND purpose = 'fingerprint'"
        );
        fixture.database.execute(&damage).await;
        vault.verify_kek().await.unwrap();
        assert_rejected!(vault.keys(&a).await, Error::Internal(_));
        vault.keys(&b).await.unwrap();
    }
    let damage = "UPDATE data_keys SET wrapped = substr(wrapped, 1, 3)";
    fixture.database.execute(damage).await;
    assert_rejected!(
        vault.verify_kek().await,
        VerifyKekError::Mismatch(KekMismatch::Unreadable)
    );
}

/// The formats of a sealed text are fixed: other versions open the texts of this one, and the reverse.
pub async fn forms_of_sealed_texts_are_fixed<S: Stores>(fixture: &Fixture<S>) {
    let world = World::create(&*fixture.store).await;
    let grant = write_grant(&world.a);
    let keyring = Keyring::generate().unwrap();
    let key = Key256::generate().unwrap();
    let context = AssociatedData::new("keyward.data-key.v1").with("a");
    let context = context.with("seal").with_u64(1);
    let wrapped = keyring.wrap(&key, &context).await.unwrap();
    let stored = [data_key(DataKeyPurpose::Seal, 1, &wrapped)];
    let made = fixture.store.insert_missing_data_keys(&grant, &stored);
    made.await.unwrap();
    let clock = Arc::new(ManualClock::default());
    let vault = Vault::new(Arc::new(keyring), fixture.store.clone(), clock);
    let keys = vault.keys(&grant).await.unwrap();

    let values: [&[u8]; 2] = [b"AWS", b"https://e"];
    let context = |bound_to| SecretContext {
        record: b"record",
        field: "field",
        version: 7,
        bound_to,
    };
    let aad = |domain| {
        let context = AssociatedData::new(domain).with("a").with("record");
        context.with("field").with_u64(7)
    };
    let secret = Secret::new("secret".to_owned());
    let unbound = keys.seal(context(&[]), &secret).unwrap();
    let bound = keys.seal(context(&values), &secret).unwrap();
    assert_eq!((is_bound(&unbound), is_bound(&bound)), (false, true));
    let v2 = aad("keyward.secret.v2").with("AWS").with("https://e");
    for (envelope, aad) in [
        (unbound.as_slice(), aad("keyward.secret.v1")),
        (&bound[1..], v2),
    ] {
        let envelope = Envelope::parse(envelope).unwrap();
        let opened = keyward_crypto::open(&key, &envelope, &aad).unwrap();
        assert_eq!(opened.expose().as_slice(), b"secret");
    }

    // Each opens in its own position, and neither opens as the other.
    for (sealed, context) in [(&unbound, context(&values)), (&bound, context(&values))] {
        assert_eq!(keys.open(context, sealed).unwrap().expose(), "secret");
    }
    let marked = [&[BOUND], unbound.as_slice()].concat();
    let fewer = keys.open(context(&values[..1]), &bound).map(drop);
    for opened in [
        keys.open(context(&values), &bound[1..]).map(drop),
        keys.open(context(&values), &marked).map(drop),
        keys.open(context(&[]), &marked).map(drop),
        keys.open(context(&[]), &bound).map(drop),
        fewer,
    ] {
        assert_rejected!(opened, Error::Internal(_));
    }
}

/// A reachable store reports that it is ready.
pub async fn store_answers<S: Stores>(fixture: &Fixture<S>) {
    fixture.store.ping().await.unwrap();
}
