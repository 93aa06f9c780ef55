//! Authorization of platform-wide operations, which only internal services may perform. Only this module
//! creates a [`DirectoryGrant`] and an [`AuditGrant`].

use super::decision::decide;
use crate::error::Error;
use crate::model::principal::Principal;

/// Proof that the policy allowed a principal to manage the directory.
#[derive(Debug)]
pub struct DirectoryGrant(());

/// Proof that the policy allowed a principal to read the audit trail of every organization.
///
/// Only this module can create one:
///
/// ```compile_fail
/// use keyward_core::policy::AuditGrant;
///
/// fn forge() -> AuditGrant {
///     AuditGrant(())
/// }
/// ```
#[derive(Debug)]
pub struct AuditGrant(());

/// Returns the grant to manage the directory if the principal has it, for calls that do not require it.
#[must_use]
pub fn as_directory_admin(principal: &Principal) -> Option<DirectoryGrant> {
    matches!(principal, Principal::Service(_)).then_some(DirectoryGrant(()))
}

/// Authorizes managing the directory, which only internal services may do.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_directory(principal: &Principal) -> Result<DirectoryGrant, Error> {
    decide("directory.manage", || {
        as_directory_admin(principal).ok_or(Error::Denied)
    })
}

/// Authorizes reading the audit trail, which only internal services may do.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_audit(principal: &Principal) -> Result<AuditGrant, Error> {
    decide("audit_event.list", || match principal {
        Principal::Service(_) => Ok(AuditGrant(())),
        _ => Err(Error::Denied),
    })
}

/// Rejects a principal that may not manage the directory, before any look-up. For all other principals
/// another decision follows.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_directory(principal: &Principal) -> Result<(), Error> {
    match as_directory_admin(principal) {
        Some(_) => Ok(()),
        None => authorize_directory(principal).map(drop),
    }
}

/// Rejects a principal that may not read the audit trail, like [`precheck_directory`] for the directory.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_audit(principal: &Principal) -> Result<(), Error> {
    match principal {
        Principal::Service(_) => Ok(()),
        _ => authorize_audit(principal).map(drop),
    }
}
