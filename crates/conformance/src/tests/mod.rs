//! What the runner does not ask: the parts of a request, faults, limits, presence.

mod own;

use std::borrow::Cow;
use std::thread;

use keyward_gateway::json::{self, Fault, JsonMessage, JsonOptions, MemberKind};
use prost::Message;

use crate::proto::protobuf_test_messages::proto3::test_all_types_proto3::{
    NestedMessage, OneofField,
};
use crate::proto::protobuf_test_messages::proto3::{ForeignMessage, TYPES, TestAllTypesProto3};

type All = TestAllTypesProto3;

fn options() -> JsonOptions {
    JsonOptions::default().with_types(TYPES).omit_defaults()
}

fn read(text: &str) -> Result<All, Fault> {
    json::decode(text.as_bytes(), &options())
}

fn written(message: &All) -> Result<String, String> {
    let text = json::encode(message, &options()).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn path(path: &str) -> Vec<usize> {
    json::resolve(All::INFO, path).unwrap()
}

fn queried(pairs: &[(&str, &'static str)]) -> Result<All, Fault> {
    let mut message = All::default();
    let values: Vec<_> = pairs
        .iter()
        .map(|(name, text)| (path(name), Cow::Borrowed(*text)))
        .collect();
    json::bind_query(&mut message, &values, &options())?;
    Ok(message)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T, Fault>, field: &str, description: &str) {
    let fault = read.unwrap_err();
    assert_eq!(
        (fault.field.as_str(), fault.description.as_str()),
        (field, description)
    );
}

#[test]
fn a_body_comes_back_as_it_was() {
    for text in [
        r#"{}"#,
        r#"{"optionalInt64":"-1","optionalString":"ä\u0000","optionalBytes":"AP8="}"#,
        r#"{"optionalNestedMessage":{"a":1,"corecursive":{"optionalNestedMessage":{"a":2}}}}"#,
        r#"{"recursiveMessage":{"recursiveMessage":{}}}"#,
        r#"{"repeatedForeignMessage":[{},{"c":1}],"repeatedNestedEnum":["BAR","NEG"]}"#,
        r#"{"mapInt32Int32":{"-1":2,"3":4},"mapBoolBool":{"false":true,"true":false}}"#,
        r#"{"mapStringForeignMessage":{"":{"c":1},"a.b":{}}}"#,
        r#"{"optionalBoolWrapper":false,"optionalInt64Wrapper":"0","optionalStringWrapper":""}"#,
        r#"{"optionalValue":null,"repeatedValue":[null,true,1,1.5,"a",[null],{"a":{}}]}"#,
        r#"{"optionalStruct":{"a":[1,{"b":null}],"c":"d"},"repeatedListValue":[[],[[]]]}"#,
        r#"{"optionalDuration":"-0.500s","optionalFieldMask":"a.bC,d"}"#,
        r#"{"oneofNullValue":null}"#,
        r#"{"oneofNestedMessage":{}}"#,
        r#"{"oneofUint32":0}"#,
        r#"{"optionalAny":{"@type":"type.googleapis.com/google.protobuf.Value","value":null}}"#,
        r#"{"optionalAny":{"@type":"x/google.protobuf.Any","value":{"@type":"y/google.protobuf.Empty"}}}"#,
        r#"{"repeatedAny":[{},{"@type":"x/google.rpc.ErrorInfo","metadata":{"a":"b"}}]}"#,
    ] {
        let message = read(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        assert_eq!(written(&message).unwrap(), text);
        assert_eq!(All::decode(message.encode_to_vec().as_slice()), Ok(message));
    }
}

#[test]
fn a_type_may_come_last_and_numbers_inside_stay_exact() {
    let name = "type.googleapis.com/protobuf_test_messages.proto3.TestAllTypesProto3";
    let text = format!(
        r#"{{"optionalAny":{{"optionalUint64":18446744073709551615,"mapInt32Int32":{{"1":2}},"@type":"{name}"}}}}"#
    );
    let expected = format!(
        r#"{{"optionalAny":{{"@type":"{name}","optionalUint64":"18446744073709551615","mapInt32Int32":{{"1":2}}}}}}"#
    );
    assert_eq!(written(&read(&text).unwrap()).unwrap(), expected);
}

#[test]
fn what_is_wrong_is_named_by_its_path_and_never_repeated() {
    for (text, field, description) in [
        (
            r#"{"recursiveMessage":{"repeatedForeignMessage":[{},{"c":"s3cr3t"}]}}"#,
            "recursiveMessage.repeatedForeignMessage[1].c",
            "`recursiveMessage.repeatedForeignMessage[1].c` must be a 32-bit integer",
        ),
        (
            r#"{"map_string_foreign_message":{"s3cr3t":{"c":true}}}"#,
            "mapStringForeignMessage[*].c",
            "`mapStringForeignMessage[*].c` must be a 32-bit integer",
        ),
        (
            r#"{"mapInt32Int32":{"s3cr3t":1}}"#,
            "mapInt32Int32",
            "`mapInt32Int32` must have keys that are a 32-bit integer",
        ),
        (
            r#"{"mapStringString":{"a":"1","a":"2"}}"#,
            "mapStringString",
            "`mapStringString` must have each key once",
        ),
        (
            r#"{"mapStringString":{"a":null}}"#,
            "mapStringString[*]",
            "`mapStringString[*]` must be a string",
        ),
        (
            r#"{"oneofUint32":1,"oneofString":"s3cr3t"}"#,
            "oneofString",
            "`oneofString` must not be given beside another member of its oneof",
        ),
        (
            r#"{"optionalNestedMessage":[]}"#,
            "optionalNestedMessage",
            "`optionalNestedMessage` must be an object",
        ),
        (
            r#"{"recursiveMessage":{"optional_int32":1,"optionalInt32":1}}"#,
            "recursiveMessage.optionalInt32",
            "`recursiveMessage.optionalInt32` must be given once",
        ),
        (
            r#"{"optionalAny":{"@type":"s3cr3t/none.Such"}}"#,
            "optionalAny",
            "`optionalAny` must have an `@type` that is known here",
        ),
        (
            r#"{"optionalAny":{"optionalInt32":1}}"#,
            "optionalAny",
            "`optionalAny` must have one `@type` that is a string",
        ),
        (
            r#"{"optionalAny":{"@type":"x/google.protobuf.Duration"}}"#,
            "optionalAny",
            "`optionalAny` must have a `value`",
        ),
        (
            r#"{"optionalAny":{"@type":"x/google.rpc.BadRequest","fieldViolations":[{"field":1}]}}"#,
            "optionalAny.fieldViolations[0].field",
            "`optionalAny.fieldViolations[0].field` must be a string",
        ),
        (
            r#"{"optionalAny":{"@type":"x/google.protobuf.Int32Value","value":"s3cr3t"}}"#,
            "optionalAny.value",
            "`optionalAny.value` must be a 32-bit integer",
        ),
        (
            r#"{"optionalFieldMask":"a_b"}"#,
            "optionalFieldMask",
            "`optionalFieldMask` must be a string of field names in lowerCamel joined by commas",
        ),
    ] {
        refused(read(text), field, description);
    }
}

#[test]
fn unknown_names_are_ignored_or_refused_each_as_asked() {
    let read = |text: &str, options: &JsonOptions| json::decode::<All>(text.as_bytes(), options);
    let plain = JsonOptions::default();
    let strict = JsonOptions::default().refuse_unknown_members();
    let lenient = JsonOptions::default().ignore_unknown_enum_names();

    let member = r#"{"recursiveMessage":{"s3cr3t":{"a":[1e999]}}}"#;
    assert!(read(member, &plain).is_ok() && read(member, &lenient).is_ok());
    refused(
        read(member, &strict),
        "recursiveMessage",
        "`recursiveMessage` must have no unknown members",
    );
    refused(
        read(r#"{"s3cr3t":1}"#, &strict),
        "",
        "The body must have no unknown members",
    );

    let name = r#"{"optionalNestedEnum":"s3cr3t","repeatedNestedEnum":["FOO","s3cr3t","BAR"],
        "mapStringNestedEnum":{"a":"s3cr3t","b":"BAZ"},"oneofEnum":"s3cr3t"}"#;
    assert!(read(name, &plain).is_err() && read(name, &strict).is_err());
    let message = read(name, &lenient).unwrap();
    assert_eq!(message.repeated_nested_enum, [0, 1]);
    assert_eq!(message.map_string_nested_enum.len(), 1);
    assert_eq!(message.oneof_field, None);
}

#[test]
fn null_is_unset_except_where_it_is_a_value() {
    let text = r#"{"optionalInt32":null,"optionalNestedMessage":null,"repeatedInt32":null,
        "mapInt32Int32":null,"optionalBoolWrapper":null,"optionalAny":null,
        "oneofUint32":null,"oneofString":"a","oneofBytes":null}"#;
    let expected = All {
        oneof_field: Some(OneofField::OneofString("a".into())),
        ..All::default()
    };
    assert_eq!(read(text), Ok(expected));
    let value = read(r#"{"optionalValue":null}"#).unwrap().optional_value;
    assert!(value.is_some());
    assert!(read(r#"{"repeatedInt32":[null]}"#).is_err());
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
    refused(
        queried(&[("optionalInt32", "1"), ("optional_int32", "1")]),
        "optionalInt32",
        "`optionalInt32` must be given once",
    );
    refused(
        queried(&[("optionalNestedMessage.a", "s3cr3t")]),
        "optionalNestedMessage.a",
        "`optionalNestedMessage.a` must be a 32-bit integer",
    );
    refused(
        queried(&[("repeatedInt32", "1"), ("repeatedInt32", "s3cr3t")]),
        "repeatedInt32",
        "`repeatedInt32` must be a 32-bit integer",
    );
    refused(
        queried(&[("oneofUint32", "1"), ("oneofString", "s3cr3t")]),
        "oneofString",
        "`oneofString` must not be given beside another member of its oneof",
    );
    refused(
        queried(&[("optionalNestedMessage", "s3cr3t")]),
        "optionalNestedMessage",
        "`optionalNestedMessage` must be an object",
    );
    refused(
        queried(&[("optionalNestedEnum", "s3cr3t")]),
        "optionalNestedEnum",
        "`optionalNestedEnum` must be one of NEG, BAR, BAZ",
    );
    refused(
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
    refused(
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
    refused(
        decode("optionalNestedMessage", r#"{"a":"s3cr3t"}"#),
        "optionalNestedMessage.a",
        "`optionalNestedMessage.a` must be a 32-bit integer",
    );
    refused(
        decode("optionalString", "\"a\" s3cr3t"),
        "",
        "Malformed JSON at line 1 column 5",
    );
    refused(
        decode("optionalString", ""),
        "",
        "Malformed JSON at line 1 column 0",
    );

    let written = |name: &str| {
        let text = json::encode_member(&message, member(name), &JsonOptions::default());
        String::from_utf8(text.unwrap()).unwrap()
    };
    assert_eq!(written("optionalNestedMessage"), r#"{"a":1}"#);
    assert_eq!(written("repeatedInt32"), "[1,2]");
    assert_eq!(written("mapInt32Int32"), "{}");
    assert_eq!(written("optionalInt64"), "\"0\"");
    assert_eq!(written("optionalTimestamp"), "null");
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
        let paths = json::body_paths(All::INFO, body.as_bytes());
        assert_eq!(paths.join(","), expected, "{body}");
    }
}

/// `depth` times what is around a thing, and the thing.
fn nested(open: &str, thing: &str, close: &str, depth: usize) -> String {
    format!("{}{thing}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn what_is_nested_too_deeply_is_refused_and_overflows_nothing() {
    let url = "x/protobuf_test_messages.proto3.TestAllTypesProto3";
    let any = format!(r#"{{"@type":"{url}","optionalAny":"#);
    let value = r#"{"@type":"x/google.protobuf.Any","value":"#;
    let mixed = format!(
        r#"{{"@type":"{url}",{}"optionalAny":"#,
        r#""recursiveMessage":{"#.repeat(6)
    );
    let cases = [
        (mixed, "{}", "}}}}}}}"),
        (r#"{"recursiveMessage":"#.to_owned(), "{}", "}"),
        (
            r#"{"optionalNestedMessage":{"corecursive":"#.to_owned(),
            "{}",
            "}}",
        ),
        (any, "{}", "}"),
        (value.to_owned(), "{}", "}"),
        ("{\"a\":".to_owned(), "1", "}"),
        ("[".to_owned(), "", "]"),
    ];
    for (open, thing, close) in cases {
        let depth = match open.contains("@type") {
            true => 16,
            false => 120 / close.len(),
        };
        let outer = |inner: String| match open.as_str() {
            "[" => format!(r#"{{"optionalValue":{inner}}}"#),
            "{\"a\":" => format!(r#"{{"optionalStruct":{inner}}}"#),
            any if any.contains("@type") => format!(r#"{{"optionalAny":{inner}}}"#),
            _ => inner,
        };
        let deep = outer(nested(&open, thing, close, depth - 1));
        let message = read(&deep).unwrap_or_else(|fault| panic!("{open} {fault:?}"));
        assert_eq!(written(&message), Ok(deep), "{open}");
        for deeper in [130, 100_000] {
            let deeper = outer(nested(&open, thing, close, deeper));
            assert!(read(&deeper).is_err(), "{open}");
        }
    }
}

#[test]
fn a_message_that_is_too_deep_is_not_written() {
    // Its own drop recurses too, which needs a stack.
    let deep = thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let mut message = All::default();
        for _ in 0..10_000 {
            message = All {
                recursive_message: Some(Box::new(message)),
                ..All::default()
            };
        }
        written(&message)
    });
    let error = deep.unwrap().join().unwrap().unwrap_err();
    assert_eq!(error, "the message is nested too deeply for JSON");
}
