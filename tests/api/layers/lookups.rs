//! Look-ups of callers during authentication: those of one client do not delay others, and each is as new as its call.

use std::time::Duration;

use futures_util::future::join_all;
use keyward::http::client_ip::TrustedProxies;
use keyward_crypto::{Token, TokenKind};
use keyward_throttle::Rate;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use tokio::task::JoinSet;

use crate::support::{Engine, ORGANIZATION, OnEngine, Setup, TestServer, User};

/// Calls on one connection, as `max_concurrent_streams` is by default.
const CALLS_PER_CONNECTION: usize = 100;
/// Maximum number of calls that wait for a look-up, as in `src/admission/entrance.rs`.
const MAX_WAITING: usize = 2000;
/// Time after which a test fails instead of waiting forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a server that trusts the forwarded client address, on PostgreSQL, where a lock can delay look-ups. `None`
/// where PostgreSQL is missing.
async fn start(change: impl FnOnce(&mut Setup)) -> Option<TestServer> {
    let mut setup = Setup::on(Engine::Postgres).await?;
    setup.trusted_proxies = TrustedProxies::parse(&["127.0.0.1"]).unwrap();
    change(&mut setup);
    Some(setup.start().await)
}

/// A key of the right form that was never issued.
fn unknown_key() -> String {
    let token = Token::generate(TokenKind::ISSUED_KEY).unwrap();
    token.expose().to_owned()
}

/// Delays the look-ups of keys, and not those of members, until this ends.
async fn delay_keys(server: &TestServer) -> DatabaseTransaction {
    let lock = server.database.raw().await.begin().await.unwrap();
    let sql = "LOCK TABLE issued_keys IN ACCESS EXCLUSIVE MODE";
    lock.execute_unprepared(sql).await.unwrap();
    lock
}

/// Presents unknown keys from these addresses, each in a call of its own, on connections that have shown a valid token.
async fn present(server: &TestServer, addresses: impl Iterator<Item = String>) -> JoinSet<u16> {
    let service = server.service_token();
    let mut calls = JoinSet::new();
    let mut client = None;
    for (number, address) in addresses.enumerate() {
        if number % CALLS_PER_CONNECTION == 0 {
            let builder = reqwest::Client::builder()
                .no_proxy()
                .http2_prior_knowledge();
            let built = builder.build().unwrap();
            let shown = built.get(server.url("/apikeys")).bearer_auth(&service);
            assert_eq!(shown.send().await.unwrap().status().as_u16(), 403);
            client = Some(built);
        }
        let call = client.as_ref().unwrap().get(server.url("/apikeys"));
        let call = call
            .header("x-forwarded-for", address)
            .bearer_auth(unknown_key());
        calls.spawn(async move { call.send().await.unwrap().status().as_u16() });
    }
    calls
}

async fn next(calls: &mut JoinSet<u16>) -> u16 {
    let ended = tokio::time::timeout(PATIENCE, calls.join_next()).await;
    ended.unwrap().unwrap().unwrap()
}

/// Returns the status of a call with a token from an address.
async fn status(server: &TestServer, address: &str, token: &str) -> u16 {
    let call = server.get("/apikeys").header("x-forwarded-for", address);
    call.bearer(token).send().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_of_one_address_delay_no_other() {
    let Some(server) = start(|setup| setup.max_in_flight = 10).await else {
        return;
    };
    let service = server.service_token();
    let lock = delay_keys(&server).await;
    let mut calls = present(&server, (0..1000).map(|_| "203.0.113.1".to_owned())).await;
    // An address has a third of the room at most, and further calls are rejected at once.
    for _ in 0..1000 - MAX_WAITING.div_ceil(3) {
        assert_eq!(next(&mut calls).await, 503);
    }
    for number in 0..20 {
        let address = format!("203.0.113.{}", 2 + number);
        assert_eq!(status(&server, &address, &service).await, 403);
        let session = server.token(User::Owner);
        assert_eq!(status(&server, &address, &session).await, 200);
    }
    assert_eq!(status(&server, "203.0.113.1", &service).await, 403);
    lock.rollback().await.unwrap();
    while !calls.is_empty() {
        let status = next(&mut calls).await;
        assert!([401, 503].contains(&status), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_of_many_addresses_reject_no_service() {
    let Some(server) = start(|setup| setup.max_in_flight = 10).await else {
        return;
    };
    let service = server.service_token();
    let lock = delay_keys(&server).await;
    let address = |number| format!("203.0.113.{}", number % 100);
    let mut calls = present(&server, (0..2500).map(address)).await;
    // All places but those for further addresses are taken.
    while calls.len() > MAX_WAITING {
        assert_eq!(next(&mut calls).await, 503);
    }
    for _ in 0..20 {
        assert_eq!(status(&server, "203.0.113.1", &service).await, 403);
        let service = server.service_token();
        assert_eq!(status(&server, "203.0.113.200", &service).await, 403);
    }
    let newcomer = async { status(&server, "203.0.113.200", &server.token(User::Owner)).await };
    let (newcomer, lock) = tokio::join!(newcomer, lock.rollback());
    lock.unwrap();
    assert_eq!(newcomer, 200);
    while !calls.is_empty() {
        let status = next(&mut calls).await;
        assert!([401, 503].contains(&status), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_tokens_under_way_count_as_failures() {
    let Some(server) = start(|setup| setup.failed_authentications = Rate::per_minute(1, 3)).await
    else {
        return;
    };
    let lock = delay_keys(&server).await;
    let mut calls = present(&server, (0..100).map(|_| "203.0.113.1".to_owned())).await;
    for _ in 3..100 {
        assert_eq!(next(&mut calls).await, 429);
    }
    lock.rollback().await.unwrap();
    while !calls.is_empty() {
        assert_eq!(next(&mut calls).await, 401);
    }
}

/// Calls with the key never stop, so its look-ups are shared all the time.
async fn revoked_key_is_rejected_from_the_next_call_on(server: TestServer) {
    let key = server.management_key(ORGANIZATION).await;
    let get = || server.get("/keys").bearer(&key).send();
    let flood = async {
        loop {
            let statuses = join_all((0..20).map(|_| get())).await;
            if statuses.iter().any(|answer| answer.status == 401) {
                return;
            }
            assert!(statuses.iter().all(|answer| answer.status == 200));
        }
    };
    let revocation = async {
        for _ in 0..20 {
            assert_eq!(get().await.status, 200);
        }
        server.revoke_management_key(&key).await;
        let statuses = join_all((0..20).map(|_| get())).await;
        assert!(statuses.iter().all(|answer| answer.status == 401));
    };
    tokio::join!(flood, revocation);
}

each_engine! {
    revoked_key_is_rejected_from_the_next_call_on
}
