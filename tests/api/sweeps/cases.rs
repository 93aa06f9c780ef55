//! For every implemented method: a valid request, callers with the right, and callers without it.

use serde_json::{Value, json};

use crate::support::User;

/// Caller of a request of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOwner {
    User(User),
    Service,
    /// A management key of the organization.
    ManagementKey,
    /// A management key of the other organization.
    ForeignManagementKey,
    /// An ordinary issued key of the organization.
    IssuedKey,
}

/// Case of a single method. Placeholders in the request stand for new resources: `$KEY` for a provider key in
/// workspace A, `$REPO_KEY` for an AI key of its repo, `$HASH` for an issued key, `$RESERVATION` for a
/// reservation, and `$MANAGEMENT_HASH` for a management key.
pub struct Case {
    /// The method's full name.
    pub method: &'static str,
    /// A JSON request that succeeds for a caller with the right.
    pub request: Value,
    /// Caller with the right.
    pub right: TokenOwner,
    /// Known callers without the right; each is rejected.
    pub wrong_role: Vec<TokenOwner>,
    /// Callers of another organization; each is rejected.
    pub other_organization: Vec<TokenOwner>,
    /// Not-found message for these callers, unless they get a denial.
    pub unseen: Option<&'static str>,
}

/// Methods that are described and not yet implemented. An implemented method is removed from here and gets a
/// case.
pub const NOT_IMPLEMENTED: &[&str] = &[
    "keyward.v1.ApiKeyService.WatchApiKeys",
    "keyward.v1.AuditService.VerifyAuditLog",
];

/// Known callers that are not users.
const NO_USERS: [TokenOwner; 3] = [
    TokenOwner::Service,
    TokenOwner::ManagementKey,
    TokenOwner::IssuedKey,
];

/// Returns every case.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        reading(
            "ApiKeyService",
            "ListApiKeys",
            json!({ "workspaceId": "workspace-a" }),
        ),
        writing(
            "ApiKeyService",
            "CreateApiKey",
            json!({
                "workspaceId": "workspace-a", "key": "sweep", "secret": "s", "provider": "AWS",
            }),
        ),
        writing(
            "ApiKeyService",
            "UpdateApiKey",
            json!({ "uuid": "$KEY", "description": "swept" }),
        ),
        writing("ApiKeyService", "DeleteApiKey", json!({ "uuid": "$KEY" })),
    ];
    let link = json!({
        "uuid": "$KEY", "resourceKind": "RESOURCE_KIND_BUCKET", "resourceId": "b1",
    });
    cases.extend([
        serving("ApiKeyService", "ResolveApiKey", json!({ "uuid": "$KEY" })),
        serving("ApiKeyService", "LinkApiKey", link.clone()),
        serving("ApiKeyService", "UnlinkApiKey", link),
        serving(
            "ApiKeyService",
            "ListApiKeyLinks",
            json!({ "uuid": "$KEY" }),
        ),
    ]);
    cases.push(serving(
        "AuditService",
        "ListAuditEvents",
        json!({ "organizationId": "org-1" }),
    ));
    cases.extend(repo_ai_keys());
    cases.extend(issued_keys());
    cases.extend(ledger());
    cases.extend(management_keys());
    cases.extend(directory());
    cases
}

fn repo_ai_keys() -> Vec<Case> {
    let create = json!({ "repoId": "repo-a", "name": "swept", "aiType": "AI_TYPE_OPENAI" });
    let update = json!({ "repoId": "repo-a", "apikeyId": "$REPO_KEY", "name": "renamed" });
    let delete = json!({ "repoId": "repo-a", "apikeyId": "$REPO_KEY" });
    let service = "RepoAiKeyService";
    vec![
        reading(service, "ListRepoAiKeys", json!({ "repoId": "repo-a" })),
        writing(service, "CreateRepoAiKey", create),
        writing(service, "UpdateRepoAiKey", update),
        writing(service, "DeleteRepoAiKey", delete),
        serving(
            service,
            "VerifyRepoAiKey",
            json!({ "key": "k", "secret": "s" }),
        ),
    ]
}

fn issued_keys() -> Vec<Case> {
    let unseen = Some("API key not found");
    let hash = || json!({ "hash": "$HASH" });
    let create = json!({ "name": "swept", "workspace_id": "workspace-a" });
    vec![
        Case {
            method: full_name("ManagementKeyService", "GetCurrentKey"),
            request: json!({}),
            right: TokenOwner::IssuedKey,
            wrong_role: vec![
                TokenOwner::User(User::Owner),
                TokenOwner::User(User::ReaderInA),
                TokenOwner::Service,
            ],
            other_organization: vec![TokenOwner::User(User::Outsider)],
            unseen: None,
        },
        managing("ListKeys", json!({ "workspace_id": "workspace-a" }), None),
        managing("CreateKey", create, None),
        managing("GetKey", hash(), unseen),
        managing(
            "UpdateKey",
            json!({ "hash": "$HASH", "name": "renamed" }),
            unseen,
        ),
        managing("DeleteKey", hash(), unseen),
    ]
}

fn ledger() -> Vec<Case> {
    let charge = json!({ "hash": "$HASH", "costNanos": "1", "requestId": "swept" });
    let hold = json!({ "hash": "$HASH", "amountNanos": "1", "requestId": "swept" });
    let requests = [
        ("VerifyKey", json!({ "token": "none" })),
        ("RecordUsage", charge),
        ("ReserveSpend", hold),
        (
            "SettleSpend",
            json!({ "reservationId": "$RESERVATION", "costNanos": "1" }),
        ),
        ("ReleaseSpend", json!({ "reservationId": "$RESERVATION" })),
    ];
    requests
        .map(|(method, request)| serving("ManagementKeyService", method, request))
        .into()
}

fn management_keys() -> Vec<Case> {
    let create = json!({ "organizationId": "org-1", "name": "swept" });
    let revoke = json!({ "hash": "$MANAGEMENT_HASH" });
    vec![
        administering("CreateManagementKey", create, None),
        administering(
            "ListManagementKeys",
            json!({ "organizationId": "org-1" }),
            None,
        ),
        administering(
            "RevokeManagementKey",
            revoke,
            Some("Management key not found"),
        ),
    ]
}

fn directory() -> Vec<Case> {
    let member = json!({
        "organizationId": "org-1", "userId": "swept", "role": "ORGANIZATION_ROLE_USER",
        "validated": true,
    });
    let requests = [
        (
            "UpsertOrganization",
            json!({ "organization": { "id": "swept" } }),
        ),
        ("GetOrganization", json!({ "organizationId": "org-1" })),
        ("ListOrganizations", json!({})),
        ("DeleteOrganization", json!({ "organizationId": "swept" })),
        (
            "UpsertWorkspace",
            json!({ "workspace": { "id": "swept", "organizationId": "org-1" } }),
        ),
        ("GetWorkspace", json!({ "workspaceId": "workspace-a" })),
        ("ListWorkspaces", json!({ "organizationId": "org-1" })),
        ("DeleteWorkspace", json!({ "workspaceId": "swept" })),
        ("UpsertMember", json!({ "member": member })),
        (
            "GetMember",
            json!({ "organizationId": "org-1", "userId": "owner" }),
        ),
        ("ListMembers", json!({ "organizationId": "org-1" })),
        (
            "DeleteMember",
            json!({ "organizationId": "org-1", "userId": "swept" }),
        ),
        (
            "UpsertRepo",
            json!({ "repo": { "id": "swept", "workspaceId": "workspace-a" } }),
        ),
        ("GetRepo", json!({ "repoId": "repo-a" })),
        ("ListRepos", json!({ "workspaceId": "workspace-a" })),
        ("DeleteRepo", json!({ "repoId": "swept" })),
    ];
    requests
        .map(|(method, request)| serving("DirectoryService", method, request))
        .into()
}

/// Returns a case that needs a reader of the workspace.
fn reading(service: &str, method: &str, request: Value) -> Case {
    let mut wrong_role = vec![TokenOwner::User(User::NoAccess)];
    wrong_role.extend(NO_USERS);
    Case {
        method: full_name(service, method),
        request,
        right: TokenOwner::User(User::ReaderInA),
        wrong_role,
        other_organization: vec![
            TokenOwner::User(User::Outsider),
            TokenOwner::ForeignManagementKey,
        ],
        unseen: None,
    }
}

/// Returns a case that needs a writer of the workspace.
fn writing(service: &str, method: &str, request: Value) -> Case {
    let readers = [User::ReaderInA, User::ReaderInAWriterInB, User::NoAccess];
    let wrong_role = readers
        .map(TokenOwner::User)
        .into_iter()
        .chain(NO_USERS)
        .collect();
    Case {
        method: full_name(service, method),
        request,
        right: TokenOwner::User(User::WriterInA),
        wrong_role,
        other_organization: vec![
            TokenOwner::User(User::Outsider),
            TokenOwner::ForeignManagementKey,
        ],
        unseen: None,
    }
}

/// Returns a case for internal services only.
fn serving(service: &str, method: &str, request: Value) -> Case {
    let users = [User::Owner, User::ReaderInA].map(TokenOwner::User);
    let keys = [TokenOwner::ManagementKey, TokenOwner::IssuedKey];
    Case {
        method: full_name(service, method),
        request,
        right: TokenOwner::Service,
        wrong_role: users.into_iter().chain(keys).collect(),
        other_organization: vec![
            TokenOwner::User(User::Outsider),
            TokenOwner::ForeignManagementKey,
        ],
        unseen: None,
    }
}

/// Returns a case for management keys only.
fn managing(method: &str, request: Value, unseen: Option<&'static str>) -> Case {
    let users = [User::Owner, User::Administrator, User::ReaderInA].map(TokenOwner::User);
    let others = [TokenOwner::Service, TokenOwner::IssuedKey];
    Case {
        method: full_name("ManagementKeyService", method),
        request,
        right: TokenOwner::ManagementKey,
        wrong_role: users.into_iter().chain(others).collect(),
        other_organization: vec![TokenOwner::ForeignManagementKey],
        unseen,
    }
}

/// Returns a case that needs an administrator of the organization.
fn administering(method: &str, request: Value, unseen: Option<&'static str>) -> Case {
    let users = [User::AdminInA, User::ReaderInA, User::NoAccess].map(TokenOwner::User);
    let keys = [
        TokenOwner::ManagementKey,
        TokenOwner::IssuedKey,
        TokenOwner::ForeignManagementKey,
    ];
    Case {
        method: full_name("ManagementKeyService", method),
        request,
        right: TokenOwner::User(User::Owner),
        wrong_role: users.into_iter().chain(keys).collect(),
        other_organization: vec![TokenOwner::User(User::Outsider)],
        unseen,
    }
}

fn full_name(service: &str, method: &str) -> &'static str {
    format!("keyward.v1.{service}.{method}").leak()
}
