//! Subjects of changes: what the feed reports and caches depend on.

use keyward_core::id::{OrganizationId, UserId};
use keyward_crypto::KeyHash;

use crate::key_hash;

/// Kind of the rows that an account changed.
pub(crate) const ACCOUNT: &str = "account";
/// Kind of the rows that rows were deleted.
const TRIMMED: &str = "trimmed";

/// A row of the feed names no subject.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MalformedSubject;

/// Something that changed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// An issued key.
    IssuedKey(KeyHash),
    /// The account of an issued key: its charges and reservations.
    Account(KeyHash),
    /// A management key.
    ManagementKey(KeyHash),
    /// A repo AI key, by its public half.
    RepoAiKey(String),
    /// A member of an organization, with all access.
    Member(OrganizationId, UserId),
    /// The access of all members of an organization.
    Members(OrganizationId),
    /// The feed itself: rows of this transaction, or of later ones, were deleted.
    Trimmed(i64),
}

impl Subject {
    /// Returns the kind and the identifier as they are stored.
    pub(crate) fn to_columns(&self) -> (&'static str, String) {
        match self {
            Self::IssuedKey(hash) => ("issued_key", hash.to_string()),
            Self::Account(hash) => (ACCOUNT, hash.to_string()),
            Self::ManagementKey(hash) => ("management_key", hash.to_string()),
            Self::RepoAiKey(key) => ("repo_ai_key", key.clone()),
            Self::Member(_, user) => ("member", user.to_string()),
            Self::Members(organization) => ("members", organization.to_string()),
            Self::Trimmed(transaction) => (TRIMMED, transaction.to_string()),
        }
    }

    /// Converts stored columns to a subject. Returns `None` for a kind that this version does not know.
    ///
    /// # Errors
    /// The identifier is malformed.
    pub(crate) fn from_columns(
        kind: &str,
        organization: Option<&str>,
        resource: &str,
    ) -> Result<Option<Self>, MalformedSubject> {
        let hash = || key_hash::parse(resource).map_err(|_| MalformedSubject);
        let organization = || {
            let id = OrganizationId::parse(organization.unwrap_or_default().to_owned());
            id.map_err(|_| MalformedSubject)
        };
        let user = || UserId::parse(resource.to_owned()).map_err(|_| MalformedSubject);
        Ok(Some(match kind {
            "issued_key" => Self::IssuedKey(hash()?),
            ACCOUNT => Self::Account(hash()?),
            "management_key" => Self::ManagementKey(hash()?),
            "repo_ai_key" => Self::RepoAiKey(resource.to_owned()),
            "member" => Self::Member(organization()?, user()?),
            "members" => Self::Members(organization()?),
            TRIMMED => Self::Trimmed(resource.parse().map_err(|_| MalformedSubject)?),
            _ => return Ok(None),
        }))
    }
}
