//! The API as its callers see it: REST, gRPC and gRPC-Web, on SQLite and on PostgreSQL.
//!
//! One file for each RPC or concern, one function for each guarantee.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

#[macro_use]
mod support;

mod authentication;
mod callers;
mod create_api_key;
mod deadline;
mod delete_api_key;
mod directory;
mod directory_refusals;
mod edges;
mod faces;
mod failures;
mod issuer_keys;
mod later;
mod layers;
mod limits;
mod link_api_key;
mod list_api_key_links;
mod list_api_keys;
mod list_filters;
mod parity;
mod probes;
mod races;
mod request_id;
mod resolve_api_key;
mod rest_bodies;
mod sweep;
mod sweep_cases;
mod update_api_key;
mod update_refusals;
