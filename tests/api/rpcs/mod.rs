//! Tests of RPCs without a route.

mod directory;
mod health;
mod link_api_key;
mod list_api_key_links;
mod management_keys;
mod record_usage;
mod reflection;
mod reserve_spend;
mod resolve_api_key;
mod settle_and_release_spend;
mod unimplemented;
mod verify_key;
mod verify_repo_ai_key;
