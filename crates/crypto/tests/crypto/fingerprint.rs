//! Fingerprints are equal exactly when all of their inputs are equal.

use hmac::{Hmac, KeyInit, Mac};
use keyward_crypto::{AssociatedData, fingerprint};
use sha2::Sha256;

use crate::key;

#[test]
fn it_is_hmac_sha256_over_the_encoding_of_associated_data() {
    let encoded = AssociatedData::new("domain").with("a").with("bc");
    let mut mac = Hmac::<Sha256>::new_from_slice(key(1).expose()).unwrap();
    mac.update(encoded.as_bytes());
    let expected: [u8; 32] = mac.finalize().into_bytes().into();
    assert_eq!(fingerprint(&key(1), "domain", &[b"a", b"bc"]), expected);
}

#[test]
fn equal_inputs_have_equal_fingerprints() {
    let one = fingerprint(&key(1), "domain", &[b"openai", b"sk-1"]);
    assert_eq!(one, fingerprint(&key(1), "domain", &[b"openai", b"sk-1"]));
}

#[test]
fn difference_anywhere_makes_another_fingerprint() {
    let one = fingerprint(&key(1), "domain", &[b"ab", b"c"]);
    assert_ne!(one, fingerprint(&key(2), "domain", &[b"ab", b"c"]), "key");
    assert_ne!(one, fingerprint(&key(1), "other", &[b"ab", b"c"]), "domain");
    assert_ne!(one, fingerprint(&key(1), "domain", &[b"ab", b"d"]), "part");
    assert_ne!(
        one,
        fingerprint(&key(1), "domain", &[b"a", b"bc"]),
        "border between parts"
    );
    assert_ne!(
        one,
        fingerprint(&key(1), "domain", &[b"abc"]),
        "number of parts"
    );
    assert_ne!(
        one,
        fingerprint(&key(1), "domain", &[b"ab", b"c", b""]),
        "empty part"
    );
    assert_ne!(one, fingerprint(&key(1), "domain", &[b"c", b"ab"]), "order");
}
