//! Connections of well-behaved clients, and single calls over them.
//!
//! Requests are not retried: a request that was sent and failed counts as failed. A request that
//! was not sent, because its connection had just been closed, uses another connection; hyper
//! distinguishes the two cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::sync::Semaphore;
use tonic::body::Body;

use crate::environment::{Environment, EnvironmentArgs};
use crate::proto::api_key_service_client::ApiKeyServiceClient;
use crate::proto::management_key_service_client::ManagementKeyServiceClient;
use crate::target::Target;
use crate::{Outcome, chain};

/// Timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum idle time of a connection; shorter than that of servers and proxies.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connection pool.
pub(crate) type Http = Client<HttpsConnector<HttpConnector>, Body>;

/// HTTP version of REST calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RestVersion {
    /// HTTP/1.1 with persistent connections.
    Http1,
    /// HTTP/2; without TLS, with prior knowledge.
    Http2,
    /// Both, alternately.
    Both,
}

/// Clients for REST and gRPC calls.
#[derive(Debug)]
pub(crate) struct Clients {
    rest: Target,
    grpc: Target,
    version: RestVersion,
    http1: Http,
    /// Permits for HTTP/1.1 calls, one per connection.
    http1_slots: Semaphore,
    http2: Vec<Http>,
    turn: AtomicUsize,
}

/// Response to a REST call, or the reason for its absence.
pub(crate) type Answer = Result<(StatusCode, Value), String>;

impl Clients {
    /// Creates the pools. `connections` is the maximum for HTTP/1.1; HTTP/2 uses one connection for
    /// each 16.
    ///
    /// # Errors
    ///
    /// The certificate authority's file cannot be used.
    pub(crate) fn new(
        args: &EnvironmentArgs,
        environment: &Environment,
        version: RestVersion,
        connections: usize,
    ) -> Outcome<Self> {
        let tls = tls(args)?;
        let http2 = (0..connections.div_ceil(16)).map(|_| http2(&tls));
        Ok(Self {
            rest: environment.rest.clone(),
            grpc: environment.grpc.clone(),
            version,
            http1: http1(&tls, connections),
            http1_slots: Semaphore::new(connections),
            http2: http2.collect(),
            turn: AtomicUsize::new(0),
        })
    }

    /// Makes a REST call and reads the response.
    ///
    /// # Errors
    ///
    /// The call fails, or the response is not JSON.
    pub(crate) async fn rest(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Answer {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let over_http1 = match self.version {
            RestVersion::Http1 => true,
            RestVersion::Http2 => false,
            RestVersion::Both => turn.is_multiple_of(2),
        };
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(self.rest.join(path))
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Body::new(http_body_util::Full::new(body)))
            .map_err(|error| chain(&error))?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, async {
            if over_http1 {
                let _slot = self.http1_slots.acquire().await;
                read(&self.http1, request).await
            } else {
                read(self.pick(turn / 2), request).await
            }
        });
        answer.await.map_err(|_| "no answer in time".to_owned())?
    }

    fn pick(&self, turn: usize) -> &Http {
        &self.http2[turn % self.http2.len()]
    }

    /// Returns a client of ManagementKeyService.
    pub(crate) fn management_keys(&self) -> ManagementKeyServiceClient<Http> {
        ManagementKeyServiceClient::with_origin(self.grpc_channel(), self.grpc_origin())
    }

    /// Returns a client of ApiKeyService.
    pub(crate) fn api_keys(&self) -> ApiKeyServiceClient<Http> {
        ApiKeyServiceClient::with_origin(self.grpc_channel(), self.grpc_origin())
    }

    /// Returns the next gRPC connection, in rotation.
    pub(crate) fn grpc_channel(&self) -> Http {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.pick(turn).clone()
    }

    /// Returns the target of gRPC calls.
    pub(crate) fn grpc_origin(&self) -> Uri {
        self.grpc.uri()
    }
}

/// Adds the token and a timeout to a gRPC call.
///
/// # Errors
///
/// The token is not a valid header value.
pub(crate) fn called_by<T>(token: &str, message: T) -> Result<tonic::Request<T>, String> {
    let mut request = tonic::Request::new(message);
    let bearer = format!("Bearer {token}").parse();
    let bearer = bearer.map_err(|_| "the token fits no header".to_owned())?;
    request.metadata_mut().insert("authorization", bearer);
    request.set_timeout(CALL_TIMEOUT);
    Ok(request)
}

/// Waits for a gRPC call's response, with a timeout.
///
/// # Errors
///
/// The call times out or fails; the error is a text.
pub(crate) async fn answered<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, String> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), chain(&status))),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn read(http: &Http, request: Request<Body>) -> Answer {
    let response = http.request(request).await.map_err(|error| chain(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| format!("{status}, then {}", chain(&error)))?;
    let json = serde_json::from_slice(&body.to_bytes());
    let json = json.map_err(|_| format!("{status}, and the body is not JSON"))?;
    Ok((status, json))
}

fn tls(args: &EnvironmentArgs) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &args.ca_file {
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CALL_TIMEOUT));
    connector
}

fn http1(tls: &Arc<ClientConfig>, connections: usize) -> Http {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.as_ref().clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector());
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(connections)
        .build(connector)
}

fn http2(tls: &Arc<ClientConfig>) -> Http {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.as_ref().clone())
        .https_or_http()
        .enable_http2()
        .wrap_connector(connector());
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(true)
        .build(connector)
}
