//! Who may do what. This module alone makes a [`Grant`], and every store call that touches a
//! workspace takes one, so that a forgotten check does not compile. What is done to an organization, and
//! what only internal services do for the whole platform, are in files of their own.
//!
//! The whole policy, evaluated, is the table in `docs/policy.md`; a test holds the two together.

mod decision;
mod organization;
mod platform;

pub use organization::{
    CREATE_MANAGEMENT_KEY, LIST_MANAGEMENT_KEYS, ORGANIZATION_ACTIONS, OrganizationAction,
    OrganizationGrant, REVOKE_MANAGEMENT_KEY, authorize_organization, precheck_organization,
};
pub use platform::{
    AuditGrant, DirectoryGrant, authorize_audit, authorize_directory, directory_right,
    precheck_audit, precheck_directory,
};

use std::marker::PhantomData;

use keyward_crypto::KeyHash;

use crate::directory::{Access, OrganizationRole, Workspace};
use crate::error::{Error, Noun};
use crate::id::{OrganizationId, WorkspaceId};
use crate::principal::Principal;

use decision::decide;

/// Seeing what a workspace holds: a member with READ there.
#[derive(Debug, Clone, Copy)]
pub struct Read;
/// Changing what a workspace holds: a member with WRITE there.
#[derive(Debug, Clone, Copy)]
pub struct Write;
/// Using what a workspace holds on the platform's behalf: an internal service.
#[derive(Debug, Clone, Copy)]
pub struct Serve;
/// Administering the issued keys of a workspace: a management key of its organization.
#[derive(Debug, Clone, Copy)]
pub struct Manage;

/// What an action needs of a principal.
pub trait Permission: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Whether this kind of principal can have it anywhere, which needs no look-up.
    fn conceivable(principal: &Principal) -> bool;
    /// Whether the principal has it in this workspace.
    fn allows(principal: &Principal, workspace: &Workspace) -> bool;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Read {}
    impl Sealed for super::Write {}
    impl Sealed for super::Serve {}
    impl Sealed for super::Manage {}
}

impl Permission for Read {
    fn conceivable(principal: &Principal) -> bool {
        matches!(principal, Principal::User(_))
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        access(principal, workspace) >= Some(Access::Read)
    }
}

impl Permission for Write {
    fn conceivable(principal: &Principal) -> bool {
        matches!(principal, Principal::User(_))
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        access(principal, workspace) >= Some(Access::Write)
    }
}

impl Permission for Serve {
    fn conceivable(principal: &Principal) -> bool {
        matches!(principal, Principal::Service(_))
    }

    fn allows(principal: &Principal, _workspace: &Workspace) -> bool {
        Self::conceivable(principal)
    }
}

impl Permission for Manage {
    fn conceivable(principal: &Principal) -> bool {
        matches!(principal, Principal::ManagementKey { .. })
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        matches!(principal, Principal::ManagementKey { organization, .. }
            if *organization == workspace.organization)
    }
}

/// What a principal may do in a workspace as a member of its organization.
fn access(principal: &Principal, workspace: &Workspace) -> Option<Access> {
    let Principal::User(member) = principal else {
        return None;
    };
    if !member.validated || member.organization != workspace.organization {
        return None;
    }
    match member.role {
        OrganizationRole::Administrators | OrganizationRole::Owner => Some(Access::Admin),
        OrganizationRole::User | OrganizationRole::Billing | OrganizationRole::Workspaces => {
            member.access.get(&workspace.id).copied()
        }
    }
}

/// Something that can be done to a resource of a workspace, and what it needs.
#[derive(Debug, Clone, Copy)]
pub struct Action<P> {
    name: &'static str,
    permission: PhantomData<P>,
}

/// An action with its permission erased, for the table of the policy.
#[derive(Clone, Copy)]
pub struct ActionRule {
    /// The action's name, such as `api_key.create`: the resource and the verb.
    pub name: &'static str,
    /// Whether a principal may do it in a workspace.
    pub allows: fn(&Principal, &Workspace) -> bool,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $constant:ident: $permission:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Action<$permission> =
            Action { name: $name, permission: PhantomData };)*

        /// Every action.
        pub const ACTIONS: &[ActionRule] =
            &[$(ActionRule { name: $name, allows: <$permission as Permission>::allows }),*];
    };
}

actions! {
    /// List the provider API keys of a workspace.
    LIST_API_KEYS: Read = "api_key.list";
    /// Create a provider API key.
    CREATE_API_KEY: Write = "api_key.create";
    /// Change or rotate a provider API key.
    UPDATE_API_KEY: Write = "api_key.update";
    /// Delete a provider API key.
    DELETE_API_KEY: Write = "api_key.delete";
    /// Release the secret of a provider API key.
    RESOLVE_API_KEY: Serve = "api_key.resolve";
    /// Record that a resource uses a provider API key.
    LINK_API_KEY: Serve = "api_key.link";
    /// Record that a resource no longer uses a provider API key.
    UNLINK_API_KEY: Serve = "api_key.unlink";
    /// List what uses a provider API key.
    LIST_API_KEY_LINKS: Serve = "api_key.list_links";
    /// Bind the sealed secret of a provider API key to its row.
    BIND_API_KEY: Serve = "api_key.bind";
    /// List the AI keys of a repo in the workspace.
    LIST_REPO_AI_KEYS: Read = "repo_ai_key.list";
    /// Create a repo AI key.
    CREATE_REPO_AI_KEY: Write = "repo_ai_key.create";
    /// Rename a repo AI key.
    UPDATE_REPO_AI_KEY: Write = "repo_ai_key.update";
    /// Delete a repo AI key.
    DELETE_REPO_AI_KEY: Write = "repo_ai_key.delete";
    /// Verify a repo AI key with its secret.
    VERIFY_REPO_AI_KEY: Serve = "repo_ai_key.verify";
    /// List the issued keys of a workspace.
    LIST_KEYS: Manage = "issued_key.list";
    /// Issue a key.
    CREATE_KEY: Manage = "issued_key.create";
    /// Describe an issued key.
    GET_KEY: Manage = "issued_key.get";
    /// Change an issued key.
    UPDATE_KEY: Manage = "issued_key.update";
    /// Delete an issued key.
    DELETE_KEY: Manage = "issued_key.delete";
    /// Verify an issued key.
    VERIFY_KEY: Serve = "issued_key.verify";
    /// Record what an issued key has spent.
    RECORD_USAGE: Serve = "usage.record";
    /// Hold what an issued key is about to spend.
    RESERVE_SPEND: Serve = "spend.reserve";
    /// Turn a reservation into a charge.
    SETTLE_SPEND: Serve = "spend.settle";
    /// Give a reservation back.
    RELEASE_SPEND: Serve = "spend.release";
}

/// Proof that the policy allowed an action of kind `P` in one workspace.
///
/// Only this module can make one:
///
/// ```compile_fail
/// use keyward_core::id::{OrganizationId, WorkspaceId};
/// use keyward_core::policy::{Grant, Write};
///
/// fn forge(workspace: WorkspaceId, organization: OrganizationId) -> Grant<Write> {
///     Grant { workspace, organization, action: "api_key.create", permission: Default::default() }
/// }
/// ```
#[derive(Debug)]
pub struct Grant<P> {
    workspace: WorkspaceId,
    organization: OrganizationId,
    action: &'static str,
    permission: PhantomData<P>,
}

impl<P> Grant<P> {
    /// The workspace that the grant is for.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The organization of that workspace.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// The name of the action that was allowed.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}

/// Any grant, where only its workspace matters.
pub trait WorkspaceScope: sealed_scope::Sealed + Send + Sync {
    /// The workspace that the grant is for.
    fn workspace(&self) -> &WorkspaceId;

    /// The organization of that workspace.
    fn organization(&self) -> &OrganizationId;
}

mod sealed_scope {
    pub trait Sealed {}
    impl<P> Sealed for super::Grant<P> {}
}

impl<P: Permission> WorkspaceScope for Grant<P> {
    fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    fn organization(&self) -> &OrganizationId {
        &self.organization
    }
}

/// Decides on an action in a workspace. One that does not exist is refused exactly as one that the
/// principal may not see.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
) -> Result<Grant<P>, Error> {
    decide(action.name, || grant(principal, action, workspace))
}

/// Decides on an action in each of some workspaces, as one decision, and gives the grants for those
/// where the principal may do it.
pub fn authorize_each<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspaces: &[Workspace],
) -> Vec<Grant<P>> {
    let granted = |workspace| grant(principal, action, Some(workspace)).ok();
    let grants = || Ok(workspaces.iter().filter_map(granted).collect());
    decide(action.name, grants).unwrap_or_default()
}

fn grant<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
) -> Result<Grant<P>, Error> {
    match workspace {
        Some(workspace) if P::allows(principal, workspace) => Ok(Grant {
            workspace: workspace.id.clone(),
            organization: workspace.organization.clone(),
            action: action.name,
            permission: PhantomData,
        }),
        _ => Err(Error::Denied),
    }
}

/// Refuses a principal that could not do the action anywhere, before anything is looked up. Another
/// decision follows for all others.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck<P: Permission>(principal: &Principal, action: Action<P>) -> Result<(), Error> {
    conceivable::<P>(principal).or_else(|denied| decide(action.name, || Err(denied)))
}

/// Decides as [`precheck`] does, where no other decision follows.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_alone<P: Permission>(
    principal: &Principal,
    action: Action<P>,
) -> Result<(), Error> {
    decide(action.name, || conceivable::<P>(principal))
}

fn conceivable<P: Permission>(principal: &Principal) -> Result<(), Error> {
    if P::conceivable(principal) {
        Ok(())
    } else {
        Err(Error::Denied)
    }
}

/// Decides on an action on a thing that was looked up by its own identifier, whose workspace is
/// `None` when there is no such thing.
///
/// # Errors
/// [`Error::Denied`], or [`Error::NotFound`] for a principal who could do the action somewhere.
pub fn authorize_found<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
    noun: Noun,
) -> Result<Grant<P>, Error> {
    decide(action.name, || {
        conceivable::<P>(principal)?;
        if workspace.is_none() {
            return Err(Error::NotFound(noun));
        }
        grant(principal, action, workspace)
    })
}

/// Decides as [`authorize_found`] does, where a thing that the principal may not see answers as one
/// that does not exist.
///
/// # Errors
/// [`Error::Denied`] to a principal who could do the action nowhere, else [`Error::NotFound`].
pub fn authorize_hidden<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
    noun: Noun,
) -> Result<Grant<P>, Error> {
    decide(action.name, || {
        conceivable::<P>(principal)?;
        grant(principal, action, workspace).map_err(|_| Error::NotFound(noun))
    })
}

/// The organization whose issued keys a principal administers.
///
/// # Errors
/// [`Error::Denied`] to all but management keys.
pub fn manages(principal: &Principal) -> Result<&OrganizationId, Error> {
    match principal {
        Principal::ManagementKey { organization, .. } => Ok(organization),
        _ => decide("issued_key.manage", || Err(Error::Denied)),
    }
}

/// A key that makes a call, by its hash.
#[derive(Debug, Clone, Copy)]
pub enum CallingKey<'p> {
    /// An issued key.
    Issued(&'p KeyHash),
    /// A management key.
    Management(&'p KeyHash),
}

/// The key that makes a call, which may describe itself.
///
/// # Errors
/// [`Error::Denied`] to all but keys.
pub fn calling_key(principal: &Principal) -> Result<CallingKey<'_>, Error> {
    decide("key.get_own", || match principal {
        Principal::IssuedKey { hash, .. } => Ok(CallingKey::Issued(hash)),
        Principal::ManagementKey { hash, .. } => Ok(CallingKey::Management(hash)),
        Principal::User(_) | Principal::Service(_) => Err(Error::Denied),
    })
}

/// Refuses a principal that is not a key, before anything is looked up.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_calling_key(principal: &Principal) -> Result<(), Error> {
    match principal {
        Principal::IssuedKey { .. } | Principal::ManagementKey { .. } => Ok(()),
        Principal::User(_) | Principal::Service(_) => calling_key(principal).map(drop),
    }
}
