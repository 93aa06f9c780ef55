//! Domain of Keyward: its types, its authorization policy and its use cases.
//!
//! The crate does not depend on protobuf, HTTP, SQL or the environment. The traits in [`ports`] and [`clock`]
//! provide storage and time.
//!
//! The nouns (`model/`) know neither policy, ports nor services. The [`policy`] knows the nouns. The [`ports`]
//! know the nouns and the grants of the policy. The [`services`] know all of them.

mod error;
pub mod metrics;
mod model;
pub mod policy;
pub mod ports;
pub mod services;

pub use error::{Cause, Ending, Error, Noun};
pub use model::text::MAX_NAME_BYTES;
pub use model::{
    account, audit, audit_changes, audit_filter, clock, data_key, id, issued_key, last_use, ledger,
    management_key, money, page, principal, provider, provider_key, repo_ai_key, retention,
    tenancy, window,
};
