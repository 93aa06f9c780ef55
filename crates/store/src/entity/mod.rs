//! The entities. Every column has a type that all engines have.
//!
//! Timestamps are BIGINT milliseconds since 1970-01-01T00:00:00Z. They are exact on every engine, while the engines'
//! own timestamp types differ in precision and in time zone handling. Identifiers of the platform are compared byte by
//! byte.

pub(crate) mod audit_event;
pub(crate) mod change;
pub(crate) mod charge;
pub(crate) mod daily_usage;
pub(crate) mod data_key;
pub(crate) mod issued_key;
pub(crate) mod management_key;
pub(crate) mod member;
pub(crate) mod organization;
pub(crate) mod provider_key;
pub(crate) mod provider_key_link;
pub(crate) mod repo;
pub(crate) mod repo_ai_key;
pub(crate) mod reservation;
pub(crate) mod retention_run;
pub(crate) mod workspace;
pub(crate) mod workspace_access;
