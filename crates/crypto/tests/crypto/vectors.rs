//! Published test vectors for the primitives, and frozen vectors for the constructions of this crate.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hex::{decode, encode};
use hmac::{Hmac, Mac};
use keyward_crypto::{AssociatedData, Envelope, fingerprint, open};
use sha2::{Digest, Sha256};

use crate::key;

const PLAINTEXT: &[u8] = b"Ladies and Gentlemen of the class of '99: \
    If I could offer you only one tip for the future, sunscreen would be it.";

const SEALED: &str = "\
    bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
    731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
    2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
    21f9664c97637da9768812f615c68b13b52e\
    c0875924c1c7987947deafd8780acf49";

/// The inputs of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
struct Draft {
    key: Vec<u8>,
    nonce: [u8; 24],
    aad: Vec<u8>,
    sealed: Vec<u8>,
}

impl Draft {
    fn new() -> Self {
        Self {
            key: (0x80..=0x9f).collect(),
            nonce: std::array::from_fn(|i| 0x40 + i as u8),
            aad: decode("50515253c0c1c2c3c4c5c6c7").unwrap(),
            sealed: decode(SEALED).unwrap(),
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(&self.key).unwrap()
    }

    fn opens(&self) -> bool {
        let payload = Payload {
            msg: &self.sealed,
            aad: &self.aad,
        };
        self.cipher()
            .decrypt(&self.nonce.into(), payload)
            .is_ok_and(|opened| opened == PLAINTEXT)
    }
}

#[test]
fn xchacha20_poly1305_agrees_with_the_draft() {
    let draft = Draft::new();
    let payload = Payload {
        msg: PLAINTEXT,
        aad: &draft.aad,
    };
    let sealed = draft
        .cipher()
        .encrypt(&draft.nonce.into(), payload)
        .unwrap();
    assert_eq!(encode(sealed), encode(&draft.sealed));
    assert!(draft.opens());
}

#[test]
fn xchacha20_flipped_bit_of_ciphertext_or_tag_is_rejected() {
    let mut draft = Draft::new();
    for bit in 0..draft.sealed.len() * 8 {
        draft.sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(!draft.opens(), "bit {bit}");
        draft.sealed[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(draft.opens());
}

#[test]
fn xchacha20_flipped_bit_of_key_nonce_or_data_is_rejected() {
    for bit in 0..256 {
        let mut draft = Draft::new();
        draft.key[bit / 8] ^= 1 << (bit % 8);
        assert!(!draft.opens(), "key bit {bit}");
    }
    for bit in 0..192 {
        let mut draft = Draft::new();
        draft.nonce[bit / 8] ^= 1 << (bit % 8);
        assert!(!draft.opens(), "nonce bit {bit}");
    }
    for bit in 0..96 {
        let mut draft = Draft::new();
        draft.aad[bit / 8] ^= 1 << (bit % 8);
        assert!(!draft.opens(), "associated data bit {bit}");
    }
}

#[test]
fn xchacha20_poly1305_rejects_special_and_truncated_tags() {
    let tag_at = Draft::new().sealed.len() - 16;
    type Change = fn(&mut Vec<u8>, usize);
    let changes: [(&str, Change); 6] = [
        ("all zero", |sealed, at| sealed[at..].fill(0)),
        ("all ones", |sealed, at| sealed[at..].fill(0xff)),
        ("inverted", |sealed, at| {
            sealed[at..].iter_mut().for_each(|byte| *byte ^= 0xff)
        }),
        ("top bits flipped", |sealed, at| {
            sealed[at..].iter_mut().for_each(|byte| *byte ^= 0x80)
        }),
        ("one byte short", |sealed, _| {
            sealed.truncate(sealed.len() - 1)
        }),
        ("missing", |sealed, at| sealed.truncate(at)),
    ];
    for (name, change) in changes {
        let mut draft = Draft::new();
        change(&mut draft.sealed, tag_at);
        assert!(!draft.opens(), "tag {name}");
    }
}

#[test]
fn hmac_sha256_agrees_with_rfc_4231() {
    let cases: [(&[u8], &[u8], &str); 7] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &std::array::from_fn::<u8, 25, _>(|i| i as u8 + 1),
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        // The fifth vector is published truncated to 128 bits.
        (
            &[0x0c; 20],
            b"Test With Truncation",
            "a3b6167473100ee06e0c796c2955552b",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size \
              data. The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (number, (key, data, expected)) in (1..).zip(cases) {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(data);
        let digest = encode(mac.finalize().into_bytes());
        assert!(digest.starts_with(expected), "case {number}: {digest}");
    }
}

#[test]
fn sha256_agrees_with_nist() {
    let cases = [
        (
            "",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            "abc",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(encode(Sha256::digest(message)), expected);
    }
}

// An independent implementation computed the three vectors below. They must never change, since databases
// contain data in these formats.

#[test]
fn encoding_of_associated_data_is_frozen() {
    let aad = AssociatedData::new("keyward test")
        .with("workspace")
        .with("")
        .with_u64(7);
    assert_eq!(
        encode(aad.as_bytes()),
        "000000000000000c6b6579776172642074657374\
         0000000000000009776f726b7370616365\
         0000000000000000\
         00000000000000080000000000000007"
    );
}

#[test]
fn envelope_of_format_1_is_frozen() {
    let stored = decode(
        "0101020304\
         404142434445464748494a4b4c4d4e4f5051525354555657\
         902c00913882912e6b4e021c73511b20a4bda7bc42574333",
    )
    .unwrap();
    let aad = AssociatedData::new("keyward test")
        .with("workspace")
        .with("")
        .with_u64(7);
    let envelope = Envelope::parse(&stored).unwrap();
    assert_eq!(envelope.key_version(), 0x0102_0304);
    assert_eq!(
        open(&key(0x80), &envelope, &aad).unwrap().expose(),
        b"a secret"
    );
    assert_eq!(envelope.to_bytes(), stored);
}

#[test]
fn fingerprint_is_frozen() {
    assert_eq!(
        encode(fingerprint(
            &key(0x80),
            "keyward test",
            &[b"workspace", b"a secret"]
        )),
        "d997c94d5fd3ce1f54ecbaffa6d88241bfd71773768dfac874034167fc76be91"
    );
}
