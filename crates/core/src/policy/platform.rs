//! What internal services alone may do, for the whole platform. This module alone makes a
//! [`DirectoryGrant`] and an [`AuditGrant`].

use super::decision::decide;
use crate::error::Error;
use crate::principal::Principal;

/// Proof that the policy allowed a principal to manage the directory.
#[derive(Debug)]
pub struct DirectoryGrant(());

/// Proof that the policy allowed a principal to read the audit trail, of every organization.
///
/// Only this module can make one:
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

/// The right to manage the directory, of a principal who has it, where the call does not hang on it.
#[must_use]
pub fn directory_right(principal: &Principal) -> Option<DirectoryGrant> {
    matches!(principal, Principal::Service(_)).then_some(DirectoryGrant(()))
}

/// Decides on managing the directory, which internal services alone may do.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_directory(principal: &Principal) -> Result<DirectoryGrant, Error> {
    decide("directory.manage", || {
        directory_right(principal).ok_or(Error::Denied)
    })
}

/// Decides on reading the audit trail, which internal services alone may do.
///
/// # Errors
/// [`Error::Denied`].
pub fn authorize_audit(principal: &Principal) -> Result<AuditGrant, Error> {
    decide("audit_event.list", || match principal {
        Principal::Service(_) => Ok(AuditGrant(())),
        _ => Err(Error::Denied),
    })
}

/// Refuses a principal that may not manage the directory, before anything is looked up. Another decision
/// follows for all others.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_directory(principal: &Principal) -> Result<(), Error> {
    match directory_right(principal) {
        Some(_) => Ok(()),
        None => authorize_directory(principal).map(drop),
    }
}

/// Refuses a principal that may not read the audit trail, as [`precheck_directory`] does for the directory.
///
/// # Errors
/// [`Error::Denied`].
pub fn precheck_audit(principal: &Principal) -> Result<(), Error> {
    match principal {
        Principal::Service(_) => Ok(()),
        _ => authorize_audit(principal).map(drop),
    }
}
