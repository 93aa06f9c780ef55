//! Tests of valid `google.api.http` rules, and of those that fail the build: with the file, the
//! line of the annotation, the method and the reason.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod common;

use common::{HEAD, compile, rejected};

/// Returns a service whose one method has this annotation, on its own line.
fn service(rule: &str) -> String {
    format!(
        r#"message Inner {{ string text = 1; Inner inner = 2; repeated string list = 3; }}
        enum Color {{ NONE = 0; }}
        message Ask {{
          string a = 1;
          optional string b = 2;
          repeated string list = 3;
          map<string, string> map = 4;
          Inner inner = 5;
          repeated Inner inners = 6;
          double double = 7;
          bytes bytes = 8;
          Color color = 9;
          google.protobuf.Timestamp at = 10;
          google.protobuf.Duration duration = 11;
          google.protobuf.FieldMask mask = 12;
          google.protobuf.StringValue wrapped = 13;
          google.protobuf.Struct struct = 14;
          google.protobuf.Any any = 15;
          oneof choice {{ string one = 16; string other = 17; Inner chosen = 18; }}
        }}
        message Answer {{ string a = 1; repeated Inner inners = 2; }}
        service Probe {{
          rpc Do(Ask) returns (Answer) {{
            option (google.api.http) = {{ {rule} }};
          }}
        }}"#
    )
}

#[track_caller]
fn written(rule: &str) -> String {
    compile(&service(rule)).unwrap_or_else(|error| panic!("{rule}: {error}"))
}

#[track_caller]
fn rejected_rule(rule: &str, reason: &str) {
    let text = service(rule);
    let error = compile(&text).unwrap_err().to_string();
    let before = text.split("option (google.api.http)").next().unwrap();
    let line = before.lines().count() + HEAD.lines().count();
    let place = format!("probe.proto:{line}: probe.v1.Probe.Do: ");
    assert!(error.starts_with(&place), "{rule}: {error}, not {place}");
    assert!(error.contains(reason), "{rule}: {error}");
}

#[test]
fn every_form_of_rule_is_taken() {
    for rule in [
        r#"get: "/a""#,
        r#"put: "/a" body: "*""#,
        r#"post: "/a" body: "inner""#,
        r#"patch: "/{inner.text=a/*}" body: "inner""#,
        r#"delete: "/a""#,
        // http.proto does not forbid it; grpc-gateway requires an option, Envoy does not.
        r#"delete: "/a" body: "*""#,
        r#"custom: { kind: "REPORT" path: "/a" } body: "*""#,
        r#"custom: { kind: "*" path: "/a" } body: "*""#,
        r#"custom: { kind: "OPTIONS" path: "/a" }"#,
        r#"custom: { kind: "x-own.method" path: "/a" }"#,
        r#"post: "/a" body: "list""#,
        r#"post: "/a" body: "map""#,
        r#"post: "/a" body: "struct""#,
        r#"post: "/a" body: "chosen""#,
        r#"get: "/a" response_body: "inners""#,
        r#"get: "/a:b" additional_bindings { get: "/a" } additional_bindings { post: "/a" body: "a" }"#,
        r#"get: "/{a=x/*}/{inner.text=**}:verb""#,
        r#"get: "/*/**""#,
        // Every type that can be one text.
        r#"get: "/{b}/{double}/{bytes}/{color}/{at}/{duration}/{mask}/{wrapped}/{one}""#,
        r#"get: "/{inner.inner.inner.text}""#,
        r#"get: "/{chosen.text}/{chosen.inner.text}""#,
    ] {
        assert!(
            written(rule).contains("pub static PROBE_DO_ROUTES"),
            "{rule}"
        );
    }
}

#[test]
fn declared_rules_are_the_written_ones() {
    let text = written(
        r#"post: "/v1/{inner.text=a%20b/*/**}:go" body: "list" response_body: "inners"
           additional_bindings { custom: { kind: "*" path: "/{a}" } body: "*" }"#,
    );
    for expected in [
        r#"http_method: "POST""#,
        r#"template: "/v1/{inner.text=a%20b/*/**}:go""#,
        r#"segments: &[::keyward_gateway::Segment::Literal("v1"), ::keyward_gateway::Segment::Literal("a b"), ::keyward_gateway::Segment::Wildcard, ::keyward_gateway::Segment::CatchAll]"#,
        r#"verb: ::core::option::Option::Some("go")"#,
        "Variable { path: &[4, 0], first: 1, count: ::keyward_gateway::Variable::OPEN }",
        "body: ::keyward_gateway::BodyBinding::Member(2)",
        "response_body: ::core::option::Option::Some(1)",
        r#"http_method: "*""#,
        "Variable { path: &[0], first: 0, count: 1 }",
        "body: ::keyward_gateway::BodyBinding::All",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
}

#[test]
fn impossible_patterns() {
    rejected_rule(r#"body: "*""#, "google.api.http has no path");
    rejected_rule(r#"get: """#, "google.api.http has no path");
    rejected_rule(r#"get: "a""#, "a: a path must begin with /");
    rejected_rule(r#"get: "/a/""#, "/a/: the path has an empty segment");
    rejected_rule(r#"get: "/**/a""#, "** must be the last segment");
    rejected_rule(r#"get: "/{a={b}}""#, "a variable inside a variable");
    rejected_rule(r#"get: "/a" selector: "x""#, "a selector has no place");
    rejected_rule(r#"custom: { kind: "" path: "/a" }"#, "custom has no kind");
    rejected_rule(r#"custom: { kind: "X" }"#, "custom has no path");
    rejected_rule(
        r#"custom: { kind: "A B" path: "/a" }"#,
        "not an HTTP method",
    );
    rejected_rule(
        r#"custom: { kind: "CONNECT" path: "/a" }"#,
        "CONNECT has no path",
    );
    rejected_rule(
        r#"get: "/a" additional_bindings { get: "/b" additional_bindings { get: "/c" } }"#,
        "additional_bindings inside additional_bindings",
    );
    rejected_rule(
        r#"get: "/a" additional_bindings {}"#,
        "google.api.http has no path",
    );
}

#[test]
fn impossible_variables() {
    for (template, reason) in [
        ("/{nothing}", "/{nothing}: the request has no field nothing"),
        ("/{inner.nothing}", "the request has no field inner.nothing"),
        ("/{a.b}", "the field a has no fields"),
        ("/{at.seconds}", "the field at has no fields"),
        ("/{list}", "the field list is repeated"),
        ("/{inner.list}", "the field inner.list is repeated"),
        ("/{inners.text}", "the field inners is repeated"),
        ("/{map}", "the field map is a map"),
        ("/{map.key}", "the field map is a map"),
        ("/{inner}", "the field inner is a message"),
        ("/{struct}", "the field struct is a message"),
        ("/{any}", "the field any is a message"),
        ("/{a}/{a}", "the field a is there twice"),
        (
            "/{inner.text}/{inner.text=x}",
            "the field inner.text is there twice",
        ),
        (
            "/{one}/{other}",
            "the field other is in a oneof that another variable sets",
        ),
        (
            "/{one}/{chosen.text}",
            "the field chosen.text is in a oneof",
        ),
    ] {
        rejected_rule(&format!(r#"get: "{template}""#), reason);
    }
}

#[test]
fn impossible_bodies() {
    rejected_rule(r#"get: "/a" body: "*""#, "GET has no body");
    rejected_rule(r#"get: "/a" body: "a""#, "GET has no body");
    rejected_rule(
        r#"custom: { kind: "HEAD" path: "/a" } body: "*""#,
        "HEAD has no body",
    );
    rejected_rule(
        r#"post: "/a" body: "nothing""#,
        "body: the request has no field nothing",
    );
    rejected_rule(
        r#"post: "/a" body: "inner.text""#,
        "body must be a field of the request itself",
    );
    rejected_rule(
        r#"post: "/{a}" body: "a""#,
        "the field a is the body already",
    );
    rejected_rule(
        r#"get: "/a" response_body: "nothing""#,
        "response_body: the response has no field nothing",
    );
    rejected_rule(
        r#"get: "/a" response_body: "*""#,
        "the response has no field *",
    );
}

#[test]
fn streams() {
    let streaming = |takes: &str, gives: &str| {
        format!(
            r#"message Ask {{}}
            service Probe {{ rpc Do({takes} Ask) returns ({gives} Ask) {{
                option (google.api.http) = {{ post: "/a" body: "*" }}; }} }}"#
        )
    };
    let text = compile(&streaming("", "stream")).unwrap();
    assert!(text.contains("::keyward_gateway::Route::server_streaming("));
    let nothing = streaming("", "stream").replace(
        "option (google",
        "option (keyward.gateway.v1.method) = { success_status: 204 }; option (google",
    );
    rejected(&nothing, "a stream cannot answer with 204");
    let reason = "a method that takes a stream has no form in REST";
    rejected(&streaming("stream", ""), reason);
    rejected(&streaming("stream", "stream"), reason);
}

#[test]
fn ambiguous_routes_are_rejected() {
    for (one, other) in [
        ("/keys/{a}", "/keys/{a=*}"),
        ("/keys/{a}", "/keys/{b}"),
        ("/keys/{a}", "/keys/*"),
        ("/keys/{a=x/*}", "/keys/x/{a}"),
        ("/keys/{a=**}", "/keys/**"),
        ("/keys/{a}:v", "/keys/{b}:v"),
        ("/a%20b", "/%61%20b"),
    ] {
        let rule = format!(r#"get: "{one}" additional_bindings {{ get: "{other}" }}"#);
        let reason =
            format!("the route GET {other} matches the same requests as probe.v1.Probe.Do's");
        rejected_rule(&rule, &reason);
    }
    for (one, other) in [
        ("/keys/{a}", "/keys/{a}:v"),
        ("/keys/{a}:v", "/keys/{a}:w"),
        ("/keys/{a}", "/keys/x"),
        ("/keys/{a}", "/keys/{a=**}"),
        ("/keys/{a}", "/Keys/{a}"),
    ] {
        written(&format!(
            r#"get: "{one}" additional_bindings {{ get: "{other}" }}"#
        ));
    }
    // A route for one method and a route for all of them are distinct.
    written(r#"get: "/a" additional_bindings { custom: { kind: "*" path: "/a" } }"#);
    rejected_rule(
        r#"get: "/a" additional_bindings { custom: { kind: "GET" path: "/a" } }"#,
        "the route GET /a matches the same requests",
    );
    let two = r#"message Ask { string a = 1; string b = 2; }
        service One { rpc Do(Ask) returns (Ask) {
            option (google.api.http) = { get: "/keys/{a}" }; } }
        service Two { rpc Do(Ask) returns (Ask) {
            option (google.api.http) = { get: "/keys/{b}" }; } }"#;
    rejected(
        two,
        "probe.v1.Two.Do: the route GET /keys/{b} matches the same requests as probe.v1.One.Do's",
    );
}
