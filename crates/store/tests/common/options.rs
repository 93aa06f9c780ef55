//! Options of a store under test.

use std::time::Duration;

use keyward_crypto::Secret;
use keyward_store::{CacheSettings, KeyBounds, StoreLimits, StoreOptions};

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
        cache: CacheSettings {
            max_entries: 1000,
            lifetime: Duration::from_secs(30),
            max_staleness: Duration::from_secs(2),
            poll_interval: Duration::from_millis(250),
        },
    };
    StoreOptions::new(url, limits)
}
