//! SIGTERM and Ctrl-C: requests in flight finish, and no new request begins.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use futures_util::StreamExt;
use http::Method;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;
use keyward::proto::v1::{CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::support::client::{Rest, called_by, channel};
use crate::support::deployment::{Dev, dev_program};

fn start(directory: &TempDir) -> Dev {
    let program = dev_program(directory.path()).env("KEYWARD_LOG__FILTER", "keyward=info");
    Dev::of(program, directory.path())
}

fn address(dev: &Dev) -> String {
    dev.url.strip_prefix("http://").unwrap().to_owned()
}

/// Sends the signal, and waits until the program has closed its listener.
fn signal(dev: &Dev, signal: Signal) {
    dev.running.signal(signal);
    dev.running.stderr.wait_for("draining connections");
    let rejected = TcpStream::connect(address(dev)).unwrap_err();
    assert_eq!(rejected.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Starts a REST request whose server waits for the second half of its body.
fn begin_rest(dev: &Dev, body: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address(dev)).unwrap();
    let mut stream = BufReader::new(stream);
    let head = format!(
        "POST /apikeys HTTP/1.1\r\nHost: keyward\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        &dev.env["ADMIN_TOKEN"],
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    // The server sends 100 Continue once a handler waits for the body.
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.read_line(&mut line).unwrap();
    stream
        .get_mut()
        .write_all(&body.as_bytes()[..body.len() / 2])
        .unwrap();
    stream
}

fn rest_calls_finish(how: Signal) {
    let directory = TempDir::new().unwrap();
    let dev = start(&directory);
    let body = json!({
        "workspaceId": &dev.env["WORKSPACE_A"], "provider": "AWS", "key": "k", "secret": "s",
    });
    let body = body.to_string();
    let mut stream = begin_rest(&dev, &body);
    signal(&dev, how);
    stream
        .get_mut()
        .write_all(&body.as_bytes()[body.len() / 2..])
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["success"], json!(true));
    dev.running.wait().expect(0);
}

async fn grpc_calls_finish(how: Signal) {
    let directory = TempDir::new().unwrap();
    let dev = start(&directory);
    let channel = channel(&dev.env["KEYWARD_URL"]).await;
    let message = CreateApiKeyRequest {
        workspace_id: dev.env["WORKSPACE_A"].to_owned(),
        provider: "AWS".to_owned(),
        key: "k".to_owned(),
        secret: "s".to_owned(),
        ..Default::default()
    };
    // The client asks for the body once the headers of the request are sent.
    let (asked, body_is_asked_for) = oneshot::channel();
    let (send, message_is_sent) = oneshot::channel();
    let body = futures_util::stream::once(async move {
        asked.send(()).unwrap();
        message_is_sent.await.unwrap()
    });
    let request = called_by(&dev.env["ADMIN_TOKEN"], body.boxed());
    let mut slow = tonic::client::Grpc::new(channel.clone());
    let call = tokio::spawn(async move {
        slow.ready().await.unwrap();
        let path = "/keyward.v1.ApiKeyService/CreateApiKey".parse().unwrap();
        let codec = ProstCodec::<CreateApiKeyRequest, CreateApiKeyResponse>::default();
        slow.client_streaming(request, path, codec).await
    });
    body_is_asked_for.await.unwrap();
    // The frames of a connection arrive in order: once a later call has its response, the slow one has
    // arrived.
    let list = called_by(&dev.env["ADMIN_TOKEN"], ListApiKeysRequest::default());
    ApiKeyServiceClient::new(channel)
        .list_api_keys(list)
        .await
        .unwrap();

    signal(&dev, how);
    send.send(message).unwrap();
    let created = call.await.unwrap().unwrap().into_inner();
    assert!(created.success);
    dev.running.wait().expect(0);
}

#[test]
fn sigterm_lets_rest_calls_finish() {
    rest_calls_finish(Signal::TERM);
}

#[test]
fn ctrl_c_lets_rest_calls_finish() {
    rest_calls_finish(Signal::INT);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_grpc_calls_finish() {
    grpc_calls_finish(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_grpc_calls_finish() {
    grpc_calls_finish(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_delay_no_shutdown() {
    let directory = TempDir::new().unwrap();
    let dev = start(&directory);
    let rest = crate::support::client::Rest::new(&dev.env["KEYWARD_URL"]);
    rest.list(&dev.env["ADMIN_TOKEN"], &dev.env["WORKSPACE_A"])
        .await;
    let channel = channel(&dev.env["KEYWARD_URL"]).await;
    let list = called_by(&dev.env["ADMIN_TOKEN"], ListApiKeysRequest::default());
    ApiKeyServiceClient::new(channel.clone())
        .list_api_keys(list)
        .await
        .unwrap();
    let started = std::time::Instant::now();
    dev.running.terminate().expect(0);
    // Far below the drain timeout.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
    drop((rest, channel));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_watch_reports_the_end_and_delays_no_shutdown() {
    let directory = TempDir::new().unwrap();
    let dev = start(&directory);
    let channel = channel(&dev.env["KEYWARD_URL"]).await;
    let client_channel = channel.clone();
    let mut client = HealthClient::new(channel);
    let watching = client.watch(HealthCheckRequest::default());
    let mut native = watching.await.unwrap().into_inner();
    let first = native.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    // A browser's request over HTTP/1.1: an empty message checks the whole server.
    let rest = Rest::new(&dev.env["KEYWARD_URL"]);
    let request = rest.request(Method::POST, "/grpc.health.v1.Health/Watch");
    let request = request.header("content-type", "application/grpc-web+proto");
    let mut web = request.body(vec![0; 5]).send().await.unwrap();
    assert_eq!(
        web.chunk().await.unwrap().unwrap(),
        [0, 0, 0, 0, 2, 8, 1].as_slice()
    );

    // A reflection stream without a request, which might never send any.
    let silent = futures_util::stream::pending::<ServerReflectionRequest>();
    let mut reflection = ServerReflectionClient::new(client_channel)
        .server_reflection_info(silent)
        .await
        .unwrap()
        .into_inner();

    let started = std::time::Instant::now();
    dev.running.signal(Signal::TERM);
    assert!(reflection.message().await.unwrap().is_none());
    let last = native.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert_eq!(
        native.message().await.unwrap_err().code(),
        tonic::Code::Unavailable
    );
    let rest_of_it = web.bytes().await.unwrap();
    assert!(
        rest_of_it.starts_with(&[0, 0, 0, 0, 2, 8, 2, 0x80]),
        "{rest_of_it:?}"
    );
    dev.running.wait().expect(0);
    // Far below the drain timeout.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn endless_request_is_ended_by_its_timeout() {
    let deployment = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(crate::support::deployment::Deployment::sqlite());
    let program = deployment
        .command("serve")
        .env("KEYWARD_SERVER__DRAIN_TIMEOUT_MS", "50");
    let served = crate::support::deployment::Served::of(program);
    let dev = Dev {
        running: served.running,
        url: served.url,
        env: deployment.env.clone(),
    };
    let stream = begin_rest(&dev, "{}");
    let finished = dev.running.terminate();
    let printed = finished.expect(0);
    assert!(
        printed.contains("some calls did not finish in time"),
        "{printed}"
    );
    drop(stream);
}

#[test]
fn second_signal_does_not_wait_for_calls() {
    let directory = TempDir::new().unwrap();
    let dev = start(&directory);
    let stream = begin_rest(&dev, "{}");
    signal(&dev, Signal::INT);
    dev.running.signal(Signal::INT);
    let printed = dev.running.wait().expect(0);
    assert!(printed.contains("received a second signal"), "{printed}");
    drop(stream);
}

#[test]
fn signal_after_the_start_message_ends_the_program() {
    // The address is printed before any process can send the signal; the handlers are installed by then.
    for how in [Signal::TERM, Signal::INT, Signal::TERM, Signal::INT] {
        let directory = TempDir::new().unwrap();
        let running = dev_program(directory.path()).start();
        running.stdout.wait_for("Keyward listens on");
        running.signal(how);
        running.wait().expect(0);
    }
}
