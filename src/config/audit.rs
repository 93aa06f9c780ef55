//! `[audit]`: the audit trail.

use keyward_core::services::AuditSettings;

use super::raw;
use super::value::days;

/// Returns the settings for the audit trail.
pub(super) fn parse(audit: &raw::Audit) -> AuditSettings {
    AuditSettings {
        retention: days(audit.retention_days),
    }
}
