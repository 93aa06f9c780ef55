//! Options of a store under test.

use std::time::Duration;

use keyward_crypto::Secret;
use keyward_store::{KeyBounds, StoreLimits, StoreOptions};

/// Returns options with limits that a test may narrow or widen.
pub(crate) fn options(url: Secret<String>) -> StoreOptions {
    let limits = StoreLimits {
        max_connections: 16,
        acquire_timeout: Duration::from_secs(5),
        busy_timeout: Duration::from_secs(5),
        max_clock_difference: Duration::from_secs(5),
        bounds: KeyBounds {
            provider_keys_per_workspace: 10_000,
            ai_keys_per_repo: 10_000,
        },
    };
    StoreOptions::new(url, limits)
}
