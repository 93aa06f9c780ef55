//! Provider keys: credentials that cloud and AI providers gave to a customer, kept for reuse.

mod bind;
mod patch;
mod sealed;
mod use_cases;

pub use bind::{EXAMPLES, SecretsBound};
pub use sealed::{SecretBinding, SecretMismatch};
pub use use_cases::ProviderKeys;

use keyward_crypto::Secret;

use crate::audit::{self, Audited, Values};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::{ProviderKeyId, ResourceId, WorkspaceId};
use crate::page;
use crate::principal::Creator;
use crate::provider::{Capabilities, Provider};

/// Maximum length of a public key or identifier, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 4096;
/// The longest secret, in bytes; service-account files of cloud providers have about 2,400.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// Maximum length of an endpoint, in bytes of UTF-8.
pub const MAX_ENDPOINT_BYTES: usize = 2048;
/// Maximum length of a region, tenant or subscription, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;
/// Maximum length of a description, in bytes of UTF-8.
pub const MAX_DESCRIPTION_BYTES: usize = 4096;

/// A provider key without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderKey {
    /// Names the key.
    pub id: ProviderKeyId,
    /// The workspace that it belongs to, for good.
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
    /// What the key is for.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Principal that created it; `None` for keys from before the store recorded it.
    pub created_by: Option<Creator>,
    /// Grows by one with every change, from 1.
    pub version: u64,
}

/// Without key and description, of which the trail names the change alone.
impl Audited for ProviderKey {
    fn audited(&self) -> Values {
        vec![
            ("provider".into(), Some(self.provider.as_str().to_owned())),
            (
                "endpoint".into(),
                self.endpoint.as_deref().map(audit::endpoint),
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
    /// The open part.
    pub key: ProviderKey,
    /// The sealed secret.
    pub sealed_secret: Vec<u8>,
    /// The key's version when the secret was sealed.
    pub secret_version: u64,
    /// The keyed fingerprint of provider, key and secret, unique in the workspace.
    pub fingerprint: [u8; 32],
}

/// A provider key and how many resources use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedProviderKey {
    /// The key.
    pub key: ProviderKey,
    /// How many buckets use it.
    pub buckets: u64,
    /// How many AI models use it.
    pub ai_models: u64,
}

/// An opened credential.
pub struct OpenedProviderKey {
    /// The open part.
    pub key: ProviderKey,
    /// The secret.
    pub secret: Secret<String>,
}

/// What kind of thing uses a provider key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    /// An AI model.
    AiModel,
    /// A storage unit.
    Bucket,
}

impl ResourceKind {
    /// The name that is stored; the order of the kinds is the order of their names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AiModel => "ai_model",
            Self::Bucket => "bucket",
        }
    }

    /// The kind of that name.
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
    /// The platform's name for it.
    pub id: ResourceId,
}

impl Resource {
    /// Where the resource stands in a list of links: the kind's name, a colon, the id.
    #[must_use]
    pub fn sort_key(&self) -> String {
        format!("{}:{}", self.kind.name(), self.id)
    }

    /// The resource that stands there.
    ///
    /// # Errors
    /// The text is no sort key.
    pub fn from_sort_key(key: &str) -> Result<Self, Error> {
        let (kind, id) = key.split_once(':').ok_or_else(page::invalid)?;
        Ok(Self {
            kind: ResourceKind::from_name(kind).ok_or_else(page::invalid)?,
            id: ResourceId::parse(id).map_err(|_| page::invalid())?,
        })
    }
}

/// That a resource uses a provider key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The provider key.
    pub key: ProviderKeyId,
    /// What uses it.
    pub resource: Resource,
    /// Since when.
    pub created_at: Timestamp,
}

/// A credential to keep.
pub struct NewProviderKey {
    /// The workspace that is to keep it.
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
    /// What the key is for.
    pub description: Option<String>,
}

/// Which fields of a provider key to change; `None` leaves one alone, and an empty text clears one
/// that may be unset.
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
    /// What the key is for.
    pub description: Option<String>,
}

/// Rules for changes of provider keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProviderKeySettings {
    /// Rejects a change of endpoint or provider that comes without the secret.
    pub endpoint_change_needs_secret: bool,
    /// Binding of secrets that are sealed and opened.
    pub binding: SecretBinding,
}

/// Which provider keys to list.
#[derive(Debug, Clone, Default)]
pub struct ProviderKeyFilter {
    /// Those of this workspace; else of every workspace that the caller may read.
    pub workspace: Option<WorkspaceId>,
    /// Those of this provider.
    pub provider: Option<String>,
    /// Those whose provider has one of these capabilities.
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
            let refused = Resource::from_sort_key(text);
            assert!(
                matches!(
                    refused,
                    Err(Error::Invalid {
                        field: "pageToken",
                        ..
                    })
                ),
                "{text:?}: {refused:?}"
            );
        }
    }
}
