//! Who calls.

use std::net::IpAddr;

use keyward_crypto::KeyHash;

use crate::directory::Member;
use crate::id::{OrganizationId, WorkspaceId};

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A validated member of an organization, by a session token.
    User(Member),
    /// An internal service, by a service token.
    Service(ServiceName),
    /// An issued key, by its plaintext.
    IssuedKey {
        /// Names the key.
        hash: KeyHash,
        /// The organization that it belongs to.
        organization: OrganizationId,
        /// The workspace that it belongs to.
        workspace: WorkspaceId,
    },
    /// A management key, by its plaintext.
    ManagementKey {
        /// Names the key.
        hash: KeyHash,
        /// The organization whose keys it administers.
        organization: OrganizationId,
    },
}

/// The name that the configuration gives to an internal service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(pub String);

/// A principal and what the audit trail wants to know about the call.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who calls.
    pub principal: Principal,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// Where the call came from, if it came over a network.
    pub source: Option<IpAddr>,
}

/// Who did something, for the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The kind of principal: `user`, `service`, `issued_key` or `management_key`.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
}

/// The principal that created a record, as it was stored. A newer version may know more kinds of
/// principals, so that the kind is text.
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
    /// The caller as the creator of a record.
    #[must_use]
    pub fn creator(&self) -> Creator {
        self.principal.actor().into()
    }
}

impl Principal {
    /// This principal in the audit trail.
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
