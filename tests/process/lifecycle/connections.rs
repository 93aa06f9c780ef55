//! Limits and timeouts of connections: each setting, and the consequence of exceeding it. Times are short
//! where a test waits for them to pass, and far beyond its patience where they must not pass.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::deployment::{Deployment, Served};
use crate::support::frames::{
    ACK, DATA, END_STREAM, Frame, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, answer, connect, get, request, rest,
};

/// A time that a test waits for.
const SHORT: &str = "300";
const SHORT_TIME: Duration = Duration::from_millis(300);

/// Returns a server with these settings of `[server]`.
async fn served(settings: &[(&str, &str)]) -> (Deployment, Served) {
    let deployment = Deployment::sqlite().await;
    let mut program = deployment.command("serve");
    for (name, value) in settings {
        program = program.env(&format!("KEYWARD_SERVER__{name}"), value);
    }
    let served = Served::of(program.env("KEYWARD_LOG__FILTER", "info,keyward=debug"));
    (deployment, served)
}

/// Expects that the connection was closed not before the time had passed.
#[track_caller]
fn closed_after(stream: impl Read, started: Instant, time: Duration) -> Vec<u8> {
    let bytes = rest(stream);
    assert!(started.elapsed() >= time, "{:?}", started.elapsed());
    bytes
}

/// Returns a connection whose client has shown a valid token.
fn proven(deployment: &Deployment, served: &Served) -> std::net::TcpStream {
    let mut stream = connect(served.address());
    let token = &deployment.env["ADMIN_TOKEN"];
    let call =
        format!("GET /apikeys HTTP/1.1\r\nHost: keyward\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(call.as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("http/1.1 200"));
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn further_connections_wait_until_one_ends() {
    let (deployment, served) = served(&[("MAX_CONNECTIONS", "2")]).await;
    let first = proven(&deployment, &served);
    let _second = proven(&deployment, &served);
    let mut third = connect(served.address());
    third.write_all(get("/healthz").as_bytes()).unwrap();
    served.running.stderr.wait_for("every connection is in use");
    third
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(third.read(&mut [0]).is_err(), "it is served");
    drop(first);
    third
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    assert!(answer(&mut third).0.starts_with("http/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_connection_is_evicted_for_a_new_one() {
    let (deployment, served) = served(&[("MAX_CONNECTIONS", "2")]).await;
    let mut kept = proven(&deployment, &served);
    for _ in 0..20 {
        let mut idle = connect(served.address());
        idle.write_all(get("/healthz").as_bytes()).unwrap();
        assert!(answer(&mut idle).0.starts_with("http/1.1 200"));
        let mut next = connect(served.address());
        assert_eq!(rest(idle), b"");
        next.write_all(get("/healthz").as_bytes()).unwrap();
        assert!(answer(&mut next).0.starts_with("http/1.1 200"));
    }
    kept.write_all(get("/healthz").as_bytes()).unwrap();
    assert!(answer(&mut kept).0.starts_with("http/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn address_is_limited_in_open_connections() {
    let (_deployment, served) = served(&[("MAX_CONNECTIONS_PER_ADDRESS", "2")]).await;
    let mut first = connect(served.address());
    let mut second = connect(served.address());
    for stream in [&mut first, &mut second] {
        stream.write_all(get("/healthz").as_bytes()).unwrap();
        assert!(answer(stream).0.starts_with("http/1.1 200"));
    }
    assert_eq!(rest(connect(served.address())), b"");
    // Another address has its own limit.
    let elsewhere = reqwest_from("127.0.0.2");
    let url = format!("{}/healthz", served.url);
    assert_eq!(elsewhere.get(&url).send().await.unwrap().status(), 200);
    // A slot is free again once its connection has ended.
    drop(first);
    let free = || {
        let mut stream = connect(served.address());
        let _ = stream.write_all(get("/healthz").as_bytes());
        matches!(stream.read(&mut [0]), Ok(1))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !free() {
        assert!(Instant::now() < deadline, "no place became free");
    }
}

/// Returns the number of these connections, made one after another, that are served before one is closed at
/// once.
fn served_in_a_row(address: &str, most: usize) -> usize {
    (0..most)
        .take_while(|_| {
            let mut stream = connect(address);
            let last = get("/healthz").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
            // A connection that is closed at once may be closed before or after the write.
            let _ = stream.write_all(last.as_bytes());
            rest(stream).starts_with(b"HTTP/1.1 200")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn address_is_limited_in_new_connections() {
    let (_deployment, served) = served(&[
        ("MAX_CONNECTIONS_PER_ADDRESS", "20"),
        ("NEW_CONNECTIONS_PER_ADDRESS_PER_SECOND", "1"),
    ])
    .await;
    let started = Instant::now();
    let count = served_in_a_row(served.address(), 1000);
    // The maximum of connections, and one more in each second since.
    let most = 21 + started.elapsed().as_secs() as usize;
    assert!((20..=most).contains(&count), "{count} of {most}");
    // Another address has its own limit, and reads from the metrics that a connection was rejected.
    let elsewhere = reqwest_from("127.0.0.2");
    let metrics = elsewhere.get(format!("{}/metrics", served.url)).send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let rejected = |reason| format!("\nkeyward_connections_rejected_total{{reason=\"{reason}\"}} ");
    assert!(metrics.contains(&(rejected("per_ip_rate") + "1\n")));
    assert!(metrics.contains(&(rejected("per_ip_limit") + "0\n")));
    // A client that waits may connect again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while served_in_a_row(served.address(), 1) == 0 {
        assert!(Instant::now() < deadline, "it may never connect again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_proxy_connects_as_often_as_it_likes() {
    let deployment = Deployment::sqlite().await;
    let program = deployment.command("serve");
    let program = program.env("KEYWARD_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1");
    let program = program.env(
        "KEYWARD_SERVER__NEW_CONNECTIONS_PER_ADDRESS_PER_SECOND",
        "1",
    );
    let served = Served::of(program.env("KEYWARD_LIMITS__TRUSTED_PROXIES", "[\"127.0.0.1/32\"]"));
    let mut together: Vec<_> = (0..50).map(|_| connect(served.address())).collect();
    for stream in &mut together {
        stream.write_all(get("/healthz").as_bytes()).unwrap();
        assert!(answer(stream).0.starts_with("http/1.1 200"));
    }
    // A client that is not a proxy may have one connection.
    let url = format!("{}/healthz", served.url);
    let first = reqwest_from("127.0.0.2");
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200);
    assert!(reqwest_from("127.0.0.2").get(&url).send().await.is_err());
}

fn reqwest_from(address: &str) -> reqwest::Client {
    // With the TLS provider installed.
    drop(crate::support::client::Rest::new("http://unused"));
    let builder = reqwest::Client::builder().no_proxy();
    let builder = builder.local_address(Some(address.parse().unwrap()));
    builder.build().unwrap()
}

/// Makes calls that receive this status, one after another over one connection; returns the time they took.
fn called_in_a_row(
    stream: &mut std::net::TcpStream,
    call: &str,
    status: u16,
    times: u32,
) -> Duration {
    let started = Instant::now();
    for _ in 0..times {
        stream.write_all(call.as_bytes()).unwrap();
        let head = answer(stream).0;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_need_no_token_are_read_at_their_rate() {
    let (_deployment, served) = served(&[("REJECTED_CALLS_PER_SECOND", "10")]).await;
    let mut stream = connect(served.address());
    // Ten at once, and ten at a tenth of a second each; the last one is not paid for yet.
    let time = called_in_a_row(&mut stream, &get("/healthz"), 200, 20);
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_http1_requests_are_answered_at_their_rate() {
    let (_deployment, served) = served(&[("REJECTED_CALLS_PER_SECOND", "10")]).await;
    let mut stream = connect(served.address());
    let started = Instant::now();
    stream
        .write_all(get("/healthz").repeat(20).as_bytes())
        .unwrap();
    for _ in 0..20 {
        assert!(answer(&mut stream).0.starts_with("http/1.1 200"));
    }
    let time = started.elapsed();
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_client_of_an_address_in_debt_waits_for_a_moment() {
    let (deployment, served) = served(&[("REJECTED_CALLS_PER_SECOND", "1")]).await;
    let mut indebted = connect(served.address());
    indebted
        .write_all(get("/healthz").repeat(200).as_bytes())
        .unwrap();
    assert!(answer(&mut indebted).0.starts_with("http/1.1 200"));
    // At this rate the first client owes for minutes; the other is read before its headers time out.
    let started = Instant::now();
    for _ in 0..2 {
        proven(&deployment, &served);
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_calls_of_a_good_token_are_read_at_their_rate() {
    let (deployment, served) = served(&[("REJECTED_CALLS_PER_SECOND", "10")]).await;
    let mut stream = proven(&deployment, &served);
    let token = &deployment.env["ADMIN_TOKEN"];
    let call = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: keyward\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    // Calls that are served cost nothing: at this rate they would take ten seconds.
    let time = called_in_a_row(&mut stream, &call("/apikeys"), 200, 110);
    assert!(time < Duration::from_secs(10), "{time:?}");
    let denied = call("/apikeys?workspaceId=another");
    let time = called_in_a_row(&mut stream, &denied, 403, 20);
    assert!(time >= Duration::from_millis(900), "{time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_large_are_answered_with_431() {
    let (_deployment, served) = served(&[("MAX_HEADER_BYTES", "16384")]).await;
    let with = |bytes: usize| {
        let value = "v".repeat(bytes);
        format!("GET /healthz HTTP/1.1\r\nHost: keyward\r\nX-Large: {value}\r\n\r\n")
    };
    let mut stream = connect(served.address());
    stream.write_all(with(12_000).as_bytes()).unwrap();
    assert!(answer(&mut stream).0.starts_with("http/1.1 200"));
    // Many times as much, so that the client is still writing when the response arrives.
    for bytes in [20_000, 60_000, 900_000] {
        let mut stream = connect(served.address());
        // The server reads everything and does not end with a reset; otherwise many clients would lose the
        // response.
        stream.write_all(with(bytes).as_bytes()).unwrap();
        let (head, _) = answer(&mut stream);
        assert!(head.starts_with("http/1.1 431"), "{bytes}: {head}");
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    let http2 = crate::support::client::Rest::http2(&served.url);
    for (bytes, status) in [(12_000, 200), (20_000, 431)] {
        let request = http2.request(http::Method::GET, "/healthz");
        let response = request.header("x-large", "v".repeat(bytes)).send().await;
        assert_eq!(response.unwrap().status(), status, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_must_send_its_headers_in_time() {
    let (_deployment, served) = served(&[("HEADER_TIMEOUT_MS", SHORT)]).await;
    for said in [
        "",
        "G",
        "PRI * HTTP/2.0\r\n",
        "GET /healthz HTTP/1.1\r\nHost: key",
    ] {
        let started = Instant::now();
        let mut stream = connect(served.address());
        stream.write_all(said.as_bytes()).unwrap();
        closed_after(stream, started, SHORT_TIME);
    }
    // The same for a second request; a connection without one stays open.
    let mut stream = connect(served.address());
    stream.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut stream);
    let mut idle = connect(served.address());
    idle.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut idle);
    let mut idle_http2 = Http2::connect(served.address(), &[]);
    idle_http2.wait_for(SETTINGS);
    let started = Instant::now();
    stream.write_all(b"GET /healthz").unwrap();
    closed_after(stream, started, SHORT_TIME);
    idle.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut idle);
    idle_http2.healthz(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_must_read_in_time() {
    let (_deployment, served) = served(&[("WRITE_TIMEOUT_MS", SHORT)]).await;
    let mut stream = connect(served.address());
    // Far more responses than the system buffers for a client.
    let asked = get("/openapi.json").repeat(200);
    let started = Instant::now();
    stream.write_all(asked.as_bytes()).unwrap();
    served.running.stderr.wait_for("connection ended");
    assert!(started.elapsed() >= SHORT_TIME);
    assert!(rest(stream).len() < 200 * 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_without_a_call_is_closed_in_the_end() {
    let settings = [
        ("IDLE_TIMEOUT_MS", "1000"),
        // The client answers PINGs, which are not calls.
        ("KEEP_ALIVE_INTERVAL_MS", "100"),
    ];
    let (_deployment, served) = served(&settings).await;
    let time = Duration::from_millis(1000);
    let mut stream = connect(served.address());
    stream.write_all(get("/healthz").as_bytes()).unwrap();
    answer(&mut stream);
    assert_eq!(closed_after(stream, Instant::now(), time / 2), b"");

    let started = Instant::now();
    let mut client = Http2::connect(served.address(), &[]);
    let frames = client.rest();
    assert!(started.elapsed() >= time);
    let pings = frames.iter().filter(|frame| frame.kind == PING);
    assert!(pings.count() > 2, "{frames:?}");
    let goaway = frames.iter().find(|frame| frame.kind == GOAWAY).unwrap();
    // The server sends GOAWAY without an error before it closes the connection.
    assert_eq!((goaway.number(0), goaway.number(4)), (i32::MAX as u32, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_in_flight_keeps_its_connection() {
    let settings = [("IDLE_TIMEOUT_MS", SHORT), ("HEADER_TIMEOUT_MS", SHORT)];
    let (deployment, served) = served(&settings).await;
    let mut stream = connect(served.address());
    let head = format!(
        "POST /apikeys HTTP/1.1\r\nHost: keyward\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
        &deployment.env["ADMIN_TOKEN"]
    );
    stream.write_all(head.as_bytes()).unwrap();
    let started = Instant::now();
    let mut idle = Http2::connect(served.address(), &[]);
    assert!(answer(&mut stream).0.starts_with("http/1.1 100"));
    // Other connections have come and gone meanwhile.
    while started.elapsed() < 3 * SHORT_TIME {
        idle.rest();
        idle = Http2::connect(served.address(), &[]);
    }
    stream.write_all(b"{}").unwrap();
    assert!(answer(&mut stream).0.starts_with("http/1.1 400"));
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnect_cancels_the_request() {
    let (deployment, served) = served(&[]).await;
    let token = format!("Bearer {}", &deployment.env["ADMIN_TOKEN"]);
    let fields = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &token),
    ];
    for number in 0..20 {
        let mut client = Http2::connect(served.address(), &[]);
        client.send(&request(
            1,
            "POST",
            "/keyward.v1.ApiKeyService/CreateApiKey",
            &fields,
        ));
        // Half a message, or all of it.
        client.send(&Frame::new(DATA, 0, 1, &[0, 0, 0, 0, number % 2, 0]));
        client.send(&Frame::new(PING, 0, 0, &[0; 8]));
        client.wait_for(PING);
    }
    let ended = served.running.stderr.find(|printed| {
        let lines = printed
            .lines()
            .filter(|line| line.contains("/CreateApiKey") && line.contains("duration_us"));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.len() == 20).then_some(lines)
    });
    for line in ended.unwrap() {
        assert!(line.contains("CANCELLED"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_watches_keep_no_probe_from_the_operations_port() {
    let deployment = Deployment::sqlite().await;
    let served = Served::of(
        deployment
            .command("serve")
            .env("KEYWARD_OPERATIONS__LISTEN", "127.0.0.1:0"),
    );
    let operations = served.running.stderr.find(|printed| {
        let line = printed
            .lines()
            .find(|line| line.contains("listening for operations"))?;
        let (_, address) = line.split_once("address=")?;
        Some(address.split_whitespace().next()?.to_owned())
    });
    let operations = operations.unwrap();
    let message = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut watches = Vec::new();
    // Twice as many as the port has connections.
    for _ in 0..128 {
        let mut client = Http2::connect(&operations, &[]);
        client.send(&request(
            1,
            "POST",
            "/grpc.health.v1.Health/Watch",
            &message,
        ));
        client.send(&Frame::new(DATA, END_STREAM, 1, &[0; 5]));
        client.wait_for(HEADERS);
        watches.push(client);
        let mut probe = connect(&operations);
        let started = Instant::now();
        probe.write_all(get("/healthz").as_bytes()).unwrap();
        assert!(answer(&mut probe).0.starts_with("http/1.1 200"));
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
    }
}

/// A window of 0: the client reads, but the server may not send.
const CLOSED_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread")]
async fn untaken_answer_closes_a_connection_without_a_good_token() {
    let (_deployment, served) = served(&[("WRITE_TIMEOUT_MS", SHORT)]).await;
    for path in ["/openapi.json", "/readyz", "/nowhere"] {
        let mut client = Http2::connect(served.address(), CLOSED_WINDOW);
        let started = Instant::now();
        client.send(&request(1, "GET", path, &[]));
        assert!(
            client.rest().iter().any(|frame| frame.kind == HEADERS),
            "{path}"
        );
        let took = started.elapsed();
        assert!(
            took >= SHORT_TIME && took < Duration::from_secs(10),
            "{took:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn untaken_answer_resets_its_stream_and_no_other() {
    let (deployment, served) = served(&[("WRITE_TIMEOUT_MS", SHORT)]).await;
    let mut client = Http2::connect(served.address(), CLOSED_WINDOW);
    let token = format!("Bearer {}", &deployment.env["ADMIN_TOKEN"]);
    client.send(&request(1, "GET", "/apikeys", &[("authorization", &token)]));
    let reset = client.wait_for(RST_STREAM);
    // CANCEL.
    assert_eq!((reset.stream, reset.number(0)), (1, 8));
    // The same connection, once its client reads responses.
    client.send(&Frame::new(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    client.healthz(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_bounds_are_advertised_and_enforced() {
    let settings = [
        ("HTTP2__MAX_CONCURRENT_STREAMS", "7"),
        ("HTTP2__STREAM_WINDOW_BYTES", "70000"),
        ("HTTP2__CONNECTION_WINDOW_BYTES", "200000"),
        ("MAX_HEADER_BYTES", "9000"),
    ];
    let (_deployment, served) = served(&settings).await;
    let mut client = Http2::connect(served.address(), &[]);
    let received = client.wait_for(SETTINGS);
    let received: Vec<(u16, u32)> = received
        .payload
        .chunks(6)
        .map(|setting| {
            let id = u16::from_be_bytes([setting[0], setting[1]]);
            let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
            (id, value)
        })
        .collect();
    for setting in [(3, 7), (4, 70_000), (6, 9000)] {
        assert!(
            received.contains(&setting),
            "{setting:?} is not in {received:?}"
        );
    }
    let update = client.wait_for(WINDOW_UPDATE);
    assert_eq!((update.stream, update.number(0)), (0, 200_000 - 65_535));
    // Streams that stay open: the eighth is rejected, and the others are not.
    client.send(&Frame::new(SETTINGS, ACK, 0, &[]));
    let message = [("content-type", "application/grpc"), ("te", "trailers")];
    for number in 0..8 {
        let path = "/grpc.health.v1.Health/Watch";
        client.send(&request(1 + 2 * number, "POST", path, &message));
    }
    let reset = client.wait_for(RST_STREAM);
    // REJECTED_STREAM: the client may try again.
    assert_eq!((reset.stream, reset.number(0)), (15, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_stream_resets_close_the_connection() {
    let (_deployment, served) = served(&[("HTTP2__MAX_PENDING_RESETS", "5")]).await;
    let mut client = Http2::connect(served.address(), &[]);
    client.healthz(1);
    let mut attack = Vec::new();
    for number in 0..500 {
        let stream = 3 + 2 * number;
        attack.extend(request(stream, "GET", "/healthz", &[]).bytes());
        attack.extend(Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).bytes());
    }
    client.write(&attack);
    let frames = client.rest();
    let goaway = frames.iter().find(|frame| frame.kind == GOAWAY).unwrap();
    // ENHANCE_YOUR_CALM.
    assert_eq!(goaway.number(4), 11);
    let answers = frames.iter().filter(|frame| frame.kind == HEADERS);
    assert!(answers.count() < 100);
    // Other clients are served.
    Http2::connect(served.address(), &[]).healthz(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_without_ping_responses_is_disconnected() {
    let settings = [
        ("KEEP_ALIVE_INTERVAL_MS", "100"),
        ("KEEP_ALIVE_TIMEOUT_MS", SHORT),
    ];
    let (_deployment, served) = served(&settings).await;
    let mut client = Http2::connect(served.address(), &[]);
    let started = Instant::now();
    let mut pings = 0;
    while let Some(frame) = client.next() {
        pings += usize::from(frame.kind == PING);
    }
    assert!(started.elapsed() >= SHORT_TIME);
    assert_eq!(pings, 1);
}
