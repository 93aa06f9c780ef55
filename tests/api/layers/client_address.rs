//! Client address: the trusted proxy's header counts, a header from the client itself does not.

use keyward::http::client_ip::TrustedProxies;
use serde_json::json;

use crate::support::{RestRequest, Setup, TestServer, User, WORKSPACE_A, spans_of};

/// Address of every client in these tests.
const PEER: &str = "127.0.0.1";
const CLAIMED: &str = "203.0.113.5";

async fn behind(setup: Setup, proxies: &[&str]) -> TestServer {
    let trusted_proxies = TrustedProxies::parse(proxies).unwrap();
    let setup = Setup {
        trusted_proxies,
        ..setup
    };
    setup.start().await
}

/// Creates a key with these headers and lists the keys. Returns the addresses in the audit trail and the
/// address in the span.
async fn seen(server: &TestServer, headers: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let id = format!("client-{}", uuid::Uuid::new_v4());
    let body = json!({ "workspaceId": WORKSPACE_A, "key": &id, "secret": "s", "provider": "AWS" });
    let call = server.post("/apikeys").bearer(&server.token(User::Owner));
    let create = with(call.header("x-request-id", &id).json(&body), headers);
    let answer = create.send().await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let sql = format!("SELECT source FROM audit_events WHERE request_id = '{id}'");
    let rows = server.database.query(&sql).await;
    let sources = rows.iter().map(|row| row.try_get("", "source").unwrap());
    let id = format!("{id}-list");
    let list = server.get("/apikeys").header("x-request-id", &id);
    assert_eq!(with(list, headers).send().await.status, 401);
    let spans = spans_of(&id);
    assert_eq!(spans.len(), 1);
    let span = spans[0].field("client.address").map(str::to_owned);
    (sources.collect(), span)
}

fn with(call: RestRequest, headers: &[(&str, &str)]) -> RestRequest {
    headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, value))
}

#[track_caller]
fn is(seen: (Vec<String>, Option<String>), address: &str) {
    assert_eq!(seen, (vec![address.to_owned()], Some(address.to_owned())));
}

async fn caller_that_is_no_proxy_is_not_believed(server: TestServer) {
    for headers in [
        &[][..],
        &[("x-forwarded-for", CLAIMED)],
        &[("x-forwarded-for", "127.0.0.1, 203.0.113.5, 127.0.0.1")],
        &[("x-forwarded-for", "canary")],
        &[("forwarded", "for=203.0.113.5")],
        &[("x-real-ip", CLAIMED)],
        &[("true-client-ip", CLAIMED)],
    ] {
        is(seen(&server, headers).await, PEER);
    }
}

async fn trusted_proxy_names_the_client_address(setup: Setup) {
    let server = behind(setup, &["127.0.0.0/8", "10.1.0.0/16"]).await;
    for (headers, address) in [
        (&[("x-forwarded-for", CLAIMED)][..], CLAIMED),
        (&[("x-forwarded-for", "198.51.100.1, 203.0.113.5")], CLAIMED),
        (
            &[("x-forwarded-for", "198.51.100.1, 203.0.113.5, 10.1.2.3")],
            CLAIMED,
        ),
        (
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-for", CLAIMED),
            ],
            CLAIMED,
        ),
        (&[("x-forwarded-for", "[2001:db8::1]:443")], "2001:db8::1"),
        // A missing or unreadable header leaves the address of the proxy itself.
        (&[], PEER),
        (&[("x-forwarded-for", "203.0.113.5, unknown")], PEER),
        (&[("x-forwarded-for", "10.1.2.3")], PEER),
        // A header that the proxy passes on without having written it.
        (&[("forwarded", "for=203.0.113.5")], PEER),
        (&[("x-real-ip", CLAIMED)], PEER),
    ] {
        is(seen(&server, headers).await, address);
    }
}

async fn another_proxys_network_is_not_this_callers(setup: Setup) {
    let server = behind(setup, &["10.0.0.0/8", "127.0.0.2", "::1"]).await;
    is(seen(&server, &[("x-forwarded-for", CLAIMED)]).await, PEER);
}

each_engine! {
    caller_that_is_no_proxy_is_not_believed
    trusted_proxy_names_the_client_address
    another_proxys_network_is_not_this_callers
}
