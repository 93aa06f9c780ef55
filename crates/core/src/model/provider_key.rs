//! Provider keys: a customer's credentials for cloud and AI providers, stored for reuse.

use keyward_crypto::Secret;

use crate::error::Error;
use crate::model::audit_changes::{self, Audited, Values};
use crate::model::clock::Timestamp;
use crate::model::data_key::is_bound;
use crate::model::id::{ProviderKeyId, ResourceId, WorkspaceId};
use crate::model::page;
use crate::model::principal::Creator;
use crate::model::provider::{Capabilities, Provider};

/// Maximum length of a public key or identifier, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 4096;
/// Maximum length of a secret, in bytes; service-account files of cloud providers have about 2,400.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Maximum length of an endpoint, in bytes of UTF-8.
pub const MAX_ENDPOINT_BYTES: usize = 2048;
/// Maximum length of a description, in bytes of UTF-8.
pub const MAX_DESCRIPTION_BYTES: usize = 4096;

/// A provider key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderKey {
    /// Identifies the key.
    pub id: ProviderKeyId,
    /// The workspace that it belongs to. Never changes.
    pub workspace: WorkspaceId,
    /// The provider.
    pub provider: Provider,
    /// The public key, identifier or email.
    pub key: String,
    /// The provider's endpoint.
    pub endpoint: Option<String>,
    /// The provider's region.
    pub region: Option<String>,
    /// The provider's tenant.
    pub tenant_id: Option<String>,
    /// The provider's subscription.
    pub subscription_id: Option<String>,
    /// Description of the key's purpose.
    pub description: Option<String>,
    /// Creation time.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// Version, which starts at 1 and grows by one with every change.
    pub version: u64,
}

/// Omits key and description; the trail records only the names of these fields when they change.
impl Audited for ProviderKey {
    fn audited(&self) -> Values {
        vec![
            ("provider".into(), Some(self.provider.as_str().to_owned())),
            (
                "endpoint".into(),
                self.endpoint.as_deref().map(audit_changes::endpoint),
            ),
            ("region".into(), self.region.clone()),
            ("tenantId".into(), self.tenant_id.clone()),
            ("subscriptionId".into(), self.subscription_id.clone()),
        ]
    }
}

/// A provider key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredProviderKey {
    /// The part without the secret.
    pub key: ProviderKey,
    /// The sealed secret.
    pub sealed_secret: Vec<u8>,
    /// Version of the key at which the secret was sealed.
    pub secret_version: u64,
    /// The keyed fingerprint of provider, key and secret, unique in the workspace.
    pub fingerprint: [u8; 32],
}

impl StoredProviderKey {
    /// Returns true if the secret is bound to provider, public key and endpoint.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        is_bound(&self.sealed_secret)
    }
}

/// A provider key and the number of resources that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProviderKey {
    /// The key.
    pub key: ProviderKey,
    /// Number of buckets that use it.
    pub buckets: u64,
    /// Number of AI models that use it.
    pub ai_models: u64,
}

/// Kind of a resource that uses a provider key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// An AI model.
    AiModel,
    /// A storage unit.
    Bucket,
}

impl ResourceKind {
    /// Returns the name that is stored. The kinds are ordered by their names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AiModel => "ai_model",
            Self::Bucket => "bucket",
        }
    }

    /// Returns the kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AiModel, Self::Bucket]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A bucket or an AI model of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// The platform's identifier.
    pub id: ResourceId,
}

impl Resource {
    /// Returns the sort key of the resource in a list of links: the kind's name, a colon, the id.
    #[must_use]
    pub fn sort_key(&self) -> String {
        format!("{}:{}", self.kind.name(), self.id)
    }

    /// Returns the resource of a sort key.
    ///
    /// # Errors
    /// The text is not a sort key.
    pub fn from_sort_key(key: &str) -> Result<Self, Error> {
        let (kind, id) = key.split_once(':').ok_or_else(page::invalid)?;
        Ok(Self {
            kind: ResourceKind::from_name(kind).ok_or_else(page::invalid)?,
            id: ResourceId::parse(id).map_err(|_| page::invalid())?,
        })
    }
}

/// Use of a provider key by a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The provider key.
    pub key: ProviderKeyId,
    /// The resource that uses it.
    pub resource: Resource,
    /// Creation time.
    pub created_at: Timestamp,
}

/// A provider key to create.
pub struct NewProviderKey {
    /// The workspace of the key.
    pub workspace: WorkspaceId,
    /// The provider's name.
    pub provider: String,
    /// The public key, identifier or email.
    pub key: String,
    /// The private key or password.
    pub secret: Secret<String>,
    /// The provider's endpoint.
    pub endpoint: Option<String>,
    /// The provider's region.
    pub region: Option<String>,
    /// The provider's tenant.
    pub tenant_id: Option<String>,
    /// The provider's subscription.
    pub subscription_id: Option<String>,
    /// Description of the key's purpose.
    pub description: Option<String>,
}

/// Changes to a provider key. `None` keeps a field, and an empty text clears an optional field.
#[derive(Default)]
pub struct ProviderKeyPatch {
    /// The provider's name.
    pub provider: Option<String>,
    /// The public key, identifier or email.
    pub key: Option<String>,
    /// The private key or password.
    pub secret: Option<Secret<String>>,
    /// The provider's endpoint.
    pub endpoint: Option<String>,
    /// The provider's region.
    pub region: Option<String>,
    /// The provider's tenant.
    pub tenant_id: Option<String>,
    /// The provider's subscription.
    pub subscription_id: Option<String>,
    /// Description of the key's purpose.
    pub description: Option<String>,
}

/// Filter for a list of provider keys.
#[derive(Debug, Clone, Default)]
pub struct ProviderKeyFilter {
    /// Workspace of the keys; `None` for every workspace that the caller may read.
    pub workspace: Option<WorkspaceId>,
    /// Provider of the keys.
    pub provider: Option<String>,
    /// Capabilities, at least one of which the provider must have.
    pub capability: Option<Capabilities>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;

    #[test]
    fn sort_keys_are_read_back() {
        for kind in [ResourceKind::AiModel, ResourceKind::Bucket] {
            for id in ["a", "a:b", ":", "é"] {
                let id = ResourceId::parse(id).unwrap();
                let resource = Resource { kind, id };
                let read = Resource::from_sort_key(&resource.sort_key()).unwrap();
                assert_eq!(read, resource);
            }
        }
    }

    #[test]
    fn other_texts_are_no_sort_keys() {
        for text in ["", "bucket", "bucket:", ":a", "repo:a", "bucket:a\n"] {
            let rejected = Resource::from_sort_key(text);
            assert!(
                matches!(
                    rejected,
                    Err(Error::Invalid {
                        field: "pageToken",
                        ..
                    })
                ),
                "{text:?}: {rejected:?}"
            );
        }
    }
}
