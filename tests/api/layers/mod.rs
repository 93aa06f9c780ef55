//! Tests of the layers that every request passes.

mod auth_failure_limit;
mod authentication;
mod body_and_path_limits;
mod client_address;
mod compression;
mod concurrency_limit;
mod cors;
mod deadline;
mod grpc_web;
mod ip_rate_limit;
mod json_body;
mod jwks;
mod lookups;
mod missing_body;
mod order;
mod principal_rate_limit;
mod principal_share;
mod protocol_boundaries;
mod request_id;
mod request_target;
mod security_headers;
