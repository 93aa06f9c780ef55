//! GET /v1/audit-events and ListAuditEvents: filters, and malformed ones.

use keyward::proto::v1::ListAuditEventsRequest;
use serde_json::json;
use tonic::Code;

use super::{PATH, create, fill, list, listed};
use crate::support::{ORGANIZATION, TestServer, WORKSPACE_A, WORKSPACE_B, rejected};

const TOKEN_INVALID: &str = "Page token is not valid";

const TOKEN_OF_OTHERS: &str = "Page token is of a list with other filters";

/// Filters on both protocols, each with the number of events of `fill` that match.
fn filters(id: &str) -> Vec<(String, ListAuditEventsRequest, usize)> {
    let request = ListAuditEventsRequest::default;
    let at = |text: &str| Some(text.parse().unwrap());
    vec![
        (
            "action=api_key.create".to_owned(),
            ListAuditEventsRequest {
                action: "api_key.create".to_owned(),
                ..request()
            },
            3,
        ),
        (
            "resourceKind=api_key&organizationId=org-1".to_owned(),
            ListAuditEventsRequest {
                resource_kind: "api_key".to_owned(),
                organization_id: ORGANIZATION.to_owned(),
                ..request()
            },
            4,
        ),
        (
            "workspaceId=workspace-b&resourceKind=api_key".to_owned(),
            ListAuditEventsRequest {
                workspace_id: WORKSPACE_B.to_owned(),
                resource_kind: "api_key".to_owned(),
                ..request()
            },
            1,
        ),
        (
            format!("resourceId={id}"),
            ListAuditEventsRequest {
                resource_id: id.to_owned(),
                ..request()
            },
            2,
        ),
        (
            "actorKind=user".to_owned(),
            ListAuditEventsRequest {
                actor_kind: "user".to_owned(),
                ..request()
            },
            3,
        ),
        (
            "actorId=ai-gateway".to_owned(),
            ListAuditEventsRequest {
                actor_id: "ai-gateway".to_owned(),
                ..request()
            },
            1,
        ),
        (
            "requestId=resolved-1".to_owned(),
            ListAuditEventsRequest {
                request_id: "resolved-1".to_owned(),
                ..request()
            },
            1,
        ),
        (
            "startTime=2026-08-01T12:00:02Z&endTime=2026-08-01T12:00:04Z".to_owned(),
            ListAuditEventsRequest {
                start_time: at("2026-08-01T12:00:02Z"),
                end_time: at("2026-08-01T12:00:04Z"),
                ..request()
            },
            2,
        ),
        // A bound between two milliseconds: an event at the start of that millisecond is excluded or
        // included.
        (
            "startTime=2026-08-01T12:00:04.0000001Z".to_owned(),
            ListAuditEventsRequest {
                start_time: at("2026-08-01T12:00:04.0000001Z"),
                ..request()
            },
            0,
        ),
        (
            "startTime=2026-08-01T12:00:01Z&endTime=2026-08-01T12:00:01.0000001Z".to_owned(),
            ListAuditEventsRequest {
                start_time: at("2026-08-01T12:00:01Z"),
                end_time: at("2026-08-01T12:00:01.0000001Z"),
                ..request()
            },
            1,
        ),
        (
            "startTime=2026-08-01T12:00:04Z&endTime=2026-08-01T12:00:01Z".to_owned(),
            ListAuditEventsRequest {
                start_time: at("2026-08-01T12:00:04Z"),
                end_time: at("2026-08-01T12:00:01Z"),
                ..request()
            },
            0,
        ),
        (
            "organizationId=unknown".to_owned(),
            ListAuditEventsRequest {
                organization_id: "unknown".to_owned(),
                ..request()
            },
            0,
        ),
    ]
}

async fn filters_select_the_same_events_on_rest_and_grpc(server: TestServer) {
    let id = fill(&server).await;
    for (query, request, expected) in filters(&id) {
        let over_grpc = list(&server, request).await.unwrap().events;
        assert_eq!(over_grpc.len(), expected, "{query}: {over_grpc:?}");
        let over_grpc: Vec<_> = over_grpc.into_iter().map(|event| event.id).collect();
        assert_eq!(listed(&server, &query).await, over_grpc, "{query}");
    }
}

async fn page_token_holds_for_its_filters_alone(server: TestServer) {
    let id = fill(&server).await;
    let filter = ListAuditEventsRequest {
        resource_kind: "api_key".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let first = list(&server, filter.clone()).await.unwrap();
    let token = first.next_page_token;
    let with = |request: ListAuditEventsRequest, token: &str| ListAuditEventsRequest {
        page_token: token.to_owned(),
        ..request
    };
    // The page size is not a filter.
    let larger = ListAuditEventsRequest {
        page_size: 10,
        ..filter.clone()
    };
    let rest = list(&server, with(larger, &token)).await.unwrap();
    assert_eq!((rest.events.len(), rest.next_page_token.as_str()), (3, ""));

    let others = filters(&id).into_iter().map(|(_, request, _)| request);
    for other in others.chain([ListAuditEventsRequest::default()]) {
        rejected(list(&server, with(other, &token)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", TOKEN_OF_OTHERS)
            .fields(&[("pageToken", TOKEN_OF_OTHERS)]);
    }
    let path = format!("{PATH}?resourceKind=api_key&actorKind=user&pageToken={token}");
    let answer = server
        .get(&path)
        .bearer(&server.service_token())
        .send()
        .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], TOKEN_OF_OTHERS);

    let mut changed = token.clone().into_bytes();
    changed[9] ^= 1;
    let changed = String::from_utf8(changed).unwrap();
    for damaged in [
        "canary",
        "00",
        &token[2..],
        &token[..token.len() - 2],
        &changed,
        &token.replace('2', "3"),
        &"ab".repeat(2000),
    ] {
        rejected(list(&server, with(filter.clone(), damaged)).await)
            .is(Code::InvalidArgument, "FIELD_INVALID", TOKEN_INVALID)
            .fields(&[("pageToken", TOKEN_INVALID)])
            .hides(&["canary"]);
    }
}

async fn unfit_filter_is_named_and_not_repeated(server: TestServer) {
    let long = "canary".repeat(50);
    for (field, label) in [
        ("organizationId", "Organization ID"),
        ("workspaceId", "Workspace ID"),
        ("resourceKind", "Resource kind"),
        ("resourceId", "Resource ID"),
        ("action", "Action"),
        ("actorKind", "Actor kind"),
        ("actorId", "Actor ID"),
        ("requestId", "Request ID"),
    ] {
        for (value, problem) in [
            (long.as_str(), "must have at most 255 bytes"),
            ("canary%00", "must not have control characters"),
        ] {
            let answer = server
                .get(&format!("{PATH}?{field}={value}"))
                .bearer(&server.service_token())
                .send()
                .await;
            assert_eq!(answer.status, 400, "{field}");
            let error = answer.json()["error"].clone();
            assert_eq!(error["message"], format!("{label} {problem}"));
            assert!(answer.body.contains(field) && !answer.body.contains("canary"));
        }
    }
    let answer = server
        .get(&format!("{PATH}?startTime=canary"))
        .bearer(&server.service_token())
        .send()
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("startTime") && !answer.body.contains("canary"));
}

async fn unknown_parameter_lists_nothing_and_is_named(server: TestServer) {
    let id = create(&server, WORKSPACE_A, "k").await;
    let answer = server
        .get(&format!("{PATH}?organisationId=canary"))
        .bearer(&server.service_token())
        .send()
        .await;
    let error = answer.json()["error"].clone();
    let said = "`organisationId` is not a known query parameter; did you mean `organizationId`?";
    assert_eq!((answer.status, &error["message"]), (400, &json!(said)));
    assert_eq!(error["details"][0]["metadata"]["nearest"], "organizationId");
    assert!(!answer.body.contains("canary") && !answer.body.contains(&id));
}

each_engine! {
    filters_select_the_same_events_on_rest_and_grpc
    page_token_holds_for_its_filters_alone
    unfit_filter_is_named_and_not_repeated
    unknown_parameter_lists_nothing_and_is_named
}
