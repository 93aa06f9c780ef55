//! `[operations]`: the operations listener.

use std::net::SocketAddr;

use super::{ConfigError, raw};

/// Returns the address of the operations listener; `None` if it is disabled.
pub(super) fn parse(operations: &raw::Operations) -> Result<Option<SocketAddr>, ConfigError> {
    if operations.listen.is_empty() {
        return Ok(None);
    }
    let problem = "must be an IP address and a port, or empty";
    let address = operations.listen.parse();
    address
        .map(Some)
        .map_err(|_| ConfigError::field("operations.listen", problem))
}
