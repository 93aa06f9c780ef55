//! Delay between SIGTERM and the drain: every request is served, clients are sent elsewhere, and no request
//! that arrived in time is lost.

use std::io::Write;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::client::{Rest, channel};
use crate::support::deployment::{Deployment, Served};
use crate::support::frames::{
    DATA, END_STREAM, Frame, GOAWAY, HEADERS, Http2, SETTINGS, answer, connect, get, request, rest,
};

/// A delay longer than any test: a second signal ends it.
const LONG: &str = "3600000";

async fn served(delay_ms: &str) -> (Deployment, Served) {
    let deployment = Deployment::sqlite().await;
    let program = deployment.command("serve");
    let program = program.env("KEYWARD_SERVER__SHUTDOWN_DELAY_MS", delay_ms);
    let served = Served::of(program);
    (deployment, served)
}

fn asked_to_end(served: &Served) {
    served.running.signal(Signal::TERM);
    served.running.stderr.wait_for("asked to end");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_probes_of_both_listeners_have_retry_after() {
    let deployment = Deployment::sqlite().await;
    let program = deployment
        .command("serve")
        .env("KEYWARD_SERVER__SHUTDOWN_DELAY_MS", LONG)
        .env("KEYWARD_OPERATIONS__LISTEN", "127.0.0.1:0");
    let served = Served::of(program);
    let operations = served.running.stderr.find(|printed| {
        let mut lines = printed.lines();
        let line = lines.find(|line| line.contains("listening for operations"))?;
        let (_, address) = line.split_once("address=")?;
        printed.contains(&format!("{line}\n")).then_some(())?;
        Some(address.split_whitespace().next()?.to_owned())
    });
    asked_to_end(&served);
    for address in [served.address(), &operations.unwrap()] {
        let mut probe = connect(address);
        probe.write_all(get("/readyz").as_bytes()).unwrap();
        let (head, _) = answer(&mut probe);
        assert!(head.starts_with("http/1.1 503"), "{head}");
        assert_eq!(head.matches("\r\nretry-after: 1\r\n").count(), 1, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_while_readiness_is_off() {
    let (deployment, served) = served(LONG).await;
    let (token, workspace) = (
        &deployment.env["ADMIN_TOKEN"],
        &deployment.env["WORKSPACE_A"],
    );
    let mut kept = connect(served.address());
    kept.write_all(get("/readyz").as_bytes()).unwrap();
    let (head, _) = answer(&mut kept);
    assert!(
        head.starts_with("http/1.1 200") && !head.contains("connection:"),
        "{head}"
    );
    let mut kept_http2 = Http2::connect(served.address(), &[]);
    kept_http2.healthz(1);
    let mut health = HealthClient::new(channel(&served.url).await);
    let watched = health.watch(HealthCheckRequest::default()).await;
    let mut watched = watched.unwrap().into_inner();
    let status = watched.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::Serving);

    asked_to_end(&served);
    let status = watched.message().await.unwrap().unwrap().status();
    assert_eq!(status, ServingStatus::NotServing);
    for service in [
        "",
        "keyward.v1.ApiKeyService",
        "keyward.v1.ManagementKeyService",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::NotServing, "{service}");
    }
    // On the open connection, whose client is asked to reconnect, and on new ones.
    kept.write_all(get("/readyz").as_bytes()).unwrap();
    let (head, _) = answer(&mut kept);
    assert!(
        head.starts_with("http/1.1 503") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(rest(kept), b"");
    let mut new = connect(served.address());
    new.write_all(get("/healthz").as_bytes()).unwrap();
    let (head, _) = answer(&mut new);
    assert!(
        head.starts_with("http/1.1 200") && head.contains("connection: close"),
        "{head}"
    );
    kept_http2.healthz(3);
    for (client, secret) in [
        (Rest::new(&served.url), "one"),
        (Rest::http2(&served.url), "two"),
    ] {
        client
            .create(token, workspace, "a", secret)
            .await
            .expect(201);
        assert!(!client.list(token, workspace).await.is_empty());
    }
    // A second signal skips the delay.
    let started = Instant::now();
    let printed = served.running.terminate().expect(0);
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(printed.contains("received a second signal"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_delay_clients_are_notified_and_calls_finish() {
    let (deployment, served) = served("1000").await;
    let mut client = Http2::connect(served.address(), &[]);
    let bearer = format!("Bearer {}", &deployment.env["ADMIN_TOKEN"]);
    let json = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    client.send(&request(1, "POST", "/apikeys", &json));
    let mut idle = connect(served.address());
    idle.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut idle);
    let begun = format!(
        "POST /apikeys HTTP/1.1\r\nHost: keyward\r\nAuthorization: {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n"
    );
    let mut half = connect(served.address());
    half.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut half);
    half.write_all(begun.as_bytes()).unwrap();

    let started = Instant::now();
    served.running.signal(Signal::TERM);
    let goaway = client.wait_for(GOAWAY);
    assert!(started.elapsed() >= Duration::from_millis(1000));
    assert_eq!((goaway.number(0), goaway.number(4)), (i32::MAX as u32, 0));
    // A request that the client sent before it read the GOAWAY.
    client.send(&request(3, "GET", "/healthz", &[]));
    let frames = client.wait_for_all(&[(HEADERS, 3), (GOAWAY, 0)]);
    let last = frames.iter().find(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!(last.number(0), 3);
    assert_eq!(rest(idle), b"");
    // Half a request has arrived: the server waits for the other half.
    half.write_all(b"\r\n{}").unwrap();
    let (head, _) = answer(&mut half);
    assert!(
        head.starts_with("http/1.1 400") && head.contains("connection: close"),
        "{head}"
    );
    client.send(&Frame::new(DATA, END_STREAM, 1, b"{}"));
    assert_eq!(client.wait_for(HEADERS).stream, 1);
    client.rest();
    served.running.wait().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_delays_no_shutdown() {
    let deployment = Deployment::sqlite().await;
    let program = deployment.command("serve");
    let program = program.env("KEYWARD_SERVER__WRITE_TIMEOUT_MS", "300");
    let served = Served::of(program);
    // A client that responds to no PING, a client that has sent nothing, and a client that never reads.
    let mut mute = Http2::connect(served.address(), &[]);
    assert_eq!(mute.next().unwrap().kind, SETTINGS);
    let silent = connect(served.address());
    let mut deaf = connect(served.address());
    deaf.write_all(get("/openapi.json").as_bytes()).unwrap();
    let started = Instant::now();
    let printed = served.running.terminate().expect(0);
    // Far below the drain timeout.
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(!printed.contains("did not finish"), "{printed}");
    drop((mute, silent, deaf));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_before_the_end_are_answered() {
    let (_deployment, served) = served("0").await;
    let mut kept: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(served.address());
            stream.write_all(get("/healthz").as_bytes()).unwrap();
            answer(&mut stream);
            stream
        })
        .collect();
    let mut kept_http2 = Http2::connect(served.address(), &[]);
    kept_http2.wait_for(SETTINGS);
    // While the program is stopped, the system queues the signal, requests on open connections, and new
    // connections with requests. When it continues, it sees all of them at once.
    served.running.signal(Signal::STOP);
    served.running.signal(Signal::TERM);
    for stream in &mut kept {
        stream.write_all(get("/healthz").as_bytes()).unwrap();
    }
    let mut new: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(served.address());
            stream.write_all(get("/healthz").as_bytes()).unwrap();
            stream
        })
        .collect();
    kept_http2.send(&request(1, "GET", "/healthz", &[]));
    served.running.signal(Signal::CONT);
    for stream in kept.iter_mut().chain(&mut new) {
        assert!(answer(stream).0.starts_with("http/1.1 200"));
    }
    assert_eq!(kept_http2.wait_for(HEADERS).stream, 1);
    drop((kept, new, kept_http2));
    served.running.wait().expect(0);
}
