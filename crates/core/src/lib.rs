//! Domain of Keyward: its types, its authorization policy and its use cases.
//!
//! The crate does not depend on protobuf, HTTP, SQL or the environment. The traits in [`store`] and [`clock`]
//! provide storage and time.

pub mod error;
pub mod metrics;
mod model;
pub mod policy;
mod ports;
mod services;

pub use error::Error;
pub use model::text::MAX_NAME_BYTES;
pub use model::{
    audit, clock, directory, id, issued_key, last_use, ledger, limit, money, page, principal,
    provider, provider_key, repo_ai_key, retention, window,
};
pub use ports as store;
pub use services::vault;
