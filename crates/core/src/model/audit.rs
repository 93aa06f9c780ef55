//! Audit trail: every change and every release of a secret, without the secret itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::error::Noun;
use crate::model::audit_changes::{self, Audited};
use crate::model::clock::Timestamp;
use crate::model::id::{AuditEventId, OrganizationId, WorkspaceId};
use crate::model::principal::{Actor, Caller};

/// Organization, and workspace if any, that an event concerns. The store adds it to every event, from the
/// grant or from the stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventScope {
    /// The organization.
    pub organization: OrganizationId,
    /// The workspace, if any.
    pub workspace: Option<WorkspaceId>,
}

impl EventScope {
    /// Returns the scope of a whole organization.
    #[must_use]
    pub fn organization(organization: &OrganizationId) -> Self {
        Self {
            organization: organization.clone(),
            workspace: None,
        }
    }

    /// Returns the scope of a workspace of an organization.
    #[must_use]
    pub fn workspace(organization: &OrganizationId, workspace: &WorkspaceId) -> Self {
        Self {
            organization: organization.clone(),
            workspace: Some(workspace.clone()),
        }
    }
}

/// A change or a release of a secret. It is stored in the transaction that makes the change, together with
/// the [`EventScope`] from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Identifies the event.
    pub id: AuditEventId,
    /// Time of the event.
    pub occurred_at: Timestamp,
    /// Principal that caused the event.
    pub actor: Actor,
    /// Name of the action, such as `api_key.create`.
    pub action: &'static str,
    /// Kind of the resource.
    pub resource_kind: &'static str,
    /// Identifier of the resource.
    pub resource_id: String,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// IP address of the client.
    pub source: Option<IpAddr>,
    /// Details by name, such as the names of the fields that changed and their values.
    pub details: BTreeMap<String, String>,
}

impl AuditEvent {
    /// Returns an event without details.
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

    /// Returns the event with the old and new values of each field that differs between a record (`None`
    /// before it is created) and its successor.
    #[must_use]
    pub fn with_changes<T: Audited>(&self, old: Option<&T>, new: &T) -> Self {
        let mut event = self.clone();
        audit_changes::add(&mut event.details, old, new);
        event
    }
}

/// Position of an event in the trail; later events compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    /// Time of the event.
    pub occurred_at: Timestamp,
    /// Identifies the event.
    pub id: AuditEventId,
}

/// A stored event, as readers of the trail see it. The resources that it names may have been deleted, and an
/// older version may have written it. Therefore all fields but its position are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Position in the trail.
    pub cursor: AuditCursor,
    /// Kind of the principal.
    pub actor_kind: String,
    /// Identifier of the principal.
    pub actor_id: String,
    /// Name of the action, such as `api_key.create`.
    pub action: String,
    /// The organization that it concerns, if known.
    pub organization: Option<String>,
    /// The workspace that it concerns, if any.
    pub workspace: Option<String>,
    /// Kind of the resource.
    pub resource_kind: String,
    /// Identifier of the resource.
    pub resource_id: String,
    /// The call's `x-request-id`.
    pub request_id: String,
    /// IP address of the client.
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
