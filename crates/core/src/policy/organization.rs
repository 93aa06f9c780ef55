//! Authorization of actions on organizations. Only this module creates an [`OrganizationGrant`].

use super::decision::decide;
use crate::error::Error;
use crate::model::id::{OrganizationId, UserId};
use crate::model::principal::Principal;
use crate::model::tenancy::{Member, OrganizationRole};

/// An action on an organization, for its administrators and for internal services.
#[derive(Debug, Clone, Copy)]
pub struct OrganizationAction {
    /// Name of the action, such as `management_key.create`.
    pub name: &'static str,
}

/// Create a management key.
pub const CREATE_MANAGEMENT_KEY: OrganizationAction = OrganizationAction {
    name: "management_key.create",
};
/// List an organization's management keys.
pub const LIST_MANAGEMENT_KEYS: OrganizationAction = OrganizationAction {
    name: "management_key.list",
};
/// Revoke a management key.
pub const REVOKE_MANAGEMENT_KEY: OrganizationAction = OrganizationAction {
    name: "management_key.revoke",
};

/// All actions on an organization.
pub const ORGANIZATION_ACTIONS: &[OrganizationAction] = &[
    CREATE_MANAGEMENT_KEY,
    LIST_MANAGEMENT_KEYS,
    REVOKE_MANAGEMENT_KEY,
];

/// Proof that the policy allowed an action on an organization.
///
/// Only this module can create one:
///
/// ```compile_fail
/// use keyward_core::id::OrganizationId;
/// use keyward_core::policy::OrganizationGrant;
///
/// fn forge(organization: OrganizationId) -> OrganizationGrant {
///     OrganizationGrant { organization, user: None, action: "management_key.create" }
/// }
/// ```
#[derive(Debug)]
pub struct OrganizationGrant {
    organization: OrganizationId,
    /// User that made the request; `None` for a service.
    user: Option<UserId>,
    action: &'static str,
}

impl OrganizationGrant {
    /// Returns the organization of the grant.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// Returns the user that made the request; `None` for a service.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    /// Returns true if the action would be allowed for this member too. A store that changes data checks it with
    /// the member as stored: the organization may have been deleted and created again since the grant.
    #[must_use]
    pub fn allows(&self, member: &Member) -> bool {
        member.organization == self.organization
            && self.user.as_ref() == Some(&member.user)
            && administers(member)
    }

    /// Returns the name of the allowed action.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.action
    }
}

/// Rejects a principal that could not perform such an action on any organization.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_organization(principal: &Principal) -> Result<(), Error> {
    let name = "organization.administer";
    administers_some(principal).or_else(|denied| decide(name, || Err(denied)))
}

fn administers_some(principal: &Principal) -> Result<(), Error> {
    let possible = match principal {
        Principal::Service(_) => true,
        Principal::User(member) => administers(member),
        Principal::IssuedKey { .. } | Principal::ManagementKey { .. } => false,
    };
    if possible { Ok(()) } else { Err(Error::Denied) }
}

/// Authorizes an action on an organization.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_organization(
    principal: &Principal,
    action: OrganizationAction,
    organization: &OrganizationId,
) -> Result<OrganizationGrant, Error> {
    decide(action.name, || {
        administers_some(principal)?;
        let user = match principal {
            Principal::User(member) if member.organization != *organization => {
                return Err(Error::Denied);
            }
            Principal::User(member) => Some(member.user.clone()),
            _ => None,
        };
        Ok(OrganizationGrant {
            organization: organization.clone(),
            user,
            action: action.name,
        })
    })
}

fn administers(member: &Member) -> bool {
    let role = member.role;
    let administrator = matches!(
        role,
        OrganizationRole::Administrators | OrganizationRole::Owner
    );
    member.validated && administrator
}
