//! Tests of parsing key sets. Signatures are tested through the API.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use serde_json::{Value, json};

use super::*;

/// Key of RFC 7638, section 3.1, and its thumbprint.
const RFC_7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
const RFC_7638_THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

fn ed25519_key() -> (Ed25519KeyPair, Value) {
    let key = Ed25519KeyPair::generate().unwrap();
    let x = base64url(key.public_key().as_ref());
    (key, json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
}

fn p256_key() -> (EcdsaKeyPair, Value) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
    (key, json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }))
}

fn with(mut jwk: Value, members: Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk
}

fn parse(keys: &[Value]) -> Result<KeySet, KeySetDefect> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn find(set: &KeySet, id: Option<&str>, key: &Ed25519KeyPair) -> Option<Thumbprint> {
    let signature = key.sign(b"message");
    set.find(
        id,
        SignatureAlgorithm::Ed25519,
        b"message",
        signature.as_ref(),
    )
}

#[test]
fn thumbprint_is_that_of_rfc_7638() {
    let jwk =
        json!({ "kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
    let set = parse(&[jwk]).unwrap();
    let expected = URL_SAFE_NO_PAD.decode(RFC_7638_THUMBPRINT).unwrap();
    assert!(set.holds(Thumbprint(expected.try_into().unwrap())));
}

#[test]
fn unfit_and_malformed_entries_are_skipped_alone() {
    let (key, good) = ed25519_key();
    let (_, other) = p256_key();
    let bad = [
        json!(null),
        json!("text"),
        json!({}),
        json!({ "kty": 7 }),
        json!({ "kty": "unheard-of" }),
        json!({ "kty": "oct", "k": "AAAA" }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
        with(good.clone(), json!({ "use": "enc" })),
        with(good.clone(), json!({ "use": 7 })),
        with(good.clone(), json!({ "alg": "ES256" })),
        with(good.clone(), json!({ "alg": "unheard-of" })),
        with(good.clone(), json!({ "key_ops": ["sign"] })),
        with(good.clone(), json!({ "x": "AAAA" })),
        with(good.clone(), json!({ "x": "§" })),
        // A point that is not on the curve.
        with(other.clone(), json!({ "x": other["y"], "y": other["x"] })),
    ];
    for entry in &bad {
        let rejected = parse(std::slice::from_ref(entry));
        assert!(
            matches!(rejected, Err(KeySetDefect::NoUsableKey { entries: 1, .. })),
            "{entry}"
        );
    }
    let fine = [
        good.clone(),
        with(good.clone(), json!({ "alg": "EdDSA", "use": "sig" })),
        with(
            good.clone(),
            json!({ "alg": "Ed25519", "key_ops": ["verify", "unheard-of"] }),
        ),
        with(good, json!({ "x5c": "not a list", "unheard-of": {} })),
    ];
    for entry in fine {
        let set = parse(&[&bad[..], std::slice::from_ref(&entry)].concat()).unwrap();
        assert!(find(&set, None, &key).is_some(), "{entry}");
    }
}

#[test]
fn text_that_is_not_a_key_set_is_rejected() {
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"keys":7}"#,
        r#"{"keys":null}"#,
        "null",
    ] {
        let rejected = KeySet::parse(text.as_bytes());
        assert_eq!(rejected.err(), Some(KeySetDefect::NotAKeySet), "{text}");
    }
    let empty = KeySetDefect::NoUsableKey {
        entries: 0,
        malformed: 0,
        unfit: 0,
    };
    assert_eq!(parse(&[]).err(), Some(empty));
}

#[test]
fn keys_of_a_set_and_tries_of_a_token_are_bounded() {
    let (key, jwk) = ed25519_key();
    let others = |count| (0..count).map(|_| ed25519_key().1).collect::<Vec<_>>();
    for (before, found) in [(MAX_TRIED - 1, true), (MAX_TRIED, false)] {
        let set = parse(&[others(before), vec![jwk.clone()]].concat()).unwrap();
        let signed = find(&set, None, &key).is_some();
        assert_eq!(signed, found, "after {before} others");
    }
    let named = with(jwk, json!({ "kid": "last" }));
    for (before, found) in [(MAX_KEYS - 1, true), (MAX_KEYS, false)] {
        let set = parse(&[others(before), vec![named.clone()]].concat()).unwrap();
        assert_eq!(set.keys.len(), MAX_KEYS);
        let signed = find(&set, Some("last"), &key).is_some();
        assert_eq!(signed, found, "after {before} others");
    }
}

#[test]
fn token_of_a_foreign_key_is_unknown() {
    let (_, jwk) = ed25519_key();
    let (foreign, _) = ed25519_key();
    let named = parse(&[with(jwk.clone(), json!({ "kid": "a" }))]).unwrap();
    let unnamed = parse(&[jwk]).unwrap();
    for id in [Some("a"), Some("b"), None] {
        assert_eq!(find(&named, id, &foreign), None);
        assert_eq!(find(&unnamed, id, &foreign), None);
    }
}

#[test]
fn key_of_another_algorithm_is_not_tried() {
    let (key, jwk) = p256_key();
    let (_, other) = ed25519_key();
    let name = |jwk| with(jwk, json!({ "kid": "shared" }));
    let set = parse(&[name(other), name(jwk)]).unwrap();
    let signature = key.sign(&SystemRandom::new(), b"message").unwrap();
    let find = |algorithm| set.find(Some("shared"), algorithm, b"message", signature.as_ref());
    assert!(find(SignatureAlgorithm::Es256).is_some());
    assert_eq!(find(SignatureAlgorithm::Ed25519), None);
    assert_eq!(find(SignatureAlgorithm::Rs256), None);
}
