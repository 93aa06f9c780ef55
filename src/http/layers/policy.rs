//! Rejects principals that may not call a method on any resource, before the body is read. Only the kind of
//! principal and the method are checked; the use cases check the resource.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use keyward_core::Error;
use keyward_core::policy;
use keyward_core::principal::{Caller, Principal};
use keyward_gateway::Resolution;

use crate::api::status;
use crate::http::route::Endpoint;

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let target = super::target(&request);
    let calls_method = matches!(
        target.endpoint,
        Endpoint::Grpc | Endpoint::Rest(Resolution::Matched(_))
    );
    let caller = request.extensions().get::<Caller>();
    if let Some(caller) = caller.filter(|_| calls_method)
        && let Some(precheck) = precheck_of(target.spec.grpc_path)
        && let Err(denied) = precheck(&caller.principal)
    {
        return super::reject(&target, status::to_status(denied).into());
    }
    next.run(request).await
}

type Precheck = fn(&Principal) -> Result<(), Error>;

/// Returns the rule of a method. `None` for unknown methods and for methods that are described but not
/// implemented.
fn precheck_of(grpc_path: &str) -> Option<Precheck> {
    let (_package, name) = grpc_path.rsplit_once('.')?;
    let (_, precheck) = PRECHECKS.iter().find(|(rpc, _)| *rpc == name)?;
    *precheck
}

const DIRECTORY: Option<Precheck> = Some(policy::precheck_directory);

/// All methods with their rules.
const PRECHECKS: &[(&str, Option<Precheck>)] = &[
    (
        "ApiKeyService/ListApiKeys",
        Some(|it| policy::precheck(it, policy::LIST_API_KEYS)),
    ),
    (
        "ApiKeyService/CreateApiKey",
        Some(|it| policy::precheck(it, policy::CREATE_API_KEY)),
    ),
    (
        "ApiKeyService/UpdateApiKey",
        Some(|it| policy::precheck(it, policy::UPDATE_API_KEY)),
    ),
    (
        "ApiKeyService/DeleteApiKey",
        Some(|it| policy::precheck(it, policy::DELETE_API_KEY)),
    ),
    (
        "ApiKeyService/ResolveApiKey",
        Some(|it| policy::precheck(it, policy::RESOLVE_API_KEY)),
    ),
    (
        "ApiKeyService/LinkApiKey",
        Some(|it| policy::precheck(it, policy::LINK_API_KEY)),
    ),
    (
        "ApiKeyService/UnlinkApiKey",
        Some(|it| policy::precheck(it, policy::UNLINK_API_KEY)),
    ),
    (
        "ApiKeyService/ListApiKeyLinks",
        Some(|it| policy::precheck(it, policy::LIST_API_KEY_LINKS)),
    ),
    ("ApiKeyService/WatchApiKeys", None),
    ("AuditService/ListAuditEvents", Some(policy::precheck_audit)),
    ("AuditService/VerifyAuditLog", None),
    ("DirectoryService/UpsertOrganization", DIRECTORY),
    ("DirectoryService/GetOrganization", DIRECTORY),
    ("DirectoryService/ListOrganizations", DIRECTORY),
    ("DirectoryService/DeleteOrganization", DIRECTORY),
    ("DirectoryService/UpsertWorkspace", DIRECTORY),
    ("DirectoryService/GetWorkspace", DIRECTORY),
    ("DirectoryService/ListWorkspaces", DIRECTORY),
    ("DirectoryService/DeleteWorkspace", DIRECTORY),
    ("DirectoryService/UpsertMember", DIRECTORY),
    ("DirectoryService/GetMember", DIRECTORY),
    ("DirectoryService/ListMembers", DIRECTORY),
    ("DirectoryService/DeleteMember", DIRECTORY),
    ("DirectoryService/UpsertRepo", DIRECTORY),
    ("DirectoryService/GetRepo", DIRECTORY),
    ("DirectoryService/ListRepos", DIRECTORY),
    ("DirectoryService/DeleteRepo", DIRECTORY),
    (
        "ManagementKeyService/GetCurrentKey",
        Some(policy::precheck_calling_key),
    ),
    (
        "ManagementKeyService/ListKeys",
        Some(|it| policy::precheck(it, policy::LIST_KEYS)),
    ),
    (
        "ManagementKeyService/CreateKey",
        Some(|it| policy::precheck(it, policy::CREATE_KEY)),
    ),
    (
        "ManagementKeyService/GetKey",
        Some(|it| policy::precheck(it, policy::GET_KEY)),
    ),
    (
        "ManagementKeyService/UpdateKey",
        Some(|it| policy::precheck(it, policy::UPDATE_KEY)),
    ),
    (
        "ManagementKeyService/DeleteKey",
        Some(|it| policy::precheck(it, policy::DELETE_KEY)),
    ),
    (
        "ManagementKeyService/VerifyKey",
        Some(|it| policy::precheck(it, policy::VERIFY_KEY)),
    ),
    (
        "ManagementKeyService/RecordUsage",
        Some(|it| policy::precheck(it, policy::RECORD_USAGE)),
    ),
    (
        "ManagementKeyService/ReserveSpend",
        Some(|it| policy::precheck(it, policy::RESERVE_SPEND)),
    ),
    (
        "ManagementKeyService/SettleSpend",
        Some(|it| policy::precheck(it, policy::SETTLE_SPEND)),
    ),
    (
        "ManagementKeyService/ReleaseSpend",
        Some(|it| policy::precheck(it, policy::RELEASE_SPEND)),
    ),
    (
        "ManagementKeyService/CreateManagementKey",
        Some(policy::precheck_organization),
    ),
    (
        "ManagementKeyService/ListManagementKeys",
        Some(policy::precheck_organization),
    ),
    (
        "ManagementKeyService/RevokeManagementKey",
        Some(policy::precheck_organization),
    ),
    (
        "RepoAiKeyService/ListRepoAiKeys",
        Some(|it| policy::precheck(it, policy::LIST_REPO_AI_KEYS)),
    ),
    (
        "RepoAiKeyService/CreateRepoAiKey",
        Some(|it| policy::precheck(it, policy::CREATE_REPO_AI_KEY)),
    ),
    (
        "RepoAiKeyService/UpdateRepoAiKey",
        Some(|it| policy::precheck(it, policy::UPDATE_REPO_AI_KEY)),
    ),
    (
        "RepoAiKeyService/DeleteRepoAiKey",
        Some(|it| policy::precheck(it, policy::DELETE_REPO_AI_KEY)),
    ),
    (
        "RepoAiKeyService/VerifyRepoAiKey",
        Some(|it| policy::precheck(it, policy::VERIFY_REPO_AI_KEY)),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::proto;

    #[test]
    fn every_method_has_one_rule_and_none_is_left_over() {
        let methods: BTreeSet<&str> = proto::METHODS
            .iter()
            .map(|spec| spec.grpc_path.rsplit_once('.').unwrap().1)
            .collect();
        let ruled: BTreeSet<&str> = PRECHECKS.iter().map(|(rpc, _)| *rpc).collect();
        assert_eq!(methods, ruled);
        assert_eq!(PRECHECKS.len(), ruled.len());
    }
}
