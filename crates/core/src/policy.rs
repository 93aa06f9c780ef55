//! Authorization policy. Only this module creates a [`Grant`], and every store call on a workspace takes one,
//! so that a missing check does not compile. Submodules decide about organizations and about the operations
//! that only internal services perform for the whole platform.
//!
//! The table in `docs/policy.md` lists the evaluated policy; a test compares the two.

mod decision;
mod organization;
mod platform;

pub use organization::{
    CREATE_MANAGEMENT_KEY, LIST_MANAGEMENT_KEYS, ORGANIZATION_ACTIONS, OrganizationAction,
    OrganizationGrant, REVOKE_MANAGEMENT_KEY, authorize_organization, precheck_organization,
};
pub use platform::{
    AuditGrant, DirectoryGrant, as_directory_admin, authorize_audit, authorize_directory,
    precheck_audit, precheck_directory,
};

use std::marker::PhantomData;

use keyward_crypto::KeyHash;

use crate::error::{Error, Noun};
use crate::model::audit::EventScope;
use crate::model::id::{OrganizationId, WorkspaceId};
use crate::model::principal::Principal;
use crate::model::tenancy::{Access, OrganizationRole, Workspace};

use decision::decide;

/// Read the contents of a workspace: a member with READ in it.
#[derive(Debug, Clone, Copy)]
pub struct Read;
/// Change the contents of a workspace: a member with WRITE in it.
#[derive(Debug, Clone, Copy)]
pub struct Write;
/// Use the contents of a workspace on behalf of the platform: an internal service.
#[derive(Debug, Clone, Copy)]
pub struct Serve;
/// Administer the issued keys of a workspace: a management key of its organization.
#[derive(Debug, Clone, Copy)]
pub struct Manage;

/// Permission that an action requires.
pub trait Permission: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Returns true if this kind of principal can have the permission in some workspace; needs no look-up.
    fn possible(principal: &Principal) -> bool;
    /// Returns true if the principal has the permission in this workspace.
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
    fn possible(principal: &Principal) -> bool {
        matches!(principal, Principal::User(_))
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        access(principal, workspace) >= Some(Access::Read)
    }
}

impl Permission for Write {
    fn possible(principal: &Principal) -> bool {
        matches!(principal, Principal::User(_))
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        access(principal, workspace) >= Some(Access::Write)
    }
}

impl Permission for Serve {
    fn possible(principal: &Principal) -> bool {
        matches!(principal, Principal::Service(_))
    }

    fn allows(principal: &Principal, _workspace: &Workspace) -> bool {
        Self::possible(principal)
    }
}

impl Permission for Manage {
    fn possible(principal: &Principal) -> bool {
        matches!(principal, Principal::ManagementKey { .. })
    }

    fn allows(principal: &Principal, workspace: &Workspace) -> bool {
        matches!(principal, Principal::ManagementKey { organization, .. }
            if *organization == workspace.organization)
    }
}

/// Returns the access of a principal in a workspace as a member of its organization.
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

/// An action on a resource of a workspace, with the permission that it requires.
#[derive(Debug, Clone, Copy)]
pub struct Action<P> {
    name: &'static str,
    permission: PhantomData<P>,
}

/// An action with its permission type erased, for the policy table.
#[derive(Clone, Copy)]
pub struct ActionRule {
    /// Name of the action, such as `api_key.create`: resource and verb.
    pub name: &'static str,
    /// Returns true if a principal may perform the action in a workspace.
    pub allows: fn(&Principal, &Workspace) -> bool,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $constant:ident: $permission:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Action<$permission> =
            Action { name: $name, permission: PhantomData };)*

        /// All actions.
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
    /// List the resources that use a provider API key.
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
    /// Record spending of an issued key.
    RECORD_USAGE: Serve = "usage.record";
    /// Reserve an amount that an issued key is about to spend.
    RESERVE_SPEND: Serve = "spend.reserve";
    /// Turn a reservation into a charge.
    SETTLE_SPEND: Serve = "spend.settle";
    /// Release a reservation.
    RELEASE_SPEND: Serve = "spend.release";
}

/// Proof that the policy allowed an action of kind `P` in a workspace.
///
/// Only this module can create one:
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
    /// Returns the workspace of the grant.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// Returns the organization of that workspace.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// Returns the name of the allowed action.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}

/// A grant of any permission, for code that needs only its workspace.
pub trait WorkspaceScope: sealed_scope::Sealed + Send + Sync {
    /// Returns the workspace of the grant.
    fn workspace(&self) -> &WorkspaceId;

    /// Returns the organization of that workspace.
    fn organization(&self) -> &OrganizationId;

    /// Returns the scope of audit events in that workspace.
    fn event_scope(&self) -> EventScope {
        EventScope::workspace(self.organization(), self.workspace())
    }
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

/// Authorizes an action in a workspace. A workspace that does not exist is rejected exactly like a workspace
/// that the principal may not see.
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

/// Authorizes an action in each of several workspaces, as a single decision. Returns the grants for the
/// workspaces in which the principal may perform it.
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

/// Rejects a principal that could not perform the action in any workspace, before any look-up. For all other
/// principals another decision follows.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck<P: Permission>(principal: &Principal, action: Action<P>) -> Result<(), Error> {
    check_possible::<P>(principal).or_else(|denied| decide(action.name, || Err(denied)))
}

/// Authorizes an action that concerns no single workspace, such as the verification of a key that the caller
/// presents.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_anywhere<P: Permission>(
    principal: &Principal,
    action: Action<P>,
) -> Result<(), Error> {
    decide(action.name, || check_possible::<P>(principal))
}

fn check_possible<P: Permission>(principal: &Principal) -> Result<(), Error> {
    if P::possible(principal) {
        Ok(())
    } else {
        Err(Error::Denied)
    }
}

/// Authorizes an action on a resource that was looked up by its own identifier. `workspace` is `None` if the
/// resource does not exist.
///
/// # Errors
/// [`Error::Denied`], or [`Error::NotFound`] for a principal that could perform the action in some workspace.
pub fn authorize_found<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
    noun: Noun,
) -> Result<Grant<P>, Error> {
    decide(action.name, || {
        check_possible::<P>(principal)?;
        if workspace.is_none() {
            return Err(Error::NotFound(noun));
        }
        grant(principal, action, workspace)
    })
}

/// Like [`authorize_found`], but a resource that the principal may not see gives the same error as a resource
/// that does not exist.
///
/// # Errors
/// [`Error::Denied`] for a principal that could not perform the action in any workspace, otherwise
/// [`Error::NotFound`].
pub fn authorize_or_not_found<P: Permission>(
    principal: &Principal,
    action: Action<P>,
    workspace: Option<&Workspace>,
    noun: Noun,
) -> Result<Grant<P>, Error> {
    decide(action.name, || {
        check_possible::<P>(principal)?;
        grant(principal, action, workspace).map_err(|_| Error::NotFound(noun))
    })
}

/// Returns the organization whose issued keys the principal administers.
///
/// # Errors
/// [`Error::Denied`] for all principals but management keys.
pub fn managed_organization(principal: &Principal) -> Result<&OrganizationId, Error> {
    match principal {
        Principal::ManagementKey { organization, .. } => Ok(organization),
        _ => decide("issued_key.manage", || Err(Error::Denied)),
    }
}

/// The key that authenticates a call, by its hash.
#[derive(Debug, Clone, Copy)]
pub enum CallingKey<'p> {
    /// An issued key.
    Issued(&'p KeyHash),
    /// A management key.
    Management(&'p KeyHash),
}

/// Returns the key that authenticates the call, which may read its own description.
///
/// # Errors
/// [`Error::Denied`] for all principals but keys.
pub fn calling_key(principal: &Principal) -> Result<CallingKey<'_>, Error> {
    decide("key.get_own", || match principal {
        Principal::IssuedKey { hash, .. } => Ok(CallingKey::Issued(hash)),
        Principal::ManagementKey { hash, .. } => Ok(CallingKey::Management(hash)),
        Principal::User(_) | Principal::Service(_) => Err(Error::Denied),
    })
}

/// Rejects a principal that is not a key, before any look-up.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_calling_key(principal: &Principal) -> Result<(), Error> {
    match principal {
        Principal::IssuedKey { .. } | Principal::ManagementKey { .. } => Ok(()),
        Principal::User(_) | Principal::Service(_) => calling_key(principal).map(drop),
    }
}
