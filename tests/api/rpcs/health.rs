//! `grpc.health.v1`: the state of `/readyz` for Check and Watch, without a token.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Bytes;
use keyward::proto;
use keyward_throttle::Rate;
use prost::Message;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

use crate::support::{Engine, Proxy, Setup, TestServer, WebFlavor, grpc_frame, rejected, unframe};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

/// The whole server, and each service.
fn names() -> BTreeSet<&'static str> {
    let services = proto::METHODS.iter().map(|method| method.service);
    services.chain([""]).collect()
}

async fn check(server: &TestServer, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(server.channel());
    client
        .check(about(service))
        .await
        .unwrap()
        .into_inner()
        .status()
}

async fn watch(server: &TestServer, service: &str) -> Streaming<HealthCheckResponse> {
    let mut client = HealthClient::new(server.channel());
    client.watch(about(service)).await.unwrap().into_inner()
}

async fn next(stream: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let message = tokio::time::timeout(PATIENCE, stream.message()).await;
    message
        .expect("nothing came")
        .unwrap()
        .expect("it ended")
        .status()
}

/// Polls until a value is available.
async fn eventually<T>(asked: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = asked().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

/// Starts a server whose database the test can cut off.
async fn fragile(setup: Setup) -> Option<(TestServer, Proxy)> {
    if setup.engine == Engine::Sqlite {
        return None;
    }
    let proxy = Proxy::before(setup.database.url()).await;
    let store_url = Some(proxy.url(setup.database.url()));
    Some((Setup { store_url, ..setup }.start().await, proxy))
}

async fn every_service_is_serving_while_the_store_answers(server: TestServer) {
    assert!(names().len() > 5);
    for name in names() {
        assert_eq!(check(&server, name).await, ServingStatus::Serving, "{name}");
        assert_eq!(
            next(&mut watch(&server, name).await).await,
            ServingStatus::Serving
        );
    }
}

async fn nothing_is_serving_without_the_store(server: TestServer) {
    server.store.close().await;
    server.until_not_ready().await;
    for name in names() {
        assert_eq!(
            check(&server, name).await,
            ServingStatus::NotServing,
            "{name}"
        );
        assert_eq!(
            next(&mut watch(&server, name).await).await,
            ServingStatus::NotServing
        );
    }
}

async fn unknown_service_is_not_found_and_can_be_waited_for(server: TestServer) {
    let mut client = HealthClient::new(server.channel());
    for name in [
        "keyward.v1.Nothing",
        "keyward.v1",
        "ApiKeyService",
        "/",
        " ",
    ] {
        rejected(client.check(about(name)).await)
            .is(Code::NotFound, "SERVICE_NOT_FOUND", "Service not found")
            .alone();
        let mut stream = watch(&server, name).await;
        assert_eq!(next(&mut stream).await, ServingStatus::ServiceUnknown);
        // No further message while nothing changes: the stream stays open.
        let more = tokio::time::timeout(Duration::from_millis(50), stream.message()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

async fn watch_reports_each_change(setup: Setup) {
    let Some((server, proxy)) = fragile(setup).await else {
        return;
    };
    let mut streams = Vec::new();
    for name in names() {
        streams.push(watch(&server, name).await);
    }
    for expected in [
        ServingStatus::Serving,
        ServingStatus::NotServing,
        ServingStatus::Serving,
    ] {
        match expected {
            ServingStatus::NotServing => proxy.cut(),
            _ => proxy.mend(),
        }
        for stream in &mut streams {
            assert_eq!(next(stream).await, expected);
        }
        assert_eq!(check(&server, "").await, expected);
        let ready = server.get("/readyz").send().await.status;
        assert_eq!(ready == 200, expected == ServingStatus::Serving);
    }
}

async fn watch_reports_the_shutdown_and_ends(server: TestServer) {
    let mut known = watch(&server, "keyward.v1.ApiKeyService").await;
    let mut unknown = watch(&server, "nothing").await;
    assert_eq!(next(&mut known).await, ServingStatus::Serving);
    assert_eq!(next(&mut unknown).await, ServingStatus::ServiceUnknown);
    server.health.end();
    assert_eq!(next(&mut known).await, ServingStatus::NotServing);
    for mut stream in [known, unknown] {
        rejected(stream.message().await)
            .is(
                Code::Unavailable,
                "SHUTTING_DOWN",
                "The server is shutting down",
            )
            .alone();
    }
    // A new client on an open connection gets the same state.
    assert_eq!(check(&server, "").await, ServingStatus::NotServing);
    let mut late = watch(&server, "").await;
    assert_eq!(next(&mut late).await, ServingStatus::NotServing);
    late.message().await.unwrap_err();
    server
        .get("/readyz")
        .send()
        .await
        .is(503, r#"{"status":"unavailable"}"#);
    server
        .get("/healthz")
        .send()
        .await
        .is(200, r#"{"status":"ok"}"#);
}

async fn no_default_ends_a_stream_and_a_callers_deadline_does(setup: Setup) {
    let max_deadline = Duration::from_millis(300);
    let server = Setup {
        max_deadline,
        ..setup
    }
    .start()
    .await;
    let mut client = HealthClient::new(server.channel());
    let mut lasting = watch(&server, "").await;
    assert_eq!(next(&mut lasting).await, ServingStatus::Serving);
    // The maximum also applies to the start of the stream: the timeout that the client sends counts.
    for asked in ["100m", "700m"] {
        let mut request = Request::new(about(""));
        request
            .metadata_mut()
            .insert("grpc-timeout", asked.parse().unwrap());
        let mut bounded = client.watch(request).await.unwrap().into_inner();
        assert_eq!(next(&mut bounded).await, ServingStatus::Serving);
        let error = tokio::time::timeout(PATIENCE, bounded.message())
            .await
            .unwrap();
        rejected(error).is(
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "The deadline expired before the call could complete",
        );
    }
    // More than twice the longest deadline has passed.
    server.health.end();
    assert_eq!(next(&mut lasting).await, ServingStatus::NotServing);
}

async fn request_id_is_sent_over_grpc_web(server: TestServer) {
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, CHECK, None, &about("")).await;
        assert_eq!(answer.code(), "0");
        let status = HealthCheckResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert_eq!(status.status(), ServingStatus::Serving);
        let answer = server
            .grpc_web(flavor, CHECK, Some("garbage"), &about("x"))
            .await;
        assert_eq!(
            (answer.code(), answer.message().as_str()),
            ("5", "Service not found")
        );
        assert!(answer.headers.contains_key("grpc-status-details-bin"));
    }
}

async fn watch_streams_over_grpc_web_without_delay(server: TestServer) {
    let mut streams = Vec::new();
    for flavor in WebFlavor::ALL {
        let request = server.grpc_web_request(flavor, WATCH, grpc_frame(&about("")));
        let mut response = request.send().await.unwrap();
        let first = flavor.decode(&response.chunk().await.unwrap().unwrap());
        let (messages, trailers) = unframe(&first);
        let status = HealthCheckResponse::decode(messages[0].as_slice()).unwrap();
        assert_eq!(
            (status.status(), trailers.len()),
            (ServingStatus::Serving, 0)
        );
        streams.push((flavor, response));
    }
    server.health.end();
    for (flavor, response) in streams {
        let rest = flavor.decode(&response.bytes().await.unwrap());
        let (messages, trailers) = unframe(&rest);
        let status = HealthCheckResponse::decode(messages[0].as_slice()).unwrap();
        assert_eq!(status.status(), ServingStatus::NotServing);
        assert_eq!(trailers["grpc-status"], "14");
        assert!(trailers.contains_key("grpc-status-details-bin"));
    }
}

async fn no_rate_limit_holds_for_it(setup: Setup) {
    let caller_rate = Rate::per_second(1, 1);
    let server = Setup {
        caller_rate,
        ..setup
    }
    .start()
    .await;
    for _ in 0..20 {
        assert_eq!(check(&server, "").await, ServingStatus::Serving);
    }
}

/// A request that is begun and not finished is dropped in favor of later requests, which get responses.
async fn incomplete_messages_are_bounded(server: TestServer) {
    let silent = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = server.http2.post(server.url(CHECK));
    let request = request
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let body = reqwest::Body::wrap(http_body_util::StreamBody::new(silent));
    let unfinished = tokio::spawn(request.body(body).send());
    let mut client = HealthClient::new(server.channel());
    let others = async {
        while !unfinished.is_finished() {
            let answer = client.check(about("")).await.unwrap();
            assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
        }
    };
    tokio::time::timeout(PATIENCE, others).await.unwrap();
    let answer = unfinished.await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "8");
    assert_eq!(
        answer.headers()["grpc-message"],
        "Too%20many%20streams%20are%20open"
    );
}

async fn open_streams_are_bounded(server: TestServer) {
    let mut client = HealthClient::new(server.channel());
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(client.watch(about("")).await.unwrap().into_inner());
    }
    // Another connection does not bypass the limit; another address has a limit of its own.
    client = HealthClient::new(server.channel());
    let status = client.watch(about("")).await.map(|_| ()).unwrap_err();
    let retry = status.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(retry, Some(Duration::from_secs(1)));
    rejected(Err::<(), _>(status)).is(
        Code::ResourceExhausted,
        "TOO_MANY_STREAMS",
        "Too many streams are open",
    );
    // Reflection needs no token either.
    let silent = futures_util::stream::pending::<ServerReflectionRequest>();
    let asked = ServerReflectionClient::new(server.channel())
        .server_reflection_info(silent)
        .await;
    rejected(asked.map(|_| ())).is(
        Code::ResourceExhausted,
        "TOO_MANY_STREAMS",
        "Too many streams are open",
    );
    let elsewhere = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let elsewhere = elsewhere.local_address(Some("127.0.0.2".parse().unwrap()));
    let mut other = HealthClient::new(elsewhere.connect_lazy());
    assert_eq!(
        next(&mut other.watch(about("")).await.unwrap().into_inner()).await,
        ServingStatus::Serving
    );
    // Check requests are not delayed, and a client that disconnects frees its slot.
    assert_eq!(check(&server, "").await, ServingStatus::Serving);
    drop(open);
    eventually(async || client.clone().watch(about("")).await.ok()).await;
}

each_engine! {
    every_service_is_serving_while_the_store_answers
    nothing_is_serving_without_the_store
    unknown_service_is_not_found_and_can_be_waited_for
    watch_reports_each_change
    watch_reports_the_shutdown_and_ends
    no_default_ends_a_stream_and_a_callers_deadline_does
    request_id_is_sent_over_grpc_web
    watch_streams_over_grpc_web_without_delay
    no_rate_limit_holds_for_it
    incomplete_messages_are_bounded
    open_streams_are_bounded
}
