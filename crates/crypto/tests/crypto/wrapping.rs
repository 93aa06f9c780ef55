//! Wrapped keys: bound to their record, bounded in length, and always keys.

use keyward_crypto::{
    AssociatedData, Error, Kek, Key256, Keyring, MAX_WRAPPED_KEY_BYTES, open, seal,
};

use crate::{key, now};

const KEK_HEX: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

/// Returns a keyring whose only key, version 4, is `key(1)`.
fn ring() -> Keyring {
    Keyring::parse(&format!(
        r#"{{"format":"keyward-keyring-v1","primary":4,"keys":[{{"version":4,"key":"{KEK_HEX}"}}]}}"#
    ))
    .unwrap()
}

fn aad(workspace: &str) -> AssociatedData {
    AssociatedData::new("keyward data key").with(workspace)
}

fn wrapped() -> Vec<u8> {
    now(ring().wrap(&key(0x60), &aad("w"))).unwrap()
}

fn unwrap(wrapped: &[u8]) -> Result<[u8; 32], Error> {
    now(ring().unwrap(wrapped, &aad("w"))).map(|key| *key.expose())
}

#[test]
fn wrapped_key_unwraps() {
    assert_eq!(unwrap(&wrapped()).unwrap(), *key(0x60).expose());
}

#[test]
fn wrapped_key_is_an_envelope_of_the_primary_version() {
    let envelope = keyward_crypto::Envelope::parse(&wrapped()).unwrap();
    assert_eq!(envelope.key_version(), ring().primary_version());
    assert_eq!(
        open(&key(1), &envelope, &aad("w")).unwrap().expose(),
        key(0x60).expose()
    );
    assert_eq!(wrapped().len(), 5 + 24 + 32 + 16);
}

#[test]
fn kek_may_be_any_implementation() {
    let kek: Box<dyn Kek> = Box::new(ring());
    let wrapped = now(kek.wrap(&key(0x60), &aad("w"))).unwrap();
    assert_eq!(
        now(kek.unwrap(&wrapped, &aad("w"))).unwrap().expose(),
        key(0x60).expose()
    );
    assert_eq!(kek.primary_version(), 4);
}

#[test]
fn wrapped_key_under_other_associated_data_is_rejected() {
    assert_eq!(
        now(ring().unwrap(&wrapped(), &aad("other"))).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn wrapped_key_of_an_unknown_version_is_rejected() {
    let mut bytes = wrapped();
    bytes[1..5].copy_from_slice(&5_u32.to_be_bytes());
    assert_eq!(unwrap(&bytes), Err(Error::UnknownKeyVersion { version: 5 }));
}

#[test]
fn wrapped_key_of_another_ring_is_rejected() {
    let other = Keyring::generate().unwrap();
    let bytes = now(other.wrap(&key(0x60), &aad("w"))).unwrap();
    assert_eq!(unwrap(&bytes), Err(Error::UnknownKeyVersion { version: 1 }));
}

#[test]
fn wrapped_key_relabelled_from_another_version_is_rejected() {
    let two = ring().with_new_version().unwrap();
    let mut bytes = now(two.wrap(&key(0x60), &aad("w"))).unwrap();
    bytes[1..5].copy_from_slice(&5_u32.to_be_bytes());
    assert_eq!(
        now(two.unwrap(&bytes, &aad("w"))).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn authentic_plaintext_of_the_wrong_length_is_rejected() {
    for length in [0, 1, 16, 31, 33, 64, 200] {
        let bytes = seal(&key(1), 4, &vec![7; length], &aad("w"))
            .unwrap()
            .to_bytes();
        assert_eq!(
            unwrap(&bytes),
            Err(Error::WrappedKeyLength),
            "{length} bytes"
        );
    }
}

#[test]
fn wrapped_key_above_the_bound_is_rejected_unparsed() {
    let too_long = Error::WrappedKeyTooLong {
        limit_bytes: MAX_WRAPPED_KEY_BYTES,
    };
    // The first byte is not a known format; parsing would report that error first.
    assert_eq!(
        unwrap(&[0xff; MAX_WRAPPED_KEY_BYTES + 1]),
        Err(too_long.clone())
    );
    assert_eq!(
        unwrap(&[0xff; MAX_WRAPPED_KEY_BYTES]),
        Err(Error::EnvelopeFormat)
    );
    let authentic = seal(&key(1), 4, &[7; 256], &aad("w")).unwrap().to_bytes();
    assert_eq!(unwrap(&authentic), Err(too_long));
}

#[test]
fn every_truncation_is_rejected() {
    let bytes = wrapped();
    for length in 0..bytes.len() {
        let expected = if length < 45 {
            Error::EnvelopeTooShort
        } else {
            Error::DecryptionFailed
        };
        assert_eq!(unwrap(&bytes[..length]), Err(expected), "{length} bytes");
    }
}

#[test]
fn every_flipped_bit_is_rejected() {
    let good = wrapped();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(unwrap(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn wrapping_one_key_twice_gives_two_ciphertexts() {
    assert_ne!(wrapped(), wrapped());
}

#[test]
fn fresh_data_key_survives_wrapping() {
    let data_key = Key256::generate().unwrap();
    let bytes = now(ring().wrap(&data_key, &aad("w"))).unwrap();
    assert_eq!(unwrap(&bytes).unwrap(), *data_key.expose());
}
