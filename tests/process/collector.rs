//! An OpenTelemetry collector that keeps what it receives.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// The variable that names the collector to programs.
pub(crate) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A collector that listens until it is dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    received: Received,
    serving: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = tokio::spawn(async move {
            server
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        Self {
            url,
            received,
            serving,
        }
    }

    /// Everything that was exported, as it came.
    pub(crate) fn exports(&self) -> Vec<ExportTraceServiceRequest> {
        self.received.0.lock().unwrap().clone()
    }

    /// Every span.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let exports = self.exports();
        let resources = exports.into_iter().flat_map(|export| export.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The one span of a trace that has a parent elsewhere.
    #[track_caller]
    pub(crate) fn server_span(&self, trace: &[u8; 16], parent: &[u8; 8]) -> Span {
        let spans = self.spans();
        let wanted = |span: &&Span| span.trace_id == trace && span.parent_span_id == parent;
        let found: Vec<_> = spans.iter().filter(wanted).collect();
        assert_eq!(found.len(), 1, "of {spans:#?}");
        found[0].clone()
    }
}

/// A text or a number that a span was given.
pub(crate) fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) if !name.ends_with("status_code") => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("`{name}` is {other:?}"),
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
