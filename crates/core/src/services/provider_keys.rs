//! Use cases of provider keys.

mod bind;
mod patch;
mod sealed;

pub use bind::SecretsBound;
pub use sealed::{SecretBinding, SecretMismatch};

use std::sync::Arc;

use keyward_crypto::Secret;

use crate::error::{Error, Noun};
use crate::model::audit::AuditEvent;
use crate::model::clock::Clock;
use crate::model::filter_digest::FilterDigest;
use crate::model::id::{ProviderKeyId, WorkspaceId};
use crate::model::page::{Page, PageRequest};
use crate::model::principal::{Caller, Principal};
use crate::model::provider::{Provider, ProviderRegistry};
use crate::model::provider_key::{
    Link, ListedProviderKey, NewProviderKey, ProviderKey, ProviderKeyFilter, ProviderKeyPatch,
    Resource, StoredProviderKey,
};
use crate::model::provider_key_fields::{
    CheckedPatch, DESCRIPTION, ENDPOINT, REGION, SUBSCRIPTION_ID, TENANT_ID, check_key,
    check_secret,
};
use crate::policy::{self, Action, Grant, Permission};
use crate::ports::{DirectoryStore, ProviderKeyStore};
use crate::services::vault::{Vault, WorkspaceKeys};
use sealed::fingerprint;

/// A provider key with its decrypted secret.
pub struct OpenedProviderKey {
    /// The part without the secret.
    pub key: ProviderKey,
    /// The secret.
    pub secret: Secret<String>,
}

/// Settings for provider keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProviderKeySettings {
    /// True to reject a change of endpoint or provider that comes without the secret.
    pub endpoint_change_needs_secret: bool,
    /// Binding of the secrets.
    pub binding: SecretBinding,
}

/// Use cases of provider keys.
#[derive(Clone)]
pub struct ProviderKeys {
    store: Arc<dyn ProviderKeyStore>,
    directory: Arc<dyn DirectoryStore>,
    vault: Vault,
    providers: Arc<ProviderRegistry>,
    settings: ProviderKeySettings,
    clock: Arc<dyn Clock>,
}

impl ProviderKeys {
    /// Returns the use cases on a store.
    #[must_use]
    pub fn new(
        store: Arc<dyn ProviderKeyStore>,
        directory: Arc<dyn DirectoryStore>,
        vault: Vault,
        providers: Arc<ProviderRegistry>,
        settings: ProviderKeySettings,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            vault,
            providers,
            settings,
            clock,
        }
    }

    /// Lists a page of provider keys, newest first.
    ///
    /// # Errors
    /// Denied in the named workspace; the provider is not registered; the page token does not belong to this
    /// list.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &ProviderKeyFilter,
        page: &PageRequest,
    ) -> Result<Page<ListedProviderKey>, Error> {
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
            (None, Principal::User(member)) => {
                let all = self.directory.workspaces(&member.organization).await?;
                policy::authorize_each(&caller.principal, policy::LIST_API_KEYS, &all)
            }
            (None, _) => return Err(Error::Denied),
        };
        let bound = bound_to(filter);
        let page = bound.read(page)?;
        let providers = providers.as_deref();
        let listed = self.store.list(&workspaces, providers, &page).await?;
        Ok(bound.bind_page(listed))
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

    /// Creates a provider key.
    ///
    /// # Errors
    /// A field is invalid; denied in the workspace; the workspace already has the same credentials; the
    /// workspace has the maximum number of keys.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewProviderKey,
    ) -> Result<ProviderKeyId, Error> {
        let provider = self.providers.parse(&new.provider)?;
        check_key(&new.key)?;
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
            created_by: Some(caller.creator()),
            version: 1,
        };
        let workspace = self.directory.workspace(&key.workspace).await?;
        let grant = policy::authorize(
            &caller.principal,
            policy::CREATE_API_KEY,
            workspace.as_ref(),
        )?;
        let keys = self.vault.keys(&grant).await?;
        let binding = self.settings.binding;
        let stored = StoredProviderKey {
            sealed_secret: binding.seal(&keys, &key, key.version, &new.secret)?,
            secret_version: key.version,
            fingerprint: fingerprint(&keys, &key, &new.secret),
            key,
        };
        let event = self.event(caller, &grant, stored.key.id);
        self.store
            .insert(&grant, &stored, keys.used(), &event)
            .await?;
        Ok(stored.key.id)
    }

    /// Changes the given fields; a given secret rotates the credential.
    ///
    /// # Errors
    /// A field is invalid; not found; denied in the key's workspace; another key of the workspace has the
    /// resulting credentials; the endpoint or provider changes without the secret although the settings
    /// require it.
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
            .modify(
                &grant,
                id,
                &|stored| self.apply(&patch, stored, &keys),
                keys.used(),
                &event,
            )
            .await
    }

    fn apply(
        &self,
        patch: &CheckedPatch,
        stored: &StoredProviderKey,
        keys: &WorkspaceKeys,
    ) -> Result<StoredProviderKey, Error> {
        if self.settings.endpoint_change_needs_secret {
            patch.check_destination(&stored.key)?;
        }
        patch::apply(patch, stored, keys, self.settings.binding)
    }

    /// Deletes a provider key permanently.
    ///
    /// # Errors
    /// Not found; denied in the key's workspace; in use while a resource is linked.
    pub async fn delete(&self, caller: &Caller, id: Option<ProviderKeyId>) -> Result<(), Error> {
        let (id, grant) = self.find(caller, id, policy::DELETE_API_KEY).await?;
        self.store
            .delete(&grant, id, &self.event(caller, &grant, id))
            .await
    }

    /// Releases a key with its decrypted secret; the release is audited before it happens.
    ///
    /// # Errors
    /// Denied for all callers but services; not found; [`Error::Internal`] of
    /// [`SecretMismatch`] if the row was changed outside of Keyward.
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
        let secret = self.settings.binding.open(&keys, &stored)?;
        Ok(OpenedProviderKey {
            key: stored.key,
            secret,
        })
    }

    /// Records that a resource uses a provider key; keeps an existing link.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
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

    /// Records that a resource does not use a provider key, even if it was not linked.
    ///
    /// # Errors
    /// Denied for all callers but services; not found.
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

    /// Lists the resources that use a provider key, by kind and id.
    ///
    /// # Errors
    /// Denied for all callers but services; not found; the page token does not belong to this list.
    pub async fn links(
        &self,
        caller: &Caller,
        id: Option<ProviderKeyId>,
        page: &PageRequest,
    ) -> Result<Page<Link>, Error> {
        let (id, grant) = self.find(caller, id, policy::LIST_API_KEY_LINKS).await?;
        let page = page.read(Resource::from_sort_key)?;
        self.store.links(&grant, id, &page).await
    }

    /// Finds the key's workspace and authorizes the action. `None` stands for a text that is not an id; no
    /// key has it.
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
    }
}

/// Returns the filters that the page tokens of a list are bound to.
fn bound_to(filter: &ProviderKeyFilter) -> FilterDigest {
    let capability = filter.capability.map(|wanted| wanted.0.to_be_bytes());
    FilterDigest::of("keyward.provider-keys.v1")
        .with_text(filter.workspace.as_ref().map(WorkspaceId::as_str))
        .with_text(filter.provider.as_deref())
        .with(capability.as_ref().map(<[u8; 4]>::as_slice))
}

fn resource_event(event: AuditEvent, resource: &Resource) -> AuditEvent {
    event
        .with_detail("resource_kind", resource.kind.name())
        .with_detail("resource_id", resource.id.as_str())
}
