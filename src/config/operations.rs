//! Operations listener.

use std::net::SocketAddr;

use serde::Deserialize;

use super::ConfigError;

/// Operations listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationsConfig {
    listen: String,
}

impl OperationsConfig {
    /// Returns the address of the listener; `None` if it is disabled.
    ///
    /// # Errors
    /// The value is not an address.
    pub fn listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let problem = "must be an IP address and a port, or empty";
        let address = self.listen.parse();
        address
            .map(Some)
            .map_err(|_| ConfigError::field("operations.listen", problem))
    }
}
