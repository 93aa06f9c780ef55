//! The table: what becomes of a path, a query, a body, a JSON value, case by case.
//!
//! Where the specifications leave no doubt, a case stands for itself. Where they do,
//! the comment above it says whose fact it is:
//!
//! - `http.proto` is `google/api/http.proto` of googleapis, which is the
//!   specification of the annotation;
//! - `Envoy` is its `grpc_json_transcoder` filter with its default options, which
//!   stands on grpc-ecosystem/grpc-httpjson-transcoding: `src/http_template.cc`,
//!   `src/path_matcher_node.cc`, `src/request_weaver.cc`,
//!   `src/include/grpc_transcoding/{path_matcher,percent_encoding}.h`;
//! - `grpc-gateway` is grpc-ecosystem/grpc-gateway v2 with its default options:
//!   `internal/descriptor/services.go`, `runtime/{mux,pattern,query,fieldmask,handler}.go`;
//! - `ProtoJSON` is the protobuf project's description of the JSON form.
//!
//! Where Envoy and grpc-gateway differ, the comment says whom we follow and why.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod masks;
mod methods;
mod path_values;
mod paths;
mod proto_json;
mod queries;
mod structures;
