//! A server span for every request on every protocol, as a continuation of the caller's trace.

use http::Method;
use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;

use crate::support::client::{Answer, Rest, WebForm, called_by, channel, frame};
use crate::support::collector::{Collector, Protocol, attribute};
use crate::support::deployment::{Deployment, Served};

/// A caller's trace, identified by a number.
pub(crate) struct Trace(pub(crate) [u8; 16], pub(crate) [u8; 8]);

impl Trace {
    pub(crate) fn new(number: u8) -> Self {
        Self([number; 16], [number; 8])
    }

    pub(crate) fn parent(&self) -> String {
        self.parent_with_flags("01")
    }

    pub(crate) fn parent_with_flags(&self, flags: &str) -> String {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        format!("00-{}-{}-{flags}", hex(&self.0), hex(&self.1))
    }

    pub(crate) fn span(&self, collector: &Collector) -> Span {
        let span = collector.server_span(&self.0, &self.1);
        assert_eq!(span.kind(), SpanKind::Server);
        assert!(span.start_time_unix_nano < span.end_time_unix_nano);
        span
    }
}

#[track_caller]
fn expect(span: &Span, name: &str, attributes: &[(&str, Option<&str>)], failed: bool) {
    assert_eq!(span.name, name);
    for (attribute_name, expected) in attributes {
        let found = attribute(span, attribute_name);
        assert_eq!(
            found.as_deref(),
            *expected,
            "`{attribute_name}` of {span:#?}"
        );
    }
    let code = span
        .status
        .as_ref()
        .map_or(StatusCode::Unset, |status| status.code());
    assert_eq!(code == StatusCode::Error, failed, "{span:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_every_protocol_continue_the_trace_over_grpc() {
    every_protocol_has_spans(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_every_protocol_continue_the_trace_over_http() {
    every_protocol_has_spans(Protocol::Http).await;
}

async fn every_protocol_has_spans(protocol: Protocol) {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let served = Served::of(collector.by(protocol, deployment.command("serve")));
    let admin = &deployment.env["ADMIN_TOKEN"];
    let trace: Vec<Trace> = (0..8).map(Trace::new).collect();
    let rest = Rest::new(&served.url);
    let post = |token: &str, trace: &Trace| {
        let request = rest.request(Method::POST, "/apikeys").bearer_auth(token);
        request
            .header("content-type", "application/json")
            .header("traceparent", trace.parent())
    };
    let body = json!({
        "workspaceId": &deployment.env["WORKSPACE_A"], "provider": "AWS", "key": "k", "secret": "s",
    });

    Answer::of(post(admin, &trace[1]).body(body.to_string()))
        .await
        .expect(201);
    let mut list = called_by(admin, ListApiKeysRequest::default());
    list.metadata_mut()
        .insert("traceparent", trace[2].parent().parse().unwrap());
    let channel = channel(&served.url).await;
    ApiKeyServiceClient::new(channel)
        .list_api_keys(list)
        .await
        .unwrap();
    for (form, trace) in [(WebForm::Binary, &trace[3]), (WebForm::Text, &trace[4])] {
        let frame = frame(&ListApiKeysRequest::default());
        let request = rest.grpc_web("ApiKeyService/ListApiKeys", admin, form, frame);
        let answer = Answer::of(request.header("traceparent", trace.parent())).await;
        assert_eq!(answer.status, 200);
    }
    Answer::of(post("no token", &trace[5]).body(body.to_string()))
        .await
        .expect(401);
    // Without its table, a list fails.
    deployment
        .database
        .execute("ALTER TABLE provider_keys RENAME TO away")
        .await;
    let failing = rest.request(Method::GET, "/apikeys").bearer_auth(admin);
    Answer::of(failing.header("traceparent", trace[6].parent()))
        .await
        .expect(500);
    let mut list = called_by(admin, ListApiKeysRequest::default());
    list.metadata_mut()
        .insert("traceparent", trace[7].parent().parse().unwrap());
    let grpc = crate::support::client::channel(&served.url).await;
    ApiKeyServiceClient::new(grpc)
        .list_api_keys(list)
        .await
        .unwrap_err();
    served.running.terminate().expect(0);

    let http = |method, status| {
        [
            ("http.request.method", Some(method)),
            ("http.route", Some("/apikeys")),
            ("http.response.status_code", Some(status)),
            ("rpc.system.name", None),
            ("rpc.method", None),
            ("client.address", Some("127.0.0.1")),
        ]
    };
    let rpc = |status| {
        [
            ("rpc.system.name", Some("grpc")),
            ("rpc.method", Some("keyward.v1.ApiKeyService/ListApiKeys")),
            ("rpc.response.status_code", Some(status)),
            ("http.route", None),
        ]
    };
    let list = "keyward.v1.ApiKeyService/ListApiKeys";
    expect(
        &trace[1].span(&collector),
        "POST /apikeys",
        &http("POST", "201"),
        false,
    );
    for trace in &trace[2..5] {
        expect(&trace.span(&collector), list, &rpc("OK"), false);
    }
    expect(
        &trace[5].span(&collector),
        "POST /apikeys",
        &http("POST", "401"),
        false,
    );
    expect(
        &trace[6].span(&collector),
        "GET /apikeys",
        &http("GET", "500"),
        true,
    );
    expect(&trace[7].span(&collector), list, &rpc("INTERNAL"), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_a_trace_begins_one_without_unknown_paths() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let served = Served::of(collector.of(deployment.command("serve")));
    let rest = Rest::new(&served.url);
    Answer::of(rest.request(Method::GET, "/nowhere/at-all?really=yes"))
        .await
        .expect(404);
    Answer::of(
        rest.request(Method::PATCH, "/apikeys")
            .bearer_auth(&deployment.env["ADMIN_TOKEN"]),
    )
    .await;
    served.running.terminate().expect(0);

    let spans = collector.spans();
    let servers: Vec<_> = spans
        .iter()
        .filter(|span| span.kind() == SpanKind::Server)
        .collect();
    let names: Vec<_> = servers.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["GET", "PATCH"]);
    for span in servers {
        assert!(span.parent_span_id.is_empty() && span.trace_id.len() == 16);
    }
    let text = format!("{:?}", collector.exports().traces);
    assert!(text.contains("keyward") && !text.contains("nowhere") && !text.contains("really"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_collector_delays_no_request() {
    let deployment = Deployment::sqlite().await;
    let collector = Collector::start().await;
    let serve = collector.of(deployment.command("serve"));
    drop(collector);
    let served = Served::of(serve);
    let rest = Rest::new(&served.url);
    rest.list(
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    )
    .await;
    let finished = served.running.terminate();
    finished.expect(0);
    // Once for the spans and once for the metrics.
    let said = "failed to export telemetry";
    let lines = finished.stderr.lines();
    assert_eq!(lines.filter(|line| line.contains(said)).count(), 2);
}
