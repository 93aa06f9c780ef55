//! Every call that needs a token has a caller from here on, or goes no further.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_core::principal::Caller;
use tonic::{Code, Status};

use super::request_id::RequestId;
use crate::authn::{Authenticator, AuthnError};
use crate::error;
use crate::server::Peer;

pub(super) async fn layer(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    if !target.needs_token() {
        return next.run(request).await;
    }
    match authenticator.authenticate(request.headers()).await {
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
