//! REST lists whose later pages hang or lose the database. They need a database behind a proxy: PostgreSQL.

use std::time::Duration;

use super::whole_lists::{KEYS, create_provider_keys, start_with_pages};
use crate::support::{Engine, OnEngine as _, OnText, Proxy, Setup, TestServer, User, WORKSPACE_A};

/// Errors of the clients for HTTP/1.1 and HTTP/2 if a connection is closed before the last chunk, and if a stream is
/// reset.
const BROKEN: [&str; 2] = ["UnexpectedEof", "Reset("];

/// Requests a list whose second page cannot be read, with the client of one version of HTTP.
async fn assert_list_breaks(server: &TestServer, client: &reqwest::Client, error: &str) {
    let url = server.url("/apikeys?workspaceId=workspace-a");
    let call = client.get(&url).bearer_auth(server.token(User::Owner));
    // Over HTTP/2 the reset may come before the status.
    let broken = match call.header("grpc-timeout", "2S").send().await {
        Ok(answer) => {
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap_err()
        }
        Err(broken) => broken,
    };
    let broken = format!("{broken:?}");
    assert!(broken.contains(error), "{broken}");
}

/// Starts a server with several pages of keys, on PostgreSQL behind a proxy; `None` without PostgreSQL.
async fn start_behind_a_proxy() -> Option<(TestServer, Proxy)> {
    let setup = Setup::on(Engine::Postgres).await?;
    let proxy = Proxy::before(setup.database.url()).await;
    let store_url = Some(proxy.url(setup.database.url()));
    let server = start_with_pages(Setup { store_url, ..setup }).await;
    create_provider_keys(&server).await;
    assert_eq!(server.list(WORKSPACE_A).await.len(), KEYS);
    Some((server, proxy))
}

/// Oldest key, which is in no row that the first page is made of.
const LAST: &str = "key-0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_list_whose_later_page_hangs_is_broken_off() {
    let Some((server, proxy)) = start_behind_a_proxy().await else {
        return;
    };
    proxy.on_text(OnText::Hang(LAST));
    for (client, error) in [&server.http, &server.http2].into_iter().zip(BROKEN) {
        assert_list_breaks(&server, client, error).await;
    }
    proxy.on_text(OnText::Forward);
    until_listed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest_list_that_loses_its_database_is_broken_off() {
    let Some((server, proxy)) = start_behind_a_proxy().await else {
        return;
    };
    for (client, error) in [&server.http, &server.http2].into_iter().zip(BROKEN) {
        proxy.on_text(OnText::Cut(LAST));
        assert_list_breaks(&server, client, error).await;
        proxy.on_text(OnText::Forward);
        proxy.mend();
        until_listed(&server).await;
    }
}

/// Lists until the pool has connections again.
async fn until_listed(server: &TestServer) {
    let url = server.url("/apikeys?workspaceId=workspace-a");
    let token = server.token(User::Owner);
    let listing = async {
        loop {
            let call = server.http.get(&url).bearer_auth(&token);
            let answer = call.send().await.unwrap();
            if answer.status() == 200 && answer.bytes().await.is_ok() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, listing).await.unwrap();
}
