//! The registry of providers and what each can do.

use std::collections::BTreeMap;

use crate::error::Error;

/// What a provider can do, as bits: 1 storage, 2 AI, 4 cloud resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// Whether the two have a bit in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A registered provider, such as `AWS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider(String);

impl Provider {
    /// Takes the name of a provider that was registered when it was stored.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The providers that keys can be for.
#[derive(Debug, Clone)]
pub struct ProviderRegistry(BTreeMap<String, Capabilities>);

/// The longest name of a provider, in bytes.
const MAX_PROVIDER_NAME_BYTES: usize = 64;

impl ProviderRegistry {
    /// The providers that are always there.
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
    /// The name is taken, or is not made of 1 to 64 upper-case letters, digits, `_` and `-`; the
    /// provider can do nothing.
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

    /// The registered provider of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn parse(&self, name: &str) -> Result<Provider, Error> {
        if self.0.contains_key(name) {
            Ok(Provider(name.to_owned()))
        } else {
            Err(Error::invalid("provider", "Unsupported provider"))
        }
    }

    /// The names of all providers, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The providers that have one of the capabilities.
    #[must_use]
    pub fn with_capability(&self, wanted: Capabilities) -> Vec<Provider> {
        self.0
            .iter()
            .filter(|(_, capabilities)| capabilities.intersects(wanted))
            .map(|(name, _)| Provider(name.clone()))
            .collect()
    }
}
