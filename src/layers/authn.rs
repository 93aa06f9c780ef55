//! Every call that needs a token has a caller from here on, or goes no further.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use keyward_core::principal::{Caller, Principal};
use tonic::{Code, Status};

use super::request_id::RequestId;
use crate::authn::{Authenticator, AuthnError};
use crate::error;
use crate::server::{Peer, PeerService};

pub(super) async fn layer(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    if !target.needs_token() {
        return next.run(request).await;
    }
    let service = request.extensions().get::<PeerService>().cloned();
    match principal(&authenticator, request.headers(), service).await {
        Ok(principal) => {
            let id = request.extensions().get::<RequestId>();
            let request_id = id.map(|id| id.0.clone()).unwrap_or_default();
            let source = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
            request.extensions_mut().insert(Caller {
                principal,
                request_id,
                source,
            });
            next.run(request).await
        }
        Err(error) => super::refuse(&target, status(&error).into()),
    }
}

/// Who calls: whom the token names, or, without one, the service that the connection's verified
/// certificate stands for.
async fn principal(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    service: Option<PeerService>,
) -> Result<Principal, AuthnError> {
    match service {
        Some(PeerService(name)) if !headers.contains_key(AUTHORIZATION) => {
            Ok(Principal::Service(name))
        }
        _ => authenticator.authenticate(headers).await,
    }
}

fn status(error: &AuthnError) -> Status {
    let (code, reason) = match error {
        AuthnError::Missing => (Code::Unauthenticated, "TOKEN_MISSING"),
        AuthnError::Invalid(why) => {
            tracing::debug!(why, "token refused");
            (Code::Unauthenticated, "TOKEN_INVALID")
        }
        AuthnError::Unavailable(cause) if keyward_store::deadline::is_cause(cause) => {
            return error::deadline_exceeded();
        }
        AuthnError::Unavailable(_) => {
            tracing::warn!(cause = error::chain(error), "authentication unavailable");
            (Code::Unavailable, "UNAVAILABLE")
        }
        AuthnError::Internal(_) => {
            tracing::error!(cause = error::chain(error), "authentication failed");
            (Code::Internal, "INTERNAL")
        }
    };
    error::plain(code, reason, &error.to_string())
}
