//! Provider keys and their links.

use async_trait::async_trait;

use crate::audit::AuditEvent;
use crate::directory::Workspace;
use crate::error::Error;
use crate::id::ProviderKeyId;
use crate::page::{Page, PageRequest, Position};
use crate::policy::{Grant, Read, Serve, Write};
use crate::provider::Provider;
use crate::provider_key::{Link, ListedProviderKey, Resource, StoredProviderKey};
use crate::vault::UsedDataKeys;

/// What turns a stored provider key into its successor. It may run more than once.
pub type Change<'a> =
    dyn Fn(&StoredProviderKey) -> Result<StoredProviderKey, Error> + Send + Sync + 'a;

/// Keeps provider keys and their links.
#[async_trait]
pub trait ProviderKeyStore: Send + Sync {
    /// The workspace of a provider key, as input of the policy.
    async fn locate(&self, id: ProviderKeyId) -> Result<Option<Workspace>, Error>;

    /// A page of the provider keys of the granted workspaces with their links counted, newest first; only
    /// those of one of the providers, if any are given. [`Page::next`] is [`Position::sort_key`].
    async fn list(
        &self,
        grants: &[Grant<Read>],
        providers: Option<&[Provider]>,
        page: &PageRequest<Position>,
    ) -> Result<Page<ListedProviderKey>, Error>;

    /// Stores a new provider key: duplicate credentials; too many in the workspace; denied when the workspace is not the
    /// organization's any more; unavailable when the data keys are not the workspace's any more.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredProviderKey,
        used: &UsedDataKeys,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a provider key by its successor while no one else can: not found, duplicate
    /// credentials, or what `change` answers.
    async fn modify(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        change: &Change<'_>,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Keys in the order of their ids, after this one, whose secret is not bound. It is asked at start-up and
    /// by the operator, without a grant, and returns nothing but ids.
    async fn unbound(
        &self,
        after: Option<ProviderKeyId>,
        limit: u32,
    ) -> Result<Vec<ProviderKeyId>, Error>;

    /// Replaces a provider key by its successor, as [`modify`](Self::modify) does: not found, or what
    /// `change` answers.
    async fn reseal(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        change: &Change<'_>,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a provider key: not found, or in use.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// A provider key with its sealed secret, for release: not found.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        event: &AuditEvent,
    ) -> Result<StoredProviderKey, Error>;

    /// Links a resource and returns the link, or the earlier link if there is one, in which case
    /// no event is stored: not found.
    async fn link(
        &self,
        grant: &Grant<Serve>,
        link: &Link,
        event: &AuditEvent,
    ) -> Result<Link, Error>;

    /// Unlinks a resource if it is linked; only then the event is stored.
    async fn unlink(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        resource: &Resource,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// The links of a provider key by kind and resource id; [`Page::next`] is
    /// [`Resource::sort_key`].
    async fn links(
        &self,
        grant: &Grant<Serve>,
        id: ProviderKeyId,
        page: &PageRequest<Resource>,
    ) -> Result<Page<Link>, Error>;
}
