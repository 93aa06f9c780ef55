//! Domain of Keyward: its types, its authorization policy and its use cases.
//!
//! The crate does not depend on protobuf, HTTP, SQL or the environment. The traits in [`store`] and [`clock`]
//! provide storage and time.

pub mod audit;
pub mod clock;
pub mod directory;
pub mod error;
pub mod id;
pub mod issued_key;
pub mod last_use;
pub mod ledger;
pub mod limit;
pub mod metrics;
pub mod money;
pub mod page;
pub mod policy;
pub mod principal;
pub mod provider;
pub mod provider_key;
pub mod repo_ai_key;
pub mod retention;
pub mod store;
mod text;
pub mod vault;
pub mod window;

pub use error::Error;
pub use text::MAX_NAME_BYTES;
