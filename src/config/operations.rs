//! The second listener, for whoever runs Keyward.

use std::net::SocketAddr;

use serde::Deserialize;

use super::ConfigError;

/// The second listener.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperationsConfig {
    listen: String,
}

impl OperationsConfig {
    /// Where to listen; `None` where there is no such listener.
    ///
    /// # Errors
    /// It is no address.
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
