//! Table of cases: paths, queries, bodies and JSON values, and their results.
//!
//! A case without a comment follows directly from the specifications. In other cases the comment
//! cites the source:
//!
//! - `http.proto` is `google/api/http.proto` of googleapis, which is the specification of the
//!   annotation;
//! - `Envoy` is its `grpc_json_transcoder` filter with its default options, which uses
//!   grpc-ecosystem/grpc-httpjson-transcoding: `src/http_template.cc`, `src/path_matcher_node.cc`,
//!   `src/request_weaver.cc`, `src/include/grpc_transcoding/{path_matcher,percent_encoding}.h`;
//! - `grpc-gateway` is grpc-ecosystem/grpc-gateway v2 with its default options:
//!   `internal/descriptor/services.go`, `runtime/{mux,pattern,query,fieldmask,handler}.go`;
//! - `ProtoJSON` is the protobuf project's description of the JSON form.
//!
//! If Envoy and grpc-gateway differ, the comment states which of them this gateway follows, and
//! why.

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
