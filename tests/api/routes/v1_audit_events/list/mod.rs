//! GET /v1/audit-events and ListAuditEvents: listed events and pages.

mod filters;

use std::time::Duration;

use keyward::proto::v1::audit_service_client::AuditServiceClient;
use keyward::proto::v1::{
    AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, ResolveApiKeyRequest,
};
use serde_json::{Value, json};
use tonic::Status;

use crate::support::{
    NO_SUCH_ID, ORGANIZATION, OTHER_ORGANIZATION, Setup, TestServer, User, WORKSPACE_A,
    WORKSPACE_B, with_token,
};

const PATH: &str = "/v1/audit-events";

async fn list(
    server: &TestServer,
    request: ListAuditEventsRequest,
) -> Result<ListAuditEventsResponse, Status> {
    let request = with_token(&server.service_token(), request);
    let mut client = AuditServiceClient::new(server.channel());
    Ok(client.list_audit_events(request).await?.into_inner())
}

/// Returns the ids of the events that a query lists over REST, page by page.
async fn listed(server: &TestServer, query: &str) -> Vec<String> {
    let path = format!("{PATH}?{query}");
    let answer = server
        .get(&path)
        .bearer(&server.service_token())
        .send()
        .await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    ids(&answer.json())
}

fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Creates a provider key one second after the previous event and returns its id.
async fn create(server: &TestServer, workspace: &str, key: &str) -> String {
    server.advance_seconds(1);
    server
        .create(
            json!({ "workspaceId": workspace, "key": key, "secret": "canary", "provider": "AWS" }),
        )
        .await
}

async fn resolve(server: &TestServer, id: &str) {
    server.advance_seconds(1);
    let request = ResolveApiKeyRequest {
        uuid: id.to_owned(),
    };
    let mut request = with_token(&server.service_token(), request);
    request
        .metadata_mut()
        .insert("x-request-id", "resolved-1".parse().unwrap());
    let mut client =
        keyward::proto::v1::api_key_service_client::ApiKeyServiceClient::new(server.channel());
    client.resolve_api_key(request).await.unwrap();
}

/// At 12:00:01, :02 and :03 a user creates three keys; at :04 a service resolves the first.
async fn fill(server: &TestServer) -> String {
    server.set_clock("2026-08-01T12:00:00Z");
    let first = create(server, WORKSPACE_A, "1").await;
    create(server, WORKSPACE_A, "2").await;
    create(server, WORKSPACE_B, "3").await;
    resolve(server, &first).await;
    first
}

async fn event_is_complete_on_rest_and_grpc(server: TestServer) {
    let id = fill(&server).await;
    let request = ListAuditEventsRequest {
        action: "api_key.resolve".to_owned(),
        ..Default::default()
    };
    let page = list(&server, request).await.unwrap();
    assert_eq!(page.next_page_token, "");
    let [event] = &page.events[..] else {
        panic!("{page:?}")
    };
    let expected = AuditEvent {
        id: event.id.clone(),
        occurred_at: Some("2026-08-01T12:00:04Z".parse().unwrap()),
        actor_kind: "service".to_owned(),
        actor_id: "ai-gateway".to_owned(),
        action: "api_key.resolve".to_owned(),
        organization_id: ORGANIZATION.to_owned(),
        workspace_id: WORKSPACE_A.to_owned(),
        resource_kind: "api_key".to_owned(),
        resource_id: id.clone(),
        request_id: "resolved-1".to_owned(),
        source_address: "127.0.0.1".to_owned(),
        details: event.details.clone(),
    };
    assert_eq!(*event, expected);

    let answer = server
        .get("/v1/audit-events?action=api_key.resolve")
        .bearer(&server.service_token())
        .send()
        .await;
    assert_eq!(answer.status, 200);
    let details: Value = event
        .details
        .iter()
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    assert_eq!(
        answer.json(),
        json!({
            "events": [{
                "id": event.id,
                "occurredAt": "2026-08-01T12:00:04.000Z",
                "actorKind": "service",
                "actorId": "ai-gateway",
                "action": "api_key.resolve",
                "organizationId": ORGANIZATION,
                "workspaceId": WORKSPACE_A,
                "resourceKind": "api_key",
                "resourceId": id,
                "requestId": "resolved-1",
                "sourceAddress": "127.0.0.1",
                "details": details,
            }],
            "nextPageToken": "",
        })
    );
}

async fn no_secret_and_no_trace_of_reading_is_in_the_trail(server: TestServer) {
    fill(&server).await;
    let before = server.database.count("audit_events").await;
    let answer = server
        .get(PATH)
        .bearer(&server.service_token())
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(i64::try_from(ids(&answer.json()).len()).unwrap(), before);
    assert!(!answer.body.contains("canary"), "{}", answer.body);
    assert_eq!(server.database.count("audit_events").await, before);
}

async fn pages_have_the_size_that_is_asked_for_within_bounds(server: TestServer) {
    let before = server.database.count("audit_events").await;
    let copies = "INSERT INTO audit_events (id, occurred_at, actor_kind, actor_id, action, \
        resource_kind, resource_id, request_id, details) \
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) \
        SELECT ID, n.i / 3, 'user', 'u', 'copied', 'copy', 'c', 'r', '{}' FROM n";
    let id = match server.engine {
        crate::support::Engine::Sqlite => "randomblob(16)",
        crate::support::Engine::Postgres => "gen_random_uuid()",
    };
    server.database.execute(&copies.replace("ID", id)).await;
    assert!(before < 100);
    for (size, pages) in [
        (0, vec![100; 11]),
        (1000, vec![1000, 100]),
        (1001, vec![1000, 100]),
        (u32::MAX, vec![1000, 100]),
        (550, vec![550, 550]),
    ] {
        let (mut seen, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let query = format!("action=copied&pageSize={size}&pageToken={token}");
            let answer = server
                .get(&format!("{PATH}?{query}"))
                .bearer(&server.service_token())
                .send()
                .await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let page = answer.json();
            sizes.push(ids(&page).len());
            seen.extend(ids(&page));
            token = page["nextPageToken"].as_str().unwrap().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(sizes, pages, "{size}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1100, "{size}");
    }
    for size in ["-1", "4294967296", "many", "1.5"] {
        let answer = server
            .get(&format!("{PATH}?pageSize={size}"))
            .bearer(&server.service_token())
            .send()
            .await;
        assert_eq!(answer.status, 400, "{size}");
        let error = &answer.json()["error"];
        assert_eq!(error["status"], "INVALID_ARGUMENT");
        assert_eq!(
            error["message"],
            "`pageSize` must be an unsigned 32-bit integer"
        );
    }
}

async fn services_alone_read_the_trail(server: TestServer) {
    let management = server.management_key(ORGANIZATION).await;
    let foreign = server.management_key(OTHER_ORGANIZATION).await;
    let issued = server.issued_key(&management, json!({})).await.key;
    let mut tokens: Vec<_> = User::MEMBERS.map(|user| server.token(user)).into();
    tokens.extend([management, foreign, issued]);
    for token in &tokens {
        for query in [
            "",
            "?organizationId=org-1",
            "?organizationId=org-2",
            "?action=%00",
        ] {
            let answer = server
                .get(&format!("{PATH}{query}"))
                .bearer(token)
                .send()
                .await;
            assert_eq!(answer.status, 403, "{query}");
            assert_eq!(
                answer.json()["error"]["message"],
                "Insufficient permissions"
            );
            assert_eq!(answer.json()["error"]["status"], "PERMISSION_DENIED");
        }
    }
    let answer = server.get(PATH).send().await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"]["status"], "UNAUTHENTICATED");
    assert_eq!(
        answer.json()["error"]["message"],
        "Missing Authentication header"
    );
    let answer = server
        .post(PATH)
        .bearer(&server.service_token())
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
}

async fn events_past_their_retention_are_deleted_alone(setup: Setup) {
    let day = Duration::from_secs(24 * 3600);
    let server = Setup {
        audit_retention: Some(30 * day),
        ..setup
    }
    .start()
    .await;
    fill(&server).await;
    let before = server.database.count("audit_events").await;
    // More than one batch of old events.
    let copies = "INSERT INTO audit_events (id, occurred_at, actor_kind, actor_id, action, \
        resource_kind, resource_id, request_id, details) \
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1300) \
        SELECT ID, n.i, 'user', 'u', 'copied', 'copy', 'c', 'r', '{}' FROM n";
    let id = match server.engine {
        crate::support::Engine::Sqlite => "randomblob(16)",
        crate::support::Engine::Postgres => "gen_random_uuid()",
    };
    server.database.execute(&copies.replace("ID", id)).await;
    // The first run stores the cutoff.
    assert_eq!(server.expire_for(2).await, 1300);
    assert_eq!(server.database.count("audit_events").await, before);

    // An event that is exactly thirty days old, to the millisecond, is not past the retention. Without a
    // newer event the clock alone deletes nothing.
    server.set_clock("2026-08-31T12:00:03Z");
    assert_eq!(server.expire_for(1).await, 0);
    create(&server, WORKSPACE_A, "4").await;
    let older = server
        .database
        .count("audit_events WHERE occurred_at < 1785585604000")
        .await;
    // The copies were much older: the cutoff is a month behind.
    assert_eq!(i64::try_from(server.expire_for(31).await).unwrap(), older);
    assert_eq!(listed(&server, "").await.len(), 2);
    server.clock.advance(Duration::from_millis(1));
    server
        .create(json!({ "workspaceId": WORKSPACE_A, "key": "5", "secret": "s", "provider": "AWS" }))
        .await;
    assert_eq!(server.expire_for(1).await, 1);
    assert_eq!(server.expire_for(1).await, 0);
}

async fn without_a_retention_the_trail_stays(server: TestServer) {
    fill(&server).await;
    let before = server.database.count("audit_events").await;
    server.clock.advance(Duration::from_secs(4000 * 24 * 3600));
    assert_eq!(server.expire_for(2).await, 0);
    assert_eq!(server.database.count("audit_events").await, before);
    assert_eq!(
        listed(&server, &format!("resourceId={NO_SUCH_ID}"))
            .await
            .len(),
        0
    );
}

each_engine! {
    event_is_complete_on_rest_and_grpc
    no_secret_and_no_trace_of_reading_is_in_the_trail
    pages_have_the_size_that_is_asked_for_within_bounds
    services_alone_read_the_trail
    events_past_their_retention_are_deleted_alone
    without_a_retention_the_trail_stays
}
