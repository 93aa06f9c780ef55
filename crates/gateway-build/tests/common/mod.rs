//! Shared code of the generator's tests.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;

use keyward_gateway_build::{Builder, Error};

pub(crate) const HEAD: &str = r#"
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

pub(crate) const ANSWER: &str = "message Answer {}\n";

/// Compiles one proto file and returns the generated code.
pub(crate) fn compile(text: &str) -> Result<String, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("probe.proto"), format!("{HEAD}{text}")).unwrap();
    Builder::new()
        .include(dir.path())
        // Cargo runs a test in its package's folder; an absolute path in the binary would outlast
        // the checkout.
        .include("../../proto")
        .file("probe.proto")
        .out_dir(dir.path())
        .error_domain("probe")
        .compile()?;
    assert!(!dir.path().join("google.api.rs").exists());
    assert!(!dir.path().join("keyward.gateway.v1.rs").exists());
    Ok(fs::read_to_string(dir.path().join("probe.v1.rs")).unwrap())
}

/// Returns a service of one method with this body, request fields and service options.
pub(crate) fn service(http: &str, fields: &str) -> String {
    format!(
        "{ANSWER}message Ask {{ {fields} }}
         service Probe {{ rpc Do(Ask) returns (Answer) {{ {http} }} }}"
    )
}

#[track_caller]
pub(crate) fn rejected(text: &str, reason: &str) {
    let error = compile(text).unwrap_err().to_string();
    assert!(error.starts_with("probe.proto:"), "{error}");
    assert!(error.contains(reason), "{error}");
}

#[track_caller]
pub(crate) fn rejected_field(fields: &str, reason: &str) {
    rejected(
        &service(r#"option (google.api.http) = { get: "/a" };"#, fields),
        reason,
    );
}
