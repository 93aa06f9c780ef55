//! `[audit]`: the audit trail.

use std::time::Duration;

use keyward_core::services::AuditSettings;
use serde::Deserialize;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Settings for the audit trail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    retention_days: u32,
}

impl AuditConfig {
    /// Returns the settings for the audit trail.
    #[must_use]
    pub fn settings(&self) -> AuditSettings {
        let days = u64::from(self.retention_days);
        AuditSettings {
            retention: (days > 0).then(|| Duration::from_secs(days * SECONDS_A_DAY)),
        }
    }
}
