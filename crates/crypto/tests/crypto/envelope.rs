//! Malformed and damaged envelopes: each kind is rejected, and none panics.

use keyward_crypto::{
    AssociatedData, Envelope, Error, MAX_ENVELOPE_BYTES, MAX_PLAINTEXT_BYTES, open, seal,
};

use crate::key;

const HEADER: usize = 5;
const NONCE: usize = 24;
const TAG: usize = 16;

fn aad() -> AssociatedData {
    AssociatedData::new("keyward test").with("record")
}

fn sealed() -> Vec<u8> {
    seal(&key(1), 3, b"sk-live-1234", &aad())
        .unwrap()
        .to_bytes()
}

fn reopen(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = open(&key(1), &Envelope::parse(bytes)?, &aad())?;
    Ok(opened.expose().clone())
}

#[track_caller]
fn assert_flips_are_rejected(region: std::ops::Range<usize>, expected: Error) {
    let good = sealed();
    for bit in region.start * 8..region.end * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(reopen(&bad), Err(expected.clone()), "bit {bit}");
    }
}

#[test]
fn sealed_secret_opens() {
    assert_eq!(reopen(&sealed()).unwrap(), b"sk-live-1234");
}

#[test]
fn empty_plaintext_is_sealed_and_authenticated_too() {
    let envelope = seal(&key(1), 1, b"", &aad()).unwrap();
    assert_eq!(envelope.to_bytes().len(), HEADER + NONCE + TAG);
    assert_eq!(open(&key(1), &envelope, &aad()).unwrap().expose(), b"");
    assert_eq!(
        open(&key(2), &envelope, &aad()).unwrap_err(),
        Error::DecryptionFailed
    );
}

#[test]
fn parsing_and_writing_are_inverse() {
    let bytes = sealed();
    let envelope = Envelope::parse(&bytes).unwrap();
    assert_eq!(envelope.to_bytes(), bytes);
    assert_eq!(envelope.key_version(), 3);
    assert!(Envelope::parse(&envelope.to_bytes()).unwrap() == envelope);
}

#[test]
fn plaintext_is_not_in_the_envelope() {
    assert!(!sealed().windows(4).any(|window| window == b"live"));
}

#[test]
fn sealing_twice_gives_two_nonces_and_two_ciphertexts() {
    let (one, two) = (sealed(), sealed());
    assert_eq!(one[..HEADER], two[..HEADER]);
    assert_ne!(one[HEADER..HEADER + NONCE], two[HEADER..HEADER + NONCE]);
    assert_ne!(one[HEADER + NONCE..], two[HEADER + NONCE..]);
}

#[test]
fn key_version_0_is_not_sealed() {
    assert_eq!(
        seal(&key(1), 0, b"x", &aad()).unwrap_err(),
        Error::KeyVersionZero
    );
}

#[test]
fn longest_plaintext_makes_the_longest_envelope() {
    let plaintext = vec![7; MAX_PLAINTEXT_BYTES];
    let bytes = seal(&key(1), 1, &plaintext, &aad()).unwrap().to_bytes();
    assert_eq!(bytes.len(), MAX_ENVELOPE_BYTES);
    assert_eq!(reopen(&bytes).unwrap(), plaintext);
}

#[test]
fn plaintext_longer_than_the_bound_is_not_sealed() {
    assert_eq!(
        seal(&key(1), 1, &vec![7; MAX_PLAINTEXT_BYTES + 1], &aad()).unwrap_err(),
        Error::PlaintextTooLong {
            limit_bytes: MAX_PLAINTEXT_BYTES
        }
    );
}

#[test]
fn empty_envelope_is_rejected() {
    assert_eq!(reopen(b""), Err(Error::EnvelopeTooShort));
}

#[test]
fn short_header_is_rejected() {
    for length in 1..HEADER {
        assert_eq!(
            reopen(&[1, 0, 0, 0, 1][..length]),
            Err(Error::EnvelopeTooShort)
        );
    }
}

#[test]
fn header_alone_is_rejected() {
    assert_eq!(reopen(&sealed()[..HEADER]), Err(Error::EnvelopeTooShort));
}

#[test]
fn truncated_nonce_is_rejected() {
    for length in HEADER + 1..HEADER + NONCE {
        assert_eq!(reopen(&sealed()[..length]), Err(Error::EnvelopeTooShort));
    }
}

#[test]
fn envelope_too_short_for_a_tag_is_rejected() {
    for length in HEADER + NONCE..HEADER + NONCE + TAG {
        assert_eq!(reopen(&sealed()[..length]), Err(Error::EnvelopeTooShort));
    }
}

#[test]
fn truncated_tag_is_rejected() {
    let good = sealed();
    for length in HEADER + NONCE + TAG..good.len() {
        assert_eq!(
            reopen(&good[..length]),
            Err(Error::DecryptionFailed),
            "{length} bytes"
        );
    }
}

#[test]
fn appended_bytes_are_rejected() {
    let mut bytes = sealed();
    bytes.push(0);
    assert_eq!(reopen(&bytes), Err(Error::DecryptionFailed));
}

#[test]
fn every_unknown_format_is_rejected() {
    let mut bytes = sealed();
    for format in (0..=u8::MAX).filter(|format| *format != 1) {
        bytes[0] = format;
        assert_eq!(reopen(&bytes), Err(Error::EnvelopeFormat));
    }
}

#[test]
fn key_version_0_is_rejected() {
    let mut bytes = sealed();
    bytes[1..HEADER].fill(0);
    assert_eq!(reopen(&bytes), Err(Error::KeyVersionZero));
}

#[test]
fn envelope_longer_than_the_bound_is_rejected() {
    let mut bytes = sealed();
    bytes.resize(MAX_ENVELOPE_BYTES + 1, 0);
    assert_eq!(
        reopen(&bytes),
        Err(Error::EnvelopeTooLong {
            limit_bytes: MAX_ENVELOPE_BYTES
        })
    );
    bytes.truncate(MAX_ENVELOPE_BYTES);
    assert_eq!(reopen(&bytes), Err(Error::DecryptionFailed));
}

#[test]
fn flipped_bit_in_the_format_is_rejected() {
    assert_flips_are_rejected(0..1, Error::EnvelopeFormat);
}

#[test]
fn flipped_bit_in_the_key_version_is_rejected() {
    assert_flips_are_rejected(1..HEADER, Error::DecryptionFailed);
}

#[test]
fn flipped_bit_in_the_nonce_is_rejected() {
    assert_flips_are_rejected(HEADER..HEADER + NONCE, Error::DecryptionFailed);
}

#[test]
fn flipped_bit_in_the_ciphertext_is_rejected() {
    assert_flips_are_rejected(
        HEADER + NONCE..sealed().len() - TAG,
        Error::DecryptionFailed,
    );
}

#[test]
fn flipped_bit_in_the_tag_is_rejected() {
    let length = sealed().len();
    assert_flips_are_rejected(length - TAG..length, Error::DecryptionFailed);
}
