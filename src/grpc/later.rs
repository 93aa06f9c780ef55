//! Services that are described and not yet implemented: every method answers UNIMPLEMENTED, by the
//! default that the generated trait gives it.

use crate::proto::v1::audit_service_server::AuditService;
use crate::proto::v1::management_key_service_server::ManagementKeyService;
use crate::proto::v1::repo_ai_key_service_server::RepoAiKeyService;

/// Implements nothing.
pub(crate) struct Later;

impl RepoAiKeyService for Later {}
impl ManagementKeyService for Later {}
impl AuditService for Later {}
