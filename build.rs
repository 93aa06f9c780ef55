//! Compiles the proto files: messages, clients and servers, and the REST gateway.

use keyward_gateway_build::{Builder, Error, OpenApi};

const PROTOS: [&str; 5] = [
    "keyward/v1/api_key.proto",
    "keyward/v1/audit.proto",
    "keyward/v1/directory.proto",
    "keyward/v1/management_key.proto",
    "keyward/v1/repo_ai_key.proto",
];

fn main() -> Result<(), Error> {
    Builder::new()
        .include("proto")
        .files(PROTOS)
        .error_domain("keyward")
        .openapi(openapi())
        .compile()
}

/// Texts of the OpenAPI document that the proto files do not have.
fn openapi() -> OpenApi {
    OpenApi::new("Keyward", "1")
        .description(
            "Keeps provider API keys, issues repo AI keys, and issues keys with spend limits.\n\n\
             Members of a JSON body and query parameters that are not listed are rejected with 400 \
             and their name, unless the operator has them ignored. Null is as good as absent where \
             it is allowed, and a member's original name in the proto files is taken as well as the \
             one that is listed, unless the member is an amount: `limit_nanos` is not read as `limit`, \
             since the units differ. The same methods, and those for internal services, are there over \
             gRPC and gRPC-Web on the same port.",
        )
        .license("Apache License 2.0", "Apache-2.0")
        .rejects_unknown_members()
        .bearer(
            "session_token",
            Some("JWT"),
            "A user's session token, from the platform that Keyward serves.",
        )
        .bearer(
            "management_key",
            Some("sk-kw-v1-…"),
            "A management key, which administers the issued keys of its organization.",
        )
        .bearer(
            "issued_key",
            Some("sk-kw-v1-…"),
            "An issued key: what an application spends with.",
        )
        .bearer(
            "service_token",
            Some("JWT"),
            "A token of an internal service, such as a projected Kubernetes service-account token.",
        )
        .response_header(
            "x-request-id",
            "Names the call in Keyward's logs and audit trail: what the caller sent, if that is \
             harmless, or a new name.",
        )
        .error(
            "RESOURCE_EXHAUSTED",
            "The caller or its address makes more requests than the operator allows, or too many \
             authentications from there have failed.",
            "Too many requests",
        )
        .error(
            "UNAVAILABLE",
            "Something that Keyward needs cannot be reached now, or too many requests are under way. \
             What a change became is not known.",
            "Service unavailable",
        )
        .error(
            "DEADLINE_EXCEEDED",
            "The call took longer than it may. What a change became is not known.",
            "The deadline expired before the call could complete",
        )
}
