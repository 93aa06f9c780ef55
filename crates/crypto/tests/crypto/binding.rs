//! A ciphertext opens only in its own record: swapped and relabelled ciphertexts are rejected.

use keyward_crypto::{AssociatedData, Envelope, Error, open, seal};

use crate::key;

fn record(workspace: &str, id: &str, field: &str, version: u64) -> AssociatedData {
    AssociatedData::new("keyward secret")
        .with(workspace)
        .with(id)
        .with(field)
        .with_u64(version)
}

#[track_caller]
fn assert_rejected(sealed_as: &AssociatedData, opened_as: &AssociatedData) {
    let envelope = seal(&key(1), 1, b"secret", sealed_as).unwrap();
    assert!(open(&key(1), &envelope, sealed_as).is_ok());
    assert_eq!(
        open(&key(1), &envelope, opened_as).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn wrong_key_is_rejected() {
    let aad = record("w", "r", "secret", 1);
    let envelope = seal(&key(1), 1, b"secret", &aad).unwrap();
    assert_eq!(
        open(&key(2), &envelope, &aad).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn failed_opening_has_no_details() {
    assert_eq!(Error::DecryptionFailed.to_string(), "decryption failed");
}

#[test]
fn patched_key_version_is_rejected_under_the_very_same_key() {
    let aad = record("w", "r", "secret", 1);
    let mut bytes = seal(&key(1), 1, b"secret", &aad).unwrap().to_bytes();
    bytes[1..5].copy_from_slice(&2_u32.to_be_bytes());
    let patched = Envelope::parse(&bytes).unwrap();
    assert_eq!(patched.key_version(), 2);
    assert_eq!(
        open(&key(1), &patched, &aad).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn another_workspace_is_rejected() {
    assert_rejected(
        &record("w1", "r", "secret", 1),
        &record("w2", "r", "secret", 1),
    );
}

#[test]
fn another_record_is_rejected() {
    assert_rejected(
        &record("w", "r1", "secret", 1),
        &record("w", "r2", "secret", 1),
    );
}

#[test]
fn another_field_is_rejected() {
    assert_rejected(&record("w", "r", "secret", 1), &record("w", "r", "key", 1));
}

#[test]
fn another_version_is_rejected() {
    assert_rejected(
        &record("w", "r", "secret", 1),
        &record("w", "r", "secret", 2),
    );
}

#[test]
fn another_domain_is_rejected() {
    assert_rejected(
        &AssociatedData::new("keyward secret").with("w"),
        &AssociatedData::new("keyward data key").with("w"),
    );
}

#[test]
fn missing_part_is_rejected() {
    let domain = || AssociatedData::new("keyward secret");
    assert_rejected(&domain().with("w").with("r"), &domain().with("w"));
    assert_rejected(&domain().with("w"), &domain().with("w").with("r"));
    assert_rejected(&domain().with("w").with("r"), &domain());
}

#[test]
fn swapped_parts_are_rejected() {
    assert_rejected(
        &record("a", "b", "secret", 1),
        &record("b", "a", "secret", 1),
    );
}

#[test]
fn records_that_swapped_their_envelopes_are_rejected() {
    let (one, two) = (
        record("w", "r1", "secret", 1),
        record("w", "r2", "secret", 1),
    );
    let sealed_one = seal(&key(1), 1, b"secret 1", &one).unwrap();
    let sealed_two = seal(&key(1), 1, b"secret 2", &two).unwrap();
    assert_eq!(
        open(&key(1), &sealed_two, &one).unwrap_err(),
        Error::DecryptionFailed
    );
    assert_eq!(
        open(&key(1), &sealed_one, &two).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn halves_of_two_envelopes_of_one_record_are_rejected() {
    let aad = record("w", "r", "secret", 1);
    let one = seal(&key(1), 1, b"secret 1", &aad).unwrap().to_bytes();
    let two = seal(&key(1), 1, b"secret 2", &aad).unwrap().to_bytes();
    for at in [5, 29, one.len() - 16] {
        let mixed = [&one[..at], &two[at..]].concat();
        let opened = open(&key(1), &Envelope::parse(&mixed).unwrap(), &aad);
        // The two are equal up to byte 5, so a split there gives the second.
        assert_eq!(opened.is_ok(), at == 5, "split at {at}");
    }
}

#[test]
fn parts_that_concatenate_equally_are_rejected() {
    let of = |parts: &[&str]| {
        parts
            .iter()
            .fold(AssociatedData::new("keyward secret"), |aad, part| {
                aad.with(part)
            })
    };
    assert_rejected(&of(&["ab", "c"]), &of(&["a", "bc"]));
    assert_rejected(&of(&["abc"]), &of(&["ab", "c"]));
    assert_rejected(&of(&["abc", ""]), &of(&["", "abc"]));
    assert_rejected(&of(&["abc"]), &of(&["abc", ""]));
}

#[test]
fn domain_that_runs_into_its_first_part_is_rejected() {
    assert_rejected(
        &AssociatedData::new("ab").with("c"),
        &AssociatedData::new("a").with("bc"),
    );
}

#[test]
fn part_that_imitates_the_encoding_of_two_is_rejected() {
    let two = AssociatedData::new("d").with("a").with("b");
    let imitation = [b"a".as_slice(), &1_u64.to_be_bytes(), b"b"].concat();
    assert_rejected(&two, &AssociatedData::new("d").with(imitation));
}
