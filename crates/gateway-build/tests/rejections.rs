//! Declarations that fail the build, each with the file and the reason.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use keyward_gateway_build::Builder;

mod common;

use common::{ANSWER, HEAD, compile, rejected, service};

/// Expects the build to fail; `line` counts after the file's header.
#[track_caller]
fn rejected_at(text: &str, line: usize, reason: &str) {
    let error = compile(text).unwrap_err().to_string();
    let expected = format!("probe.proto:{}: probe.v1.", HEAD.lines().count() + line);
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains(reason), "{error}");
}

#[test]
fn a_rejection_has_the_line_of_what_it_rejects() {
    let service = r#"message Ask {
  string b = 1 [json_name = "c"];
  int32 a = 2 [
    deprecated = true,
    (keyward.gateway.v1.field) = {not_empty: "x"}
  ];
  string d = 3;
}
enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_A = 1 [(keyward.gateway.v1.enum_value) = {name: "KIND_B"}];
  KIND_B = 2;
}
service Probe {
  option (keyward.gateway.v1.service) = {error_body: "{"};
  rpc Do(Ask) returns (Ask) {
    option deprecated = true;
    option (keyward.gateway.v1.method) = {success_status: 404};
    option (google.api.http) = {get: "/a"};
  }
  rpc Again(Ask) returns (Ask) {
    option (google.api.http) = {
      get: "/a"
    };
  }
}
"#;
    let without = |parts: &[&str]| {
        let emptied = |text: String, part: &&str| text.replace(*part, "");
        parts.iter().fold(service.to_owned(), emptied)
    };
    let field = r#"(keyward.gateway.v1.field) = {not_empty: "x"}"#;
    let fixed = without(&["deprecated = true,"]).replace(field, "deprecated = true");
    rejected_at(service, 5, "not_empty does not fit");
    rejected_at(&fixed, 12, "KIND_B is the JSON name of two values");
    let fixed = fixed.replace(r#"{name: "KIND_B"}"#, r#"{name: "a"}"#);
    rejected_at(&fixed, 18, "success_status must not be 404");
    let fixed = fixed.replace("404", "201");
    rejected_at(&fixed, 15, "error_body is not JSON");
    let fixed = fixed.replace(r#"error_body: "{""#, "");
    rejected_at(
        &fixed,
        22,
        "matches the same requests as probe.v1.Probe.Do's",
    );
    let fixed = fixed.replace("get: \"/a\"\n", "get: \"/b\"\n");
    compile(&fixed).unwrap();
    let clash = fixed.replace("string d = 3;", r#"string d = 3 [json_name = "b"];"#);
    rejected_at(&clash, 7, "b is the JSON name of b and d");
}

/// Checks that an error begins with its position, `file:line`, in both forms in which Rust prints
/// errors.
#[track_caller]
fn placed_at(text: &str, line: usize, reason: &str) {
    let error = compile(text).unwrap_err();
    let place = format!("probe.proto:{}:", HEAD.lines().count() + line);
    for printed in [format!("{error}"), format!("{error:?}")] {
        assert!(printed.starts_with(&place), "{printed}");
        assert!(printed.contains(reason), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
}

#[test]
fn build_error_has_file_line_and_reason() {
    placed_at("message A {\n  Nothing a = 1;\n}", 2, "Nothing");
    placed_at("message A {\n  string a 1;\n}", 2, "expected");
    placed_at("message A {\n  string a = 1;\n  string b = 1;\n}", 3, "1");
    placed_at("message A {}\n\nmessage A {}", 3, "A");
    placed_at("\nimport \"nowhere.proto\";", 2, "nowhere.proto");
    placed_at(
        "message A {\n  string a = 1 [(nothing) = 1];\n}",
        2,
        "nothing",
    );
    placed_at(
        "message A {\n  string a = 1;\n  string b = 2 [(keyward.gateway.v1.field) = {not_empty: 1}];\n}",
        3,
        "keyward.gateway.v1.field",
    );
    placed_at(
        "service A {\n  rpc B(stream C) returns (C) {\n    option (google.api.http) = {get: \"/b\"};\n  }\n}\n\
         message C {}",
        3,
        "a method that takes a stream has no form in REST",
    );
}

#[test]
fn build_error_prints_its_causes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("a.proto"),
        "syntax = \"proto3\";\npackage a;",
    )
    .unwrap();
    let file = dir.path().join("a.proto");
    let error = Builder::new()
        .include(dir.path())
        .file("a.proto")
        .out_dir(&file)
        .compile()
        .unwrap_err();
    let printed = format!("{error:?}");
    assert!(printed.contains("cannot be written: "), "{printed}");
    assert!(printed.contains("directory"), "{printed}");
}

#[test]
fn two_items_that_would_have_one_name_in_rust() {
    let rpc = |name: &str, http: &str| format!("rpc {name}(Answer) returns (Answer) {{ {http} }}");
    let get = |path: &str| format!("option (google.api.http) = {{get: \"{path}\"}};");
    let user = format!("service User {{\n{}\n}}\n", rpc("KeyGet", ""));
    rejected_at(
        &format!("{ANSWER}{user}service UserKey {{\n{}\n}}", rpc("Get", "")),
        6,
        "UserKey.Get: static USER_KEY_GET would be the name of probe.v1.User.KeyGet too",
    );
    for (name, item) in [("Types", "static TYPES"), ("Methods", "static METHODS")] {
        rejected_at(
            &format!("{ANSWER}service {name} {{}}"),
            2,
            &format!("{item} would be the name of a list of all that the package has too"),
        );
    }
    let routes = format!(
        "{ANSWER}service A {{\n{}\n{}\n}}",
        rpc("B", &get("/b")),
        rpc("BRoutes", "")
    );
    rejected_at(
        &routes,
        4,
        "A.BRoutes: static A_B_ROUTES would be the name of probe.v1.A.B too",
    );
    rejected_at(
        &format!("{ANSWER}message ValidatedUser {{}}\n{user}"),
        3,
        "struct ValidatedUser would be the name of probe.v1.ValidatedUser too",
    );
    compile(&format!("{ANSWER}{user}")).unwrap();
    compile(&routes.replace(&get("/b"), "")).unwrap();
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
fn file_service_and_method_options_that_do_not_fit() {
    let plain = service("", "string a = 1;");
    let digits = format!("option (keyward.gateway.v1.file) = {{ timestamp_digits: 4 }};{plain}");
    rejected(&digits, "timestamp_digits must not be 4");

    let method = |option: &str| {
        service(
            &format!("option (keyward.gateway.v1.method) = {{ {option} }};"),
            "string a = 1;",
        )
    };
    rejected(
        &method("success_status: 404"),
        "success_status must not be 404",
    );
    rejected(
        &method("errors: [{ status: 400 }]"),
        "needs the code of an error",
    );
    rejected(
        &method("errors: [{ code: NOT_A_CODE }]"),
        "(keyward.gateway.v1.method)",
    );
    rejected(
        &method("errors: [{ code: INTERNAL status: 200 }]"),
        "must not be 200",
    );
    rejected(
        &method("errors: [{ code: INTERNAL status: 500 }, { code: INTERNAL status: 503 }]"),
        "two error rules for the same code (Internal)",
    );
    rejected(
        &method("errors: [{ code: INTERNAL body: '{$message' }]"),
        "body is not JSON",
    );
    let template = format!(
        "{ANSWER}service Probe {{
            option (keyward.gateway.v1.service) = {{ error_body: '{{\"m\":\"$message\"}}' }};
            rpc Do(Answer) returns (Answer); }}"
    );
    rejected(&template, "error_body is not JSON");
}

#[test]
fn a_file_that_does_not_compile_or_is_not_there() {
    rejected("message A { Nothing a = 1; }", "Nothing");
    let error = Builder::new()
        .include(".")
        .file("none.proto")
        .out_dir(".")
        .compile()
        .unwrap_err();
    assert!(error.to_string().starts_with("none.proto: "), "{error}");
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
