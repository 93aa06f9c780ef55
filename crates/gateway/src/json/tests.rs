//! Tests of the codecs, form by form.

use serde::de::DeserializeSeed;
use serde_json::Deserializer;

use super::context::{Mode, ReadContext, WriteContext};
use super::field::{FieldRef, FieldSeed};
use super::options::JsonOptions;
use super::{
    Binary, Bool, Codec, Double, Float, Int32, Int64, List, Map, NullValue, Struct, Text, UInt32,
    UInt64, Value,
};

/// Reads a value and writes it, or returns the expected form.
fn through<C: Codec>(json: &str) -> Result<String, String> {
    let options = JsonOptions::default();
    let mut value = C::Value::default();
    let context = ReadContext::new(&options, Mode::Json);
    let mut text = Deserializer::from_str(json);
    FieldSeed::<C>::new(&mut value, &context)
        .deserialize(&mut text)
        .map_err(|error| {
            error
                .to_string()
                .split(" at line")
                .next()
                .unwrap_or_default()
                .to_owned()
        })?;
    Ok(serde_json::to_string(&FieldRef::<C>::new(&value, &WriteContext::new(&options))).unwrap())
}

#[track_caller]
fn written<C: Codec>(cases: &[(&str, &str)]) {
    for (json, expected) in cases {
        assert_eq!(through::<C>(json).as_deref(), Ok(*expected), "{json}");
    }
}

#[track_caller]
fn rejected<C: Codec>(cases: &[&str]) {
    let expected = format!("must be {}", C::EXPECTED);
    for json in cases {
        assert_eq!(through::<C>(json), Err(expected.clone()), "{json}");
    }
}

#[test]
fn integers_are_whole_and_within_range() {
    written::<Int32>(&[
        ("-2147483648", "-2147483648"),
        ("1.0", "1"),
        ("1e2", "100"),
        ("\"12\"", "12"),
        ("\"1e2\"", "100"),
        ("-0", "0"),
    ]);
    rejected::<Int32>(&[
        "2147483648",
        "0.5",
        "\"\"",
        "\" 1\"",
        "\"1 \"",
        "\"0x1\"",
        "\"+1\"",
        "\"1_0\"",
        "true",
        "null",
        "[]",
        "{}",
        "\"NaN\"",
        "1e300",
    ]);
    written::<UInt32>(&[("4294967295", "4294967295")]);
    rejected::<UInt32>(&["-1", "4294967296"]);
    written::<Int64>(&[
        ("-9223372036854775808", "\"-9223372036854775808\""),
        ("\"9223372036854775807\"", "\"9223372036854775807\""),
    ]);
    rejected::<Int64>(&["9223372036854775808", "1e19"]);
    written::<UInt64>(&[("18446744073709551615", "\"18446744073709551615\"")]);
    rejected::<UInt64>(&["18446744073709551616", "-1"]);
}

#[test]
fn numbers_that_json_has_not_are_strings() {
    written::<Double>(&[
        ("\"NaN\"", "\"NaN\""),
        ("\"-Infinity\"", "\"-Infinity\""),
        ("\"1.5e3\"", "1500.0"),
        ("1", "1.0"),
    ]);
    rejected::<Double>(&["\"nan\"", "\"inf\"", "\"1.\"", "\"\"", "\"0x1\"", "false"]);
    written::<Float>(&[
        ("3.4028234663852886e38", "3.4028235e+38"),
        ("\"Infinity\"", "\"Infinity\""),
    ]);
    rejected::<Float>(&["3.5e38", "\"-3.5e38\""]);
}

#[test]
fn bytes_are_read_in_both_alphabets() {
    written::<Binary>(&[
        ("\"\"", "\"\""),
        ("\"-_8=\"", "\"+/8=\""),
        ("\"+/8\"", "\"+/8=\""),
        ("\"-_8\"", "\"+/8=\""),
    ]);
    rejected::<Binary>(&["\"+_8=\"", "\"a\"", "\"ab c\"", "1"]);
}

#[test]
fn texts_and_flags_are_themselves_only() {
    written::<Text>(&[("\"\\u00e4\\ud83d\\ude00\"", "\"ä😀\"")]);
    rejected::<Text>(&["1", "true", "null"]);
    rejected::<Bool>(&["\"true\"", "1", "null"]);
    written::<NullValue>(&[("null", "null"), ("\"NULL_VALUE\"", "null"), ("0", "null")]);
    rejected::<NullValue>(&["\"null\"", "{}"]);
}

#[test]
fn lists_and_maps_hold_their_values() {
    written::<List<Int32>>(&[("[]", "[]"), ("[1,\"2\"]", "[1,2]")]);
    rejected::<List<Int32>>(&["{}", "1"]);
    written::<Map<UInt64, Bool>>(&[("{\"10\":true,\"9\":false}", "{\"9\":false,\"10\":true}")]);
    written::<Map<Bool, Value>>(&[("{\"true\":null}", "{\"true\":null}")]);
    rejected::<Map<Text, Bool>>(&["[]", "\"\""]);
    assert_eq!(
        through::<Map<Bool, Bool>>("{\"1\":true}"),
        Err("must have keys that are true or false".to_owned())
    );
    assert_eq!(
        through::<Map<Int32, Bool>>("{\"1\":true,\"1\":true}"),
        Err("must have each key once".to_owned())
    );
}

#[test]
fn a_value_is_any_json() {
    for json in [
        "null",
        "true",
        "-0.0",
        "1",
        "9007199254740992",
        "1.5",
        "\"a\"",
        "[[],{}]",
        "{\"a\":{\"b\":[null]}}",
    ] {
        assert_eq!(through::<Value>(json).as_deref(), Ok(json), "{json}");
    }
    written::<Value>(&[("9007199254740993", "9007199254740992"), ("1e3", "1000")]);
    rejected::<Struct>(&["[]", "null"]);
    assert_eq!(
        through::<Struct>("{\"a\":1,\"a\":2}"),
        Err("must have each member once".to_owned())
    );
    let options = JsonOptions::default();
    let unset = prost_types::Value::default();
    let context = WriteContext::new(&options);
    let error = serde_json::to_string(&FieldRef::<Value>::new(&unset, &context)).unwrap_err();
    assert_eq!(error.to_string(), "a Value has no kind");
}
