//! Shares of a principal within its organization: a principal at its share leaves the rest to its colleagues.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use keyward::proto::v1::{GetCurrentKeyRequest, ListApiKeysRequest};
use reqwest::Response;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{ORGANIZATION, Setup, TestServer, User, WORKSPACE_A, rejected};

const CURRENT_KEY: &str = "/keyward.v1.ManagementKeyService/GetCurrentKey";
const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const UNDER_WAY: &str = "Too many requests are under way";
const MUCH_READ: &str = "Too much of other requests is being read";
const MIB: usize = 1024 * 1024;
/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Responses that their client does not read. They are under way until they are dropped.
struct Unread {
    client: reqwest::Client,
    responses: Vec<Response>,
}

impl Unread {
    fn new() -> Self {
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.http2_prior_knowledge();
        let client = builder.http2_initial_stream_window_size(0).build();
        Self {
            client: client.unwrap(),
            responses: Vec::new(),
        }
    }

    /// Holds the response to another call over gRPC, with an empty message. Its headers arrive, and its message
    /// waits for the client.
    async fn hold(&mut self, server: &TestServer, path: &str, token: &str) {
        let call = self.client.post(server.url(path)).bearer_auth(token);
        let call = call
            .header("content-type", "application/grpc")
            .body(vec![0; 5]);
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("grpc-status"));
        self.responses.push(response);
    }
}

async fn list(server: &TestServer, token: &str) -> u16 {
    let call = server.get("/apikeys").bearer(token);
    call.send().await.status
}

/// Expects that the server serves a member, over REST and gRPC.
async fn serves(server: &TestServer, user: User) {
    let token = server.token(user);
    assert_eq!(list(server, &token).await, 200);
    let mut client = server.api_keys(&token);
    let request = ListApiKeysRequest::default();
    client.list_api_keys(request).await.unwrap();
}

async fn unread_responses_of_a_key_leave_permits_to_colleagues(setup: Setup) {
    let setup = Setup {
        max_in_flight_per_organization: 8,
        ..setup
    };
    let server = setup.start().await;
    let management = server.management_key(ORGANIZATION).await;
    let issued = server.issued_key(&management, json!({})).await.key;
    let mut unread = Unread::new();
    for _ in 0..4 {
        unread.hold(&server, CURRENT_KEY, &issued).await;
    }
    let answer = server.get("/key").bearer(&issued).send().await;
    let body = format!(r#"{{"error":{{"code":503,"message":"{UNDER_WAY}"}}}}"#);
    answer.is(503, &body);
    assert_eq!(answer.header("retry-after"), Some("1"));
    let mut client = server.management_keys(&issued);
    let current = client.get_current_key(GetCurrentKeyRequest::default());
    rejected(current.await)
        .is(Code::Unavailable, "OVERLOADED", UNDER_WAY)
        .retries_after(Some(Duration::from_secs(1)));
    serves(&server, User::AdminInA).await;
    let keys = server.get("/keys").bearer(&management).send().await;
    assert_eq!(keys.status, 200);

    // Two principals have the whole share of the organization, and other organizations are not affected.
    let owner = server.token(User::Owner);
    for _ in 0..4 {
        unread.hold(&server, LIST, &owner).await;
    }
    let administrator = server.token(User::AdminInA);
    assert_eq!(list(&server, &administrator).await, 503);
    let outsider = server.token(User::Outsider);
    assert_eq!(list(&server, &outsider).await, 200);

    drop(unread);
    let again = async { while list(&server, &administrator).await != 200 {} };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

/// Sends a request but for the last byte of its body.
async fn withhold(server: &TestServer, token: &str) -> TcpStream {
    let head = format!(
        "POST /keys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {MIB}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may reject it before it has read everything.
    drop(stream.write_all(&vec![b' '; MIB - 1]).await);
    stream
}

async fn withheld_bodies_of_a_key_leave_memory_to_colleagues(server: TestServer) {
    let management = server.management_key(ORGANIZATION).await;
    // An eighth of 64 MiB is enough for three of them, and a quarter for seven.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(withhold(&server, &management).await);
    }
    let firsts = held.iter_mut().map(|stream| {
        async move {
            let mut first = [0; 13];
            stream.read_exact(&mut first).await.unwrap();
            first
        }
        .boxed()
    });
    let first = tokio::time::timeout(PATIENCE, select_all(firsts));
    let (first, _, others) = first.await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 503 ");
    drop(others);
    // The bytes that the server has not read yet take no memory.
    let rejected = async {
        loop {
            let call = server.post("/keys").bearer(&management);
            let answer = call.text("application/json", " ".repeat(MIB)).send().await;
            if answer.status == 503 {
                break answer;
            }
            held.push(withhold(&server, &management).await);
        }
    };
    let rejected = tokio::time::timeout(PATIENCE, rejected).await.unwrap();
    let body = format!(r#"{{"error":{{"code":503,"message":"{MUCH_READ}"}}}}"#);
    rejected.is(503, &body);

    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let mut body = body.to_string();
    body.push_str(&" ".repeat(MIB - body.len()));
    let call = server
        .post("/apikeys")
        .bearer(&server.token(User::AdminInA));
    let answer = call.text("application/json", body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    serves(&server, User::AdminInA).await;
    drop(held);
}

each_engine! {
    unread_responses_of_a_key_leave_permits_to_colleagues
    withheld_bodies_of_a_key_leave_memory_to_colleagues
}
