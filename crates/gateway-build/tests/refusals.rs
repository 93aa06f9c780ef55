//! Declarations that fail the build, each with the file and the reason.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs;

use keyward_gateway_build::{Builder, Error};

const HEAD: &str = r#"
syntax = "proto3";
package probe.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/descriptor.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/any.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";
import "keyward/gateway/v1/options.proto";
"#;

const ANSWER: &str = "message Answer {}\n";

/// Compiles one proto file and returns what was written.
fn compile(text: &str) -> Result<String, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.proto"), format!("{HEAD}{text}")).unwrap();
    Builder::new()
        .include(dir.path())
        // Cargo runs a test in its package's folder; a path baked in would outlive the checkout.
        .include("../../proto")
        .file("probe.proto")
        .out_dir(dir.path())
        .error_domain("probe")
        .compile()?;
    assert!(!dir.path().join("google.api.rs").exists());
    assert!(!dir.path().join("keyward.gateway.v1.rs").exists());
    Ok(fs::read_to_string(dir.path().join("probe.v1.rs")).unwrap())
}

/// A service of one method, whose body, request fields and service options are given.
fn service(http: &str, fields: &str) -> String {
    format!(
        "{ANSWER}message Ask {{ {fields} }}
         service Probe {{ rpc Do(Ask) returns (Answer) {{ {http} }} }}"
    )
}

#[track_caller]
fn refused(text: &str, reason: &str) {
    let error = compile(text).unwrap_err().to_string();
    assert!(error.starts_with("probe.proto:"), "{error}");
    assert!(error.contains(reason), "{error}");
}

#[track_caller]
fn refused_http(rule: &str, reason: &str) {
    let http = format!("option (google.api.http) = {{ {rule} }};");
    refused(
        &service(&http, "string a = 1; repeated string b = 2; double c = 3;"),
        reason,
    );
}

#[track_caller]
fn refused_field(fields: &str, reason: &str) {
    refused(
        &service(r#"option (google.api.http) = { get: "/a" };"#, fields),
        reason,
    );
}

#[test]
fn what_google_api_http_cannot_have_yet() {
    refused_http(r#"get: "/a/*""#, "/a/*: wildcards are not supported yet");
    refused_http(
        r#"get: "/{a=**}""#,
        "patterns of variables are not supported yet",
    );
    refused_http(
        r#"get: "/{a.b}""#,
        "fields of fields in paths are not supported yet",
    );
    refused_http(
        r#"post: "/{a}:rotate" body: "*""#,
        "verbs in paths are not supported yet",
    );
    refused_http(
        r#"post: "/a" body: "a""#,
        "a body that is one field is not supported yet",
    );
    refused_http(
        r#"get: "/a" response_body: "x""#,
        "response_body is not supported yet",
    );
    refused_http(
        r#"custom: { kind: "HEAD" path: "/a" }"#,
        "custom HTTP methods",
    );
}

#[test]
fn what_google_api_http_must_not_have() {
    refused_http(r#"body: "*""#, "google.api.http has no path");
    refused_http(r#"get: "a""#, "must begin with /");
    refused_http(r#"get: "/a/""#, "empty segment");
    refused_http(r#"get: "/{nothing}""#, "the request has no field nothing");
    refused_http(r#"get: "/{b}""#, "the field b does not fit a path");
    refused_http(r#"get: "/{c}""#, "the field c does not fit a path");
    refused_http(r#"get: "/{a}/{a}""#, "the field a is there twice");
    refused_http(r#"get: "/a" body: "*""#, "GET has no body");
    refused_http(r#"get: "/a" selector: "x""#, "selector");
    refused_http(
        r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#,
        "additional_bindings inside additional_bindings",
    );
}

#[test]
fn routes_that_cannot_be_told_apart() {
    refused_http(
        r#"get: "/keys/{a}" additional_bindings { get: "/keys/{a=*}" }"#,
        "the route GET /keys/{a=*} cannot be told apart from probe.v1.Probe.Do's",
    );
    let two = format!(
        r#"{ANSWER}message Ask {{ string a = 1; string b = 2; }}
        service One {{ rpc Do(Ask) returns (Answer) {{
            option (google.api.http) = {{ get: "/keys/{{a}}" }}; }} }}
        service Two {{ rpc Do(Ask) returns (Answer) {{
            option (google.api.http) = {{ get: "/keys/{{b}}" }}; }} }}"#
    );
    refused(&two, "cannot be told apart from probe.v1.One.Do's");
}

#[test]
fn what_json_cannot_have() {
    let streaming = format!(
        r#"{ANSWER}service Probe {{ rpc Do(Answer) returns (stream Answer) {{
            option (google.api.http) = {{ get: "/a" }}; }} }}"#
    );
    refused(&streaming, "streaming methods are not supported yet");
    refused_field(
        "google.protobuf.FileOptions a = 1;",
        "google.protobuf.FileOptions describes proto files and has no JSON form here",
    );
}

#[test]
fn without_a_route_all_of_it_is_allowed() {
    let text = compile(&service(
        "",
        "map<string, string> a = 1; oneof o { string b = 2; string c = 3; }
         google.protobuf.Duration d = 4; Ask e = 5;",
    ));
    let text = text.unwrap();
    assert!(text.contains("pub static PROBE_DO: ::keyward_gateway::MethodSpec"));
    assert!(!text.contains("JsonMessage") && !text.contains("probe_routes"));
}

#[test]
fn field_options_that_do_not_fit() {
    let field = |declared: &str, option: &str| {
        format!("{declared} a = 1 [(keyward.gateway.v1.field) = {{ {option} }}];")
    };
    let presence = "null_when_unset needs a field that can be unset";
    refused_field(&field("string", "null_when_unset: true"), presence);
    refused_field(&field("repeated string", "null_when_unset: true"), presence);
    let integer = "decimal_places needs an integer";
    refused_field(&field("string", "decimal_places: 9"), integer);
    refused_field(&field("double", "decimal_places: 9"), integer);
    refused_field(
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
        refused_field(&field(declared, "utc_only: true"), timestamp);
    }
    let empty = "not_empty does not fit a number or a bool";
    refused_field(&field("int32", r#"not_empty: "x""#), empty);
    refused_field(&field("bool", r#"not_empty: "x""#), empty);
    refused_field(
        r#"string a = 1 [json_name = "b"]; string b = 2 [json_name = "c"];"#,
        "b is the JSON name of a and b",
    );
}

#[test]
fn file_service_and_method_options_that_do_not_fit() {
    let plain = service("", "string a = 1;");
    let digits = format!("option (keyward.gateway.v1.file) = {{ timestamp_digits: 4 }};{plain}");
    refused(&digits, "timestamp_digits must not be 4");

    let method = |option: &str| {
        service(
            &format!("option (keyward.gateway.v1.method) = {{ {option} }};"),
            "string a = 1;",
        )
    };
    refused(
        &method("success_status: 404"),
        "success_status must not be 404",
    );
    refused(
        &method("errors: [{ status: 400 }]"),
        "needs the code of an error",
    );
    refused(
        &method("errors: [{ code: NOT_A_CODE }]"),
        "(keyward.gateway.v1.method)",
    );
    refused(
        &method("errors: [{ code: INTERNAL status: 200 }]"),
        "must not be 200",
    );
    refused(
        &method("errors: [{ code: INTERNAL status: 500 }, { code: INTERNAL status: 503 }]"),
        "two error rules for the same code (Internal)",
    );
    refused(
        &method("errors: [{ code: INTERNAL body: '{$message' }]"),
        "body is not JSON",
    );
    let template = format!(
        "{ANSWER}service Probe {{
            option (keyward.gateway.v1.service) = {{ error_body: '{{\"m\":\"$message\"}}' }};
            rpc Do(Answer) returns (Answer); }}"
    );
    refused(&template, "error_body is not JSON");
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
    refused(&text, "KIND_B is the JSON name of two values");
}

#[test]
fn a_file_that_does_not_compile_or_is_not_there() {
    refused("message A { Nothing a = 1; }", "Nothing");
    let error = Builder::new()
        .include(".")
        .file("none.proto")
        .out_dir(".")
        .compile()
        .unwrap_err();
    assert!(error.to_string().starts_with("none.proto: "), "{error}");
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
    assert!(text.contains("json::take_present::<json::Utc<0>, A>(&mut self.a"));
    assert!(text.contains("json::take::<json::List<json::Utc<0>>, A>(&mut self.b"));
    assert!(text.contains("json::take_present::<json::Timestamp<0>, A>(&mut self.c"));
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
    assert!(text.contains("take_present::<json::UpdatePaths, A>(&mut self.update_mask"));
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
fn a_redacted_field_takes_the_derived_debug_away() {
    let text = compile(&service(
        "",
        "string a = 1 [debug_redact = true]; string type = 2; message Inner { string b = 1; }",
    ));
    let text = text.unwrap();
    assert!(text.contains(r#".field("a", &::core::format_args!("[redacted]"))"#));
    assert!(text.contains(r#".field("type", &self.r#type)"#));
    assert!(text.contains("impl ::core::fmt::Debug for ask::Inner"));
}

#[test]
fn comments_become_documentation() {
    let text = compile(&format!(
        "// A question about keys.\nmessage Question {{}}\n{ANSWER}"
    ));
    assert!(text.unwrap().contains("/// A question about keys."));
}
