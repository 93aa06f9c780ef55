//! A connection past its maximum age: the client is notified, and no request fails.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::deployment::{Deployment, Served};
use crate::support::frames::{
    DATA, END_STREAM, Frame, GOAWAY, HEADERS, Http2, answer, connect, get, request, rest,
};

const AGE: &str = "500";
/// Minimum age after jitter.
const LEAST: Duration = Duration::from_millis(450);

async fn served() -> (Deployment, Served) {
    let deployment = Deployment::sqlite().await;
    let program = deployment.command("serve");
    let program = program.env("KEYWARD_SERVER__MAX_CONNECTION_AGE_MS", AGE);
    let served = Served::of(program);
    (deployment, served)
}

#[tokio::test(flavor = "multi_thread")]
async fn last_response_over_http1_has_connection_close() {
    let (_deployment, served) = served().await;
    let started = Instant::now();
    let mut stream = connect(served.address());
    let mut answers = 0;
    loop {
        stream.write_all(get("/healthz").as_bytes()).unwrap();
        let (head, body) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert_eq!(body, br#"{"status":"ok"}"#);
        answers += 1;
        if head.contains("connection: close") {
            break;
        }
    }
    assert!(started.elapsed() >= LEAST);
    assert!(answers > 1);
    assert_eq!(rest(stream), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn goaway_over_http2_lets_requests_finish() {
    let (deployment, served) = served().await;
    let started = Instant::now();
    let mut client = Http2::connect(served.address(), &[]);
    let bearer = format!("Bearer {}", &deployment.env["ADMIN_TOKEN"]);
    let json = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    client.send(&request(1, "POST", "/apikeys", &json));
    let goaway = client.wait_for(GOAWAY);
    assert!(started.elapsed() >= LEAST);
    // The first GOAWAY names the maximum stream id, so that requests on their way are served too.
    assert_eq!((goaway.number(0), goaway.number(4)), (i32::MAX as u32, 0));
    client.send(&request(3, "GET", "/healthz", &[]));
    let frames = client.wait_for_all(&[(HEADERS, 3), (GOAWAY, 0)]);
    let last = frames.iter().find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((last.number(0), last.number(4)), (3, 0));
    // The earlier request still has all the time that it needs.
    client.send(&Frame::new(DATA, END_STREAM, 1, b"{}"));
    assert_eq!(client.wait_for(HEADERS).stream, 1);
    let left = client.rest();
    assert!(left.iter().any(|frame| frame.flags & END_STREAM != 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_of_real_clients_fails_while_connections_end() {
    let (deployment, served) = served().await;
    let token = deployment.env["ADMIN_TOKEN"].to_owned();
    let workspace = deployment.env["WORKSPACE_A"].to_owned();
    let until = Instant::now() + Duration::from_secs(4);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let rest = match number % 2 {
            0 => crate::support::client::Rest::new(&served.url),
            _ => crate::support::client::Rest::http2(&served.url),
        };
        let (token, workspace) = (token.clone(), workspace.clone());
        callers.spawn(async move {
            let mut calls = 0;
            while Instant::now() < until {
                rest.list(&token, &workspace).await;
                calls += 1;
            }
            calls
        });
    }
    let calls: Vec<usize> = callers.join_all().await;
    assert!(calls.iter().all(|calls| *calls > 1), "{calls:?}");
}
