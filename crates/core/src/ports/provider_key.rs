//! Provider keys and their links.

use async_trait::async_trait;

use crate::error::Error;
use crate::model::audit::AuditEvent;
use crate::model::data_key::UsedDataKeys;
use crate::model::id::ProviderKeyId;
use crate::model::page::{Page, PageRequest, Position};
use crate::model::provider::Provider;
use crate::model::provider_key::{Link, ListedProviderKey, Resource, StoredProviderKey};
use crate::model::tenancy::Workspace;
use crate::policy::{Grant, Read, Serve, Write};

/// Turns a stored provider key into its successor. The store may call it more than once.
pub type Change<'a> =
    dyn Fn(&StoredProviderKey) -> Result<StoredProviderKey, Error> + Send + Sync + 'a;

/// Stores provider keys and their links.
#[async_trait]
pub trait ProviderKeyStore: Send + Sync {
    /// Returns the workspace of a provider key, as input of the policy.
    async fn locate(&self, id: ProviderKeyId) -> Result<Option<Workspace>, Error>;

    /// Lists a page of the provider keys of the granted workspaces with the number of their links, newest
    /// first. If providers are given, lists only their keys. [`Page::next`] is [`Position::sort_key`].
    async fn list(
        &self,
        grants: &[Grant<Read>],
        providers: Option<&[Provider]>,
        page: &PageRequest<Position>,
    ) -> Result<Page<ListedProviderKey>, Error>;

    /// Stores a new provider key. Errors: duplicate credentials; too many in the workspace; denied if the
    /// workspace no longer belongs to the organization; unavailable if the data keys no longer belong to the
    /// workspace.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredProviderKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a provider key by its successor under a lock. Errors: not found, duplicate credentials, or
    /// the error of `change`; unavailable if the data keys no longer belong to the workspace.
    async fn modify(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        change: &Change<'_>,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Returns the ids of keys after this one whose secret is not bound, in ascending order. Called at start-up
    /// and by the operator's command `admin bind-secrets`. Takes no grant, and returns only ids.
    async fn unbound(
        &self,
        after: Option<ProviderKeyId>,
        limit: u32,
    ) -> Result<Vec<ProviderKeyId>, Error>;

    /// Replaces a provider key by its successor, like [`modify`](Self::modify). Errors: not found, or the
    /// error of `change`; unavailable if the data keys no longer belong to the workspace.
    async fn reseal(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        change: &Change<'_>,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a provider key. Errors: not found, or in use.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Returns a provider key with its sealed secret, for release. Errors: not found.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<StoredProviderKey, Error>;

    /// Links a resource and returns the link. If a link exists, returns it and stores no event. Errors: not
    /// found.
    async fn link(
        &self,
        grant: &Grant<Serve>,
        link: &Link,
        event: &AuditEvent,
    ) -> Result<Link, Error>;

    /// Unlinks a resource if it is linked; only then stores the event.
    async fn unlink(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        resource: &Resource,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Lists the links of a provider key by kind and resource id. [`Page::next`] is [`Resource::sort_key`].
    async fn links(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        page: &PageRequest<Resource>,
    ) -> Result<Page<Link>, Error>;
}
