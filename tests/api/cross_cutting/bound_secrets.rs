//! A sealed secret is bound to the provider, key and endpoint of its row. A row that was changed in the
//! database, bypassing the API, does not get the secret.

use keyward::proto::v1::{ResolveApiKeyRequest, ResolveApiKeyResponse, UpdateApiKeyRequest};
use keyward_core::services::SecretBinding;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Engine, RestRequest, Setup, TestServer, User, WORKSPACE_A, rejected};

const ELSEWHERE: &str = "https://elsewhere.example";

async fn key(server: &TestServer, name: &str) -> String {
    let body = json!({
        "workspaceId": WORKSPACE_A, "key": name, "secret": "canary-4711", "provider": "AWS",
        "endpoint": "https://a.example",
    });
    server.create(body).await
}

async fn resolve(server: &TestServer, id: &str) -> Result<ResolveApiKeyResponse, tonic::Status> {
    let mut service = server.api_keys(&server.service_token());
    let request = ResolveApiKeyRequest {
        uuid: id.to_owned(),
    };
    service
        .resolve_api_key(request)
        .await
        .map(tonic::Response::into_inner)
}

async fn opens(server: &TestServer, id: &str) -> ResolveApiKeyResponse {
    let opened = resolve(server, id).await.unwrap();
    assert_eq!(opened.secret, "canary-4711");
    opened
}

async fn does_not_open(server: &TestServer, id: &str) {
    rejected(resolve(server, id).await)
        .is(Code::Internal, "INTERNAL", "Internal server error")
        .alone()
        .hides(&["canary", "integrity", "bound", "elsewhere"]);
}

fn put(server: &TestServer, id: &str, body: &Value) -> RestRequest {
    server
        .put(&format!("/apikeys/{id}"))
        .bearer(&server.token(User::WriterInA))
        .json(body)
}

/// The first byte of the sealed secret of the only key: 2 if it is bound, and 1 if it is not.
async fn form(server: &TestServer) -> u8 {
    let rows = server
        .database
        .query("SELECT sealed_secret FROM provider_keys")
        .await;
    assert_eq!(rows.len(), 1);
    let sealed: Vec<u8> = rows[0].try_get("", "sealed_secret").unwrap();
    sealed[0]
}

async fn set(server: &TestServer, assignment: &str) {
    server
        .database
        .execute(&format!("UPDATE provider_keys SET {assignment}"))
        .await;
}

async fn value_changed_in_the_database_opens_nothing(server: TestServer) {
    let id = key(&server, "k").await;
    for (change, restoration) in [
        (
            "endpoint = 'https://elsewhere.example'",
            "endpoint = 'https://a.example'",
        ),
        ("endpoint = ''", "endpoint = 'https://a.example'"),
        ("endpoint = NULL", "endpoint = 'https://a.example'"),
        ("provider = 'OPENAI'", "provider = 'AWS'"),
        ("key = 'other'", "key = 'k'"),
        ("provider = 'AWSk', key = ''", "provider = 'AWS', key = 'k'"),
    ] {
        set(&server, change).await;
        does_not_open(&server, &id).await;
        set(&server, restoration).await;
        opens(&server, &id).await;
    }
    // Columns to which the secret is not bound may change.
    set(&server, "description = 'd', region = 'r'").await;
    opens(&server, &id).await;
}

async fn change_through_the_api_still_resolves(server: TestServer) {
    let id = key(&server, "k").await;
    assert_eq!(form(&server).await, 2);
    for body in [
        json!({ "endpoint": ELSEWHERE }),
        json!({ "endpoint": "" }),
        json!({ "provider": "GCP" }),
        json!({ "key": "k2" }),
        json!({ "key": "k3", "provider": "AWS", "endpoint": "e" }),
        json!({ "description": "d" }),
    ] {
        assert_eq!(put(&server, &id, &body).send().await.status, 200, "{body}");
        let opened = opens(&server, &id).await;
        if let Some(endpoint) = body["endpoint"].as_str() {
            assert_eq!(opened.endpoint.unwrap_or_default(), endpoint);
        }
    }
    let request = UpdateApiKeyRequest {
        uuid: id.clone(),
        endpoint: Some("https://c.example".to_owned()),
        ..Default::default()
    };
    let mut client = server.api_keys(&server.token(User::WriterInA));
    client.update_api_key(request).await.unwrap();
    assert_eq!(
        opens(&server, &id).await.endpoint.as_deref(),
        Some("https://c.example")
    );
    assert_eq!(form(&server).await, 2);
}

async fn change_through_the_api_does_not_approve_one_in_the_database(server: TestServer) {
    let id = key(&server, "k").await;
    set(&server, "endpoint = 'https://elsewhere.example'").await;
    let before = server.list(WORKSPACE_A).await;
    let events = server.database.count("audit_events").await;
    for body in [
        json!({ "secret": "s2" }),
        json!({ "key": "k2" }),
        json!({ "provider": "GCP" }),
        json!({ "endpoint": "https://c.example" }),
        json!({ "secret": "s2", "key": "k2", "provider": "GCP" }),
    ] {
        let answer = put(&server, &id, &body).send().await;
        answer.rejects(500, "Internal server error");
        does_not_open(&server, &id).await;
    }
    assert_eq!(server.list(WORKSPACE_A).await, before);
    // The audit trail has the failed releases, and nothing else.
    assert_eq!(server.database.count("audit_events").await, events + 5);

    // A request that names everything to which the secret is bound takes nothing from the row.
    let body = json!({
        "secret": "canary-4711", "key": "k", "provider": "AWS", "endpoint": "https://a.example",
    });
    assert_eq!(put(&server, &id, &body).send().await.status, 200);
    assert_eq!(
        opens(&server, &id).await.endpoint.as_deref(),
        Some("https://a.example")
    );
}

async fn bound_secret_does_not_open_as_an_unbound_one(server: TestServer) {
    let id = key(&server, "k").await;
    set(&server, "sealed_secret = substr(sealed_secret, 2)").await;
    assert_eq!(form(&server).await, 1);
    does_not_open(&server, &id).await;
    set(&server, "endpoint = 'https://elsewhere.example'").await;
    does_not_open(&server, &id).await;
}

async fn unbound_secret_does_not_open_as_a_bound_one(setup: Setup) {
    let server = Setup {
        binding: SecretBinding::Unbound,
        ..setup
    }
    .start()
    .await;
    let id = key(&server, "k").await;
    assert_eq!(form(&server).await, 1);
    opens(&server, &id).await;
    assert_eq!(
        put(&server, &id, &json!({ "endpoint": "e" }))
            .send()
            .await
            .status,
        200
    );
    assert_eq!(form(&server).await, 1);
    opens(&server, &id).await;
    let two = if server.engine == Engine::Postgres {
        "'\\x02'::bytea"
    } else {
        "x'02'"
    };
    set(&server, &format!("sealed_secret = {two} || sealed_secret")).await;
    does_not_open(&server, &id).await;
}

/// A database writer cannot change provider or key of an unbound secret either.
async fn changed_row_of_an_unbound_secret_does_not_open(setup: Setup) {
    let server = Setup {
        binding: SecretBinding::AsStored,
        ..setup
    }
    .start()
    .await;
    let id = key(&server, "k").await;
    assert_eq!(form(&server).await, 1);
    for (change, restoration) in [
        ("provider = 'OPENAI'", "provider = 'AWS'"),
        ("key = 'other'", "key = 'k'"),
    ] {
        set(&server, change).await;
        does_not_open(&server, &id).await;
        let rotated = put(&server, &id, &json!({ "secret": "s2" })).send().await;
        rotated.rejects(500, "Internal server error");
        set(&server, restoration).await;
        opens(&server, &id).await;
    }
}

each_engine! {
    changed_row_of_an_unbound_secret_does_not_open
    value_changed_in_the_database_opens_nothing
    change_through_the_api_still_resolves
    change_through_the_api_does_not_approve_one_in_the_database
    bound_secret_does_not_open_as_an_unbound_one
    unbound_secret_does_not_open_as_a_bound_one
}
