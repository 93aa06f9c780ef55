//! Concurrent requests of many callers through the API.

use std::sync::Arc;

use keyward::proto::v1::{CreateApiKeyRequest, LinkApiKeyRequest, ResourceKind};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{TestServer, User, WORKSPACE_A};

const CREATORS: usize = 64;
const ROUNDS: usize = 200;
const DUPLICATE: &str = "API key with these credentials already exists";

/// Outcome of one creation.
#[derive(Debug, PartialEq, Eq)]
enum Creation {
    Created,
    Duplicate,
}

async fn create_over_rest(server: &TestServer, token: &str) -> Creation {
    let body = json!({ "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS" });
    let answer = server
        .post("/apikeys")
        .bearer(token)
        .json(&body)
        .send()
        .await;
    if answer.status == 201 {
        return Creation::Created;
    }
    answer.rejects(400, DUPLICATE);
    Creation::Duplicate
}

async fn create_over_grpc(server: &TestServer, token: &str) -> Creation {
    let request = CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: "k".to_owned(),
        secret: "s".to_owned(),
        provider: "AWS".to_owned(),
        ..Default::default()
    };
    match server.api_keys(token).create_api_key(request).await {
        Ok(_) => Creation::Created,
        Err(status) => {
            assert_eq!(
                (status.code(), status.message()),
                (Code::AlreadyExists, DUPLICATE)
            );
            Creation::Duplicate
        }
    }
}

async fn concurrent_identical_creations_succeed_once(server: TestServer) {
    let (server, barrier) = (Arc::new(server), Arc::new(Barrier::new(CREATORS)));
    let mut creators = JoinSet::new();
    for number in 0..CREATORS {
        let (server, barrier) = (Arc::clone(&server), Arc::clone(&barrier));
        creators.spawn(async move {
            let token = server.token(User::WriterInA);
            barrier.wait().await;
            if number % 2 == 0 {
                create_over_rest(&server, &token).await
            } else {
                create_over_grpc(&server, &token).await
            }
        });
    }
    let creations = creators.join_all().await;
    let created = creations
        .iter()
        .filter(|creation| **creation == Creation::Created)
        .count();
    assert_eq!((created, creations.len() - created), (1, CREATORS - 1));
    assert_eq!(server.list(WORKSPACE_A).await.len(), 1);
    let creations = "audit_events WHERE action = 'api_key.create'";
    assert_eq!(server.database.count(creations).await, 1);
}

async fn concurrent_link_and_deletion_never_both_succeed(server: TestServer) {
    let token = server.token(User::WriterInA);
    let mut service = server.api_keys(&server.service_token());
    let (mut linked, mut deleted) = (0, 0);
    for round in 0..ROUNDS {
        let body = json!({
            "workspaceId": WORKSPACE_A, "key": format!("k{round}"), "secret": "s",
            "provider": "AWS",
        });
        let id = server.create(body).await;
        let request = LinkApiKeyRequest {
            uuid: id.clone(),
            resource_kind: ResourceKind::Bucket.into(),
            resource_id: format!("bucket-{round}"),
        };
        let path = format!("/apikeys/{id}");
        let delete = server.delete(&path).bearer(&token);
        // The first request to be sent has a small lead, so the order alternates.
        let (link, answer) = if round % 2 == 0 {
            tokio::join!(service.link_api_key(request), delete.send())
        } else {
            let (answer, link) = tokio::join!(delete.send(), service.link_api_key(request));
            (link, answer)
        };
        match link {
            Ok(_) => {
                answer.rejects(400, "API key is in use by 1 bucket and 0 AI models");
                linked += 1;
            }
            Err(status) => {
                let returned = (status.code(), status.message());
                assert_eq!(returned, (Code::NotFound, "API key not found"));
                assert_eq!(answer.status, 200, "{}", answer.body);
                deleted += 1;
            }
        }
    }
    assert_eq!(linked + deleted, ROUNDS);
    println!("{linked} rounds linked, {deleted} rounds deleted");
    let orphans = "provider_key_links AS link WHERE NOT EXISTS \
                   (SELECT 1 FROM provider_keys WHERE id = link.provider_key_id)";
    assert_eq!(server.database.count(orphans).await, 0);
    assert_eq!(
        server.database.count("provider_key_links").await,
        linked as i64
    );
    let listed = server.list(WORKSPACE_A).await;
    assert_eq!(listed.len(), linked);
    assert!(listed.iter().all(|key| key["bucket_count"] == 1));
}

async fn concurrent_updates_each_count_once(server: TestServer) {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    });
    let (id, server) = (server.create(body).await, Arc::new(server));
    let mut updaters = JoinSet::new();
    for number in 0..16 {
        let (server, path) = (Arc::clone(&server), format!("/apikeys/{id}"));
        updaters.spawn(async move {
            let call = server.put(&path).bearer(&server.token(User::WriterInA));
            let body = json!({ "secret": format!("s{number}") });
            assert_eq!(call.json(&body).send().await.status, 200);
        });
    }
    updaters.join_all().await;
    let mut service = server.api_keys(&server.service_token());
    let request = keyward::proto::v1::ResolveApiKeyRequest { uuid: id };
    assert_eq!(
        service
            .resolve_api_key(request)
            .await
            .unwrap()
            .into_inner()
            .version,
        17
    );
}

async fn concurrent_first_creations_share_the_data_keys(server: TestServer) {
    let server = Arc::new(server);
    let mut creators = JoinSet::new();
    for number in 0..16 {
        let server = Arc::clone(&server);
        creators.spawn(async move {
            let body = json!({
                "workspaceId": WORKSPACE_A, "key": format!("k{number}"), "secret": "s",
                "provider": "AWS",
            });
            server.create(body).await
        });
    }
    let ids = creators.join_all().await;
    let keys = "data_keys WHERE workspace_id = 'workspace-a'";
    assert_eq!(server.database.count(keys).await, 2);
    let mut service = server.api_keys(&server.service_token());
    for uuid in ids {
        let request = keyward::proto::v1::ResolveApiKeyRequest { uuid };
        assert_eq!(
            service
                .resolve_api_key(request)
                .await
                .unwrap()
                .into_inner()
                .secret,
            "s"
        );
    }
}

each_engine! {
    concurrent_identical_creations_succeed_once
    concurrent_link_and_deletion_never_both_succeed
    concurrent_updates_each_count_once
    concurrent_first_creations_share_the_data_keys
}
