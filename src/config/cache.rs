//! `[cache]`: caches of rows that calls read often.

use std::time::Duration;

use keyward_store::CacheSettings;

use super::value::positive_millis;
use super::{ConfigError, raw};

/// Maximum lifetime of an entry: a key's last use is exact to a minute.
const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// Returns the settings for the caches.
pub(super) fn parse(cache: &raw::Cache) -> Result<CacheSettings, ConfigError> {
    let max_staleness = positive_millis("cache.max_staleness_ms", cache.max_staleness_ms)?;
    let field = "cache.poll_interval_ms";
    let poll_interval = positive_millis(field, cache.poll_interval_ms)?;
    if poll_interval > max_staleness / 2 {
        let problem = "must be at most half of `cache.max_staleness_ms`";
        return Err(ConfigError::field(field, problem));
    }
    let lifetime = positive_millis("cache.lifetime_ms", cache.lifetime_ms)?;
    if lifetime > MAX_LIFETIME {
        let problem = "must be at most 60000";
        return Err(ConfigError::field("cache.lifetime_ms", problem));
    }
    Ok(CacheSettings {
        max_entries: u64::from(cache.max_entries),
        lifetime,
        max_staleness,
        poll_interval,
    })
}
