//! Tests of calls over real connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use keyward_throttle::Rate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::*;
use crate::acceptor::Acceptor;
use crate::connection::tests::settings;
use crate::settings::Settings;

/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Path of the calls with a valid token.
const GOOD: &str = "/good";

fn shared(settings: Settings, router: Router) -> Arc<Shared> {
    let settings = Settings {
        max_connections: 1000,
        max_connections_per_address: 0,
        ..settings
    };
    let (_, serving) = watch::channel(Phase::Serving);
    Arc::new(Shared::new(settings, router, None, serving))
}

/// Accepts connections on all loopback addresses.
async fn listen(shared: Arc<Shared>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut acceptor = Acceptor::new(shared, Arc::new(|_| false));
        acceptor
            .admit_until(&listener, std::future::pending())
            .await;
    });
    address
}

/// Response to a call with this path.
fn answer(path: &str) -> Response {
    let mut response = "text".into_response();
    if path == GOOD {
        response.extensions_mut().insert(Authenticated);
    }
    response
}

/// Sends a request from an address over a new connection; returns once the first byte of the response is here.
async fn get_from(server: SocketAddr, number: u8, path: &str) {
    let socket = TcpSocket::new_v4().unwrap();
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, number));
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: keyward.test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_ne!(stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn known_address_does_not_wait_for_the_debt_of_others() {
    let settings = Settings {
        rejected_call_rate: Rate::per_second(100, 100),
        ..settings()
    };
    let router = Router::new()
        .fallback(|request: Request<Body>| async move { answer(request.uri().path()) });
    let shared = shared(settings, router);
    let server = listen(Arc::clone(&shared)).await;
    get_from(server, 2, GOOD).await;
    let pacer = shared.pacer.as_ref().unwrap();
    for number in 100..140 {
        pacer.charge(&Owner::Address([127, 0, 1, number].into()).into(), 100);
    }
    // Another address waits for at least a second.
    tokio::select! {
        biased;
        () = get_from(server, 3, "/") => panic!("the other address did not wait"),
        () = get_from(server, 2, "/") => {}
    }
}

/// Server whose calls wait for a permit of the test, and a client with a single HTTP/2 connection.
struct Gated {
    entered: mpsc::UnboundedReceiver<()>,
    ends: Arc<Semaphore>,
    client: reqwest::Client,
    server: SocketAddr,
}

impl Gated {
    async fn start(settings: Settings) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (enter, entered) = mpsc::unbounded_channel();
        let ends = Arc::new(Semaphore::new(0));
        let wait = Arc::clone(&ends);
        let handler = move |request: Request<Body>| async move {
            enter.send(()).unwrap();
            wait.acquire().await.unwrap().forget();
            answer(request.uri().path())
        };
        let client = reqwest::Client::builder().no_proxy();
        Self {
            entered,
            ends,
            client: client.http2_prior_knowledge().build().unwrap(),
            server: listen(shared(settings, Router::new().fallback(handler))).await,
        }
    }

    /// Begins a hundred calls, on the same connection.
    fn call(&self, path: &str) -> JoinSet<StatusCode> {
        let mut calls = JoinSet::new();
        for _ in 0..100 {
            let call = self.client.post(format!("http://{}{path}", self.server));
            let call = call.header("content-type", "application/grpc");
            calls.spawn(async move { call.send().await.unwrap().status() });
        }
        calls
    }

    /// Waits until this many further calls are in the router.
    async fn entered(&mut self, count: usize) {
        for _ in 0..count {
            let entered = tokio::time::timeout(PATIENCE, self.entered.recv()).await;
            entered.unwrap().unwrap();
        }
    }
}

async fn next(calls: &mut JoinSet<StatusCode>) -> StatusCode {
    let ended = tokio::time::timeout(PATIENCE, calls.join_next()).await;
    ended.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn few_calls_without_a_token_are_in_the_router() {
    let mut gated = Gated::start(settings()).await;
    let mut calls = gated.call("/");
    gated.entered(10).await;
    for ended in 1..=100 {
        assert!(gated.entered.is_empty(), "more than ten are inside");
        gated.ends.add_permits(1);
        assert_eq!(next(&mut calls).await, StatusCode::OK);
        gated.entered(usize::from(ended <= 90)).await;
    }
}

#[tokio::test]
async fn all_calls_are_in_the_router_after_a_valid_token() {
    let mut gated = Gated::start(settings()).await;
    let mut calls = gated.call(GOOD);
    gated.entered(10).await;
    assert!(gated.entered.is_empty());
    gated.ends.add_permits(1);
    assert_eq!(next(&mut calls).await, StatusCode::OK);
    gated.entered(90).await;
    gated.ends.add_permits(99);
    for _ in 0..99 {
        assert_eq!(next(&mut calls).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn cancelled_calls_leave_and_others_wait_for_a_time() {
    let settings = Settings {
        header_timeout: Duration::from_secs(1),
        ..settings()
    };
    let mut gated = Gated::start(settings).await;
    let mut inside = gated.call("/");
    gated.entered(10).await;
    for _ in 0..90 {
        assert_eq!(next(&mut inside).await, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(gated.entered.is_empty());
    // The calls inside leave too, for those of the same connection that come later.
    inside.shutdown().await;
    let mut later = gated.call("/");
    gated.entered(10).await;
    gated.ends.add_permits(100);
    for _ in 0..100 {
        assert_eq!(next(&mut later).await, StatusCode::OK);
    }
}
