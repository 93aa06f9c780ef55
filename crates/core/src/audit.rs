//! The audit trail: every change and every release of a secret, and never a secret.

mod changes;
mod filter;
mod trail;

pub(crate) use changes::endpoint;
pub use changes::{Audited, MAX_CHANGES_BYTES, MAX_VALUE_BYTES, Values};
pub use filter::{AuditFilter, EventPlace};
pub use trail::{AuditSettings, AuditTrail};

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::clock::Timestamp;
use crate::error::Noun;
use crate::id::{AuditEventId, OrganizationId, WorkspaceId};
use crate::policy::WorkspaceScope;
use crate::principal::{Actor, Caller};

/// Organization, and workspace if any, that an event concerns. The store gives it with every event, from
/// the grant or from the row that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventScope {
    /// The organization.
    pub organization: OrganizationId,
    /// The workspace, if any.
    pub workspace: Option<WorkspaceId>,
}

impl EventScope {
    /// An organization as a whole.
    #[must_use]
    pub fn organization(organization: &OrganizationId) -> Self {
        Self {
            organization: organization.clone(),
            workspace: None,
        }
    }

    /// A workspace of an organization.
    #[must_use]
    pub fn workspace(organization: &OrganizationId, workspace: &WorkspaceId) -> Self {
        Self {
            organization: organization.clone(),
            workspace: Some(workspace.clone()),
        }
    }

    /// The workspace of a grant.
    #[must_use]
    pub fn granted(grant: &dyn WorkspaceScope) -> Self {
        Self::workspace(grant.organization(), grant.workspace())
    }
}

/// One change, or one release of a secret. It is stored in the transaction that makes the change, with
/// the [`EventScope`] that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Names the event.
    pub id: AuditEventId,
    /// When.
    pub occurred_at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What, such as `api_key.create`.
    pub action: &'static str,
    /// What kind of thing it was done to.
    pub resource_kind: &'static str,
    /// Which one.
    pub resource_id: String,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// Where the call came from.
    pub source: Option<IpAddr>,
    /// Details by name, such as the names of the fields that changed and their values.
    pub details: BTreeMap<String, String>,
}

impl AuditEvent {
    /// An event without details.
    #[must_use]
    pub fn new(
        caller: &Caller,
        now: Timestamp,
        action: &'static str,
        noun: Noun,
        resource_id: impl Into<String>,
    ) -> Self {
        Self {
            id: AuditEventId::generate(now),
            occurred_at: now,
            actor: caller.principal.actor(),
            action,
            resource_kind: resource_kind(noun),
            resource_id: resource_id.into(),
            request_id: caller.request_id.clone(),
            source: caller.source,
            details: BTreeMap::new(),
        }
    }

    /// Adds a detail, which must not be a secret.
    #[must_use]
    pub fn with_detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the event with the old and the new values of what differs between a record, `None` before
    /// it is created, and its successor.
    #[must_use]
    pub fn with_changes<T: Audited>(&self, old: Option<&T>, new: &T) -> Self {
        let mut event = self.clone();
        changes::add(&mut event.details, old, new);
        event
    }
}

/// An event as it was stored, for those who read the trail. What it names may be gone, and may have
/// been named by an older version, so that everything but its place is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Where it stands in the trail.
    pub place: EventPlace,
    /// What kind of principal did it.
    pub actor_kind: String,
    /// Which one.
    pub actor_id: String,
    /// What, such as `api_key.create`.
    pub action: String,
    /// The organization that it concerns, where known.
    pub organization: Option<String>,
    /// The workspace that it concerns, if any.
    pub workspace: Option<String>,
    /// What kind of thing it was done to.
    pub resource_kind: String,
    /// Which one.
    pub resource_id: String,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// The address that the call came from.
    pub source: Option<String>,
    /// Details by name.
    pub details: BTreeMap<String, String>,
}

const fn resource_kind(noun: Noun) -> &'static str {
    match noun {
        Noun::Organization => "organization",
        Noun::Workspace => "workspace",
        Noun::Member => "member",
        Noun::Repo => "repo",
        Noun::ProviderKey => "api_key",
        Noun::RepoAiKey => "repo_ai_key",
        Noun::IssuedKey => "issued_key",
        Noun::ManagementKey => "management_key",
        Noun::Reservation => "reservation",
    }
}
