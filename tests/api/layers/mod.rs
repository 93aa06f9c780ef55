//! Tests of the layers that every request passes.

mod address_rate;
mod authentication;
mod body_and_path_limits;
mod client_address;
mod compression;
mod cors;
mod deadline;
mod failed_authentications;
mod grpc_web;
mod in_flight;
mod json_body;
mod jwks;
mod missing_body;
mod order;
mod protocol_boundaries;
mod rate_limit;
mod request_id;
mod request_target;
mod security_headers;
