//! So many calls may be under way; the next is refused at once, and when one has ended another may
//! come.

use std::time::Duration;

use keyward::proto::v1::{ListApiKeysRequest, UpdateApiKeyRequest};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Setup, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, WebFlavor, refused};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const MESSAGE: &str = "Too many requests are under way";
/// After this time a test fails instead of waiting for ever.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(setup: Setup, max_in_flight: usize) -> TestServer {
    let setup = Setup {
        max_in_flight,
        ..setup
    };
    setup.start().await
}

/// A call that is under way: what sends its body has been asked to go on.
struct Held {
    stream: TcpStream,
    body: String,
}

impl Held {
    async fn new(server: &TestServer, name: &str) -> Self {
        let body = json!({
            "workspaceId": WORKSPACE_A, "key": name, "secret": "s", "provider": "AWS",
        });
        let body = body.to_string();
        let head = format!(
            "POST /apikeys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\nconnection: close\r\nexpect: 100-continue\r\n\
             content-length: {}\r\n\r\n",
            server.token(User::Owner),
            body.len()
        );
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, expected);
        Self { stream, body }
    }

    /// Sends the body and reads the answer to its end.
    async fn finish(mut self) {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
}

async fn list(server: &TestServer) -> u16 {
    let call = server.get("/apikeys").bearer(&server.token(User::Owner));
    call.send().await.status
}

/// Lists until that is the answer.
async fn list_until(server: &TestServer, status: u16) {
    let tries = async {
        while list(server).await != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap();
}

#[track_caller]
fn says_when(status: &Status) {
    refused(Err::<(), _>(status.clone()))
        .is(Code::Unavailable, "OVERLOADED", MESSAGE)
        .retries_after(Some(Duration::from_secs(1)));
}

on_each_engine! {
    async fn exactly_so_many_are_under_way_and_who_ends_makes_room(setup: Setup) {
        let server = start(setup, 2).await;
        let first = Held::new(&server, "first").await;
        assert_eq!(list(&server).await, 200);
        let second = Held::new(&server, "second").await;
        let managed = format!(r#"{{"error":{{"code":503,"message":"{MESSAGE}"}}}}"#);
        let flashback = format!(r#"{{"success":false,"message":"{MESSAGE}"}}"#);
        for (path, body) in [("/apikeys", &flashback), ("/keys", &managed)] {
            let answer = server.get(path).bearer(&server.token(User::Owner)).send().await;
            answer.is(503, body);
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        first.finish().await;
        for _ in 0..10 {
            assert_eq!(list(&server).await, 200);
        }
        let third = Held::new(&server, "third").await;
        assert_eq!(list(&server).await, 503);
        second.finish().await;
        third.finish().await;
        assert_eq!(server.list(WORKSPACE_A).await.len(), 3);
    }

    async fn every_face_is_told_in_its_words(setup: Setup) {
        let server = start(setup, 1).await;
        let held = Held::new(&server, "held").await;
        let token = server.token(User::Owner);
        let request = ListApiKeysRequest::default();
        let mut client = server.api_keys(&token);
        says_when(&client.list_api_keys(request.clone()).await.unwrap_err());
        for flavor in WebFlavor::ALL {
            let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
            assert_eq!(answer.http_status, 200);
            says_when(&Status::from_header_map(&answer.headers).unwrap());
        }
        held.finish().await;
        // Each of these has ended when it was read.
        for flavor in WebFlavor::ALL {
            let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
            assert_eq!(answer.code(), "0");
            client.list_api_keys(request.clone()).await.unwrap();
        }
        assert_eq!(list(&server).await, 200);
    }

    async fn the_refusal_comes_before_the_token_is_looked_at(setup: Setup) {
        let server = start(setup, 1).await;
        let held = Held::new(&server, "held").await;
        for call in [server.get("/apikeys"), server.get("/apikeys").bearer("garbage")] {
            call.send().await.refuses(503, MESSAGE);
        }
        held.finish().await;
        server.get("/apikeys").send().await.refuses(401, UNAUTHENTICATED);
    }

    async fn probes_are_let_in_and_their_streams_take_no_place(setup: Setup) {
        let server = start(setup, 1).await;
        let mut health = HealthClient::new(server.channel());
        let mut streams = Vec::new();
        for _ in 0..10 {
            let mut stream =
                health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            streams.push(stream);
        }
        let held = Held::new(&server, "held").await;
        assert_eq!(list(&server).await, 503);
        for path in ["/healthz", "/readyz"] {
            server.get(path).send().await.is(200, r#"{"status":"ok"}"#);
        }
        health.check(HealthCheckRequest::default()).await.unwrap();
        health.watch(HealthCheckRequest::default()).await.unwrap();
        held.finish().await;
    }

    async fn a_call_whose_caller_goes_away_makes_room(setup: Setup) {
        let server = start(setup, 1).await;
        let held = Held::new(&server, "held").await;
        assert_eq!(list(&server).await, 503);
        drop(held);
        list_until(&server, 200).await;
    }

    async fn a_call_that_waits_for_the_store_is_under_way(setup: Setup) {
        let server = start(setup, 1).await;
        let body = json!({
            "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
        });
        let uuid = server.create(body).await;
        let lock = server.database.raw().await.begin().await.unwrap();
        lock.execute_unprepared("UPDATE provider_keys SET version = version").await.unwrap();
        let mut client = server.api_keys(&server.token(User::Owner));
        let request = UpdateApiKeyRequest {
            uuid,
            description: Some("changed".to_owned()),
            ..Default::default()
        };
        let waiting = tokio::spawn(async move {
            // A list below may have the place.
            loop {
                match client.update_api_key(request.clone()).await {
                    Err(status) if status.code() == Code::Unavailable => {}
                    outcome => return outcome,
                }
            }
        });
        list_until(&server, 503).await;
        lock.rollback().await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(server.list(WORKSPACE_A).await[0]["description"], "changed");
    }

    async fn without_a_limit_nothing_is_refused(setup: Setup) {
        let server = start(setup, 0).await;
        let mut held = Vec::new();
        for number in 0..50 {
            held.push(Held::new(&server, &number.to_string()).await);
        }
        assert_eq!(list(&server).await, 200);
        for held in held {
            held.finish().await;
        }
    }
}
