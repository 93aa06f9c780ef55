//! ResolveApiKey: the only method that returns a secret.

use keyward::proto::v1::{ResolveApiKeyRequest, ResolveApiKeyResponse};
use serde_json::json;
use tonic::Code;

use crate::support::{
    DENIED, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, rejected, with_token,
};

fn request(uuid: &str) -> ResolveApiKeyRequest {
    ResolveApiKeyRequest {
        uuid: uuid.to_owned(),
    }
}

async fn key(server: &TestServer) -> String {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "canary-4711", "provider": "AZURE",
        "endpoint": "e", "tenantId": "t",
    });
    server.create(body).await
}

async fn service_gets_the_opened_credential(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let opened = service
        .resolve_api_key(request(&id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        opened,
        ResolveApiKeyResponse {
            uuid: id,
            workspace_id: WORKSPACE_A.to_owned(),
            provider: "AZURE".to_owned(),
            key: "k".to_owned(),
            secret: "canary-4711".to_owned(),
            endpoint: Some("e".to_owned()),
            region: None,
            tenant_id: Some("t".to_owned()),
            subscription_id: None,
            version: 1,
        }
    );
}

async fn every_release_is_audited_without_the_secret(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    for number in [1, 2] {
        let mut request = with_token(&server.service_token(), request(&id));
        let request_id = format!("release-{number}").parse().unwrap();
        request.metadata_mut().insert("x-request-id", request_id);
        service.resolve_api_key(request).await.unwrap();
    }
    let events = server.database.events().await;
    let mut releases: Vec<_> = events
        .iter()
        .filter(|event| event.action == "api_key.resolve")
        .collect();
    releases.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    assert_eq!(releases.len(), 2);
    for (number, event) in releases.into_iter().enumerate() {
        assert_eq!(event.actor_kind, "service");
        assert_eq!(event.actor_id, "ai-gateway");
        assert_eq!(
            (event.resource_kind.as_str(), &event.resource_id),
            ("api_key", &id)
        );
        assert_eq!(event.workspace_id.as_deref(), Some(WORKSPACE_A));
        assert_eq!(event.organization_id.as_deref(), Some("org-1"));
        assert_eq!(event.request_id, format!("release-{}", number + 1));
        assert_eq!(event.source.as_deref(), Some("127.0.0.1"));
    }
    assert!(!format!("{events:?}").contains("canary"));
}

async fn user_of_any_role_gets_no_secret(server: TestServer) {
    let id = key(&server).await;
    for user in User::MEMBERS {
        for id in [
            id.as_str(),
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "not-a-uuid",
        ] {
            let result = server
                .api_keys(&server.token(user))
                .resolve_api_key(request(id))
                .await;
            rejected(result)
                .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
                .alone()
                .hides(&["canary"]);
        }
    }
    let resolutions = "audit_events WHERE action = 'api_key.resolve'";
    assert_eq!(server.database.count(resolutions).await, 0);
    let result = server
        .api_keys_without_token()
        .resolve_api_key(request(&id))
        .await;
    rejected(result).is(Code::Unauthenticated, "TOKEN_MISSING", UNAUTHENTICATED);
}

async fn unknown_key_is_not_found_and_not_audited(server: TestServer) {
    let mut service = server.api_keys(&server.service_token());
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "not-a-uuid", ""] {
        rejected(service.resolve_api_key(request(id)).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", "API key not found")
            .alone();
    }
    assert_eq!(
        server
            .database
            .count("audit_events WHERE action LIKE 'api_key%'")
            .await,
        0
    );
}

async fn secret_that_was_sealed_elsewhere_does_not_open(server: TestServer) {
    let id = key(&server).await;
    let other = server
        .create(json!({
            "workspaceId": WORKSPACE_A, "key": "k2", "secret": "canary-4712", "provider": "AWS",
        }))
        .await;
    // A party that can write rows cannot make the secret of one key appear as that of another.
    server
        .database
        .execute(
            "UPDATE provider_keys SET sealed_secret = \
         (SELECT sealed_secret FROM provider_keys WHERE key = 'k2') WHERE key = 'k'",
        )
        .await;
    let mut service = server.api_keys(&server.service_token());
    rejected(service.resolve_api_key(request(&id)).await)
        .is(Code::Internal, "INTERNAL", "Internal server error")
        .alone()
        .hides(&["canary", "open", "envelope", "decrypt"]);
    assert!(service.resolve_api_key(request(&other)).await.is_ok());
}

async fn it_has_no_rest_path(server: TestServer) {
    let id = key(&server).await;
    for path in [
        format!("/apikeys/{id}/resolve"),
        "/keyward.v1.ApiKeyService/ResolveApiKey".to_owned(),
    ] {
        let call = server.post(&path).bearer(&server.service_token());
        let answer = call.json(&json!({ "uuid": id })).send().await;
        answer.rejects(404, "Not found");
    }
}

each_engine! {
    service_gets_the_opened_credential
    every_release_is_audited_without_the_secret
    user_of_any_role_gets_no_secret
    unknown_key_is_not_found_and_not_audited
    secret_that_was_sealed_elsewhere_does_not_open
    it_has_no_rest_path
}
