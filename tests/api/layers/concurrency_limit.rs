//! Limit on requests in flight: past it, a request is rejected at once; a finished request frees its slot. A
//! request whose body has not arrived is not in flight.

use std::sync::Arc;
use std::time::Duration;

use keyward::proto::v1::{CreateApiKeyRequest, ListApiKeysRequest, ListWorkspacesRequest};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{
    HeldKek, ORGANIZATION, Setup, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, WebFlavor,
    rejected,
};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const MESSAGE: &str = "Too many requests are under way";
/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(setup: Setup, max_in_flight: usize) -> TestServer {
    let setup = Setup {
        max_in_flight,
        ..setup
    };
    setup.start().await
}

/// Requests in flight: they create provider keys, and wait for the key-encryption key.
struct Working {
    kek: Arc<HeldKek>,
    calls: Vec<JoinHandle<Result<(), Status>>>,
}

impl Working {
    /// Starts a server with this limit, and puts as many requests in flight. Then a list is rejected.
    async fn fill(setup: Setup, max_in_flight: usize) -> (TestServer, Self) {
        let (server, working) = Self::start(setup, max_in_flight, max_in_flight).await;
        assert_eq!(list(&server).await, 503);
        (server, working)
    }

    /// Starts a server, and puts `count` requests in flight.
    async fn start(setup: Setup, max_in_flight: usize, count: usize) -> (TestServer, Self) {
        let kek = Arc::new(HeldKek::new());
        let setup = Setup {
            kek: Arc::clone(&kek) as _,
            ..setup
        };
        let server = start(setup, max_in_flight).await;
        let calls = (0..count).map(|number| {
            let mut client = server.api_keys(&server.token(User::Owner));
            let request = CreateApiKeyRequest {
                workspace_id: WORKSPACE_A.to_owned(),
                key: format!("in flight {number}"),
                secret: "s".to_owned(),
                provider: "AWS".to_owned(),
                ..Default::default()
            };
            tokio::spawn(async move { client.create_api_key(request).await.map(drop) })
        });
        let calls = calls.collect();
        let begun = kek.until_begun(count);
        tokio::time::timeout(PATIENCE, begun).await.unwrap();
        (server, Self { kek, calls })
    }

    /// Lets the requests finish.
    async fn finish(self) {
        self.kek.release();
        for call in self.calls {
            call.await.unwrap().unwrap();
        }
    }
}

/// A request whose body has not arrived; the server has sent 100 Continue.
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

    /// Sends the body and reads the response to its end.
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

/// Lists until the response has this status.
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
    rejected(Err::<(), _>(status.clone()))
        .is(Code::Unavailable, "OVERLOADED", MESSAGE)
        .retries_after(Some(Duration::from_secs(1)));
}

async fn calls_beyond_the_limit_are_rejected_until_one_ends(setup: Setup) {
    let (server, working) = Working::fill(setup, 2).await;
    let managed = format!(r#"{{"error":{{"code":503,"message":"{MESSAGE}"}}}}"#);
    let flashback = format!(r#"{{"success":false,"message":"{MESSAGE}"}}"#);
    for (path, body) in [("/apikeys", &flashback), ("/keys", &managed)] {
        let answer = server
            .get(path)
            .bearer(&server.token(User::Owner))
            .send()
            .await;
        answer.is(503, body);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    working.finish().await;
    for _ in 0..10 {
        assert_eq!(list(&server).await, 200);
    }
    assert_eq!(server.list(WORKSPACE_A).await.len(), 2);
}

async fn rejection_has_the_format_of_each_protocol(setup: Setup) {
    let (server, working) = Working::fill(setup, 1).await;
    let token = server.token(User::Owner);
    let request = ListApiKeysRequest::default();
    let mut client = server.api_keys(&token);
    says_when(&client.list_api_keys(request.clone()).await.unwrap_err());
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.http_status, 200);
        says_when(&Status::from_header_map(&answer.headers).unwrap());
    }
    working.finish().await;
    // Each of these requests has ended once it was read.
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.code(), "0");
        client.list_api_keys(request.clone()).await.unwrap();
    }
    assert_eq!(list(&server).await, 200);
}

async fn rejection_precedes_authentication(setup: Setup) {
    let (server, working) = Working::fill(setup, 1).await;
    for call in [
        server.get("/apikeys"),
        server.get("/apikeys").bearer("garbage"),
    ] {
        call.send().await.rejects(503, MESSAGE);
    }
    working.finish().await;
    server
        .get("/apikeys")
        .send()
        .await
        .rejects(401, UNAUTHENTICATED);
}

async fn probes_are_admitted_and_take_no_slot(setup: Setup) {
    let (server, working) = Working::fill(setup, 1).await;
    let mut health = HealthClient::new(server.channel());
    let mut streams = Vec::new();
    for _ in 0..10 {
        let request = HealthCheckRequest::default();
        let mut stream = health.watch(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }
    for path in ["/healthz", "/readyz"] {
        server.get(path).send().await.is(200, r#"{"status":"ok"}"#);
    }
    health.check(HealthCheckRequest::default()).await.unwrap();
    working.finish().await;
    assert_eq!(list(&server).await, 200);
    drop(streams);
}

async fn disconnected_request_frees_its_slot(setup: Setup) {
    let (server, working) = Working::fill(setup, 1).await;
    for call in &working.calls {
        call.abort();
    }
    list_until(&server, 200).await;
}

async fn absent_bodies_hold_no_permit(setup: Setup) {
    let server = start(setup, 1).await;
    let mut held = Vec::new();
    for number in 0..20 {
        held.push(Held::new(&server, &number.to_string()).await);
    }
    assert_eq!(list(&server).await, 200);
    for held in held {
        held.finish().await;
    }
    assert_eq!(server.list(WORKSPACE_A).await.len(), 20);
}

async fn organization_at_its_share_leaves_permits_to_others(setup: Setup) {
    let setup = Setup {
        max_in_flight_per_organization: 1,
        ..setup
    };
    let (server, working) = Working::start(setup, 1000, 1).await;
    let answer = server
        .get("/apikeys")
        .bearer(&server.token(User::Owner))
        .send()
        .await;
    answer.rejects(503, MESSAGE);
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Internal services have no limit.
    let request = ListWorkspacesRequest {
        organization_id: ORGANIZATION.to_owned(),
        ..Default::default()
    };
    server
        .directory(&server.service_token())
        .list_workspaces(request)
        .await
        .unwrap();
    working.finish().await;
    assert_eq!(list(&server).await, 200);
}

async fn without_a_limit_nothing_is_rejected(setup: Setup) {
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

each_engine! {
    calls_beyond_the_limit_are_rejected_until_one_ends
    rejection_has_the_format_of_each_protocol
    rejection_precedes_authentication
    probes_are_admitted_and_take_no_slot
    disconnected_request_frees_its_slot
    absent_bodies_hold_no_permit
    organization_at_its_share_leaves_permits_to_others
    without_a_limit_nothing_is_rejected
}
