//! Use cases: each authorizes its caller, decides by the model, and stores the result through a port.

pub(crate) mod audit_trail;
pub(crate) mod issued_keys;
pub(crate) mod ledger;
pub(crate) mod management_keys;
pub(crate) mod provider_keys;
pub(crate) mod repo_ai_keys;
pub mod vault;
