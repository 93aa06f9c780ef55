//! Generated code: messages, clients, servers and the REST gateway.
//!
//! All of it is generated from `proto/`.

use keyward_gateway::MethodSpec;

/// Version 1 of the API.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    rustdoc::all,
    reason = "the code and its comments are generated"
)]
pub mod v1 {
    tonic::include_proto!("keyward.v1");
}

/// Method whose error format is used for paths that do not belong to a service.
pub static FALLBACK_METHOD: &MethodSpec = &v1::API_KEY_SERVICE;

/// All methods of the API.
pub static METHODS: &[&MethodSpec] = v1::METHODS;

/// Descriptors of all proto files, with comments and options, as an encoded
/// `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keyward_descriptor.bin"));

#[cfg(test)]
mod tests;
