//! Methods that are not implemented yet: the server knows them and reports UNIMPLEMENTED on every protocol to
//! callers with a token.

use keyward::proto::v1::VerifyAuditLogRequest;
use serde_json::json;

use crate::support::{TestServer, User, WebFlavor};

const LATER: [&str; 2] = [
    "/keyward.v1.ApiKeyService/WatchApiKeys",
    "/keyward.v1.AuditService/VerifyAuditLog",
];

async fn unimplemented_method_over_grpc_web_is_unimplemented(server: TestServer) {
    let tokens = [server.token(User::Owner), server.service_token()];
    let both = |path| WebFlavor::ALL.map(|flavor| (flavor, path));
    for (flavor, path) in LATER.into_iter().flat_map(both) {
        // Neither method has a required field.
        let request = VerifyAuditLogRequest {};
        let answer = server.grpc_web(flavor, path, None, &request).await;
        assert_eq!((answer.code(), answer.messages.len()), ("16", 0), "{path}");
        for token in &tokens {
            let answer = server.grpc_web(flavor, path, Some(token), &request).await;
            let returned = (answer.code(), answer.message());
            assert_eq!(returned, ("12", "Not yet implemented".to_owned()), "{path}");
        }
    }
}

async fn unimplemented_method_has_no_rest_path(server: TestServer) {
    let token = server.token(User::Owner);
    for path in LATER {
        let answer = server
            .post(path)
            .bearer(&token)
            .json(&json!({}))
            .send()
            .await;
        answer.rejects(404, "Not found");
    }
    for path in ["/audit", "/audit/events", "/apikeys/watch/all"] {
        let answer = server.get(path).bearer(&token).send().await;
        assert_eq!(answer.status, 404, "{path}");
    }
    let request = VerifyAuditLogRequest {};
    let answer = server
        .grpc_web(WebFlavor::Binary, LATER[1], Some("garbage"), &request)
        .await;
    assert_eq!(answer.code(), "16");
}

each_engine! {
    unimplemented_method_over_grpc_web_is_unimplemented
    unimplemented_method_has_no_rest_path
}
