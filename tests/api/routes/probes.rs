//! GET /healthz and GET /readyz, without a token.

use crate::support::TestServer;

async fn running_server_is_alive_and_ready(server: TestServer) {
    for path in ["/healthz", "/readyz"] {
        server.get(path).send().await.is(200, r#"{"status":"ok"}"#);
        server
            .get(path)
            .bearer("garbage")
            .send()
            .await
            .is(200, r#"{"status":"ok"}"#);
    }
}

async fn server_without_its_store_is_alive_and_not_ready(server: TestServer) {
    server.store.close().await;
    server.until_not_ready().await;
    server
        .get("/healthz")
        .send()
        .await
        .is(200, r#"{"status":"ok"}"#);
    server
        .get("/readyz")
        .send()
        .await
        .is(503, r#"{"status":"unavailable"}"#);
}

each_engine! {
    running_server_is_alive_and_ready
    server_without_its_store_is_alive_and_not_ready
}
