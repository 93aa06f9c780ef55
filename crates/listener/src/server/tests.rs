//! Tests of a listener with real connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::connection::tests::settings;

/// Connects, and waits for the response to a request.
async fn ask(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
}

#[tokio::test]
async fn flood_of_connections_to_operations_has_a_rate() {
    const CONNECTIONS: u32 = 408;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(settings().for_operations());
    let serving = tokio::spawn(server.serve(listener, Router::new(), std::future::pending()));
    let began = Instant::now();
    for _ in 0..CONNECTIONS {
        ask(address).await;
    }
    // The first eight are accepted at once.
    let least = Duration::from_secs(1) / 2000 * (CONNECTIONS - 8);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    serving.abort();
}
