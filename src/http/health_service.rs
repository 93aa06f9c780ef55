//! `grpc.health.v1`: the result of `/readyz`, for the process ("") and for each service by its full name.

use std::collections::HashSet;
use std::pin::Pin;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::api::proto;
use crate::api::status;
use crate::http::layers::StreamDeadline;
use crate::http::readiness::{Health, Readiness};
use crate::http::unauthenticated::{UnauthenticatedStream, UnauthenticatedStreams};

/// Serves readiness.
pub(crate) struct HealthGrpc {
    health: Health,
    /// Known service names.
    names: HashSet<&'static str>,
    streams: UnauthenticatedStreams,
}

impl HealthGrpc {
    /// Serves this health, with these streams.
    pub(crate) fn new(health: Health, streams: UnauthenticatedStreams) -> Self {
        let services = proto::METHODS.iter().map(|method| method.service);
        Self {
            health,
            names: services.chain([""]).collect(),
            streams,
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for HealthGrpc {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.names.contains(request.get_ref().service.as_str()) {
            return Err(status::service_not_found());
        }
        let status = match self.health.is_ready().await {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let stream = self.streams.open(request.extensions())?;
        let watching = Watching {
            // An unknown service is not an error: the protocol lets a watcher wait for it.
            is_known: self.names.contains(request.get_ref().service.as_str()),
            deadline: request.extensions().get::<StreamDeadline>().map(|it| it.0),
            readiness: self.health.watch().await,
            sent: None,
            _stream: stream,
        };
        let statuses = stream::unfold(Some(watching), |watching| async { watching?.next().await });
        Ok(Response::new(Box::pin(statuses)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// A watch stream.
struct Watching {
    is_known: bool,
    deadline: Option<Instant>,
    readiness: watch::Receiver<Readiness>,
    /// Last status that was sent.
    sent: Option<ServingStatus>,
    _stream: UnauthenticatedStream,
}

impl Watching {
    /// Returns the next status once it changes. A stream ends with an error, since its client must reconnect.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Option<Self>)> {
        loop {
            let readiness = *self.readiness.borrow_and_update();
            let status = match readiness {
                _ if !self.is_known => ServingStatus::ServiceUnknown,
                Readiness::Ready => ServingStatus::Serving,
                Readiness::NotReady | Readiness::Ending => ServingStatus::NotServing,
            };
            if self.sent != Some(status) {
                self.sent = Some(status);
                return Some((Ok(response(status)), Some(self)));
            }
            if readiness == Readiness::Ending {
                return Some((Err(status::shutting_down()), None));
            }
            tokio::select! {
                changed = self.readiness.changed() => changed.ok()?,
                () = until(self.deadline) => return Some((Err(status::deadline_exceeded()), None)),
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
