//! An OpenTelemetry collector that keeps all exports, over gRPC and over HTTP/protobuf on one
//! port.

use std::io::Read;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::support::program::Program;

/// Environment variable with the collector's endpoint.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A collector that listens until it is dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    received: Received,
    serving: JoinHandle<()>,
}

/// Export protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Exports>>);

/// All exports, as received.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    pub(crate) traces: Vec<ExportTraceServiceRequest>,
    pub(crate) metrics: Vec<ExportMetricsServiceRequest>,
    /// Headers of every export.
    pub(crate) headers: Vec<HeaderMap>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Received::default();
        let mut grpc = Routes::builder();
        let traces = TraceServiceServer::new(received.clone());
        let metrics = MetricsServiceServer::new(received.clone());
        grpc.add_service(traces.accept_compressed(CompressionEncoding::Gzip))
            .add_service(metrics.accept_compressed(CompressionEncoding::Gzip));
        let http = Router::new()
            .route("/v1/traces", post(self::traces))
            .route("/v1/metrics", post(self::metrics))
            .with_state(received.clone());
        let router = grpc.routes().into_axum_router().merge(http);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            received,
            serving,
        }
    }

    /// Makes a program export here over gRPC.
    pub(crate) fn of(&self, program: Program) -> Program {
        self.by(Protocol::Grpc, program)
    }

    /// Makes a program export here.
    pub(crate) fn by(&self, protocol: Protocol, program: Program) -> Program {
        let protocol = match protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        };
        program
            .env(ENDPOINT, &self.url)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    }

    /// Returns all exports, as received.
    pub(crate) fn exports(&self) -> Exports {
        self.received.0.lock().unwrap().clone()
    }

    /// Returns every span.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let exports = self.exports().traces;
        let resources = exports.into_iter().flat_map(|export| export.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// Returns the metric from the last export that contains it.
    pub(crate) fn metric(&self, name: &str) -> Option<Metric> {
        let exports = self.exports().metrics;
        let resources = exports
            .into_iter()
            .flat_map(|export| export.resource_metrics);
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        let mut metrics = scopes.flat_map(|scope| scope.metrics);
        let mut found = None;
        for metric in metrics.by_ref() {
            if metric.name == name {
                found = Some(metric);
            }
        }
        found
    }

    /// Returns the only span of a trace whose parent is remote.
    #[track_caller]
    pub(crate) fn server_span(&self, trace: &[u8; 16], parent: &[u8; 8]) -> Span {
        let spans = self.spans();
        let wanted = |span: &&Span| span.trace_id == trace && span.parent_span_id == parent;
        let found: Vec<_> = spans.iter().filter(wanted).collect();
        assert_eq!(found.len(), 1, "of {spans:#?}");
        found[0].clone()
    }
}

/// Returns a text or numeric attribute of a span.
pub(crate) fn attribute(span: &Span, name: &str) -> Option<String> {
    value(&span.attributes, name)
}

/// Returns a text or numeric attribute. Numbers of the semantic conventions must be numeric.
pub(crate) fn value(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) if name != "http.response.status_code" => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
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
        let headers = request.metadata().clone().into_headers();
        let mut exports = self.0.lock().unwrap();
        exports.headers.push(headers);
        exports.traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Received {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let mut exports = self.0.lock().unwrap();
        exports.headers.push(headers);
        exports.metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

async fn traces(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let export = ExportTraceServiceRequest::decode(plain(&headers, body).as_slice()).unwrap();
    let mut exports = received.0.lock().unwrap();
    exports.headers.push(headers);
    exports.traces.push(export);
    StatusCode::OK
}

async fn metrics(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let export = ExportMetricsServiceRequest::decode(plain(&headers, body).as_slice()).unwrap();
    let mut exports = received.0.lock().unwrap();
    exports.headers.push(headers);
    exports.metrics.push(export);
    StatusCode::OK
}

fn plain(headers: &HeaderMap, body: Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    if headers.get("content-encoding").is_none() {
        return body.into();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body.as_ref())
        .read_to_end(&mut plain)
        .unwrap();
    plain
}
