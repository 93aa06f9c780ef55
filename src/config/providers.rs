//! `[providers]`: further providers of keys.

use std::collections::BTreeMap;

use keyward_core::provider::{Capabilities, ProviderRegistry};

use super::ConfigError;

/// Returns the providers that keys can be for. Names are converted to upper case, since the environment does
/// not preserve the case.
pub(super) fn parse(providers: &BTreeMap<String, u32>) -> Result<ProviderRegistry, ConfigError> {
    let mut registry = ProviderRegistry::built_in();
    for (name, capabilities) in providers {
        registry
            .register(&name.to_ascii_uppercase(), Capabilities(*capabilities))
            .map_err(|problem| ConfigError::field("providers", format!("has a {problem}")))?;
    }
    Ok(registry)
}
