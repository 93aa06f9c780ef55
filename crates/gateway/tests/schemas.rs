//! Compares the OpenAPI document with the reader: for every kind of field and every kind of JSON,
//! the gateway accepts the bodies that the schema allows and rejects those that it forbids.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

use jsonschema::Validator;
use keyward_gateway::json::{self, JsonOptions};
use keyward_gateway_testserver::OPENAPI;
use keyward_gateway_testserver::v1::{self, Everything};
use serde_json::{Value, json};

/// JSON of every kind, at and around every bound.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "2.0",
    "1.5",
    "-1.5",
    "1e3",
    "1e-3",
    "1e300",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "3.5e38",
    r#""""#,
    r#""a""#,
    r#""1""#,
    r#""-1""#,
    r#""1.5""#,
    r#""NaN""#,
    r#""Infinity""#,
    r#""-Infinity""#,
    r#""+1""#,
    r#"" 1""#,
    r#""true""#,
    r#""null""#,
    r#""é""#,
    r#""2147483647""#,
    r#""2147483648""#,
    r#""-2147483648""#,
    r#""-2147483649""#,
    r#""4294967295""#,
    r#""4294967296""#,
    r#""9223372036854775807""#,
    r#""9223372036854775808""#,
    r#""-9223372036854775808""#,
    r#""-9223372036854775809""#,
    r#""18446744073709551615""#,
    r#""18446744073709551616""#,
    r#""10000000000""#,
    r#""99999999999999999999""#,
    r#""aGk=""#,
    r#""aGk""#,
    r#""aGkx""#,
    r#""-_8=""#,
    r#""a+/-""#,
    r#""a""#,
    r#""a===""#,
    r#""NULL_VALUE""#,
    r#""COLOR_RED""#,
    r#""COLOR_GREEN""#,
    r#""color_red""#,
    r#""2024-02-29T12:00:00Z""#,
    r#""2024-02-29T12:00:00.123456789Z""#,
    r#""2024-02-29T12:00:00+01:30""#,
    r#""2023-02-29T12:00:00Z""#,
    r#""2024-02-29""#,
    r#""2024-02-29t12:00:00z""#,
    r#""2024-02-29T12:00:00.Z""#,
    r#""2024-02-29T12:00:60Z""#,
    r#""2024-02-29T12:00:00.1234567890Z""#,
    r#""2024-02-29T24:00:00Z""#,
    r#""1s""#,
    r#""-1.5s""#,
    r#""1.s""#,
    r#""1.1234567890s""#,
    r#""315576000000s""#,
    r#""-315576000000.999999999s""#,
    r#""315576000001s""#,
    r#""s""#,
    r#""1 s""#,
    r#""aB,c.dE""#,
    r#""a_b""#,
    r#""a,""#,
    "[]",
    "[null]",
    "[1]",
    r#"["a"]"#,
    "[true]",
    "[[]]",
    "[{}]",
    r#"["COLOR_RED"]"#,
    r#"["2024-02-29T12:00:00Z"]"#,
    "{}",
    r#"{"a":1}"#,
    r#"{"a":"b"}"#,
    r#"{"1":{}}"#,
    r#"{"true":"1"}"#,
    r#"{"x":null}"#,
    r#"{"a":"COLOR_BLUE"}"#,
    r#"{"-2147483649":{}}"#,
    r#"{"text":"a","nested":{"color":2}}"#,
    r#"{"text":1}"#,
    r#"{"nested":[]}"#,
    r#"{"@type":1}"#,
    r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}"#,
];

/// Returns true if the two differ on purpose: the number of an unknown enum value is accepted,
/// since the next version may have it, but the document does not promise a result for it.
fn is_unknown_enum_value(member: &str, value: &str) -> bool {
    let is_enum = ["aColor", "maybeColor", "choiceNull"].contains(&member);
    let number = serde_json::from_str::<f64>(value);
    is_enum && number.is_ok_and(|number| number.fract() == 0.0 && number.abs() < 2_147_483_649.0)
}

fn read(body: &str) -> Option<Everything> {
    let options = JsonOptions::default().with_types(v1::TYPES);
    let mut message = Everything::default();
    let read = json::decode_into(&mut message, body.as_bytes(), &options);
    read.is_ok().then_some(message)
}

/// Returns the validator of a message's JSON.
fn validator(schema: &str) -> Validator {
    let document: Value = serde_json::from_slice(&OPENAPI.body).unwrap();
    let schema = json!({
        "$ref": format!("#/components/schemas/{schema}"),
        "components": document["components"],
    });
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema).unwrap()
}

/// Returns every member of a request, with every value.
fn bodies() -> impl Iterator<Item = (String, &'static str, String)> {
    let document: Value = serde_json::from_slice(&OPENAPI.body).unwrap();
    let everything = &document["components"]["schemas"]["EverythingInput"]["properties"];
    let members: Vec<String> = everything.as_object().unwrap().keys().cloned().collect();
    members.into_iter().flat_map(|member| {
        VALUES.iter().map(move |value| {
            let body = format!(r#"{{"{member}":{value}}}"#);
            (member.clone(), *value, body)
        })
    })
}

#[test]
fn the_schema_and_the_reader_say_the_same() {
    let validator = validator("EverythingInput");
    let mut wrong = Vec::new();
    for (member, value, body) in bodies() {
        let allowed = validator.is_valid(&serde_json::from_str(&body).unwrap());
        let is_read = read(&body).is_some();
        if allowed != is_read && !is_unknown_enum_value(&member, value) {
            wrong.push(format!("{body}: the schema says {allowed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn written_json_fits_its_schema() {
    let validator = validator("Everything");
    let options = JsonOptions::default().with_types(v1::TYPES);
    let mut count = 0;
    for (member, value, body) in bodies() {
        if is_unknown_enum_value(&member, value) {
            continue;
        }
        if let Some(message) = read(&body) {
            let written = json::encode(&message, &options).unwrap();
            let written: Value = serde_json::from_slice(&written).unwrap();
            let fits = validator.validate(&written);
            fits.unwrap_or_else(|error| panic!("{body}: {error}"));
            count += 1;
        }
    }
    assert!(count > 500, "{count} bodies alone");
}

#[test]
fn a_oneof_has_one_member() {
    let validator = validator("EverythingInput");
    for body in [
        r#"{"choiceText":"a","choiceNumber":1}"#,
        r#"{"choiceText":"a","choiceNumber":null}"#,
        r#"{"choiceText":null,"choiceNumber":null}"#,
        r#"{"choiceNull":null,"choiceNumber":null}"#,
        r#"{"choiceNull":null,"choiceNumber":1}"#,
        r#"{"choiceDuration":"1s","choiceNested":{}}"#,
    ] {
        let allowed = validator.is_valid(&serde_json::from_str(body).unwrap());
        assert_eq!(allowed, read(body).is_some(), "{body}");
    }
}
