//! AuditService. VerifyAuditLog is not implemented yet: the default of the generated trait responds.

use keyward_core::services::AuditTrail;
use tonic::{Request, Response, Status};

use crate::api::convert::audit;
use crate::api::proto::v1::audit_service_server::AuditService;
use crate::api::proto::v1::{ListAuditEventsRequest, ListAuditEventsResponse};
use crate::api::services::{Pages, begin_list};
use crate::api::status::to_status;

/// Serves the audit trail.
pub(crate) struct AuditGrpc {
    trail: AuditTrail,
    pages: Pages,
}

impl AuditGrpc {
    /// Serves this trail, with pages of this size.
    pub(crate) fn new(trail: AuditTrail, pages: Pages) -> Self {
        Self { trail, pages }
    }
}

#[tonic::async_trait]
impl AuditService for AuditGrpc {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let (caller, message, _running) = begin_list(request).await?;
        let page = self.pages.request(message.page_size, &message.page_token);
        let filter = audit::filter_from_proto(message).map_err(to_status)?;
        let page = page?;
        let page = self.trail.list(&caller, &filter, &page).await;
        let page = page.map_err(to_status)?;
        let next_page_token = page.next_token();
        Ok(Response::new(ListAuditEventsResponse {
            events: page.items.into_iter().map(audit::event_to_proto).collect(),
            next_page_token,
        }))
    }
}
