//! For every method that is implemented: a request that is good, who may make it, and who may not.

use serde_json::{Value, json};

use crate::support::User;

/// Who makes a call of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    User(User),
    Service,
}

/// One method's case. In the request, `$KEY` stands for a provider key of its own in workspace A.
pub struct Case {
    /// The method's full name.
    pub method: &'static str,
    /// A request that succeeds when a right caller makes it, as JSON.
    pub request: Value,
    /// May make it.
    pub right: Who,
    /// Known callers without the right; each is refused.
    pub wrong_role: Vec<Who>,
    /// Callers of another organization; each is refused.
    pub other_organization: Vec<Who>,
}

/// Methods that are described and not yet implemented. Implementing one takes it from here and
/// gives it a case.
pub const NOT_IMPLEMENTED: &[&str] = &[
    "keyward.v1.ApiKeyService.WatchApiKeys",
    "keyward.v1.AuditService.ListAuditEvents",
    "keyward.v1.AuditService.VerifyAuditLog",
    "keyward.v1.ManagementKeyService.CreateKey",
    "keyward.v1.ManagementKeyService.CreateManagementKey",
    "keyward.v1.ManagementKeyService.DeleteKey",
    "keyward.v1.ManagementKeyService.GetCurrentKey",
    "keyward.v1.ManagementKeyService.GetKey",
    "keyward.v1.ManagementKeyService.ListKeys",
    "keyward.v1.ManagementKeyService.ListManagementKeys",
    "keyward.v1.ManagementKeyService.RecordUsage",
    "keyward.v1.ManagementKeyService.ReleaseSpend",
    "keyward.v1.ManagementKeyService.ReserveSpend",
    "keyward.v1.ManagementKeyService.RevokeManagementKey",
    "keyward.v1.ManagementKeyService.SettleSpend",
    "keyward.v1.ManagementKeyService.UpdateKey",
    "keyward.v1.ManagementKeyService.VerifyKey",
    "keyward.v1.RepoAiKeyService.CreateRepoAiKey",
    "keyward.v1.RepoAiKeyService.DeleteRepoAiKey",
    "keyward.v1.RepoAiKeyService.ListRepoAiKeys",
    "keyward.v1.RepoAiKeyService.UpdateRepoAiKey",
    "keyward.v1.RepoAiKeyService.VerifyRepoAiKey",
];

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        reading("ListApiKeys", json!({ "workspaceId": "workspace-a" })),
        writing(
            "CreateApiKey",
            json!({
                "workspaceId": "workspace-a", "key": "sweep", "secret": "s", "provider": "AWS",
            }),
        ),
        writing(
            "UpdateApiKey",
            json!({ "uuid": "$KEY", "description": "swept" }),
        ),
        writing("DeleteApiKey", json!({ "uuid": "$KEY" })),
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
    cases.extend(directory());
    cases
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

/// What a reader of the workspace may do.
fn reading(method: &str, request: Value) -> Case {
    Case {
        method: full_name("ApiKeyService", method),
        request,
        right: Who::User(User::ReaderInA),
        wrong_role: vec![Who::User(User::NoAccess), Who::Service],
        other_organization: vec![Who::User(User::Outsider)],
    }
}

/// What a writer of the workspace may do.
fn writing(method: &str, request: Value) -> Case {
    let readers = [User::ReaderInA, User::ReaderInAWriterInB, User::NoAccess];
    Case {
        method: full_name("ApiKeyService", method),
        request,
        right: Who::User(User::WriterInA),
        wrong_role: readers
            .map(Who::User)
            .into_iter()
            .chain([Who::Service])
            .collect(),
        other_organization: vec![Who::User(User::Outsider)],
    }
}

/// What internal services alone may do.
fn serving(service: &str, method: &str, request: Value) -> Case {
    Case {
        method: full_name(service, method),
        request,
        right: Who::Service,
        wrong_role: vec![Who::User(User::Owner), Who::User(User::ReaderInA)],
        other_organization: vec![Who::User(User::Outsider)],
    }
}

fn full_name(service: &str, method: &str) -> &'static str {
    format!("keyward.v1.{service}.{method}").leak()
}
