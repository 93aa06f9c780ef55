//! LinkApiKey and UnlinkApiKey.

use std::time::Duration;

use keyward::proto::v1::{
    ApiKeyLink, LinkApiKeyRequest, ListApiKeyLinksRequest, ResourceKind, UnlinkApiKeyRequest,
};
use serde_json::json;
use tonic::Code;

use crate::support::{DENIED, TestServer, User, WORKSPACE_A, rejected};

const NOT_FOUND: &str = "API key not found";
const LINKS: &str = "audit_events WHERE action = 'api_key.link'";
const UNLINKS: &str = "audit_events WHERE action = 'api_key.unlink'";

async fn key(server: &TestServer) -> String {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    server.create(body).await
}

fn link(uuid: &str, kind: ResourceKind, resource: &str) -> LinkApiKeyRequest {
    LinkApiKeyRequest {
        uuid: uuid.to_owned(),
        resource_kind: kind.into(),
        resource_id: resource.to_owned(),
    }
}

fn unlink(uuid: &str, kind: ResourceKind, resource: &str) -> UnlinkApiKeyRequest {
    UnlinkApiKeyRequest {
        uuid: uuid.to_owned(),
        resource_kind: kind.into(),
        resource_id: resource.to_owned(),
    }
}

async fn link_is_made_once_and_keeps_its_moment(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let expected = ApiKeyLink {
        uuid: id.clone(),
        resource_kind: ResourceKind::Bucket.into(),
        resource_id: "b1".to_owned(),
        created_at: Some(prost_types::Timestamp {
            seconds: 1_785_585_600,
            nanos: 0,
        }),
    };
    for _ in 0..3 {
        let linked = service
            .link_api_key(link(&id, ResourceKind::Bucket, "b1"))
            .await;
        assert_eq!(linked.unwrap().into_inner().link, Some(expected.clone()));
        server.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(server.database.count("provider_key_links").await, 1);
    assert_eq!(server.database.count(LINKS).await, 1);
}

async fn same_resource_id_of_two_kinds_is_two_links(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    service
        .link_api_key(link(&id, ResourceKind::Bucket, "r"))
        .await
        .unwrap();
    service
        .link_api_key(link(&id, ResourceKind::AiModel, "r"))
        .await
        .unwrap();
    let listed = server.list(WORKSPACE_A).await.remove(0);
    assert_eq!(
        (&listed["bucket_count"], &listed["aillm_count"]),
        (&json!(1), &json!(1))
    );
}

async fn unlinking_is_idempotent_and_audited_once(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    service
        .unlink_api_key(unlink(&id, ResourceKind::Bucket, "b1"))
        .await
        .unwrap();
    assert_eq!(server.database.count(UNLINKS).await, 0);
    service
        .link_api_key(link(&id, ResourceKind::Bucket, "b1"))
        .await
        .unwrap();
    for _ in 0..3 {
        service
            .unlink_api_key(unlink(&id, ResourceKind::Bucket, "b1"))
            .await
            .unwrap();
    }
    assert_eq!(server.database.count("provider_key_links").await, 0);
    assert_eq!(server.database.count(UNLINKS).await, 1);
    service
        .link_api_key(link(&id, ResourceKind::Bucket, "b1"))
        .await
        .unwrap();
    assert_eq!(server.list(WORKSPACE_A).await[0]["bucket_count"], 1);
}

async fn unknown_key_is_not_found(server: TestServer) {
    let mut service = server.api_keys(&server.service_token());
    for id in ["01890a5d-ac96-774b-bcce-b302099a8057", "not-a-uuid", ""] {
        rejected(
            service
                .link_api_key(link(id, ResourceKind::Bucket, "b1"))
                .await,
        )
        .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
        .alone();
        rejected(
            service
                .unlink_api_key(unlink(id, ResourceKind::Bucket, "b1"))
                .await,
        )
        .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
        .alone();
        let request = ListApiKeyLinksRequest {
            uuid: id.to_owned(),
            ..Default::default()
        };
        rejected(service.list_api_key_links(request).await)
            .is(Code::NotFound, "API_KEY_NOT_FOUND", NOT_FOUND)
            .alone();
    }
}

async fn kind_and_resource_are_required(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let message = "Resource kind is required";
    rejected(
        service
            .link_api_key(link(&id, ResourceKind::Unspecified, "b1"))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_INVALID", message)
    .fields(&[("resourceKind", message)]);
    rejected(
        service
            .unlink_api_key(unlink(&id, ResourceKind::Unspecified, "b1"))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_INVALID", message)
    .fields(&[("resourceKind", message)]);
    // A kind of a later version is not read as any known kind.
    let unknown = LinkApiKeyRequest {
        resource_kind: 77,
        ..link(&id, ResourceKind::Bucket, "b")
    };
    rejected(service.link_api_key(unknown).await).is(
        Code::InvalidArgument,
        "FIELD_INVALID",
        message,
    );

    let message = "Resource ID is required";
    rejected(
        service
            .link_api_key(link(&id, ResourceKind::Bucket, ""))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_REQUIRED", message)
    .fields(&[("resourceId", message)]);
    rejected(
        service
            .unlink_api_key(unlink(&id, ResourceKind::Bucket, ""))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_REQUIRED", message)
    .fields(&[("resourceId", message)]);
    let message = "Resource ID must have at most 255 bytes";
    rejected(
        service
            .link_api_key(link(&id, ResourceKind::Bucket, &"r".repeat(256)))
            .await,
    )
    .is(Code::InvalidArgument, "FIELD_INVALID", message)
    .fields(&[("resourceId", message)]);
    assert_eq!(server.database.count("provider_key_links").await, 0);
}

async fn user_of_any_role_may_not_link_or_unlink(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    service
        .link_api_key(link(&id, ResourceKind::Bucket, "b1"))
        .await
        .unwrap();
    for user in User::MEMBERS {
        let mut client = server.api_keys(&server.token(user));
        rejected(
            client
                .link_api_key(link(&id, ResourceKind::Bucket, "b2"))
                .await,
        )
        .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
        .alone();
        rejected(
            client
                .unlink_api_key(unlink(&id, ResourceKind::Bucket, "b1"))
                .await,
        )
        .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
        .alone();
        let request = ListApiKeyLinksRequest {
            uuid: id.clone(),
            ..Default::default()
        };
        rejected(client.list_api_key_links(request).await)
            .is(Code::PermissionDenied, "PERMISSION_DENIED", DENIED)
            .alone();
    }
    assert_eq!(server.database.count("provider_key_links").await, 1);
}

async fn links_are_audited_with_what_was_linked(server: TestServer) {
    let id = key(&server).await;
    let mut service = server.api_keys(&server.service_token());
    service
        .link_api_key(link(&id, ResourceKind::AiModel, "model-7"))
        .await
        .unwrap();
    let events = server.database.events().await;
    let event = events
        .iter()
        .find(|event| event.action == "api_key.link")
        .unwrap();
    assert_eq!(
        (event.actor_kind.as_str(), event.actor_id.as_str()),
        ("service", "ai-gateway")
    );
    assert_eq!(
        (event.resource_kind.as_str(), &event.resource_id),
        ("api_key", &id)
    );
    let details: serde_json::Value = serde_json::from_str(&event.details).unwrap();
    assert_eq!(
        details,
        json!({ "resource_kind": "ai_model", "resource_id": "model-7" })
    );
}

each_engine! {
    link_is_made_once_and_keeps_its_moment
    same_resource_id_of_two_kinds_is_two_links
    unlinking_is_idempotent_and_audited_once
    unknown_key_is_not_found
    kind_and_resource_are_required
    user_of_any_role_may_not_link_or_unlink
    links_are_audited_with_what_was_linked
}
