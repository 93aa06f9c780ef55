//! Provider keys: credentials that cloud and AI providers gave to a customer, kept for reuse.

use std::sync::Arc;

use keyward_crypto::Secret;

use crate::audit::AuditEvent;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Noun};
use crate::id::{ProviderKeyId, ResourceId, WorkspaceId};
use crate::page::{Page, PageRequest};
use crate::policy::{self, Action, Grant, Permission};
use crate::principal::Caller;
use crate::provider::{Capabilities, Provider, ProviderRegistry};
use crate::store::{DirectoryStore, ProviderKeyStore};
use crate::text::{OptionalText, check_text};
use crate::vault::{Place, Vault, WorkspaceKeys};

/// The longest public key or identifier, in characters.
pub const MAX_KEY_CHARS: usize = 4096;
/// The longest secret, in bytes; service-account files of cloud providers have about 2,400.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// The longest endpoint, in characters.
pub const MAX_ENDPOINT_CHARS: usize = 2048;
/// The longest region, tenant or subscription, in characters.
pub const MAX_NAME_CHARS: usize = 255;
/// The longest description, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 4096;

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
    /// Grows by one with every change, from 1.
    pub version: u64,
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

/// The provider keys' use cases.
#[derive(Clone)]
pub struct ProviderKeys {
    store: Arc<dyn ProviderKeyStore>,
    directory: Arc<dyn DirectoryStore>,
    vault: Vault,
    providers: Arc<ProviderRegistry>,
    clock: Arc<dyn Clock>,
}

impl ProviderKeys {
    /// The provider keys that a store holds.
    #[must_use]
    pub fn new(
        store: Arc<dyn ProviderKeyStore>,
        directory: Arc<dyn DirectoryStore>,
        vault: Vault,
        providers: Arc<ProviderRegistry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            vault,
            providers,
            clock,
        }
    }

    /// Lists provider keys, newest first.
    ///
    /// # Errors
    /// Denied in the named workspace; an unregistered provider.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &ProviderKeyFilter,
    ) -> Result<Vec<ListedProviderKey>, Error> {
        policy::precheck(&caller.principal, policy::LIST_API_KEYS)?;
        let providers = self.wanted_providers(filter)?;
        let workspaces = match (&filter.workspace, &caller.principal) {
            (Some(id), _) => {
                let workspace = self.directory.workspace(id).await?;
                vec![policy::authorize(
                    &caller.principal,
                    policy::LIST_API_KEYS,
                    workspace.as_ref(),
                )?]
            }
            (None, crate::principal::Principal::User(member)) => {
                let all = self.directory.workspaces(&member.organization).await?;
                let readable = |workspace| {
                    policy::authorize(&caller.principal, policy::LIST_API_KEYS, Some(workspace))
                };
                all.iter()
                    .filter_map(|workspace| readable(workspace).ok())
                    .collect()
            }
            (None, crate::principal::Principal::Service(_)) => return Err(Error::Denied),
        };
        self.store.list(&workspaces, providers.as_deref()).await
    }

    fn wanted_providers(&self, filter: &ProviderKeyFilter) -> Result<Option<Vec<Provider>>, Error> {
        let named = filter
            .provider
            .as_deref()
            .map(|name| self.providers.parse(name))
            .transpose()?;
        let capable = filter
            .capability
            .map(|wanted| self.providers.with_capability(wanted));
        Ok(match (named, capable) {
            (None, None) => None,
            (Some(named), None) => Some(vec![named]),
            (None, Some(capable)) => Some(capable),
            (Some(named), Some(mut capable)) => {
                capable.retain(|provider| *provider == named);
                Some(capable)
            }
        })
    }

    /// Keeps a credential.
    ///
    /// # Errors
    /// An unfit field; denied in the workspace; the same credentials are in it already.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewProviderKey,
    ) -> Result<ProviderKeyId, Error> {
        let provider = self.providers.parse(&new.provider)?;
        check_text("key", "Key", &new.key, MAX_KEY_CHARS)?;
        check_secret(&new.secret)?;
        let now = self.clock.now();
        let key = ProviderKey {
            id: ProviderKeyId::generate(now),
            workspace: new.workspace,
            provider,
            key: new.key,
            endpoint: ENDPOINT.parse(new.endpoint)?,
            region: REGION.parse(new.region)?,
            tenant_id: TENANT_ID.parse(new.tenant_id)?,
            subscription_id: SUBSCRIPTION_ID.parse(new.subscription_id)?,
            description: DESCRIPTION.parse(new.description)?,
            created_at: now,
            version: 1,
        };
        let workspace = self.directory.workspace(&key.workspace).await?;
        let grant = policy::authorize(
            &caller.principal,
            policy::CREATE_API_KEY,
            workspace.as_ref(),
        )?;
        let keys = self.vault.keys(&grant).await?;
        let stored = StoredProviderKey {
            sealed_secret: keys.seal(secret_place(&key.id, key.version), &new.secret)?,
            secret_version: key.version,
            fingerprint: fingerprint(&keys, &key, &new.secret),
            key,
        };
        let event = self.event(caller, &grant, stored.key.id);
        self.store.insert(&grant, &stored, &event).await?;
        Ok(stored.key.id)
    }

    /// Changes the fields that are given; a given secret rotates the credential.
    ///
    /// # Errors
    /// An unfit field; not found; denied in the key's workspace; another key of the workspace has
    /// the credentials that this would have.
    pub async fn update(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        patch: ProviderKeyPatch,
    ) -> Result<(), Error> {
        let patch = CheckedPatch::new(&self.providers, patch)?;
        let (id, grant) = self.find(caller, id, policy::UPDATE_API_KEY).await?;
        let fields = patch.fields();
        if fields.is_empty() {
            return Ok(());
        }
        let keys = self.vault.keys(&grant).await?;
        let event = self
            .event(caller, &grant, id)
            .with_detail("fields", fields.join(","));
        self.store
            .modify(&grant, id, &|stored| patch.apply(stored, &keys), &event)
            .await
    }

    /// Deletes a provider key for good.
    ///
    /// # Errors
    /// Not found; denied in the key's workspace; in use while anything is linked.
    pub async fn delete(&self, caller: &Caller, id: Option<ProviderKeyId>) -> Result<(), Error> {
        let (id, grant) = self.find(caller, id, policy::DELETE_API_KEY).await?;
        self.store
            .delete(&grant, id, &self.event(caller, &grant, id))
            .await
    }

    /// Releases an opened credential; the release is audited before it happens.
    ///
    /// # Errors
    /// Denied to all but services; not found.
    pub async fn resolve(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
    ) -> Result<OpenedProviderKey, Error> {
        let (id, grant) = self.find(caller, id, policy::RESOLVE_API_KEY).await?;
        let keys = self.vault.keys(&grant).await?;
        let stored = self
            .store
            .release(&grant, id, &self.event(caller, &grant, id))
            .await?;
        let secret = keys.open(
            secret_place(&id, stored.secret_version),
            &stored.sealed_secret,
        )?;
        Ok(OpenedProviderKey {
            key: stored.key,
            secret,
        })
    }

    /// Records that a resource uses a provider key; the earlier link stays if there is one.
    ///
    /// # Errors
    /// Denied to all but services; not found.
    pub async fn link(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        resource: Resource,
    ) -> Result<Link, Error> {
        let (id, grant) = self.find(caller, id, policy::LINK_API_KEY).await?;
        let event = resource_event(self.event(caller, &grant, id), &resource);
        let link = Link {
            key: id,
            resource,
            created_at: event.occurred_at,
        };
        self.store.link(&grant, &link, &event).await
    }

    /// Records that a resource does not use a provider key, whether or not it did.
    ///
    /// # Errors
    /// Denied to all but services; not found.
    pub async fn unlink(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        resource: &Resource,
    ) -> Result<(), Error> {
        let (id, grant) = self.find(caller, id, policy::UNLINK_API_KEY).await?;
        let event = resource_event(self.event(caller, &grant, id), resource);
        self.store.unlink(&grant, id, resource, &event).await
    }

    /// Lists what uses a provider key, by kind and id.
    ///
    /// # Errors
    /// Denied to all but services; not found.
    pub async fn links(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        page: &PageRequest,
    ) -> Result<Page<Link>, Error> {
        let (id, grant) = self.find(caller, id, policy::LIST_API_KEY_LINKS).await?;
        self.store.links(&grant, id, page).await
    }

    /// Finds the key's workspace and asks the policy. A text that is no id (`None`) names nothing.
    async fn find<P: Permission>(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        action: Action<P>,
    ) -> Result<(ProviderKeyId, Grant<P>), Error> {
        policy::precheck(&caller.principal, action)?;
        let id = id.ok_or(Error::NotFound(Noun::ProviderKey))?;
        let workspace = self.store.locate(id).await?;
        let noun = Noun::ProviderKey;
        let grant = policy::authorize_found(&caller.principal, action, workspace.as_ref(), noun)?;
        Ok((id, grant))
    }

    fn event<P>(&self, caller: &Caller, grant: &Grant<P>, id: ProviderKeyId) -> AuditEvent {
        let now = self.clock.now();
        AuditEvent::new(
            caller,
            now,
            grant.action(),
            Noun::ProviderKey,
            id.to_string(),
        )
        .in_organization(grant.organization())
        .in_workspace(grant.workspace())
    }
}

const ENDPOINT: OptionalText = OptionalText::new("endpoint", "Endpoint", MAX_ENDPOINT_CHARS);
const REGION: OptionalText = OptionalText::new("region", "Region", MAX_NAME_CHARS);
const TENANT_ID: OptionalText = OptionalText::new("tenantId", "Tenant ID", MAX_NAME_CHARS);
const SUBSCRIPTION_ID: OptionalText =
    OptionalText::new("subscriptionId", "Subscription ID", MAX_NAME_CHARS);
const DESCRIPTION: OptionalText =
    OptionalText::new("description", "Description", MAX_DESCRIPTION_CHARS).with_lines();

/// A patch whose fields all fit: `Some(None)` clears an optional text.
struct CheckedPatch {
    provider: Option<Provider>,
    key: Option<String>,
    secret: Option<Secret<String>>,
    endpoint: Option<Option<String>>,
    region: Option<Option<String>>,
    tenant_id: Option<Option<String>>,
    subscription_id: Option<Option<String>>,
    description: Option<Option<String>>,
}

impl CheckedPatch {
    fn new(providers: &ProviderRegistry, patch: ProviderKeyPatch) -> Result<Self, Error> {
        if let Some(key) = &patch.key {
            check_text("key", "Key", key, MAX_KEY_CHARS)?;
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

    /// The names of the fields that it changes.
    fn fields(&self) -> Vec<&'static str> {
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

    /// The key's successor.
    fn apply(
        &self,
        stored: &StoredProviderKey,
        keys: &WorkspaceKeys,
    ) -> Result<StoredProviderKey, Error> {
        let mut next = stored.clone();
        next.key.version += 1;
        let set = |field: &mut Option<String>, change: &Option<Option<String>>| {
            if let Some(value) = change {
                field.clone_from(value);
            }
        };
        set(&mut next.key.endpoint, &self.endpoint);
        set(&mut next.key.region, &self.region);
        set(&mut next.key.tenant_id, &self.tenant_id);
        set(&mut next.key.subscription_id, &self.subscription_id);
        set(&mut next.key.description, &self.description);
        if let Some(provider) = &self.provider {
            next.key.provider = provider.clone();
        }
        if let Some(key) = &self.key {
            next.key.key.clone_from(key);
        }
        if let Some(secret) = &self.secret {
            next.secret_version = next.key.version;
            next.sealed_secret =
                keys.seal(secret_place(&next.key.id, next.secret_version), secret)?;
            next.fingerprint = fingerprint(keys, &next.key, secret);
        } else if self.provider.is_some() || self.key.is_some() {
            let place = secret_place(&stored.key.id, stored.secret_version);
            let secret = keys.open(place, &stored.sealed_secret)?;
            next.fingerprint = fingerprint(keys, &next.key, &secret);
        }
        Ok(next)
    }
}

fn resource_event(event: AuditEvent, resource: &Resource) -> AuditEvent {
    event
        .with_detail("resource_kind", resource.kind.name())
        .with_detail("resource_id", resource.id.as_str())
}

fn check_secret(secret: &Secret<String>) -> Result<(), Error> {
    if secret.expose().len() > MAX_SECRET_BYTES {
        let message = format!("Secret must have at most {MAX_SECRET_BYTES} bytes");
        return Err(Error::invalid("secret", message));
    }
    Ok(())
}

fn secret_place(id: &ProviderKeyId, version: u64) -> Place<'_> {
    Place {
        record: id.as_bytes(),
        field: "provider_key.secret",
        version,
    }
}

/// HMAC-SHA256 of provider, key and secret under the workspace's fingerprint key.
fn fingerprint(keys: &WorkspaceKeys, key: &ProviderKey, secret: &Secret<String>) -> [u8; 32] {
    keys.fingerprint(&[
        key.provider.as_str().as_bytes(),
        key.key.as_bytes(),
        secret.expose().as_bytes(),
    ])
}
