//! Tests of calls over real connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Router;
use axum::response::IntoResponse;
use keyward_throttle::Rate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use super::*;
use crate::acceptor::Acceptor;
use crate::connection::tests::settings;
use crate::settings::Settings;

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
        pacer.charge(Owner::Address([127, 0, 1, number].into()), 100);
    }
    // Another address waits for at least a second.
    tokio::select! {
        biased;
        () = get_from(server, 3, "/") => panic!("the other address did not wait"),
        () = get_from(server, 2, "/") => {}
    }
}
