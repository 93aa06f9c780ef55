//! Rotation: add the version everywhere, then promote it; all wrapped keys still open.

use keyward_crypto::{
    AssociatedData, Envelope, Error, Kek, Keyring, KeyringDefect, MAX_KEYRING_KEYS,
};

use crate::{key, now};

fn aad() -> AssociatedData {
    AssociatedData::new("keyward data key").with("workspace")
}

fn wrap(ring: &Keyring) -> Vec<u8> {
    now(ring.wrap(&key(0x60), &aad())).unwrap()
}

fn unwraps(ring: &Keyring, wrapped: &[u8]) -> Result<(), Error> {
    let unwrapped = now(ring.unwrap(wrapped, &aad()))?;
    assert_eq!(unwrapped.expose(), key(0x60).expose());
    Ok(())
}

fn version_of(wrapped: &[u8]) -> u32 {
    Envelope::parse(wrapped).unwrap().key_version()
}

#[test]
fn fresh_ring_has_version_1_as_primary() {
    let ring = Keyring::generate().unwrap();
    assert_eq!((ring.primary(), ring.versions()), (1, vec![1]));
    assert_eq!(ring.primary_version(), 1);
}

#[test]
fn new_version_is_not_primary() {
    let old = Keyring::generate().unwrap();
    let new = old.with_new_version().unwrap();
    assert_eq!((new.primary(), new.versions()), (1, vec![1, 2]));
    assert_eq!(version_of(&wrap(&new)), 1);
    assert_eq!(old.versions(), [1], "the old ring is left alone");
}

#[test]
fn key_of_the_new_primary_opens_before_its_promotion() {
    let added = Keyring::generate().unwrap().with_new_version().unwrap();
    let promoted = added.with_primary(2).unwrap();
    let wrapped = wrap(&promoted);
    assert_eq!(version_of(&wrapped), 2);
    assert_eq!(unwraps(&added, &wrapped), Ok(()));
}

#[test]
fn key_of_the_old_version_opens_after_the_promotion() {
    let old = Keyring::generate().unwrap();
    let wrapped = wrap(&old);
    let promoted = old.with_new_version().unwrap().with_primary(2).unwrap();
    assert_eq!(promoted.primary_version(), 2);
    assert_eq!(unwraps(&promoted, &wrapped), Ok(()));
}

#[test]
fn promotion_can_be_taken_back() {
    let promoted = Keyring::generate()
        .unwrap()
        .with_new_version()
        .unwrap()
        .with_primary(2)
        .unwrap();
    let wrapped = wrap(&promoted);
    let back = promoted.with_primary(1).unwrap();
    assert_eq!(version_of(&wrap(&back)), 1);
    assert_eq!(unwraps(&back, &wrapped), Ok(()));
}

#[test]
fn version_that_is_not_there_cannot_be_promoted() {
    let ring = Keyring::generate().unwrap();
    for version in [0, 2] {
        assert_eq!(
            ring.with_primary(version).unwrap_err(),
            Error::UnknownKeyVersion { version }
        );
    }
}

#[test]
fn primary_cannot_be_removed() {
    let ring = Keyring::generate().unwrap();
    assert_eq!(
        ring.without(1).unwrap_err(),
        Error::PrimaryNotRemovable { version: 1 }
    );
    let promoted = ring.with_new_version().unwrap().with_primary(2).unwrap();
    assert_eq!(
        promoted.without(2).unwrap_err(),
        Error::PrimaryNotRemovable { version: 2 }
    );
}

#[test]
fn version_that_is_not_there_cannot_be_removed() {
    let ring = Keyring::generate().unwrap();
    assert_eq!(
        ring.without(2).unwrap_err(),
        Error::UnknownKeyVersion { version: 2 }
    );
}

#[test]
fn key_of_a_removed_version_does_not_open() {
    let old = Keyring::generate().unwrap();
    let wrapped = wrap(&old);
    let promoted = old.with_new_version().unwrap().with_primary(2).unwrap();
    let removed = promoted.without(1).unwrap();
    assert_eq!((removed.primary(), removed.versions()), (2, vec![2]));
    assert_eq!(
        unwraps(&removed, &wrapped),
        Err(Error::UnknownKeyVersion { version: 1 })
    );
    assert_eq!(
        unwraps(&promoted, &wrapped),
        Ok(()),
        "the ring before is left alone"
    );
}

#[test]
fn removed_older_version_is_not_used_again() {
    let ring = Keyring::generate().unwrap().with_new_version().unwrap();
    let ring = ring
        .with_primary(2)
        .unwrap()
        .without(1)
        .unwrap()
        .with_new_version()
        .unwrap();
    assert_eq!(ring.versions(), [2, 3]);
}

#[test]
fn highest_version_has_no_successor() {
    let ring = Keyring::parse(&format!(
        r#"{{"format":"keyward-keyring-v1","primary":4294967295,
            "keys":[{{"version":4294967295,"key":"{}"}}]}}"#,
        "5a".repeat(32)
    ))
    .unwrap();
    assert_eq!(
        ring.with_new_version().unwrap_err(),
        Error::KeyringFull {
            limit: MAX_KEYRING_KEYS
        }
    );
}

#[test]
fn full_ring_takes_no_more_and_its_file_still_loads() {
    let mut ring = Keyring::generate().unwrap();
    for _ in 1..MAX_KEYRING_KEYS {
        ring = ring.with_new_version().unwrap();
    }
    assert_eq!(
        ring.with_new_version().unwrap_err(),
        Error::KeyringFull {
            limit: MAX_KEYRING_KEYS
        }
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keyring.json");
    ring.create_file(&path).unwrap();
    assert_eq!(Keyring::load(&path).unwrap().versions(), ring.versions());
}

#[test]
fn overfull_ring_is_rejected() {
    let keys: Vec<String> = (1..=MAX_KEYRING_KEYS + 1)
        .map(|version| format!(r#"{{"version":{version},"key":"{version:064x}"}}"#))
        .collect();
    let text = format!(
        r#"{{"format":"keyward-keyring-v1","primary":1,"keys":[{}]}}"#,
        keys.join(",")
    );
    assert_eq!(
        Keyring::parse(&text).unwrap_err(),
        Error::Keyring(KeyringDefect::TooManyKeys {
            limit: MAX_KEYRING_KEYS
        })
    );
}
