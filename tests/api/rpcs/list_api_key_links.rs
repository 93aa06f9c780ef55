//! ListApiKeyLinks: pages of the resources that use a key.

use keyward::proto::v1::{LinkApiKeyRequest, ListApiKeyLinksRequest, ResourceKind};
use serde_json::json;
use tonic::Code;

use crate::support::{TestServer, WORKSPACE_A, rejected};

async fn key_with_links(server: &TestServer) -> String {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    let id = server.create(body).await;
    let mut service = server.api_keys(&server.service_token());
    for (kind, resource) in [
        (ResourceKind::Bucket, "b"),
        (ResourceKind::AiModel, "z"),
        (ResourceKind::Bucket, "B"),
        (ResourceKind::AiModel, "m:1"),
        (ResourceKind::Bucket, "a"),
    ] {
        let request = LinkApiKeyRequest {
            uuid: id.clone(),
            resource_kind: kind.into(),
            resource_id: resource.to_owned(),
        };
        service.link_api_key(request).await.unwrap();
    }
    id
}

async fn links_are_ordered_by_kind_and_id(server: TestServer) {
    let uuid = key_with_links(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let request = ListApiKeyLinksRequest {
        uuid: uuid.clone(),
        ..Default::default()
    };
    let page = service
        .list_api_key_links(request)
        .await
        .unwrap()
        .into_inner();
    let links: Vec<_> = page
        .links
        .iter()
        .map(|link| (link.resource_kind(), link.resource_id.as_str()))
        .collect();
    assert_eq!(
        links,
        [
            (ResourceKind::AiModel, "m:1"),
            (ResourceKind::AiModel, "z"),
            (ResourceKind::Bucket, "B"),
            (ResourceKind::Bucket, "a"),
            (ResourceKind::Bucket, "b"),
        ]
    );
    assert_eq!(page.next_page_token, "");
    assert!(
        page.links
            .iter()
            .all(|link| link.uuid == uuid && link.created_at.is_some())
    );
}

async fn pages_of_any_size_are_the_list_in_pieces(server: TestServer) {
    let uuid = key_with_links(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let request = ListApiKeyLinksRequest {
        uuid: uuid.clone(),
        ..Default::default()
    };
    let all = service
        .list_api_key_links(request)
        .await
        .unwrap()
        .into_inner()
        .links;
    for page_size in 1..=6 {
        let (mut links, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListApiKeyLinksRequest {
                uuid: uuid.clone(),
                page_size,
                page_token,
            };
            let page = service
                .list_api_key_links(request)
                .await
                .unwrap()
                .into_inner();
            assert!(page.links.len() <= page_size as usize);
            links.extend(page.links);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(links, all, "{page_size}");
    }
}

async fn page_token_that_no_page_carried_is_rejected(server: TestServer) {
    let uuid = key_with_links(&server).await;
    let mut service = server.api_keys(&server.service_token());
    let message = "Page token is not valid";
    for page_token in ["canary", "zz", "00", "ff", "6b6579", &"61".repeat(2000)] {
        let request = ListApiKeyLinksRequest {
            uuid: uuid.clone(),
            page_size: 0,
            page_token: page_token.to_owned(),
        };
        rejected(service.list_api_key_links(request).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", message)
            .fields(&[("pageToken", message)])
            .hides(&["canary"]);
    }
}

async fn page_has_a_hundred_links_by_default(server: TestServer) {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let uuid = server.create(body).await;
    let mut service = server.api_keys(&server.service_token());
    for number in 0..101 {
        let request = LinkApiKeyRequest {
            uuid: uuid.clone(),
            resource_kind: ResourceKind::Bucket.into(),
            resource_id: format!("bucket-{number:03}"),
        };
        service.link_api_key(request).await.unwrap();
    }
    let request = ListApiKeyLinksRequest {
        uuid: uuid.clone(),
        ..Default::default()
    };
    let page = service
        .list_api_key_links(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.links.len(), 100);
    assert_ne!(page.next_page_token, "");
    let request = ListApiKeyLinksRequest {
        uuid,
        page_size: u32::MAX,
        ..Default::default()
    };
    let page = service
        .list_api_key_links(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.links.len(), 101);
    assert_eq!(page.next_page_token, "");
}

each_engine! {
    links_are_ordered_by_kind_and_id
    pages_of_any_size_are_the_list_in_pieces
    page_token_that_no_page_carried_is_rejected
    page_has_a_hundred_links_by_default
}
