//! Rate limit by client address: a request past the limit is rejected before any lookup.
//!
//! A slot comes back after an hour here, longer than any test runs.

use std::num::NonZeroU32;
use std::time::Duration;

use keyward::http::client_ip::TrustedProxies;
use keyward::proto::v1::ListApiKeysRequest;
use keyward_throttle::Rate;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Setup, TestServer, UNAUTHENTICATED, User, WebFlavor, waiting};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const MESSAGE: &str = "Too many requests from this address";
/// Number of requests that an address may make in a burst.
const BURST: u32 = 3;

/// Starts a server that trusts the forwarded client address.
async fn start(setup: Setup) -> TestServer {
    let address_rate = Some(Rate {
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(BURST).unwrap(),
    });
    let setup = Setup {
        address_rate,
        trusted_proxies: TrustedProxies::parse(&["127.0.0.1"]).unwrap(),
        ..setup
    };
    setup.start().await
}

/// Returns the status of a list request from `address` with `token`.
async fn list(server: &TestServer, address: &str, token: &str) -> u16 {
    let call = server.get("/apikeys").header("x-forwarded-for", address);
    call.bearer(token).send().await.status
}

/// Uses up all requests of an address.
async fn exhaust(server: &TestServer, address: &str) {
    let token = server.token(User::Owner);
    for _ in 0..BURST {
        assert_eq!(list(server, address, &token).await, 200);
    }
    assert_eq!(list(server, address, &token).await, 429);
}

/// Expects the reason and the retry delay in the status.
#[track_caller]
fn says_when(status: &Status) {
    waiting::says_when(status, "ADDRESS_RATE_LIMITED", MESSAGE);
}

async fn burst_of_any_requests_passes_and_the_next_is_rejected(setup: Setup) {
    let server = start(setup).await;
    server
        .get("/nowhere")
        .send()
        .await
        .rejects(404, "Not found");
    server
        .get("/apikeys")
        .send()
        .await
        .rejects(401, UNAUTHENTICATED);
    let token = server.token(User::Owner);
    assert_eq!(
        server.get("/apikeys").bearer(&token).send().await.status,
        200
    );
    let managed = format!(r#"{{"error":{{"code":429,"message":"{MESSAGE}"}}}}"#);
    let flashback = format!(r#"{{"success":false,"message":"{MESSAGE}"}}"#);
    for (path, body) in [
        ("/apikeys", &flashback),
        ("/keys", &managed),
        ("/nowhere", &flashback),
    ] {
        let answer = server.get(path).bearer(&token).send().await;
        answer.is(429, body);
        waiting::about_an_hour(answer.header("retry-after").unwrap().parse().unwrap());
    }
    assert_eq!(server.get("/docs").send().await.status, 429);
}

async fn protocols_share_one_count_and_report_in_their_format(setup: Setup) {
    let server = start(setup).await;
    let token = server.token(User::Owner);
    let request = ListApiKeysRequest::default();
    let mut client = server.api_keys(&token);
    client.list_api_keys(request.clone()).await.unwrap();
    let answer = server
        .grpc_web(WebFlavor::Text, LIST, Some(&token), &request)
        .await;
    assert_eq!(answer.code(), "0");
    assert_eq!(
        server.get("/apikeys").bearer(&token).send().await.status,
        200
    );
    says_when(&client.list_api_keys(request.clone()).await.unwrap_err());
    for flavor in WebFlavor::ALL {
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.http_status, 200);
        says_when(&Status::from_header_map(&answer.headers).unwrap());
    }
    assert_eq!(
        server.get("/apikeys").bearer(&token).send().await.status,
        429
    );
}

async fn another_address_is_not_limited(setup: Setup) {
    let server = start(setup).await;
    for address in [
        "203.0.113.5",
        "203.0.113.6",
        "2001:db8:0:1::1",
        "2001:db8:0:2::1",
    ] {
        exhaust(&server, address).await;
    }
    // An IPv6 client has all addresses that differ only in their last 64 bits.
    let token = server.token(User::Owner);
    assert_eq!(list(&server, "2001:db8:0:1:ffff::7", &token).await, 429);
    assert_eq!(list(&server, "::ffff:203.0.113.5", &token).await, 429);
    // The address of the server's own peer.
    exhaust(&server, "unknown").await;
}

async fn rejection_precedes_every_lookup(setup: Setup) {
    let server = start(setup).await;
    exhaust(&server, "203.0.113.5").await;
    server.store.close().await;
    let token = server.token(User::Owner);
    assert_eq!(list(&server, "203.0.113.5", &token).await, 429);
    assert_eq!(list(&server, "203.0.113.5", "garbage").await, 429);
    assert_eq!(list(&server, "203.0.113.6", &token).await, 503);
}

async fn services_are_counted_with_all_the_others(setup: Setup) {
    let server = start(setup).await;
    let token = server.service_token();
    for _ in 0..BURST {
        assert_eq!(list(&server, "203.0.113.5", &token).await, 403);
    }
    assert_eq!(list(&server, "203.0.113.5", &token).await, 429);
}

async fn probes_are_not_counted(setup: Setup) {
    let server = start(setup).await;
    exhaust(&server, "203.0.113.5").await;
    let mut health = HealthClient::new(server.channel());
    for _ in 0..2 * BURST {
        for path in ["/healthz", "/readyz"] {
            let call = server.get(path).header("x-forwarded-for", "203.0.113.5");
            assert_eq!(call.send().await.status, 200);
        }
        let mut request = Request::new(HealthCheckRequest::default());
        let from = "203.0.113.5".parse().unwrap();
        request.metadata_mut().insert("x-forwarded-for", from);
        health.check(request).await.unwrap();
    }
    // Nor do these requests count against the limit of other requests.
    for _ in 0..2 * BURST {
        server.get("/healthz").send().await;
    }
    exhaust(&server, "unknown").await;
}

each_engine! {
    burst_of_any_requests_passes_and_the_next_is_rejected
    protocols_share_one_count_and_report_in_their_format
    another_address_is_not_limited
    rejection_precedes_every_lookup
    services_are_counted_with_all_the_others
    probes_are_not_counted
}
