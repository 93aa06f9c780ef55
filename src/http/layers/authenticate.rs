//! Authenticates every call that needs a token, and rejects it if that fails.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::CONNECTION;
use keyward_core::principal::{Caller, Principal, ServiceName};
use keyward_listener::{Authenticated, Peer, PeerService};
use keyward_throttle::{Owner, Rate};
use tonic::{Code, Status};

use super::RejectionSpec;
use super::auth_failure_limit::{Attempt, Failures};
use super::request_id::RequestId;
use super::trace::PrincipalSlot;
use crate::admission::budget::payer_of;
use crate::api::status;
use crate::auth::{AuthError, Authenticator};
use crate::http::client_ip::{ClientIp, TrustedProxies};
use crate::telemetry::causes;
use crate::telemetry::metrics::{self, RejectReason};

const REJECTION: RejectionSpec = RejectionSpec {
    counted: RejectReason::FailedAuthentications,
    code: Code::ResourceExhausted,
    reason: "TOO_MANY_FAILED_AUTHENTICATIONS",
    message: "Too many failed authentications from this address",
};

/// Authenticates callers whose address has not failed too often.
#[derive(Clone)]
pub(super) struct Authentication {
    authenticator: Arc<Authenticator>,
    failures: Failures,
    proxies: TrustedProxies,
}

impl Authentication {
    /// Uses this authenticator, and this limit on failed authentications of an address.
    pub(super) fn new(
        authenticator: &Arc<Authenticator>,
        failed_authentications: Option<Rate>,
        proxies: &TrustedProxies,
    ) -> Self {
        Self {
            authenticator: Arc::clone(authenticator),
            failures: Failures::new(failed_authentications),
            proxies: proxies.clone(),
        }
    }

    /// Returns the service that the connection's certificate names. The certificate of a trusted proxy does not
    /// identify the clients behind it.
    fn certified(&self, request: &Request) -> Option<ServiceName> {
        let peer = request.extensions().get::<Peer>();
        if peer.is_some_and(|peer| self.proxies.trusts(peer.0.ip())) {
            return None;
        }
        let service = request.extensions().get::<PeerService>();
        service.map(|service| ServiceName(service.0.clone()))
    }

    /// Closes the connection after this response. Otherwise a client that keeps sending bad tokens over it,
    /// many of them before it reads a response, could take the whole processor for rejections. The connection
    /// of a trusted proxy stays open, since it carries the calls of other clients.
    fn close_connection(&self, request: &Request, response: &mut Response) {
        let peer = request.extensions().get::<Peer>();
        if peer.is_some_and(|peer| !self.proxies.trusts(peer.0.ip())) {
            // HTTP/2 has no such header; there the listener sends GOAWAY.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
    }
}

pub(super) async fn layer(
    State(state): State<Authentication>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = super::target(&request);
    if !target.needs_token() {
        return next.run(request).await;
    }
    let client = request.extensions().get::<ClientIp>().copied();
    let attempt = match state.failures.attempt(client, request.headers()) {
        Ok(attempt) => attempt,
        Err(wait) => {
            let mut response = super::reject_with_retry(&target, &REJECTION, wait);
            state.close_connection(&request, &mut response);
            return response;
        }
    };
    let certified = state.certified(&request);
    let waiting = flow(client, certified.as_ref());
    let found = state
        .authenticator
        .authenticate(request.headers(), certified, &waiting);
    let found = found.await;
    record_result(attempt, &found);
    match found {
        Ok(principal) => {
            if let Some(slot) = request.extensions().get::<PrincipalSlot>() {
                slot.fill(principal.actor());
            }
            let id = request.extensions().get::<RequestId>();
            let request_id = id.map(|id| id.0.clone()).unwrap_or_default();
            let payer = payer_of(&principal);
            request.extensions_mut().insert(payer.clone());
            request.extensions_mut().insert(Caller {
                principal,
                request_id,
                source: client.map(|client| client.0),
            });
            let mut response = next.run(request).await;
            response.extensions_mut().insert(Authenticated);
            response.extensions_mut().insert(payer);
            response
        }
        Err(error) => {
            if let AuthError::Missing | AuthError::Invalid(_) = error {
                metrics::rejected(RejectReason::Authentication);
            }
            super::reject(&target, to_status(&error).into())
        }
    }
}

/// Returns the owner of the flow in which a look-up waits. A service that a certificate names has its own, and so has
/// a proxy that does not name its client.
fn flow(client: Option<ClientIp>, certified: Option<&ServiceName>) -> Owner {
    if let Some(service) = certified {
        return Owner::Service(service.0.clone());
    }
    // Only callers in this process have no address.
    let address = client.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), ClientIp::network);
    Owner::Address(address)
}

/// Records the result of an attempt.
fn record_result(attempt: Attempt<'_>, found: &Result<Principal, AuthError>) {
    match found {
        Ok(_) => attempt.succeeded(),
        Err(AuthError::Invalid(_)) => attempt.failed(),
        // The time that the server had decides whether this counts as the client's failure, see `Drop` of
        // `Attempt`.
        Err(AuthError::DeadlineExceeded) => drop(attempt),
        Err(_) => attempt.abandoned(),
    }
}

fn to_status(error: &AuthError) -> Status {
    let (code, reason) = match error {
        AuthError::Missing => (Code::Unauthenticated, "TOKEN_MISSING"),
        AuthError::Invalid(why) => {
            tracing::debug!(why, "rejected a token");
            (Code::Unauthenticated, "TOKEN_INVALID")
        }
        AuthError::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        AuthError::Overloaded(wait) => {
            metrics::rejected(RejectReason::Overload);
            return status::with_retry(Code::Unavailable, "OVERLOADED", &error.to_string(), *wait);
        }
        AuthError::Unavailable(_) => {
            tracing::warn!(cause = causes(error), "failed to authenticate: unavailable");
            (Code::Unavailable, "UNAVAILABLE")
        }
        AuthError::Internal(_) => {
            tracing::error!(cause = causes(error), "failed to authenticate");
            (Code::Internal, "INTERNAL")
        }
    };
    status::plain(code, reason, &error.to_string())
}
