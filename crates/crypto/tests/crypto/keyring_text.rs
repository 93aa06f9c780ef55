//! Malformed keyrings: each kind is rejected with its own defect, and no error quotes a key.

use keyward_crypto::{Error, Keyring, KeyringDefect, MAX_KEYRING_FILE_BYTES};

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f91";
const OTHER: &str = "deadbeef00112233445566778899aabbccddeeff0123456789abcdef02468ace";

fn entry(version: &str, key: &str) -> String {
    format!(r#"{{"version":{version},"key":"{key}"}}"#)
}

fn text(primary: &str, keys: &[String]) -> String {
    format!(
        r#"{{"format":"keyward-keyring-v1","primary":{primary},"keys":[{}]}}"#,
        keys.join(",")
    )
}

#[track_caller]
fn defect(text: &str) -> KeyringDefect {
    let error = Keyring::parse(text).unwrap_err();
    for print in [
        error.to_string(),
        format!("{error:?}"),
        format!("{error:#?}"),
    ] {
        let print = print.to_lowercase();
        // Eight digits of a key already count as a quotation.
        for secret in [KEY, OTHER] {
            for window in secret.as_bytes().windows(8) {
                let window = std::str::from_utf8(window).unwrap();
                assert!(!print.contains(window), "{print} quotes {window}");
            }
        }
    }
    match error {
        Error::Keyring(defect) => defect,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_shape(text: &str) {
    assert!(
        matches!(defect(text), KeyringDefect::Shape { .. }),
        "{:?}",
        defect(text)
    );
}

#[track_caller]
fn assert_not_json(text: &str) {
    assert!(
        matches!(defect(text), KeyringDefect::NotJson { .. }),
        "{:?}",
        defect(text)
    );
}

#[test]
fn good_ring_is_read_in_any_order() {
    let ring = Keyring::parse(&text("2", &[entry("3", OTHER), entry("2", KEY)])).unwrap();
    assert_eq!((ring.primary(), ring.versions()), (2, vec![2, 3]));
}

#[test]
fn upper_case_digits_are_read() {
    assert!(Keyring::parse(&text("1", &[entry("1", &KEY.to_uppercase())])).is_ok());
}

#[test]
fn text_that_is_not_json_is_rejected() {
    assert_not_json("");
    assert_not_json(KEY);
    assert_not_json(&format!("key = {KEY}"));
}

#[test]
fn cut_off_ring_is_rejected_wherever_it_is_cut() {
    let good = text("1", &[entry("1", KEY)]);
    for length in 0..good.len() {
        assert_not_json(&good[..length]);
    }
}

#[test]
fn text_after_the_keyring_is_rejected() {
    assert_not_json(&(text("1", &[entry("1", KEY)]) + KEY));
}

#[test]
fn json_of_another_type_is_rejected() {
    assert_shape(&format!("\"{KEY}\""));
    assert_shape("[]");
    assert_shape("null");
}

#[test]
fn unknown_member_of_the_ring_is_rejected() {
    let good = text("1", &[entry("1", KEY)]);
    assert_shape(&good.replacen('{', &format!("{{\"{OTHER}\":\"{KEY}\","), 1));
}

#[test]
fn unknown_member_of_a_key_is_rejected() {
    let key = format!(r#"{{"version":1,"key":"{KEY}","{OTHER}":"{KEY}"}}"#);
    assert_shape(&text("1", &[key]));
}

#[test]
fn repeated_member_is_rejected() {
    let key = format!(r#"{{"version":1,"key":"{KEY}","key":"{OTHER}"}}"#);
    assert_shape(&text("1", &[key]));
}

#[test]
fn missing_member_is_rejected() {
    assert_shape(&format!(r#"{{"primary":1,"keys":[{}]}}"#, entry("1", KEY)));
    assert_shape(&format!(
        r#"{{"format":"keyward-keyring-v1","keys":[{}]}}"#,
        entry("1", KEY)
    ));
    assert_shape(r#"{"format":"keyward-keyring-v1","primary":1}"#);
    assert_shape(&text("1", &[format!(r#"{{"key":"{KEY}"}}"#)]));
    assert_shape(&text("1", &[String::from(r#"{"version":1}"#)]));
}

#[test]
fn member_of_the_wrong_type_is_rejected() {
    assert_shape(&text(&format!("\"{KEY}\""), &[entry("1", KEY)]));
    assert_shape(&text("1", &[entry(&format!("\"{OTHER}\""), KEY)]));
    assert_shape(&text("1", &[String::from(r#"{"version":1,"key":7}"#)]));
    assert_shape(&text("1", &[format!("\"{KEY}\"")]));
}

#[test]
fn version_that_is_no_32_bit_number_is_rejected() {
    for version in ["-1", "1.5", "4294967296", "99999999999999999999999999"] {
        assert_shape(&text("1", &[entry(version, KEY)]));
        assert_shape(&text(version, &[entry("1", KEY)]));
    }
}

#[test]
fn escaped_key_is_rejected() {
    assert_shape(&text("1", &[entry("1", &KEY.replacen('a', "\\u0061", 1))]));
}

#[test]
fn unknown_format_is_rejected() {
    let good = text("1", &[entry("1", KEY)]);
    for format in ["keyward-keyring-v2", "", KEY] {
        let text = good.replace("keyward-keyring-v1", format);
        assert_eq!(defect(&text), KeyringDefect::UnknownFormat);
    }
}

#[test]
fn empty_list_is_rejected() {
    assert_eq!(defect(&text("1", &[])), KeyringDefect::NoKeys);
}

#[test]
fn version_0_is_rejected() {
    assert_eq!(
        defect(&text("0", &[entry("0", KEY)])),
        KeyringDefect::VersionZero
    );
}

#[test]
fn primary_of_0_is_rejected() {
    assert_eq!(
        defect(&text("0", &[entry("1", KEY)])),
        KeyringDefect::PrimaryMissing { version: 0 }
    );
}

#[test]
fn two_keys_of_one_version_are_rejected() {
    let expected = KeyringDefect::DuplicateVersion { version: 1 };
    assert_eq!(
        defect(&text("1", &[entry("1", KEY), entry("1", OTHER)])),
        expected
    );
    assert_eq!(
        defect(&text("1", &[entry("1", KEY), entry("1", KEY)])),
        expected
    );
}

#[test]
fn one_key_under_two_versions_is_rejected() {
    assert_eq!(
        defect(&text(
            "1",
            &[entry("1", KEY), entry("2", &KEY.to_uppercase())]
        )),
        KeyringDefect::DuplicateKey { version: 2 }
    );
}

#[test]
fn primary_without_a_key_is_rejected() {
    assert_eq!(
        defect(&text("2", &[entry("1", KEY)])),
        KeyringDefect::PrimaryMissing { version: 2 }
    );
}

#[test]
fn key_of_the_wrong_length_is_rejected() {
    for key in [
        "",
        &KEY[..1],
        &KEY[..62],
        &KEY[..63],
        &format!("{KEY}0"),
        &format!("{KEY}00"),
    ] {
        assert_eq!(
            defect(&text("3", &[entry("3", key)])),
            KeyringDefect::KeyLength { version: 3 }
        );
    }
}

#[test]
fn key_that_is_not_hexadecimal_is_rejected() {
    let spoilt = ["g", " ", "-"].map(|digit| format!("{}{digit}", &KEY[..63]));
    // A character of two bytes: the length is right in bytes but wrong in digits.
    let accented = format!("{}é", &KEY[..62]);
    for key in spoilt.iter().chain([&accented]) {
        assert_eq!(
            defect(&text("3", &[entry("3", key)])),
            KeyringDefect::KeyNotHex { version: 3 }
        );
    }
}

#[test]
fn text_larger_than_the_bound_is_rejected() {
    let good = text("1", &[entry("1", KEY)]);
    let padded = good.clone() + &" ".repeat(MAX_KEYRING_FILE_BYTES - good.len());
    assert!(Keyring::parse(&padded).is_ok());
    assert_eq!(
        defect(&(padded + " ")),
        KeyringDefect::TooLarge {
            limit_bytes: MAX_KEYRING_FILE_BYTES
        }
    );
}
