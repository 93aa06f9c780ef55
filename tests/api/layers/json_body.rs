//! Bodies that are not JSON, or JSON that is not a request.

use serde_json::json;

use crate::support::{TestServer, UNAUTHENTICATED, User, WORKSPACE_A};

async fn malformed_json_error_has_the_position_without_the_text(server: TestServer) {
    let token = server.token(User::Owner);
    for (body, place) in [
        ("{", "line 1 column 1"),
        ("canary", "line 1 column 1"),
        ("{\n  \"key\": canary\n}", "line 2 column 10"),
        (r#"{"key":"k",}"#, "line 1 column 12"),
        (r#"{"key":"k"} {}"#, "line 1 column 13"),
        (" ", "line 1 column 1"),
    ] {
        let call = server
            .post("/apikeys")
            .bearer(&token)
            .text("application/json", body);
        call.send()
            .await
            .rejects(400, &format!("Malformed JSON at {place}"));
    }
    let call = server.post("/apikeys").bearer(&token);
    let answer = call
        .text("application/json", b"{\"key\":\"\xff\"}".to_vec())
        .send()
        .await;
    answer.rejects(400, "The body must be UTF-8");
}

async fn json_that_is_no_object_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    for body in ["[]", "null", "7", "true", "\"canary\""] {
        let call = server
            .post("/apikeys")
            .bearer(&token)
            .text("application/json", body);
        call.send()
            .await
            .rejects(400, "The body must be a JSON object");
    }
}

async fn member_that_is_given_twice_is_rejected(server: TestServer) {
    let token = server.token(User::Owner);
    for body in [
        r#"{"workspaceId":"workspace-a","workspaceId":"workspace-b"}"#,
        r#"{"workspaceId":"workspace-a","workspace_id":"workspace-b"}"#,
    ] {
        let call = server
            .post("/apikeys")
            .bearer(&token)
            .text("application/json", body);
        let answer = call.send().await;
        assert_eq!(answer.status, 400);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with("must be given once"), "{message}");
        assert!(!message.contains("workspace-b"));
    }
}

async fn names_of_the_proto_file_are_read_too(server: TestServer) {
    let token = server.token(User::Owner);
    let body = json!({
        "workspace_id": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
        "tenant_id": "t",
    });
    let answer = server
        .post("/apikeys")
        .bearer(&token)
        .json(&body)
        .send()
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(server.list(WORKSPACE_A).await[0]["tenantId"], "t");
}

async fn body_errors_are_not_reported_without_authentication(server: TestServer) {
    for body in ["{", "[]", r#"{"workspaceId":7}"#] {
        let call = server.post("/apikeys").text("application/json", body);
        call.send().await.rejects(401, UNAUTHENTICATED);
        let call = server.post("/apikeys").text("text/plain", body);
        call.send().await.rejects(401, UNAUTHENTICATED);
    }
}

each_engine! {
    malformed_json_error_has_the_position_without_the_text
    json_that_is_no_object_is_rejected
    member_that_is_given_twice_is_rejected
    names_of_the_proto_file_are_read_too
    body_errors_are_not_reported_without_authentication
}
