//! Principals and callers.

use std::net::IpAddr;

use keyward_crypto::KeyHash;

use crate::model::id::{OrganizationId, WorkspaceId};
use crate::model::tenancy::Member;

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A validated member of an organization, authenticated by a session token.
    User(Member),
    /// An internal service, authenticated by a service token.
    Service(ServiceName),
    /// An issued key, authenticated by its plaintext.
    IssuedKey {
        /// Identifies the key.
        hash: KeyHash,
        /// The organization that it belongs to.
        organization: OrganizationId,
        /// The workspace that it belongs to.
        workspace: WorkspaceId,
    },
    /// A management key, authenticated by its plaintext.
    ManagementKey {
        /// Identifies the key.
        hash: KeyHash,
        /// The organization whose keys it administers.
        organization: OrganizationId,
    },
}

/// Name of an internal service in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(pub String);

/// A principal and the details of its call for the audit trail.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The authenticated principal.
    pub principal: Principal,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// IP address of the client; `None` if the call did not come over a network.
    pub source: Option<IpAddr>,
}

/// Principal of an event in the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The kind of principal: `user`, `service`, `issued_key` or `management_key`.
    pub kind: &'static str,
    /// Identifier among the principals of that kind.
    pub id: String,
}

/// The principal that created a record, as stored. The kind is text, since a newer version may have more
/// kinds of principals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creator {
    /// Kind of the principal, such as `user`.
    pub kind: String,
    /// Identifier among the principals of that kind.
    pub id: String,
}

impl From<Actor> for Creator {
    fn from(actor: Actor) -> Self {
        Self {
            kind: actor.kind.to_owned(),
            id: actor.id,
        }
    }
}

impl Caller {
    /// Returns the caller as the creator of a record.
    #[must_use]
    pub fn creator(&self) -> Creator {
        self.principal.actor().into()
    }
}

impl Principal {
    /// Returns this principal for the audit trail.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::User(member) => Actor {
                kind: "user",
                id: member.user.to_string(),
            },
            Self::Service(name) => Actor {
                kind: "service",
                id: name.0.clone(),
            },
            Self::IssuedKey { hash, .. } => Actor {
                kind: "issued_key",
                id: hash.to_string(),
            },
            Self::ManagementKey { hash, .. } => Actor {
                kind: "management_key",
                id: hash.to_string(),
            },
        }
    }
}
