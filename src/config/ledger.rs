//! `[ledger]`: the ledger.

use std::time::Duration;

use keyward_core::services::LedgerSettings;

use super::value::{days, positive_millis};
use super::{ConfigError, raw};

/// Returns the settings for the ledger.
pub(super) fn parse(ledger: &raw::Ledger) -> Result<LedgerSettings, ConfigError> {
    let field = "ledger.reservation_ttl_ms";
    let default_reservation_ttl = positive_millis(field, ledger.reservation_ttl_ms)?;
    let max_reservation_ttl = Duration::from_millis(ledger.max_reservation_ttl_ms);
    if default_reservation_ttl > max_reservation_ttl {
        let problem = "must not be greater than `ledger.max_reservation_ttl_ms`";
        return Err(ConfigError::field(field, problem));
    }
    Ok(LedgerSettings {
        default_reservation_ttl,
        max_reservation_ttl,
        charge_retention: days(ledger.charge_retention_days),
    })
}
