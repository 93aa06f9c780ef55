//! Nouns of the domain, with the rules that each of them keeps by itself.

pub mod account;
pub mod audit;
pub mod audit_changes;
pub mod audit_filter;
pub mod clock;
pub mod data_key;
pub(crate) mod filter_digest;
pub mod id;
pub mod issued_key;
pub(crate) mod issued_key_fields;
pub mod last_use;
pub mod ledger;
pub mod management_key;
pub mod money;
pub mod page;
pub mod principal;
pub mod provider;
pub mod provider_key;
pub(crate) mod provider_key_fields;
pub mod repo_ai_key;
pub mod retention;
pub mod tenancy;
pub(crate) mod text;
pub mod window;
