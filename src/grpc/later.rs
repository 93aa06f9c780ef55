//! Services that are described and not yet implemented: every method answers UNIMPLEMENTED, by the
//! default that the generated trait gives it.

use crate::proto::v1::audit_service_server::AuditService;

/// Implements nothing.
pub(crate) struct Later;

impl AuditService for Later {}
