//! Sample resources for tests. Grants are created by the policy, as in the service.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use keyward_core::Noun;
use keyward_core::audit::AuditEvent;
use keyward_core::clock::Timestamp;
use keyward_core::id::{
    IssuedKeyId, ManagementKeyId, OrganizationId, ProviderKeyId, RepoAiKeyId, RepoId, RequestId,
    ReservationId, ResourceId, UserId, WorkspaceId,
};
use keyward_core::issued_key::IssuedKey;
use keyward_core::ledger::{Charge, Reservation};
use keyward_core::management_key::ManagementKey;
use keyward_core::money::Nanos;
use keyward_core::policy::{
    self, AuditGrant, DirectoryGrant, Grant, Manage, OrganizationGrant, Read, Serve, Write,
};
use keyward_core::ports::DirectoryStore;
use keyward_core::principal::{Caller, Creator, Principal, ServiceName};
use keyward_core::provider::Provider;
use keyward_core::provider_key::{Link, ProviderKey, Resource, ResourceKind, StoredProviderKey};
use keyward_core::repo_ai_key::{AiType, RepoAiKey, StoredRepoAiKey};
use keyward_core::tenancy::{Access, Member, Organization, OrganizationRole, Repo, Workspace};
use keyward_crypto::{KeyHash, Token, TokenKind};

/// 2026-08-01T12:00:00.000Z.
pub const NOON: Timestamp = Timestamp::from_unix_millis(1_785_585_600_000);

/// Returns an organization's id.
#[must_use]
pub fn organization_id(id: &str) -> OrganizationId {
    OrganizationId::parse(id).unwrap()
}

/// Returns a workspace's id.
#[must_use]
pub fn workspace_id(id: &str) -> WorkspaceId {
    WorkspaceId::parse(id).unwrap()
}

/// Returns a user's id.
#[must_use]
pub fn user_id(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

/// Returns a repo's id.
#[must_use]
pub fn repo_id(id: &str) -> RepoId {
    RepoId::parse(id).unwrap()
}

/// Returns an organization without a default workspace.
#[must_use]
pub fn organization(id: &str) -> Organization {
    Organization {
        id: organization_id(id),
        name: format!("Organization {id}"),
        default_workspace: None,
    }
}

/// Returns a workspace that does not ask to be the default.
#[must_use]
pub fn workspace(organization: &str, id: &str) -> Workspace {
    Workspace {
        id: workspace_id(id),
        organization: organization_id(organization),
        name: format!("Workspace {id}"),
        is_default: false,
    }
}

/// Returns a validated member with the role `USER`.
#[must_use]
pub fn member(organization: &str, user: &str, access: &[(&str, Access)]) -> Member {
    Member {
        organization: organization_id(organization),
        user: user_id(user),
        role: OrganizationRole::User,
        validated: true,
        access: access
            .iter()
            .map(|(id, access)| (workspace_id(id), *access))
            .collect(),
    }
}

/// Returns a repo.
#[must_use]
pub fn repo(workspace: &str, id: &str) -> Repo {
    Repo {
        id: repo_id(id),
        workspace: workspace_id(workspace),
        name: format!("Repo {id}"),
    }
}

/// Returns a caller with this principal.
#[must_use]
pub fn caller(principal: Principal) -> Caller {
    Caller {
        principal,
        request_id: "request-1".to_owned(),
        source: Some("192.0.2.7".parse().unwrap()),
    }
}

/// Returns an internal service.
#[must_use]
pub fn service() -> Principal {
    Principal::Service(ServiceName("platform".to_owned()))
}

/// Returns the service as the creator of a key.
#[must_use]
pub fn creator() -> Creator {
    service().actor().into()
}

/// Returns a member with full access to an organization.
#[must_use]
pub fn administrator(organization: &OrganizationId) -> Principal {
    Principal::User(Member {
        organization: organization.clone(),
        user: user_id("administrator"),
        role: OrganizationRole::Administrators,
        validated: true,
        access: BTreeMap::new(),
    })
}

/// Returns a service's grant for the directory.
#[must_use]
pub fn directory_grant() -> DirectoryGrant {
    policy::authorize_directory(&service()).unwrap()
}

/// Returns a service's grant for the audit trail.
#[must_use]
pub fn audit_grant() -> AuditGrant {
    policy::authorize_audit(&service()).unwrap()
}

/// Returns a service's grant for an organization's management keys.
#[must_use]
pub fn organization_grant(organization: &OrganizationId) -> OrganizationGrant {
    let action = policy::CREATE_MANAGEMENT_KEY;
    policy::authorize_organization(&service(), action, organization).unwrap()
}

/// Returns a member's grant for the management keys of its organization.
#[must_use]
pub fn administrator_grant(member: &Member) -> OrganizationGrant {
    let (principal, action) = (
        Principal::User(member.clone()),
        policy::CREATE_MANAGEMENT_KEY,
    );
    policy::authorize_organization(&principal, action, &member.organization).unwrap()
}

/// Returns an administrator's read grant for a workspace.
#[must_use]
pub fn read_grant(workspace: &Workspace) -> Grant<Read> {
    let principal = administrator(&workspace.organization);
    policy::authorize(&principal, policy::LIST_API_KEYS, Some(workspace)).unwrap()
}

/// Returns an administrator's write grant for a workspace.
#[must_use]
pub fn write_grant(workspace: &Workspace) -> Grant<Write> {
    let principal = administrator(&workspace.organization);
    policy::authorize(&principal, policy::CREATE_API_KEY, Some(workspace)).unwrap()
}

/// Returns a service's grant for a workspace.
#[must_use]
pub fn serve_grant(workspace: &Workspace) -> Grant<Serve> {
    policy::authorize(&service(), policy::LINK_API_KEY, Some(workspace)).unwrap()
}

/// Returns a management key of an organization.
#[must_use]
pub fn manager(organization: &OrganizationId) -> Principal {
    Principal::ManagementKey {
        hash: KeyHash::from_bytes([0; 32]),
        organization: organization.clone(),
    }
}

/// Returns a management key's grant for a workspace.
#[must_use]
pub fn manage_grant(workspace: &Workspace) -> Grant<Manage> {
    let principal = manager(&workspace.organization);
    policy::authorize(&principal, policy::CREATE_KEY, Some(workspace)).unwrap()
}

/// Returns a service's event, one millisecond later than the previous event of this process.
#[must_use]
pub fn event(action: &'static str, noun: Noun, id: impl Into<String>) -> AuditEvent {
    static MILLIS: AtomicI64 = AtomicI64::new(NOON.unix_millis());
    let now = Timestamp::from_unix_millis(MILLIS.fetch_add(1, Ordering::Relaxed));
    AuditEvent::new(&caller(service()), now, action, noun, id)
}

/// Returns a provider key with a random fingerprint.
#[must_use]
pub fn stored_key(workspace: &Workspace) -> StoredProviderKey {
    let mut fingerprint = [0; 32];
    getrandom::fill(&mut fingerprint).unwrap();
    StoredProviderKey {
        key: ProviderKey {
            id: ProviderKeyId::generate(NOON),
            workspace: workspace.id.clone(),
            provider: Provider::from_stored("AWS".to_owned()),
            key: "AKIAEXAMPLE".to_owned(),
            endpoint: None,
            region: None,
            tenant_id: None,
            subscription_id: None,
            description: None,
            created_at: NOON,
            created_by: Some(creator()),
            version: 1,
        },
        sealed_secret: vec![0, 1, 254, 255],
        secret_version: 1,
        fingerprint,
    }
}

/// Returns a repo AI key with a random public part and a random hash.
#[must_use]
pub fn stored_repo_ai_key(workspace: &Workspace, repo: &str, name: &str) -> StoredRepoAiKey {
    let public = Token::generate(TokenKind::REPO_AI_KEY).unwrap();
    let secret = Token::generate(TokenKind::REPO_AI_SECRET).unwrap();
    StoredRepoAiKey {
        key: RepoAiKey {
            id: RepoAiKeyId::generate(NOON),
            workspace: workspace.id.clone(),
            repo: repo_id(repo),
            name: name.to_owned(),
            key: public.expose().to_owned(),
            ai_type: AiType::OpenAi,
            created_at: NOON,
            created_by: Some(creator()),
        },
        sealed_secret: vec![0, 1, 254, 255],
        secret_hash: secret.hash(),
    }
}

/// Returns an unused management key.
#[must_use]
pub fn management_key(organization: &str) -> ManagementKey {
    let token = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    ManagementKey {
        id: ManagementKeyId::generate(NOON),
        hash: token.hash(),
        label: token.label(),
        organization: organization_id(organization),
        name: "Management key".to_owned(),
        created_at: NOON,
        created_by: Some(creator()),
        last_used_at: None,
    }
}

/// Returns a bucket or an AI model.
#[must_use]
pub fn resource(kind: ResourceKind, id: &str) -> Resource {
    Resource {
        kind,
        id: ResourceId::parse(id).unwrap(),
    }
}

/// Returns a link to a key.
#[must_use]
pub fn link(key: ProviderKeyId, kind: ResourceKind, id: &str) -> Link {
    Link {
        key,
        resource: resource(kind, id),
        created_at: NOON,
    }
}

/// Returns an amount of nano-dollars.
#[must_use]
pub fn nanos(nanos: i64) -> Nanos {
    Nanos::new(nanos).unwrap()
}

/// Returns the time `millis` milliseconds after [`NOON`].
#[must_use]
pub fn after_noon(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(NOON.unix_millis() + millis)
}

/// Returns an issued key with a random hash and without a limit.
#[must_use]
pub fn issued_key(workspace: &Workspace) -> IssuedKey {
    let token = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    IssuedKey {
        id: IssuedKeyId::generate(NOON),
        hash: token.hash(),
        label: token.label(),
        organization: workspace.organization.clone(),
        workspace: workspace.id.clone(),
        name: "Key".to_owned(),
        disabled: false,
        limit: None,
        limit_reset: None,
        include_byok_in_limit: false,
        expires_at: None,
        creator_user_id: None,
        external_user: None,
        created_at: NOON,
        created_by: Some(creator()),
        updated_at: None,
        last_used_at: None,
    }
}

/// Returns a charge that was spent and recorded at [`NOON`].
#[must_use]
pub fn charge(request_id: &str, amount: i64) -> Charge {
    Charge {
        request_id: RequestId::parse(request_id).unwrap(),
        amount: nanos(amount),
        byok: false,
        occurred_at: NOON,
        recorded_at: NOON,
        recorded_by: "platform".to_owned(),
    }
}

/// Returns a reservation from [`NOON`] on, for one minute.
#[must_use]
pub fn reservation(request_id: &str, amount: i64) -> Reservation {
    Reservation {
        id: ReservationId::generate(NOON),
        request_id: RequestId::parse(request_id).unwrap(),
        amount: nanos(amount),
        byok: false,
        created_at: NOON,
        expires_at: after_noon(60_000),
        reserved_by: "platform".to_owned(),
    }
}

/// Two organizations: `org` with the workspaces `a` (its default) and `b`, and `other` with `x`.
pub struct World {
    /// `org`'s default workspace.
    pub a: Workspace,
    /// `org`'s other workspace.
    pub b: Workspace,
    /// `other`'s workspace.
    pub x: Workspace,
}

impl World {
    /// Creates the two organizations in a store.
    pub async fn create(store: &impl DirectoryStore) -> Self {
        for id in ["org", "other"] {
            let event = event("organization.upsert", Noun::Organization, id);
            store
                .upsert_organization(&directory_grant(), &organization(id), &event)
                .await
                .unwrap();
        }
        let mut workspaces = Vec::new();
        for (organization, id) in [("org", "a"), ("org", "b"), ("other", "x")] {
            let event = event("workspace.upsert", Noun::Workspace, id);
            let workspace = workspace(organization, id);
            let stored = store
                .upsert_workspace(&directory_grant(), &workspace, &event)
                .await;
            workspaces.push(stored.unwrap());
        }
        let [a, b, x] = workspaces.try_into().unwrap();
        Self { a, b, x }
    }
}
