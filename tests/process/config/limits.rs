//! The sections `[limits]` and `[requests]` of the configuration, and limits in `[server]`.

use std::time::{Duration, Instant};

use http::Method;
use keyward::proto::v1::ListWorkspacesRequest;
use keyward::proto::v1::directory_service_client::DirectoryServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::support::client::{Answer, Rest, called_by, channel};
use crate::support::deployment::{Deployment, Served};

/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the environment variable of a setting.
fn variable(setting: &str) -> String {
    format!("KEYWARD_{}", setting.replace('.', "__").to_uppercase())
}

/// Starts a server with these settings.
fn limited(deployment: &Deployment, settings: &[(&str, &str)]) -> Served {
    let program = deployment.command("serve");
    Served::of(settings.iter().fold(program, |program, (name, value)| {
        program.env(&variable(name), *value)
    }))
}

/// Returns the response to a list request with that token, from a proxy that forwards that address.
async fn list(rest: &Rest, address: &str, token: &str) -> Answer {
    let request = rest.request(Method::GET, "/apikeys").bearer_auth(token);
    Answer::of(request.header("x-forwarded-for", address)).await
}

/// Sends the head of a request that waits for its body.
async fn begin(served: &Served, token: &str, more: &str) -> TcpStream {
    let address = served.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /apikeys HTTP/1.1\r\nhost: keyward.test\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nconnection: close\r\nexpect: 100-continue\r\n\
         {more}content-length: 2\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 100 "));
    stream
}

/// Returns the response to a started request.
async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_make_no_sense_are_rejected_by_name() {
    let deployment = Deployment::sqlite().await;
    let networks = "must hold networks such as";
    let number = [
        "limits.caller_requests_per_second",
        "limits.caller_burst",
        "limits.address_requests_per_second",
        "limits.address_burst",
        "limits.failed_authentications_per_minute",
        "limits.failed_authentications_burst",
        "requests.max_in_flight",
        "limits.max_unauthenticated_streams",
        "limits.max_unauthenticated_streams_per_address",
        "limits.max_unauthenticated_message_bytes",
        "limits.max_page_size",
    ];
    let numbers = number.into_iter().flat_map(|name| {
        ["-1", "0.5", "4294967296", "Canary7QzX"].map(|value| (name, value, "` "))
    });
    let others = [
        (
            "limits.max_unauthenticated_streams",
            "0",
            "` must be greater than 0",
        ),
        (
            "limits.max_unauthenticated_message_bytes",
            "0",
            "` must be greater than 0",
        ),
        (
            "limits.reflection_stream_timeout_ms",
            "0",
            "` must be greater than 0",
        ),
        ("limits.reflection_stream_timeout_ms", "-1", "` "),
        ("limits.max_page_size", "0", "` must be from 1 to 1000"),
        ("limits.max_page_size", "1001", "` must be from 1 to 1000"),
        ("limits.trusted_proxies", "Canary7QzX", "`"),
        ("limits.trusted_proxies", "[\"Canary7QzX\"]", networks),
        (
            "limits.trusted_proxies",
            "[\"10.0.0.0/8\",\"10.77.66.1/33\"]",
            networks,
        ),
        ("limits.trusted_proxies", "[\"10.77.66.1:80\"]", networks),
        (
            "limits.trusted_proxies",
            "[\"0.0.0.0/0\"]",
            "none of everybody",
        ),
        ("limits.trusted_proxies", "[\"::/0\"]", "none of everybody"),
    ];
    for (name, value, problem) in numbers.chain(others) {
        let program = deployment.command("serve").env(&variable(name), value);
        let printed = program.run().expect(78);
        assert!(printed.contains(&format!("`{name}`")), "{name}: {printed}");
        assert!(printed.contains(problem), "{name}: {printed}");
        for value in ["Canary7QzX", "10.77.66.1"] {
            assert!(!printed.contains(value), "{printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_keep_to_the_set_limit() {
    let deployment = Deployment::sqlite().await;
    let served = limited(&deployment, &[("limits.caller_requests_per_second", "1")]);
    let rest = Rest::new(&served.url);
    let token = &deployment.env["ADMIN_TOKEN"];
    rest.get("/apikeys", token).await.expect(200);
    // The next request is rejected, unless it arrives a second later, which no machine does every time.
    for _ in 0..100 {
        let answer = rest.get("/apikeys", token).await;
        if answer.status == 429 {
            assert_eq!(answer.headers["retry-after"], "1");
            served.running.terminate().expect(0);
            return;
        }
        answer.expect(200);
    }
    panic!("a hundred calls were let through");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_keep_to_the_set_limit() {
    let deployment = Deployment::sqlite().await;
    let served = limited(
        &deployment,
        &[
            ("limits.address_requests_per_second", "1"),
            ("limits.address_burst", "2"),
        ],
    );
    let rest = Rest::new(&served.url);
    // A client's own header does not count as its address.
    let mut number = 0;
    let rejected = loop {
        let answer = list(&rest, &format!("203.0.113.{number}"), "garbage").await;
        if answer.status == 429 {
            break answer;
        }
        answer.expect(401);
        number += 1;
        assert!(number < 100, "a hundred calls were let through");
    };
    assert!(number >= 2);
    assert_eq!(rejected.headers["retry-after"], "1");
    assert_eq!(
        rejected.json()["message"],
        "Too many requests from this address"
    );
    Answer::of(rest.request(Method::GET, "/healthz"))
        .await
        .expect(200);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_authentications_are_limited_by_address() {
    let deployment = Deployment::sqlite().await;
    let served = limited(
        &deployment,
        &[
            ("limits.failed_authentications_per_minute", "1"),
            ("limits.failed_authentications_burst", "3"),
            ("limits.trusted_proxies", "[\"127.0.0.0/8\"]"),
        ],
    );
    let rest = Rest::new(&served.url);
    for address in ["203.0.113.1", "2001:db8::1"] {
        for _ in 0..3 {
            list(&rest, address, "garbage").await.expect(401);
        }
        let rejected = list(&rest, address, "garbage").await;
        rejected.expect(429);
        let seconds: u64 = rejected.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    let token = &deployment.env["ADMIN_TOKEN"];
    list(&rest, "203.0.113.1", token).await.expect(429);
    list(&rest, "203.0.113.2", token).await.expect(200);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_limited_by_address_and_probes_are_not() {
    let deployment = Deployment::sqlite().await;
    let served = limited(
        &deployment,
        &[
            ("limits.address_requests_per_second", "1"),
            ("limits.address_burst", "3"),
        ],
    );
    let rest = Rest::new(&served.url);
    let mut admitted = 0;
    loop {
        match Answer::of(rest.request(Method::GET, "/metrics"))
            .await
            .status
        {
            200 => admitted += 1,
            status => break assert_eq!(status, 429),
        }
        assert!(admitted < 1000, "all were let through");
    }
    assert!(admitted >= 3, "{admitted}");
    for _ in 0..10 {
        Answer::of(rest.request(Method::GET, "/readyz"))
            .await
            .expect(200);
    }
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn default_limits_reject_a_flood_of_bad_tokens_alone() {
    let deployment = Deployment::sqlite().await;
    let served = deployment.start();
    let rest = Rest::new(&served.url);
    let token = &deployment.env["ADMIN_TOKEN"];
    rest.get("/apikeys", token).await.expect(200);
    let mut failed = 0;
    loop {
        match rest.get("/apikeys", "garbage").await.status {
            401 => failed += 1,
            status => break assert_eq!(status, 429),
        }
        assert!(failed < 10_000, "all were let through");
    }
    assert!(failed >= 600, "{failed}");
    rest.get("/apikeys", token).await.expect(200);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unnamed_proxy_does_not_share_its_failures_among_its_clients() {
    let deployment = Deployment::sqlite().await;
    let command = deployment
        .command("serve")
        .env("KEYWARD_SERVER__TLS_TERMINATED_BY_PROXY", "true")
        .env("KEYWARD_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "1")
        .env("KEYWARD_LIMITS__FAILED_AUTHENTICATIONS_PER_MINUTE", "1");
    let served = Served::of(command);
    served
        .running
        .stderr
        .wait_for("limits for each address are off");
    let rest = Rest::new(&served.url);
    for _ in 0..50 {
        rest.get("/apikeys", "garbage").await.expect(401);
    }
    // A token that is new to this server.
    let other = Rest::new(&served.url);
    other
        .get("/apikeys", &deployment.env["ADMIN_TOKEN"])
        .await
        .expect(200);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_keep_to_the_set_limit() {
    let deployment = Deployment::sqlite().await;
    let served = limited(&deployment, &[("requests.max_in_flight", "1")]);
    let rest = Rest::new(&served.url);
    let token = &deployment.env["ADMIN_TOKEN"];
    // Out of many concurrent requests, some find the only permit taken.
    let began = Instant::now();
    let rejected = loop {
        let calls = (0..50).map(|_| rest.get("/apikeys", token));
        let answers = futures_util::future::join_all(calls).await;
        if let Some(rejected) = answers.into_iter().find(|answer| answer.status != 200) {
            break rejected;
        }
        assert!(began.elapsed() < PATIENCE, "all were let in");
    };
    rejected.expect(503);
    assert_eq!(rejected.headers["retry-after"], "1");
    rest.get("/apikeys", token).await.expect(200);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_requests_keep_to_the_set_limits() {
    let deployment = Deployment::sqlite().await;
    let served = limited(
        &deployment,
        &[
            ("limits.max_unauthenticated_streams_per_address", "1"),
            ("limits.max_unauthenticated_message_bytes", "10"),
        ],
    );
    let mut health = HealthClient::new(channel(&served.url).await);
    let about = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    // The tag and the length take two bytes.
    let short = health.check(about("12345678")).await.unwrap_err();
    assert_eq!(short.code(), Code::NotFound);
    let long = health.check(about("123456789")).await.unwrap_err();
    assert_eq!(long.code(), Code::ResourceExhausted);
    assert!(long.message().ends_with("larger than 10 bytes"));

    let _watched = health.watch(about("")).await.unwrap();
    let second = health.watch(about("")).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_of_reflection_lasts_as_long_as_is_set() {
    let deployment = Deployment::sqlite().await;
    let served = limited(
        &deployment,
        &[("limits.reflection_stream_timeout_ms", "300")],
    );
    let mut reflection = ServerReflectionClient::new(channel(&served.url).await);
    let silent = futures_util::stream::pending::<ServerReflectionRequest>();
    let started = Instant::now();
    let asked = reflection.server_reflection_info(silent).await.unwrap();
    let mut answers = asked.into_inner();
    let ended = tokio::time::timeout(PATIENCE, answers.message());
    assert!(ended.await.unwrap().unwrap().is_none());
    assert!(started.elapsed() >= Duration::from_millis(300));
    served.running.terminate().expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_keep_to_the_set_size() {
    let deployment = Deployment::sqlite().await;
    for (max, expected) in [("1", 1), ("2", 2), ("1000", 2)] {
        let served = limited(&deployment, &[("limits.max_page_size", max)]);
        let mut directory = DirectoryServiceClient::new(channel(&served.url).await);
        let request = ListWorkspacesRequest {
            organization_id: deployment.env["ORGANIZATION_ID"].to_owned(),
            page_size: u32::MAX,
            ..Default::default()
        };
        let request = called_by(&deployment.env["SERVICE_TOKEN"], request);
        let page = directory
            .list_workspaces(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.workspaces.len(), expected);
        served.running.terminate().expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_those_that_are_set() {
    let deployment = Deployment::sqlite().await;
    for (settings, asked) in [
        // Without a timeout in the request: the default.
        (
            [
                ("requests.default_deadline_ms", "200"),
                ("requests.max_deadline_ms", "3600000"),
            ],
            "",
        ),
        // Over REST a longer timeout in the request has no effect.
        (
            [
                ("requests.default_deadline_ms", "200"),
                ("requests.max_deadline_ms", "3600000"),
            ],
            "grpc-timeout: 1H\r\n",
        ),
    ] {
        let program = deployment.command("serve");
        let served = Served::of(settings.iter().fold(program, |program, (name, value)| {
            program.env(&variable(name), *value)
        }));
        // Its body never arrives.
        let waiting = begin(&served, &deployment.env["ADMIN_TOKEN"], asked).await;
        let answered = answer(waiting).await;
        assert!(answered.starts_with("HTTP/1.1 504 "), "{answered}");
        served.running.terminate().expect(0);
    }
}
