//! Callers that resources are charged to.

use std::net::IpAddr;

/// Owner of a share of every resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A client without a valid token, by its address.
    Address(IpAddr),
    /// The users and keys of an organization.
    Organization(String),
    /// An internal service.
    Service(String),
}

impl Owner {
    /// Returns true for an internal service, for which a part of every budget is reserved.
    #[must_use]
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Service(_))
    }
}

/// Caller that a request or a response is charged to: an owner, or a principal within its organization.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Payer {
    owner: Owner,
    principal: Option<String>,
}

impl Payer {
    /// Returns a user or a key of an organization. `principal` identifies it there.
    #[must_use]
    pub fn principal_of(organization: String, principal: String) -> Self {
        Self {
            owner: Owner::Organization(organization),
            principal: Some(principal),
        }
    }

    /// Returns the owner of the share that the caller uses.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Returns the principal, if the owner has several.
    #[must_use]
    pub fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// Returns true for an internal service.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.owner.is_service()
    }
}

impl From<Owner> for Payer {
    fn from(owner: Owner) -> Self {
        let principal = None;
        Self { owner, principal }
    }
}

/// Returns the maximum of one principal within the share of its organization: half of it, rounded up.
#[must_use]
pub const fn principal_share(share: usize) -> usize {
    share.div_ceil(2)
}
