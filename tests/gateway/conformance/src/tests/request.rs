//! Tests of the parts of a request besides its body: parameters, single members, masks.

use std::borrow::Cow;

use keyward_gateway::json::{self, DecodeError, JsonMessage, MemberKind};

use super::{All, options, read, rejected, written};
use crate::proto::protobuf_test_messages::proto3::ForeignMessage;
use crate::proto::protobuf_test_messages::proto3::test_all_types_proto3::NestedMessage;

fn path(path: &str) -> Vec<usize> {
    json::resolve(All::INFO, path).unwrap()
}

fn queried(pairs: &[(&str, &'static str)]) -> Result<All, DecodeError> {
    let mut message = All::default();
    let values: Vec<_> = pairs
        .iter()
        .map(|(name, text)| (path(name), Cow::Borrowed(*text)))
        .collect();
    json::bind_query(&mut message, &values, &options())?;
    Ok(message)
}

#[test]
fn query_parameters_reach_into_messages() {
    let message = queried(&[
        ("optionalNestedMessage.a", "7"),
        ("repeated_int32", "1"),
        ("optional_nested_message.corecursive.optionalString", "x"),
        ("repeatedInt32", "2"),
        ("optionalNestedEnum", "BAZ"),
        ("repeatedNestedEnum", "-1"),
        ("optionalTimestamp", "1970-01-01T00:00:01Z"),
        ("optionalDuration", "1.5s"),
        ("optionalFieldMask", "a,bC"),
        ("optionalInt64Wrapper", "5"),
        ("optionalValue", "[1,null]"),
        ("optionalStruct", r#"{"a":1}"#),
        ("oneofNestedMessage.a", "1"),
        ("optionalBytes", "_w"),
        ("optionalDouble", "-Infinity"),
    ])
    .unwrap();
    let expected = concat!(
        r#"{"optionalDouble":"-Infinity","optionalBytes":"/w==","#,
        r#""optionalNestedMessage":{"a":7,"corecursive":{"optionalString":"x"}},"#,
        r#""optionalNestedEnum":"BAZ","repeatedInt32":[1,2],"repeatedNestedEnum":["NEG"],"#,
        r#""oneofNestedMessage":{"a":1},"optionalInt64Wrapper":"5","#,
        r#""optionalDuration":"1.500s","optionalTimestamp":"1970-01-01T00:00:01Z","#,
        r#""optionalFieldMask":"a,bC","optionalStruct":{"a":1},"optionalValue":[1,null]}"#,
    );
    assert_eq!(written(&message).unwrap(), expected);
}

#[test]
fn wrong_query_parameters_are_named_and_never_repeated() {
    rejected(
        queried(&[("optionalInt32", "1"), ("optional_int32", "1")]),
        "optionalInt32",
        "`optionalInt32` must be given once",
    );
    rejected(
        queried(&[("optionalNestedMessage.a", "s3cr3t")]),
        "optionalNestedMessage.a",
        "`optionalNestedMessage.a` must be a 32-bit integer",
    );
    rejected(
        queried(&[("repeatedInt32", "1"), ("repeatedInt32", "s3cr3t")]),
        "repeatedInt32",
        "`repeatedInt32` must be a 32-bit integer",
    );
    rejected(
        queried(&[("oneofUint32", "1"), ("oneofString", "s3cr3t")]),
        "oneofString",
        "`oneofString` must not be given beside another member of its oneof",
    );
    rejected(
        queried(&[("optionalNestedMessage", "s3cr3t")]),
        "optionalNestedMessage",
        "`optionalNestedMessage` must be an object",
    );
    rejected(
        queried(&[("optionalNestedEnum", "s3cr3t")]),
        "optionalNestedEnum",
        "`optionalNestedEnum` must be one of BAR, BAZ, NEG",
    );
    rejected(
        queried(&[("optionalBool", "1")]),
        "optionalBool",
        "`optionalBool` must be true or false",
    );
}

#[test]
fn a_path_variable_wins_over_what_is_there() {
    let bound = |body: &str, name: &str, text: &str| {
        let mut message = read(body).unwrap();
        json::bind_path(&mut message, &path(name), text, &options()).unwrap();
        written(&message).unwrap()
    };
    assert_eq!(
        bound(r#"{"optionalInt32":1}"#, "optionalInt32", "2"),
        r#"{"optionalInt32":2}"#
    );
    assert_eq!(
        bound(
            r#"{"recursiveMessage":{"optionalString":"a","optionalInt32":1}}"#,
            "recursiveMessage.optionalInt32",
            "2"
        ),
        r#"{"recursiveMessage":{"optionalInt32":2,"optionalString":"a"}}"#
    );
    assert_eq!(
        bound(r#"{"oneofUint32":1}"#, "oneofString", "a"),
        r#"{"oneofString":"a"}"#
    );
    assert_eq!(
        bound(
            r#"{"oneofNestedMessage":{"corecursive":{}}}"#,
            "oneofNestedMessage.a",
            "1"
        ),
        r#"{"oneofNestedMessage":{"a":1,"corecursive":{}}}"#
    );
    let mut message = All::default();
    rejected(
        json::bind_path(&mut message, &path("optionalInt32"), "s3cr3t", &options()),
        "optionalInt32",
        "`optionalInt32` must be a 32-bit integer",
    );
}

#[test]
fn one_member_is_read_and_written_alone() {
    let member = |name: &str| All::member(name).unwrap();
    let mut message = All::default();
    let mut decode = |name: &str, body: &str| {
        json::decode_member_into(&mut message, member(name), body.as_bytes(), &options())
    };
    decode("optionalNestedMessage", r#"{"a":1}"#).unwrap();
    decode("repeated_int32", "[1,2]").unwrap();
    rejected(
        decode("optionalNestedMessage", r#"{"a":"s3cr3t"}"#),
        "optionalNestedMessage.a",
        "`optionalNestedMessage.a` must be a 32-bit integer",
    );
    rejected(
        decode("optionalString", "\"a\" s3cr3t"),
        "",
        "Malformed JSON at line 1 column 5",
    );
    rejected(
        decode("optionalString", ""),
        "",
        "Malformed JSON at line 1 column 0",
    );

    let written = |name: &str| {
        let text = json::encode_member(&message, member(name), &options());
        String::from_utf8(text.unwrap()).unwrap()
    };
    assert_eq!(written("optionalNestedMessage"), r#"{"a":1}"#);
    assert_eq!(written("repeatedInt32"), "[1,2]");
    assert_eq!(written("mapInt32Int32"), "{}");
    assert_eq!(written("optionalInt64"), "\"0\"");
    assert_eq!(written("optionalTimestamp"), "null");
    message.optional_foreign_message = Some(ForeignMessage::default());
    let text = json::encode_member(&message, member("optionalForeignMessage"), &options());
    assert_eq!(text.unwrap(), b"{}");
}

#[test]
fn paths_are_resolved_by_either_name() {
    let places = |path| json::resolve(All::INFO, path);
    let nested = path("optionalNestedMessage.corecursive.optionalInt32");
    assert_eq!(nested.len(), 3);
    assert_eq!(
        places("optional_nested_message.corecursive.optional_int32"),
        Some(nested)
    );
    for unknown in [
        "",
        ".",
        "a",
        "optionalInt32.a",
        "optionalNestedMessage.",
        "repeatedForeignMessage.c",
        "mapInt32Int32.key",
        "optionalTimestamp.seconds",
    ] {
        assert_eq!(places(unknown), None, "{unknown}");
    }
    let kind = |name: &str| All::INFO.members[path(name)[0]].kind;
    assert!(matches!(kind("optionalTimestamp"), MemberKind::Single));
    assert!(matches!(kind("repeatedTimestamp"), MemberKind::Repeated));
    assert!(matches!(
        kind("repeatedForeignMessage"),
        MemberKind::RepeatedMessage
    ));
    assert!(matches!(kind("mapStringForeignMessage"), MemberKind::Map));
    let inner = match kind("optionalForeignMessage") {
        MemberKind::Message(inner) => inner().full_name,
        other => panic!("{other:?}"),
    };
    assert_eq!(inner, ForeignMessage::INFO.full_name);
    assert_eq!(
        NestedMessage::INFO.full_name,
        "protobuf_test_messages.proto3.TestAllTypesProto3.NestedMessage"
    );
}

#[test]
fn a_body_names_what_it_changes() {
    for (body, expected) in [
        ("", ""),
        ("[]", ""),
        ("{}", ""),
        (r#"{"other":1,"optionalInt32":0}"#, "optional_int32"),
        (
            r#"{"optionalString":null,"optional_int32":1}"#,
            "optional_int32,optional_string",
        ),
        (
            r#"{"optionalNestedMessage":{"corecursive":{"optionalInt32":1,"repeatedInt32":[]},"a":1}}"#,
            "optional_nested_message.a,\
             optional_nested_message.corecursive.optional_int32,\
             optional_nested_message.corecursive.repeated_int32",
        ),
        (
            r#"{"optionalNestedMessage":{},"optionalForeignMessage":null,"recursiveMessage":{"other":1}}"#,
            "optional_nested_message,optional_foreign_message,recursive_message",
        ),
        (
            r#"{"mapStringForeignMessage":{"a":{"c":1}},"repeatedForeignMessage":[{"c":1}]}"#,
            "repeated_foreign_message,map_string_foreign_message",
        ),
        (
            r#"{"optionalStruct":{"a":1},"oneofNestedMessage":{"a":1}}"#,
            "oneof_nested_message.a,optional_struct",
        ),
    ] {
        let paths = keyward_gateway::body_paths(All::INFO, body.as_bytes()).unwrap();
        assert_eq!(paths.join(","), expected, "{body}");
    }
    for body in ["{", r#"{"other":1e999}"#, "1 2"] {
        let paths = keyward_gateway::body_paths(All::INFO, body.as_bytes());
        assert!(paths.is_err(), "{body}");
    }
}
