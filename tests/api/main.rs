//! The API from the client's side: REST, gRPC and gRPC-Web, on SQLite and on PostgreSQL.
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

mod address_rate;
mod audit_events;
mod authentication;
mod bound_secrets;
mod callers;
mod client_address;
mod compression;
mod cors;
mod create_api_key;
mod create_key;
mod create_key_fields;
mod create_repo_ai_key;
mod created_by;
mod current_key;
mod deadline;
mod delete_api_key;
mod delete_key;
mod delete_repo_ai_key;
mod descriptions;
mod directory;
mod directory_refusals;
mod edges;
mod faces;
mod failed_authentications;
mod failures;
mod get_key;
mod health;
mod in_flight;
mod issuer_keys;
mod key_audit;
mod key_callers;
mod last_used;
mod later;
mod layers;
mod limits;
mod link_api_key;
mod list_api_key_links;
mod list_api_keys;
mod list_filters;
mod list_keys;
mod list_repo_ai_keys;
mod management_keys;
mod pages;
mod parity;
mod probes;
mod races;
mod rate_limit;
mod record_usage;
mod replica_clocks;
mod repo_ai_key_callers;
mod repo_ai_keys;
mod request_bodies;
mod request_id;
mod reservation_ends;
mod reserve_spend;
mod resolve_api_key;
mod rest_bodies;
mod roll_up;
mod security_headers;
mod sweep;
mod sweep_cases;
mod update_api_key;
mod update_key;
mod update_key_mask;
mod update_refusals;
mod update_repo_ai_key;
mod uri;
mod usage_windows;
mod verify_key;
mod verify_repo_ai_key;
mod whole_lists;
