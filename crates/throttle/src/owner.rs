//! Callers that resources are charged to.

use std::net::IpAddr;

/// Caller that a request or a response is charged to.
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
