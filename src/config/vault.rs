//! `[vault]`: the key-encryption keys, and rules for stored secrets.

use std::path::PathBuf;

use keyward_core::services::{ProviderKeySettings, SecretBinding};

use super::bind_secrets::BindSecrets;
use super::{ConfigError, raw};

/// Key-encryption keys, and rules for stored secrets.
pub struct VaultSettings {
    /// Path of the key-encryption keys.
    pub keyring_file: PathBuf,
    /// Binding of secrets to their provider, key and endpoint.
    pub bind_secrets: BindSecrets,
    endpoint_change_needs_secret: bool,
}

impl VaultSettings {
    pub(super) fn parse(vault: raw::Vault) -> Result<Self, ConfigError> {
        let required = || ConfigError::field("vault.keyring_file", "is required");
        Ok(Self {
            keyring_file: vault.keyring_file.ok_or_else(required)?,
            bind_secrets: vault.bind_secrets,
            endpoint_change_needs_secret: vault.endpoint_change_needs_secret,
        })
    }

    /// Returns the rules for provider keys.
    #[must_use]
    pub fn provider_key_settings(&self, binding: SecretBinding) -> ProviderKeySettings {
        ProviderKeySettings {
            binding,
            endpoint_change_needs_secret: self.endpoint_change_needs_secret,
        }
    }
}
