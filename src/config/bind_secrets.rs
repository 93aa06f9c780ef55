//! `vault.bind_secrets`.

use serde::Deserialize;

/// Binding of secrets to their provider, key and endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindSecrets {
    /// New secrets are bound if the database holds no unbound secret when the process starts.
    Auto,
    /// New secrets are not bound.
    Off,
    /// New secrets are bound. Unbound ones open.
    On,
    /// New secrets are bound. Unbound ones do not open.
    Required,
}
