//! What needs no token: probes, reflection and the root of nothing.

use std::collections::BTreeSet;

use keyward::proto;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::TestServer;

on_each_engine! {
    async fn a_running_server_is_alive_and_ready(server: TestServer) {
        for path in ["/healthz", "/readyz"] {
            server.get(path).send().await.is(200, r#"{"status":"ok"}"#);
            server.get(path).bearer("garbage").send().await.is(200, r#"{"status":"ok"}"#);
        }
    }

    async fn a_server_without_its_store_is_alive_and_not_ready(server: TestServer) {
        server.store.close().await;
        server.get("/healthz").send().await.is(200, r#"{"status":"ok"}"#);
        server.get("/readyz").send().await.is(503, r#"{"status":"unavailable"}"#);
    }

    async fn reflection_lists_the_services_without_a_token(server: TestServer) {
        let mut client = ServerReflectionClient::new(server.channel());
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let requests = futures_util::stream::iter([request]);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
            panic!("{answer:?}");
        };
        let listed: BTreeSet<_> = listed.service.into_iter().map(|service| service.name).collect();
        for method in proto::METHODS {
            assert!(listed.contains(method.service), "{} is not listed", method.service);
        }
    }
}
