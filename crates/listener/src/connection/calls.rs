//! Calls of a connection: passes each to the router, and charges it for its outcome.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use keyward_throttle::{Owner, Payer, client_network};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

use super::shared::Shared;
use crate::activity::{ActiveCall, Activity, ResponseBody};
use crate::outcome::{Authenticated, Limited, is_outage, is_rejected};
use crate::peer::{Peer, PeerService, Secure};
use crate::phase::Phase;

/// State that all calls of a connection share.
#[derive(Clone)]
pub(crate) struct CallHandler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) peer: Peer,
    pub(crate) service: Option<PeerService>,
    pub(crate) is_exempt: bool,
    pub(crate) secure: Option<Secure>,
    pub(crate) old: Option<Instant>,
}

impl CallHandler {
    /// Charges a call before more is read. hyper runs this for each request that it has read, and polls the
    /// future later.
    pub(crate) fn begin(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
        let call = self.activity.begin();
        let is_charged = !self.is_exempt && !self.activity.is_authenticated();
        // Over HTTP/2, calls are charged when they are read.
        if is_charged && request.version() < http::Version::HTTP_2 {
            self.activity.owe(&self.address(), 1);
        }
        self.call(request, call, is_charged)
    }

    fn address(&self) -> Payer {
        Owner::Address(client_network(self.peer.0.ip())).into()
    }

    /// Records that the client has presented a valid token or certificate.
    pub(crate) fn set_authenticated(&self, payer: Option<&Payer>) {
        let is_due = self.activity.set_authenticated(payer);
        if let Some(pacer) = &self.shared.pacer
            && is_due
            && !self.is_exempt
        {
            pacer.set_known(client_network(self.peer.0.ip()));
        }
    }

    /// Charges a call for its outcome, unless that is the server's own failure. A service and a proxy call
    /// for many clients: the server continues to read their connections and delays only their rejected calls.
    /// Returns that delay.
    fn charge_outcome(
        &self,
        response: &Response<Body>,
        payer: &Payer,
        is_charged: bool,
    ) -> Option<Duration> {
        let is_known = response.extensions().get::<Authenticated>().is_some();
        let is_limited = response.extensions().get::<Limited>().is_some();
        let costs = is_limited || !is_outage(response) && (!is_known || is_rejected(response));
        if is_charged {
            if is_known && !costs {
                self.activity.refund(&self.address());
            }
            return None;
        }
        if !costs {
            return None;
        }
        if self.is_exempt && matches!(payer.owner(), Owner::Address(_)) {
            return None;
        }
        if payer.is_service() || self.is_exempt || !is_known && is_limited {
            return self.shared.pacer.as_ref()?.charge(payer, 1);
        }
        self.activity.owe(payer, 1);
        None
    }

    /// Waits until the client has paid for its calls. Over HTTP/1.1 the next requests may have been read with
    /// the first, so pausing the reader would delay none of them.
    async fn wait_until_paid(&self) {
        let owed = self.activity.owed();
        let pause = self
            .shared
            .pacer
            .as_ref()
            .and_then(|pacer| pacer.charge_all(owed));
        if let Some(pause) = pause {
            sleep(pause).await;
        }
    }

    /// Passes a request to the router. Few calls of an HTTP/2 client that has not presented a valid token are inside
    /// at a time; further ones wait, for as long as headers may take.
    async fn response(&self, request: Request<Body>) -> Response {
        let is_gated = !self.is_exempt && request.version() == http::Version::HTTP_2;
        let _slot = match is_gated {
            false => None,
            true => {
                let slot = self.activity.call_slot();
                match timeout(self.shared.settings.header_timeout, slot).await {
                    Ok(slot) => slot,
                    Err(_elapsed) => return unavailable(),
                }
            }
        };
        let router = self.shared.router.clone();
        let result = router.oneshot(request).await;
        result.unwrap_or_else(|infallible| match infallible {})
    }

    async fn call(
        self,
        request: Request<Incoming>,
        call: ActiveCall,
        is_charged: bool,
    ) -> Result<Response<ResponseBody>, Infallible> {
        let is_http1 = request.version() < http::Version::HTTP_2;
        // The first call is paid for with the connection.
        if is_http1 && !call.is_first() {
            self.wait_until_paid().await;
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.peer);
        if let Some(service) = self.service.clone() {
            request.extensions_mut().insert(service);
        }
        if let Some(secure) = self.secure {
            request.extensions_mut().insert(secure);
        }
        let mut response = self.response(request).await;
        let is_old = self.old.is_some_and(|old| Instant::now() >= old);
        if is_http1 && (is_old || *self.shared.phase.borrow() != Phase::Serving) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        // A layer asks for the end by this header; HTTP/2 has GOAWAY instead.
        if !is_http1 && response.headers_mut().remove(CONNECTION).is_some() {
            self.activity.request_close();
        }
        let shown = response.extensions_mut().remove::<Payer>();
        if response.extensions().get::<Authenticated>().is_some() {
            self.set_authenticated(shown.as_ref());
        }
        // A call that is rejected before authentication counts for the last caller of the connection.
        let payer = shown.clone().or_else(|| self.activity.payer());
        let reader = shown.unwrap_or_else(|| self.address());
        let payer = payer.unwrap_or_else(|| self.address());
        if let Some(delayed) = self.charge_outcome(&response, &payer, is_charged) {
            sleep(delayed).await;
        }
        Ok(response.map(|body| call.respond(body, reader, &self.shared.unread)))
    }
}

/// Returns the response to a call that waited too long. A gRPC client reads the status as UNAVAILABLE.
fn unavailable() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests;
