//! Tests of the proto files that are bundled with the builder.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs;

use keyward_gateway_build::{Builder, OpenApi};

const LIBRARY: &str = r#"
syntax = "proto3";
package library.v1;
import "google/api/annotations.proto";
import "google/api/client.proto";
import "google/api/field_behavior.proto";
import "google/api/http.proto";
import "google/api/launch_stage.proto";
import "google/api/resource.proto";
import "google/rpc/code.proto";
import "google/rpc/error_details.proto";
import "google/rpc/status.proto";
import "keyward/gateway/v1/options.proto";

service LibraryService {
  option (google.api.default_host) = "library.example";
  rpc GetBook(GetBookRequest) returns (Book) {
    option (google.api.http) = {get: "/v1/{name=shelves/*/books/*}"};
    option (google.api.method_signature) = "name";
  }
}

message GetBookRequest {
  string name = 1 [
    (google.api.field_behavior) = REQUIRED,
    (google.api.resource_reference) = {type: "library.example/Book"}
  ];
}

message Book {
  option (google.api.resource) = {
    type: "library.example/Book"
    pattern: "shelves/{shelf}/books/{book}"
  };
  string name = 1 [(google.api.field_behavior) = IDENTIFIER];
  google.rpc.Status last_error = 2 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.rpc.Code last_code = 3;
  google.rpc.BadRequest last_request = 4;
}
"#;

#[test]
fn bundled_files_need_no_copies() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("library.proto"), LIBRARY).unwrap();
    Builder::new()
        .include(dir.path())
        .file("library.proto")
        .out_dir(dir.path())
        .openapi(OpenApi::new("Library", "1"))
        .compile()
        .unwrap();
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("library.v1.rs").contains("pub fn library_service_routes"));
    // Messages and their JSON are generated only for the imports that the service uses.
    let rpc = read("google.rpc.rs");
    assert!(rpc.contains("pub struct BadRequest"));
    assert!(rpc.contains("JsonMessage for Status"));
    assert!(!dir.path().join("google.api.rs").exists());
    let document = read("openapi.json");
    assert!(document.contains(r#""fieldViolations""#), "{document}");
}
