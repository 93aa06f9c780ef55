//! Tests of the OpenAPI document and the page for all features of proto files, and of errors that
//! fail the build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod common;

use std::fs;
use std::path::Path;

use common::HEAD;
use keyward_gateway_build::{Builder, Error, OpenApi};
use serde_json::{Value, json};

fn settings() -> OpenApi {
    OpenApi::new("Probe", "1")
        .bearer("token", Some("JWT"), "A token.")
        .response_header("x-request-id", "Names the call.")
        .error("UNAVAILABLE", "It cannot be reached.", "Later")
}

/// Returns the output for one proto file.
fn written(text: &str, settings: OpenApi) -> Result<(Value, String), Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.proto"), format!("{HEAD}{text}")).unwrap();
    build(dir.path(), &["probe.proto"], settings)
}

fn build(dir: &Path, files: &[&str], settings: OpenApi) -> Result<(Value, String), Error> {
    let out = tempfile::tempdir().unwrap();
    Builder::new()
        .include(dir)
        .include("../../proto")
        .files(files)
        .out_dir(out.path())
        .openapi(settings)
        .compile()?;
    let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
    assert!(read("openapi.rs").contains("pub static OPENAPI"));
    let document = serde_json::from_str(&read("openapi.json")).unwrap();
    Ok((document, read("docs.html")))
}

#[track_caller]
fn document(text: &str) -> Value {
    let (document, _) = written(text, settings()).unwrap_or_else(|error| panic!("{error}"));
    valid(&document);
    document
}

#[track_caller]
fn valid(document: &Value) {
    let published = include_str!("openapi-3.1/schema.json");
    let published: Value = serde_json::from_str(published).unwrap();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://probe.test/openapi",
        "$ref": published["$id"],
        "$defs": {
            "published": published,
            "schema": {
                "$dynamicAnchor": "meta",
                "$ref": "https://json-schema.org/draft/2020-12/schema",
            },
        },
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    generators_can_read(document);
}

/// Client generators reject a `const` that is a list or an object, and an enum of several types.
#[track_caller]
fn generators_can_read(node: &Value) {
    match node {
        Value::Array(list) => list.iter().for_each(generators_can_read),
        Value::Object(members) => {
            let fixed = members.get("const");
            assert!(!fixed.is_some_and(|fixed| fixed.is_array() || fixed.is_object()));
            if let Some(values) = members.get("enum").and_then(Value::as_array) {
                let first = values.first().map(std::mem::discriminant);
                let is_first = |value: &Value| Some(std::mem::discriminant(value)) == first;
                assert!(values.iter().all(is_first), "{values:?}");
            }
            members.values().for_each(generators_can_read);
        }
        _ => {}
    }
}

#[track_caller]
fn rejected(text: &str, reason: &str) {
    let error = written(text, settings()).unwrap_err().to_string();
    assert!(error.starts_with("probe.proto:"), "{error}");
    assert!(error.contains(reason), "{error}");
}

const SERVICE: &str = include_str!("common/things.proto");

#[test]
fn an_operation_says_what_its_comment_and_options_say() {
    let document = document(SERVICE);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["tags"][0]["name"], "Things");
    assert_eq!(
        document["tags"][0]["description"],
        "Keeps things. All of them."
    );
    let make = &document["paths"]["/shelves/{shelf}/things"]["post"];
    assert_eq!(make["operationId"], "MakeThing");
    assert_eq!(make["summary"], "Makes a thing");
    assert_eq!(
        make["description"],
        "It is there at once.\n\nNeeds:\n\n- a token\n\n- patience"
    );
    assert_eq!(make["security"], json!([{"token": []}]));
    let shelf = json!({
        "name": "shelf", "in": "path", "required": true, "description": "Where.",
        "schema": {"type": "string", "minLength": 1, "examples": ["top"]},
    });
    assert_eq!(make["parameters"], json!([shelf]));
    let link = &make["responses"]["201"]["links"]["GetThing"];
    assert_eq!(link["operationId"], "GetThing");
    assert_eq!(link["parameters"]["name"], "$response.body#/name");
    let get = &document["paths"]["/things/{name}"]["get"];
    assert_eq!(get["deprecated"], true);
}

#[test]
fn a_further_binding_is_an_operation_of_its_own() {
    let document = document(SERVICE);
    let further = &document["paths"]["/v2/shelves/{shelf}/things"]["post"];
    assert_eq!(further["operationId"], "MakeThing_V2");
    assert_eq!(further["x-same-as"], "MakeThing");
    // The linked method does not have this mount.
    assert_eq!(
        further["responses"]["201"]["links"]["GetThing"]["operationId"],
        "GetThing"
    );
}

#[test]
fn a_body_has_what_the_path_has_not() {
    let document = document(SERVICE);
    let make = &document["paths"]["/shelves/{shelf}/things"]["post"];
    let body = &make["requestBody"];
    assert_eq!(body["required"], true);
    let media = &body["content"]["application/json"];
    assert_eq!(
        media["schema"]["$ref"],
        "#/components/schemas/MakeThingRequest"
    );
    assert_eq!(media["example"], json!({"name": "cup", "kind": "cup"}));
    let schema = &document["components"]["schemas"]["MakeThingRequest"];
    assert_eq!(schema["required"], json!(["name", "kind"]));
    let properties = &schema["properties"];
    assert_eq!(properties["shelf"], Value::Null);
    assert_eq!(
        properties["name"],
        json!({
            "type": "string", "minLength": 1, "maxLength": 20,
            "description": "Name of the thing.", "examples": ["cup", "plate"],
        })
    );
    assert_eq!(properties["price"]["type"], json!(["number", "null"]));
    assert_eq!(
        properties["tags"],
        json!({"type": ["array", "null"], "maxItems": 3, "items": {"type": "string", "maxLength": 5}})
    );
    assert_eq!(properties["kind"]["$ref"], "#/components/schemas/KindInput");
    assert_eq!(
        properties["kind"]["not"],
        json!({"anyOf": [
            {"type": "string", "enum": ["KIND_UNSPECIFIED"]},
            {"type": "integer", "enum": [0]},
        ]})
    );
    assert_eq!(properties["old"]["deprecated"], true);
}

#[test]
fn requests_are_lenient_and_responses_strict() {
    let document = document(SERVICE);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Kind"]["enum"], json!(["KIND_UNSPECIFIED", "cup"]));
    assert_eq!(
        schemas["KindInput"]["anyOf"],
        json!([
            {"type": "string", "enum": ["KIND_UNSPECIFIED", "cup", "KIND_CUP"]},
            {"type": "integer", "enum": [0, 1]},
        ])
    );
    let thing = &schemas["Thing"];
    assert_eq!(
        thing["required"],
        json!(["name", "kind", "madeAt", "lostAt", "named"])
    );
    assert_eq!(
        thing["properties"]["lostAt"]["type"],
        json!(["string", "null"])
    );
    assert_eq!(thing["properties"]["foundAt"]["type"], "string");
    assert_eq!(
        thing["properties"]["inside"]["$ref"],
        "#/components/schemas/Thing"
    );
    let values = &thing["properties"]["named"]["additionalProperties"];
    assert_eq!(values["$ref"], "#/components/schemas/Thing");
    assert_eq!(
        thing["allOf"][0]["not"]["required"],
        json!(["text", "thing"])
    );
}

#[test]
fn the_query_has_what_a_text_can_give() {
    let document = document(SERVICE);
    let parameters = document["paths"]["/things/{name}"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let names: Vec<_> = parameters
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["name", "kinds", "filter.whole", "filter.text"]);
    assert_eq!(parameters[1]["schema"]["type"], "array");
    assert_eq!(parameters[2]["schema"]["type"], "boolean");
}

#[test]
fn every_status_has_the_declared_body() {
    let document = document(SERVICE);
    let make = &document["paths"]["/shelves/{shelf}/things"]["post"]["responses"];
    let statuses: Vec<_> = make
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        statuses,
        ["201", "400", "401", "405", "413", "415", "500", "503"]
    );
    let responses = &document["components"]["responses"];
    assert_eq!(make["400"]["$ref"], "#/components/responses/MakeThing400");
    let media = &responses["MakeThing400"]["content"]["application/json"];
    assert_eq!(
        media["schema"]["allOf"][0]["$ref"],
        "#/components/schemas/ThingError"
    );
    assert_eq!(
        media["examples"]["ALREADY_EXISTS_2"]["value"],
        json!({"ok": false, "error": {"code": 400, "message": "Again"}})
    );
    assert_eq!(make["401"]["$ref"], "#/components/responses/Thing401");
    let unauthenticated = &responses["Thing401"];
    assert_eq!(unauthenticated["description"], "There is no token.");
    let header = &unauthenticated["headers"]["WWW-Authenticate"]["$ref"];
    assert_eq!(header, "#/components/headers/WWW-Authenticate");
    let own = &responses["GetThing500"]["content"]["application/json"]["schema"];
    assert_eq!(own["$ref"], "#/components/schemas/GetThing500Error");
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["ThingError"]["properties"]["ok"],
        json!({"type": "boolean", "const": false})
    );
    assert_eq!(
        schemas["GetThing500Error"]["properties"]["bad"],
        json!({"type": "boolean", "const": true})
    );
}

#[test]
fn response_without_content_declares_none() {
    for (status, has_content) in [(200, true), (202, true), (204, false), (205, false)] {
        let document = document(&format!(
            r#"message Ask {{}}
            service Probe {{
              rpc Do(Ask) returns (Ask) {{
                option (google.api.http) = {{get: "/a"}};
                option (keyward.gateway.v1.method) = {{success_status: {status}}};
              }}
            }}"#
        ));
        let response = &document["paths"]["/a"]["get"]["responses"][status.to_string()];
        assert!(response.is_object(), "{status}");
        assert_eq!(response["content"].is_object(), has_content, "{status}");
    }
}

#[test]
fn an_error_that_is_not_declared_is_that_of_aip_193() {
    let text = r#"message A { string a = 1; }
        service S { rpc Do(A) returns (A) { option (google.api.http) = { get: "/a" }; } }"#;
    let document = document(text);
    let response = &document["components"]["responses"]["S503"]["content"]["application/json"];
    let error = &response["examples"]["UNAVAILABLE"]["value"]["error"];
    assert_eq!(
        (&error["code"], &error["status"]),
        (&json!(503), &json!("UNAVAILABLE"))
    );
    assert_eq!(error["message"], "Later");
    let schema = &document["components"]["schemas"]["SError"]["properties"]["error"];
    assert_eq!(
        schema["required"],
        json!(["code", "message", "status", "details"])
    );
    assert_eq!(document["paths"]["/a"]["get"]["security"], Value::Null);
}

#[test]
fn a_service_that_rejects_unknown_members_says_so() {
    let (document, _) = written(SERVICE, settings().rejects_unknown_members()).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["MakeThingRequest"]["additionalProperties"], false);
    assert_eq!(schemas["Thing"]["additionalProperties"], Value::Null);
}

#[test]
fn invalid_annotation_fails_the_build() {
    let field = |options: &str| {
        format!(
            r#"message A {{ string a = 1 [(keyward.gateway.v1.field) = {{ {options} }}]; }}
            service S {{ rpc Do(A) returns (A) {{ option (google.api.http) = {{ get: "/a" }}; }} }}"#
        )
    };
    rejected(&field("schema: 'x'"), "probe.v1.A.a: schema is not JSON");
    rejected(
        &field("schema: '[]'"),
        "probe.v1.A.a: schema is not a JSON object",
    );
    rejected(
        &field("always_set: true"),
        "always_set needs a field that can be unset",
    );
    let method = |options: &str| {
        format!(
            r#"message A {{ string a = 1; }}
            service S {{ rpc Do(A) returns (A) {{ option (google.api.http) = {{ get: "/a" }};
            option (keyward.gateway.v1.method) = {{ {options} }}; }} }}"#
        )
    };
    rejected(
        &method("security: 'key'"),
        "there is no security scheme \"key\"",
    );
    rejected(
        &method("links: { method: 'Other' }"),
        "there is no method \"Other\" to link to",
    );
    let comment = "// Example: cup\nmessage A { string a = 1; }
        service S { rpc Do(A) returns (A) { option (google.api.http) = { get: '/a' }; } }";
    rejected(comment, "probe.v1.A: an example of its comment is not JSON");
    let error = written(SERVICE, settings().error("LATER", "", "")).unwrap_err();
    assert!(
        error.to_string().contains("LATER is the code of no error"),
        "{error}"
    );
}

#[test]
fn the_same_files_give_the_same_document() {
    assert_eq!(
        written(SERVICE, settings()).unwrap(),
        written(SERVICE, settings()).unwrap()
    );
}

#[test]
fn nothing_in_a_comment_is_markup_on_the_page() {
    let text = SERVICE.replace(
        "Keeps things.",
        "Keeps <script>alert(1)</script> & `</style>`.",
    );
    let (_, page) = written(&text, settings()).unwrap();
    assert!(page.contains(
        "Keeps &lt;script&gt;alert(1)&lt;/script&gt; &amp; <code>&lt;/style&gt;</code>."
    ));
    assert_eq!(page.matches("<script>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn everything_that_a_proto_file_can_say_is_in_a_valid_document() {
    let probe = Path::new("../../tests/gateway/testserver/proto");
    let files = ["probe/v1/types.proto", "probe/v1/probe.proto"];
    let (document, page) = build(probe, &files, settings()).unwrap();
    valid(&document);
    let text = fs::read_to_string(probe.join("probe/v1/probe.proto")).unwrap();
    let bindings = [
        "get: \"",
        "put: \"",
        "post: \"",
        "delete: \"",
        "patch: \"",
        "kind: \"",
    ];
    let declared: usize = bindings
        .iter()
        .map(|binding| text.matches(binding).count())
        .sum();
    let items = document["paths"].as_object().unwrap().values();
    let operations: usize = items.map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(operations, declared);
    let custom = &document["paths"]["/custom"];
    assert_eq!(custom["x-report"]["operationId"], "Any_3");
    assert!(page.contains(">REPORT</span>") && !page.contains(">X-REPORT</span>"));
}
