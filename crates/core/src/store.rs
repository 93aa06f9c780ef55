//! What storage offers: one trait for each noun, one method for each transaction.
//!
//! A method that changes something takes the audit event and stores it in the same transaction. A
//! method that fails has changed nothing. A method that touches a workspace takes a grant and
//! reaches no other workspace; the exceptions are the inputs of authentication and of the policy
//! itself, and one look at start-up, and say so.

use async_trait::async_trait;
use keyward_crypto::KeyHash;

use crate::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::directory::{Member, Organization, Repo, Workspace};
use crate::error::Error;
use crate::id::{
    IssuedKeyId, ManagementKeyId, OrganizationId, ProviderKeyId, RepoAiKeyId, RepoId,
    ReservationId, UserId, WorkspaceId,
};
use crate::issued_key::{IssuedKey, ManagementKey};
use crate::ledger::{Charge, Recorded, Reservation, Reserved, RolledUp};
use crate::limit::MeteredKey;
use crate::page::{Page, PageRequest};
use crate::policy::{
    DirectoryGrant, Grant, Manage, OrganizationGrant, Read, Serve, WorkspaceScope, Write,
};
use crate::provider::Provider;
use crate::provider_key::{Link, ListedProviderKey, Resource, StoredProviderKey};
use crate::repo_ai_key::{FoundRepoAiKey, RepoAiKey, StoredRepoAiKey};
use crate::vault::WrappedDataKey;

/// Keeps the directory.
///
/// Pages are ordered by the item's own id; [`PageRequest::after`] is that id.
#[async_trait]
pub trait DirectoryStore: Send + Sync {
    /// A member, for authentication: without a grant, since it is how a principal comes to be.
    async fn member(
        &self,
        organization: &OrganizationId,
        user: &UserId,
    ) -> Result<Option<Member>, Error>;

    /// A workspace, as input of the policy.
    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, Error>;

    /// Every workspace of an organization, as input of the policy.
    async fn workspaces(&self, organization: &OrganizationId) -> Result<Vec<Workspace>, Error>;

    /// An organization's default workspace, as input of the policy.
    async fn default_workspace(
        &self,
        organization: &OrganizationId,
    ) -> Result<Option<Workspace>, Error>;

    /// A repo, as input of the policy.
    async fn repo(&self, id: &RepoId) -> Result<Option<Repo>, Error>;

    /// Creates an organization or changes its name, and returns it as it is then. The given
    /// default workspace is ignored.
    async fn upsert_organization(
        &self,
        grant: &DirectoryGrant,
        organization: &Organization,
        event: &AuditEvent,
    ) -> Result<Organization, Error>;

    /// An organization.
    async fn organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
    ) -> Result<Option<Organization>, Error>;

    /// Organizations by id.
    async fn organizations(
        &self,
        grant: &DirectoryGrant,
        page: &PageRequest,
    ) -> Result<Page<Organization>, Error>;

    /// Deletes an organization: not found, or not empty while it has workspaces, members or live
    /// management keys.
    async fn delete_organization(
        &self,
        grant: &DirectoryGrant,
        id: &OrganizationId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a workspace or changes its name, and makes it the default if it says so or if the
    /// organization has none: the organization is not found, or the workspace is another's.
    async fn upsert_workspace(
        &self,
        grant: &DirectoryGrant,
        workspace: &Workspace,
        event: &AuditEvent,
    ) -> Result<Workspace, Error>;

    /// An organization's workspaces by id.
    async fn workspaces_page(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Workspace>, Error>;

    /// Deletes a workspace with its data keys and the members' access to it: not found, or not
    /// empty while it has repos, provider keys or live issued keys. Its organization's default
    /// passes to no one.
    async fn delete_workspace(
        &self,
        grant: &DirectoryGrant,
        id: &WorkspaceId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates or replaces a member with all access: the organization is not found, or a
    /// workspace is not found in it.
    async fn upsert_member(
        &self,
        grant: &DirectoryGrant,
        member: &Member,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// An organization's members by user id.
    async fn members(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Page<Member>, Error>;

    /// Deletes a member: not found.
    async fn delete_member(
        &self,
        grant: &DirectoryGrant,
        organization: &OrganizationId,
        user: &UserId,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Creates a repo or changes its name: the workspace is not found, or the repo is another's.
    async fn upsert_repo(
        &self,
        grant: &DirectoryGrant,
        repo: &Repo,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// A workspace's repos by id.
    async fn repos(
        &self,
        grant: &DirectoryGrant,
        workspace: &WorkspaceId,
        page: &PageRequest,
    ) -> Result<Page<Repo>, Error>;

    /// Deletes a repo: not found.
    async fn delete_repo(
        &self,
        grant: &DirectoryGrant,
        id: &RepoId,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}

/// Keeps workspaces' wrapped data keys.
#[async_trait]
pub trait DataKeyStore: Send + Sync {
    /// The data keys of the granted workspace.
    async fn data_keys(&self, scope: &dyn WorkspaceScope) -> Result<Vec<WrappedDataKey>, Error>;

    /// One of the wrapped data keys, if there are any, with its workspace. Without a grant, since it
    /// is asked at start-up, when there is no caller: whether the key-encryption key opens what the
    /// database holds.
    async fn any_data_key(&self) -> Result<Option<(WorkspaceId, WrappedDataKey)>, Error>;

    /// Stores those data keys whose purpose and version the granted workspace does not have yet.
    async fn insert_missing_data_keys(
        &self,
        scope: &dyn WorkspaceScope,
        keys: &[WrappedDataKey],
    ) -> Result<(), Error>;
}

/// What turns a stored provider key into its successor. It may run more than once.
pub type Change<'a> =
    dyn Fn(&StoredProviderKey) -> Result<StoredProviderKey, Error> + Send + Sync + 'a;

/// Keeps provider keys and their links.
#[async_trait]
pub trait ProviderKeyStore: Send + Sync {
    /// The workspace of a provider key, as input of the policy.
    async fn locate(&self, id: ProviderKeyId) -> Result<Option<Workspace>, Error>;

    /// The provider keys of the granted workspaces with their links counted, newest first; only
    /// those of one of the providers, if any are given.
    async fn list(
        &self,
        grants: &[Grant<Read>],
        providers: Option<&[Provider]>,
    ) -> Result<Vec<ListedProviderKey>, Error>;

    /// Stores a new provider key: duplicate credentials.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredProviderKey,
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

/// Keeps repo AI keys.
///
/// What is deleted stays as a row, without its sealed secret, and is found by no method.
#[async_trait]
pub trait RepoAiKeyStore: Send + Sync {
    /// The live key of that public half, for verification: without a grant, since the public half
    /// says which workspace it is about.
    async fn find_by_key(&self, key: &str) -> Result<Option<FoundRepoAiKey>, Error>;

    /// The repo's live keys, newest first.
    async fn list(&self, grant: &Grant<Read>, repo: &RepoId) -> Result<Vec<RepoAiKey>, Error>;

    /// A live key of the repo: not found.
    async fn get(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
    ) -> Result<RepoAiKey, Error>;

    /// Stores a new key: duplicate name, or denied when the repo went away.
    async fn insert(
        &self,
        grant: &Grant<Write>,
        key: &StoredRepoAiKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Renames a live key of the repo: not found, or duplicate name.
    async fn rename(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        name: &str,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Deletes a live key of the repo; its name is free again: not found.
    async fn delete(
        &self,
        grant: &Grant<Write>,
        repo: &RepoId,
        id: RepoAiKeyId,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;
}

/// What turns an issued key into its successor. It may run more than once.
pub type KeyChange<'a> = dyn Fn(&IssuedKey) -> IssuedKey + Send + Sync + 'a;

/// Keeps issued keys.
///
/// Accounts are of the moment `now`, each read in one statement, so that it is of one state of the
/// ledger. What is deleted stays as a row for the ledger's sake and is found by no method here.
#[async_trait]
pub trait IssuedKeyStore: Send + Sync {
    /// A live key, for authentication: without a grant, since it is how a principal comes to be.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<IssuedKey>, Error>;

    /// A live key and its account, for verification and for a key that asks about itself: without a
    /// grant, since the plaintext was presented.
    async fn find_metered(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<Option<MeteredKey>, Error>;

    /// The workspace of a live key, as input of the policy.
    async fn locate(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// The workspace's live keys, newest first, without the disabled ones unless they are wanted.
    async fn list(
        &self,
        grant: &Grant<Manage>,
        include_disabled: bool,
        offset: u64,
        limit: u32,
        now: Timestamp,
    ) -> Result<Vec<MeteredKey>, Error>;

    /// A live key of the workspace: not found.
    async fn get(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Result<MeteredKey, Error>;

    /// Stores a new key: denied when the workspace went away.
    async fn insert(
        &self,
        grant: &Grant<Manage>,
        key: &IssuedKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Replaces a live key by its successor while no one else can, and returns it: not found.
    async fn modify(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        change: &KeyChange<'_>,
        event: &AuditEvent,
    ) -> Result<MeteredKey, Error>;

    /// Deletes a live key: not found.
    async fn delete(
        &self,
        grant: &Grant<Manage>,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Notes a use where [`LastUse::notes`](crate::issued_key::LastUse::notes) says so, in a task of
    /// its own that is waited for no longer than a moment: that it cannot be noted is for the log,
    /// and no reason to refuse the use. Without a grant and without an event, since it notes that a
    /// key proved itself, and changes nothing that anyone set.
    async fn touch(&self, id: IssuedKeyId, used_at: Timestamp);
}

/// Keeps management keys. What is revoked stays as a row and is found by no method.
#[async_trait]
pub trait ManagementKeyStore: Send + Sync {
    /// A live key, for authentication and as input of the policy: without a grant, as for issued
    /// keys.
    async fn find_by_hash(&self, hash: &KeyHash) -> Result<Option<ManagementKey>, Error>;

    /// Stores a new key: the organization is not found.
    async fn insert(
        &self,
        grant: &OrganizationGrant,
        key: &ManagementKey,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// The organization's live keys, newest first; [`Page::next`] is the last one's id.
    async fn list(
        &self,
        grant: &OrganizationGrant,
        page: &PageRequest<ManagementKeyId>,
    ) -> Result<Page<ManagementKey>, Error>;

    /// Ends a live key of the organization for good: not found.
    async fn revoke(
        &self,
        grant: &OrganizationGrant,
        hash: &KeyHash,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(), Error>;

    /// Notes a use, as [`IssuedKeyStore::touch`] does.
    async fn touch(&self, id: ManagementKeyId, used_at: Timestamp);
}

/// What makes a charge while its key is held, so that its times are not those of before a wait. It
/// may run more than once.
pub type Charging<'a> = dyn Fn() -> Result<Charge, Error> + Send + Sync + 'a;
/// What makes a reservation while its key is held. It may run more than once.
pub type Holding<'a> = dyn Fn() -> Reservation + Send + Sync + 'a;
/// What decides whether a hold fits. It may run more than once.
pub type Admission<'a> = dyn Fn(&MeteredKey, &Reservation) -> Result<(), Error> + Send + Sync + 'a;
/// What a reservation becomes, made while its key is held. It may run more than once.
pub type Settlement<'a> = dyn Fn(&Reservation) -> Charge + Send + Sync + 'a;

/// Keeps charges, their sums, and reservations.
///
/// Whoever changes a key's account holds the key's row until the commit, so that one decides after
/// another; nothing about it, the time included, is read before that. The rows of the ledger are
/// their own trail, since they say who recorded, held or ended what and when, so that its methods
/// take no audit event.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// The workspace of a key, also of a deleted one, as input of the policy.
    async fn locate_key(&self, hash: &KeyHash) -> Result<Option<Workspace>, Error>;

    /// A reservation's key and its workspace, as input of the policy.
    async fn locate_reservation(
        &self,
        id: ReservationId,
    ) -> Result<Option<(Workspace, KeyHash)>, Error>;

    /// Appends a charge to a key of the workspace, live or deleted, and adds it to the key's sums,
    /// unless the same charge is there: not found, or request id conflict.
    async fn record(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        charge: &Charging<'_>,
    ) -> Result<Recorded, Error>;

    /// Stores a reservation on a live key of the workspace if `admit` lets it, or finds the same
    /// one under its request id, still open at its `created_at`: not found, request id conflict, or
    /// what `admit` answers.
    async fn reserve(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        hold: &Holding<'_>,
        admit: &Admission<'_>,
    ) -> Result<Reserved, Error>;

    /// Ends a reservation of that key by the charge that it becomes, also an expired one, unless the same
    /// charge is there: not found, ended by release, or request id conflict.
    async fn settle(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        charge: &Settlement<'_>,
    ) -> Result<Recorded, Error>;

    /// Ends a reservation of that key, unless it is released already: not found, or ended by settlement.
    async fn release(
        &self,
        grant: &Grant<Serve>,
        hash: &KeyHash,
        id: ReservationId,
        now: Timestamp,
        by: &str,
    ) -> Result<(), Error>;

    /// Drops at most `limit` charges that were recorded before a moment, and as many reservations
    /// that ended and expired before it. The charges' sums stay. Without a grant, since no caller
    /// asks for it.
    async fn roll_up(&self, before: Timestamp, limit: u64) -> Result<RolledUp, Error>;
}

/// Tells whether the store can be reached.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Asks the store for an answer.
    async fn ping(&self) -> Result<(), Error>;
}
