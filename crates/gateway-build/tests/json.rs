//! Tests of the fields and messages that have a form in JSON, and of those that fail the build.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use std::fs;

use common::{ANSWER, compile, rejected, rejected_field, service};
use keyward_gateway_build::Builder;

#[test]
fn fields_without_a_json_form_are_rejected() {
    let no_form = "describes proto files and has no JSON form here";
    rejected_field("google.protobuf.FileOptions a = 1;", no_form);
    rejected_field(
        "map<string, google.protobuf.FieldDescriptorProto.Type> a = 1;",
        no_form,
    );
    rejected_field(
        r#"oneof o { string a = 1 [json_name = "b"]; } string b = 2 [json_name = "c"];"#,
        "b is the JSON name of a and b",
    );
    rejected_field(
        "oneof o { Answer a = 1 [(keyward.gateway.v1.field) = { not_empty: 'x' }]; }",
        "not_empty of a message would leave its oneof no other choice",
    );
    let method = format!(
        r#"{ANSWER}service Probe {{ rpc Do(Answer) returns (google.protobuf.FileOptions) {{
            option (google.api.http) = {{ get: "/a" }}; }} }}"#
    );
    rejected(&method, no_form);
}

#[test]
fn only_proto3_has_a_form_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let old = r#"syntax = "proto2"; package old.v1; message Old { optional int32 a = 1; }"#;
    fs::write(dir.path().join("old.proto"), old).unwrap();
    let compile = |builder: Builder| {
        builder
            .include(dir.path())
            .file("old.proto")
            .out_dir(dir.path())
            .compile()
    };
    compile(Builder::new()).unwrap();
    let error = compile(Builder::new().json_for_all_messages()).unwrap_err();
    let expected = "old.proto:1: old.v1.Old: only proto3 has a JSON form here";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn maps_oneofs_and_messages_inside_themselves_have_a_form() {
    let text = compile(&service(
        r#"option (google.api.http) = { get: "/a" };"#,
        "map<bool, Kind> a = 1; map<string, Ask> b = 2; repeated Ask c = 3; Ask d = 4;
         oneof of { Ask e = 5; google.protobuf.StringValue f = 6; sint64 type = 7; }
         enum Kind { NONE = 0; }",
    ));
    let text = text.unwrap();
    for expected in [
        "__json::read_field::<__json::Map<__json::Bool, __json::Enum<ask::Kind>>, __A>(&mut self.a,",
        "__json::read_field::<__json::Map<__json::Text, __json::Message<Ask>>, __A>(&mut self.b,",
        "__json::read_field::<__json::List<__json::Message<Ask>>, __A>(&mut self.c,",
        "__json::read_optional_field::<__json::Boxed<__json::Message<Ask>>, __A>(&mut self.d,",
        "__json::read_oneof_field::<__json::Boxed<__json::Message<Ask>>, _, __A>(",
        "ask::Of::F(value)",
        "ask::Of::Type(value)",
        "kind: __json::MemberKind::Message(__json::info::<Ask>)",
        "kind: __json::MemberKind::RepeatedMessage,",
        "::keyward_gateway::json::AnyType::message::<Ask>()",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
}

#[test]
fn a_file_without_a_package_is_compiled_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = r#"syntax = "proto3"; message Alone { Alone a = 1; message In { In b = 1; } }"#;
    fs::write(dir.path().join("alone.proto"), file).unwrap();
    Builder::new()
        .include(dir.path())
        .file("alone.proto")
        .out_dir(dir.path())
        .json_for_all_messages()
        .compile()
        .unwrap();
    let text = fs::read_to_string(dir.path().join("_.rs")).unwrap();
    assert!(text.contains("impl __json::JsonMessage for alone::In"));
}

#[test]
fn field_options_that_do_not_fit() {
    let field = |declared: &str, option: &str| {
        format!("{declared} a = 1 [(keyward.gateway.v1.field) = {{ {option} }}];")
    };
    let presence = "null_when_unset needs a field that can be unset";
    rejected_field(&field("string", "null_when_unset: true"), presence);
    rejected_field(&field("repeated string", "null_when_unset: true"), presence);
    let integer = "decimal_places needs an integer";
    rejected_field(&field("string", "decimal_places: 9"), integer);
    rejected_field(&field("double", "decimal_places: 9"), integer);
    rejected_field(
        &field("int64", "decimal_places: 19"),
        "decimal_places must be at most 18",
    );
    let timestamp = "probe.v1.Ask.a: utc_only needs a google.protobuf.Timestamp";
    for declared in [
        "string",
        "int64",
        "repeated int64",
        "google.protobuf.Duration",
        "google.protobuf.FieldMask",
        "Answer",
        "map<string, google.protobuf.Duration>",
    ] {
        rejected_field(&field(declared, "utc_only: true"), timestamp);
    }
    let empty = "not_empty does not fit a number or a bool";
    rejected_field(&field("int32", r#"not_empty: "x""#), empty);
    rejected_field(&field("bool", r#"not_empty: "x""#), empty);
    rejected_field(
        r#"string a = 1 [json_name = "b"]; string b = 2 [json_name = "c"];"#,
        "b is the JSON name of a and b",
    );
}

#[test]
fn utc_is_asked_for_where_it_is_declared() {
    let text = compile(&service(
        r#"option (google.api.http) = { get: "/a" };"#,
        "google.protobuf.Timestamp a = 1 [(keyward.gateway.v1.field) = { utc_only: true }];
         repeated google.protobuf.Timestamp b = 2 [(keyward.gateway.v1.field) = { utc_only: true }];
         google.protobuf.Timestamp c = 3 [(keyward.gateway.v1.field) = { utc_only: false }];",
    ));
    let text = text.unwrap();
    assert!(text.contains("__json::read_optional_field::<__json::Utc<0>, __A>(&mut self.a"));
    assert!(text.contains("__json::read_field::<__json::List<__json::Utc<0>>, __A>(&mut self.b"));
    assert!(text.contains("__json::read_optional_field::<__json::Timestamp<0>, __A>(&mut self.c"));
}

#[test]
fn an_update_mask_is_one_by_name_and_type() {
    let masked = |fields: &str| {
        let http = r#"option (google.api.http) = { patch: "/a" body: "*" };"#;
        compile(&service(http, fields)).unwrap()
    };
    let text = masked(
        r#"int64 limit_nanos = 3 [json_name = "limit"]; string a = 1;
           google.protobuf.FieldMask update_mask = 2;"#,
    );
    assert!(text.contains("mask: &mut self.update_mask,"));
    assert!(text.contains("member: 1,"));
    assert!(text.contains("__json::read_update_mask(&mut self.update_mask"));
    for fields in [
        "string a = 1;",
        "string update_mask = 1;",
        "repeated google.protobuf.FieldMask update_mask = 1;",
        "google.protobuf.FieldMask mask = 1;",
    ] {
        assert!(!masked(fields).contains("fn update_mask"), "{fields}");
    }
}

#[test]
fn an_enum_whose_names_collide() {
    let text = format!(
        r#"enum Kind {{ KIND_UNSPECIFIED = 0;
            KIND_A = 1 [(keyward.gateway.v1.enum_value) = {{ name: "KIND_B" }}];
            KIND_B = 2; }}
        {}"#,
        service(
            r#"option (google.api.http) = { get: "/a" };"#,
            "Kind kind = 1;"
        )
    );
    rejected(&text, "KIND_B is the JSON name of two values");
}
