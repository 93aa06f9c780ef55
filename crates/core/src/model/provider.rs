//! Registry of providers and their capabilities.

use std::collections::BTreeMap;

use crate::error::Error;

/// Capabilities of a provider, as bits: 1 storage, 2 AI, 4 cloud resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Returns true if both have a bit in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A registered provider, such as `AWS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider(String);

impl Provider {
    /// Wraps the name of a provider that was registered when it was stored.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The providers that keys can belong to.
#[derive(Debug, Clone)]
pub struct ProviderRegistry(BTreeMap<String, Capabilities>);

/// Maximum length of a provider's name, in bytes.
const MAX_PROVIDER_NAME_BYTES: usize = 64;

impl ProviderRegistry {
    /// Returns the built-in providers.
    #[must_use]
    pub fn built_in() -> Self {
        let built_in = [
            ("AWS", 7),
            ("GCP", 7),
            ("AZURE", 7),
            ("OPENAI", 2),
            ("ANTHROPIC", 2),
            ("GOOGLE", 2),
            ("OTHER", 255),
        ];
        Self(
            built_in
                .into_iter()
                .map(|(name, bits)| (name.to_owned(), Capabilities(bits)))
                .collect(),
        )
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// The name is taken, or does not consist of 1 to 64 upper-case letters, digits, `_` and `-`; the
    /// provider has no capability.
    pub fn register(&mut self, name: &str, capabilities: Capabilities) -> Result<(), Error> {
        let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > MAX_PROVIDER_NAME_BYTES || !name.chars().all(fits) {
            return Err(Error::invalid(
                "providers.name",
                "a provider's name has 1 to 64 upper-case letters, digits, `_` and `-`",
            ));
        }
        if capabilities.0 == 0 {
            return Err(Error::invalid(
                "providers.capabilities",
                "a provider has a capability",
            ));
        }
        if self.0.contains_key(name) {
            return Err(Error::invalid(
                "providers.name",
                "the provider is registered already",
            ));
        }
        self.0.insert(name.to_owned(), capabilities);
        Ok(())
    }

    /// Returns the registered provider with this name.
    ///
    /// # Errors
    /// The provider does not exist.
    pub fn parse(&self, name: &str) -> Result<Provider, Error> {
        if self.0.contains_key(name) {
            Ok(Provider(name.to_owned()))
        } else {
            Err(Error::invalid("provider", "Unsupported provider"))
        }
    }

    /// Returns the names of all providers, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the providers that have at least one of the capabilities.
    #[must_use]
    pub fn with_capability(&self, wanted: Capabilities) -> Vec<Provider> {
        self.0
            .iter()
            .filter(|(_, capabilities)| capabilities.intersects(wanted))
            .map(|(name, _)| Provider(name.clone()))
            .collect()
    }
}
