//! Tests beyond the runner's: the parts of a request, faults, limits, presence.

mod depth;
mod own;
mod request;

use keyward_gateway::json::{self, DecodeError, JsonOptions};
use prost::Message;

use crate::proto::protobuf_test_messages::proto3::test_all_types_proto3::OneofField;
use crate::proto::protobuf_test_messages::proto3::{TYPES, TestAllTypesProto3};

type All = TestAllTypesProto3;

fn options() -> JsonOptions {
    JsonOptions::default().with_types(TYPES).omit_defaults()
}

fn read(text: &str) -> Result<All, DecodeError> {
    json::decode(text.as_bytes(), &options())
}

fn written(message: &All) -> Result<String, String> {
    let text = json::encode(message, &options()).map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(read: Result<T, DecodeError>, field: &str, description: &str) {
    let error = read.unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.description.as_str()),
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
        let message = read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
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
fn error_names_the_path_and_omits_the_value() {
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
            r#"{"optionalFieldMask":"a_b"}"#,
            "optionalFieldMask",
            "`optionalFieldMask` must be a string of field names in lowerCamel joined by commas",
        ),
    ] {
        rejected(read(text), field, description);
    }
}

#[test]
fn error_inside_any_names_the_path() {
    for (text, field, description) in [
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
    ] {
        rejected(read(text), field, description);
    }
}

#[test]
fn unknown_names_are_ignored_or_rejected_each_as_asked() {
    let read = |text: &str, options: &JsonOptions| json::decode::<All>(text.as_bytes(), options);
    let plain = JsonOptions::default();
    let strict = JsonOptions::default().reject_unknown_members();
    let lenient = JsonOptions::default().ignore_unknown_enum_names();

    let member = r#"{"recursiveMessage":{"s3cr3t":{"a":[1e99]}}}"#;
    assert!(read(member, &plain).is_ok() && read(member, &lenient).is_ok());
    // Ignored values are still parsed.
    let odd = r#"{"recursiveMessage":{"s3cr3t":{"a":[1e999]}}}"#;
    rejected(read(odd, &plain), "", "Malformed JSON at line 1 column 41");
    rejected(
        read(member, &strict),
        "recursiveMessage.s3cr3t",
        "`recursiveMessage.s3cr3t` is not a known member",
    );
    rejected(
        read(r#"{"s3cr3t":1}"#, &strict),
        "s3cr3t",
        "`s3cr3t` is not a known member",
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
