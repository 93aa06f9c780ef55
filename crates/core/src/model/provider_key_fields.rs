//! Rules for the fields of provider keys, and changes to them.

use keyward_crypto::Secret;

use crate::error::Error;
use crate::model::provider::{Provider, ProviderRegistry};
use crate::model::provider_key::{
    MAX_DESCRIPTION_BYTES, MAX_ENDPOINT_BYTES, MAX_KEY_BYTES, MAX_SECRET_BYTES, ProviderKey,
    ProviderKeyPatch,
};
use crate::model::text::{MAX_NAME_BYTES, OptionalText, check_text};

pub(crate) const ENDPOINT: OptionalText =
    OptionalText::new("endpoint", "Endpoint", MAX_ENDPOINT_BYTES);
pub(crate) const REGION: OptionalText = OptionalText::new("region", "Region", MAX_NAME_BYTES);
pub(crate) const TENANT_ID: OptionalText =
    OptionalText::new("tenantId", "Tenant ID", MAX_NAME_BYTES);
pub(crate) const SUBSCRIPTION_ID: OptionalText =
    OptionalText::new("subscriptionId", "Subscription ID", MAX_NAME_BYTES);
pub(crate) const DESCRIPTION: OptionalText =
    OptionalText::new("description", "Description", MAX_DESCRIPTION_BYTES).with_lines();

/// A patch with valid fields; `Some(None)` clears an optional text.
pub(crate) struct CheckedPatch {
    provider: Option<Provider>,
    key: Option<String>,
    /// The new secret, which [`apply`](Self::apply) leaves to the caller.
    pub(crate) secret: Option<Secret<String>>,
    endpoint: Option<Option<String>>,
    region: Option<Option<String>>,
    tenant_id: Option<Option<String>>,
    subscription_id: Option<Option<String>>,
    description: Option<Option<String>>,
}

impl CheckedPatch {
    pub(crate) fn new(
        providers: &ProviderRegistry,
        patch: ProviderKeyPatch,
    ) -> Result<Self, Error> {
        if let Some(key) = &patch.key {
            check_key(key)?;
        }
        if let Some(secret) = &patch.secret {
            check_secret(secret)?;
        }
        let optional = |text: OptionalText, value: Option<String>| {
            value.map(|value| text.parse(Some(value))).transpose()
        };
        Ok(Self {
            provider: patch
                .provider
                .map(|name| providers.parse(&name))
                .transpose()?,
            key: patch.key,
            secret: patch.secret,
            endpoint: optional(ENDPOINT, patch.endpoint)?,
            region: optional(REGION, patch.region)?,
            tenant_id: optional(TENANT_ID, patch.tenant_id)?,
            subscription_id: optional(SUBSCRIPTION_ID, patch.subscription_id)?,
            description: optional(DESCRIPTION, patch.description)?,
        })
    }

    /// Returns the names of the fields that it changes.
    pub(crate) fn fields(&self) -> Vec<&'static str> {
        [
            ("provider", self.provider.is_some()),
            ("key", self.key.is_some()),
            ("secret", self.secret.is_some()),
            ("endpoint", self.endpoint.is_some()),
            ("region", self.region.is_some()),
            ("tenantId", self.tenant_id.is_some()),
            ("subscriptionId", self.subscription_id.is_some()),
            ("description", self.description.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, changes)| changes.then_some(name))
        .collect()
    }

    /// Rejects a change of endpoint or provider that comes without the secret.
    pub(crate) fn check_destination(&self, key: &ProviderKey) -> Result<(), Error> {
        let reject = |field, label| {
            let message = format!("{label} can be changed only together with the secret");
            Err(Error::invalid(field, message))
        };
        let changes_endpoint =
            matches!(&self.endpoint, Some(endpoint) if *endpoint != key.endpoint);
        let changes_provider =
            matches!(&self.provider, Some(provider) if *provider != key.provider);
        match (&self.secret, changes_endpoint, changes_provider) {
            (None, true, _) => reject("endpoint", "Endpoint"),
            (None, _, true) => reject("provider", "Provider"),
            _ => Ok(()),
        }
    }

    /// Returns the changed key with the next version.
    pub(crate) fn apply(&self, key: &ProviderKey) -> ProviderKey {
        let mut next = key.clone();
        next.version += 1;
        let set = |field: &mut Option<String>, change: &Option<Option<String>>| {
            if let Some(value) = change {
                field.clone_from(value);
            }
        };
        set(&mut next.endpoint, &self.endpoint);
        set(&mut next.region, &self.region);
        set(&mut next.tenant_id, &self.tenant_id);
        set(&mut next.subscription_id, &self.subscription_id);
        set(&mut next.description, &self.description);
        if let Some(provider) = &self.provider {
            next.provider = provider.clone();
        }
        if let Some(key) = &self.key {
            next.key.clone_from(key);
        }
        next
    }

    /// Returns true if the patch contains the secret or one of the values that it is bound to.
    pub(crate) fn seals(&self) -> bool {
        self.secret.is_some()
            || self.provider.is_some()
            || self.key.is_some()
            || self.endpoint.is_some()
    }

    /// Returns true if the patch contains every value that the secret is bound to.
    pub(crate) fn names_destination(&self) -> bool {
        self.provider.is_some() && self.key.is_some() && self.endpoint.is_some()
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    check_text("key", "Key", key, MAX_KEY_BYTES)
}

pub(crate) fn check_secret(secret: &Secret<String>) -> Result<(), Error> {
    if secret.expose().len() > MAX_SECRET_BYTES {
        let message = format!("Secret must have at most {MAX_SECRET_BYTES} bytes");
        return Err(Error::invalid("secret", message));
    }
    Ok(())
}
