//! No type that contains a key prints it. The tests compare the whole output, so that no encoding of a byte,
//! hexadecimal or decimal, goes unnoticed.

use keyward_crypto::{AssociatedData, Envelope, Key256, Keyring, Secret, seal};

use crate::key;

#[test]
fn secret_prints_only_that_it_is_redacted() {
    assert_eq!(
        format!("{:?}", Secret::new(String::from("hunter2"))),
        "[redacted]"
    );
    assert_eq!(
        format!("{:#?}", Secret::new(vec![0xab_u8; 4])),
        "[redacted]"
    );
    assert_eq!(
        format!("{:?}", Some(Secret::new(String::from("x")).clone())),
        "Some([redacted])"
    );
}

#[test]
fn key_prints_only_that_it_is_redacted() {
    assert_eq!(format!("{:?}", key(0xa0)), "Key256([redacted])");
    assert_eq!(
        format!("{:#x?}", key(0xa0).duplicate()),
        "Key256([redacted])"
    );
}

#[test]
fn keyring_prints_only_its_versions() {
    let ring = Keyring::generate().unwrap().with_new_version().unwrap();
    assert_eq!(
        format!("{ring:?}"),
        "Keyring { primary: 1, versions: [1, 2] }"
    );
}

#[test]
fn envelope_prints_only_its_version_and_size() {
    let aad = AssociatedData::new("keyward test").with("record");
    let envelope: Envelope = seal(&key(1), 7, b"secret", &aad).unwrap();
    assert_eq!(
        format!("{envelope:?}"),
        "Envelope { key_version: 7, ciphertext_bytes: 6 }"
    );
}

#[test]
fn associated_data_prints_only_its_size() {
    let aad = AssociatedData::new("d").with("record");
    assert_eq!(format!("{aad:?}"), "AssociatedData { encoded_bytes: 23 }");
}

#[test]
fn exposing_gives_what_went_in() {
    assert_eq!(Secret::new(String::from("hunter2")).expose(), "hunter2");
    assert_eq!(Key256::from_bytes([7; 32]).expose(), &[7; 32]);
    assert_eq!(Key256::from_bytes([7; 32]).duplicate().expose(), &[7; 32]);
}

#[test]
fn generated_keys_differ() {
    let (one, two) = (Key256::generate().unwrap(), Key256::generate().unwrap());
    assert_ne!(one.expose(), two.expose());
    assert_ne!(one.expose(), &[0; 32]);
}

#[test]
fn holders_of_secrets_are_overwritten_when_dropped() {
    fn assert_overwritten<T: zeroize::ZeroizeOnDrop>() {}
    assert_overwritten::<Secret<Vec<u8>>>();
    assert_overwritten::<Secret<String>>();
    assert_overwritten::<Key256>();
}

#[test]
fn dropping_a_secret_overwrites_its_value() {
    use std::cell::Cell;
    use std::rc::Rc;

    struct Witness(Rc<Cell<u32>>);
    impl zeroize::Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    let overwritten = Rc::new(Cell::new(0));
    drop(Secret::new(Witness(Rc::clone(&overwritten))));
    assert_eq!(overwritten.get(), 1);
}
