//! The same service on each protocol: gRPC-Web in both forms over both versions of HTTP, and error details on
//! native gRPC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use keyward::proto::v1::{
    CreateApiKeyRequest, CreateApiKeyResponse, ListApiKeysRequest, ListApiKeysResponse,
};
use prost::Message;
use tonic::Code;

use crate::support::{
    LIST_DENIED, TestServer, UNAUTHENTICATED, User, WORKSPACE_A, WebFlavor, rejected, with_token,
};

const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";
const CREATE: &str = "/keyward.v1.ApiKeyService/CreateApiKey";

fn new_key(key: &str) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: key.to_owned(),
        secret: "s".to_owned(),
        provider: "AWS".to_owned(),
        ..Default::default()
    }
}

async fn grpc_web_creates_and_lists(server: TestServer) {
    let token = server.token(User::WriterInA);
    for flavor in WebFlavor::ALL {
        let request = new_key(&format!("{flavor:?}"));
        let answer = server
            .grpc_web(flavor, CREATE, Some(&token), &request)
            .await;
        assert_eq!(
            (answer.http_status, answer.code()),
            (200, "0"),
            "{answer:?}"
        );
        let created = CreateApiKeyResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert!(created.success);

        let request = ListApiKeysRequest::default();
        let answer = server.grpc_web(flavor, LIST, Some(&token), &request).await;
        assert_eq!(answer.code(), "0");
        assert_eq!(answer.messages.len(), 1);
        let listed = ListApiKeysResponse::decode(answer.messages[0].as_slice()).unwrap();
        assert!(
            listed
                .api_keys
                .iter()
                .any(|key| key.id == created.api_key_id)
        );
    }
}

async fn grpc_web_sends_errors_in_its_trailers(server: TestServer) {
    let denied = server.token(User::NoAccess);
    let request = ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    for flavor in WebFlavor::ALL {
        for (token, code, message) in [
            (None, "16", UNAUTHENTICATED),
            (Some("garbage"), "16", UNAUTHENTICATED),
            (Some(denied.as_str()), "7", LIST_DENIED),
        ] {
            let answer = server.grpc_web(flavor, LIST, token, &request).await;
            assert_eq!((answer.http_status, answer.code()), (200, code));
            assert_eq!(answer.message(), message);
            assert!(answer.messages.is_empty());
        }
        let answer = server
            .grpc_web(
                flavor,
                CREATE,
                Some(&denied),
                &CreateApiKeyRequest::default(),
            )
            .await;
        let returned = (answer.code(), answer.message());
        assert_eq!(returned, ("3", "Workspace ID is required".to_owned()));
    }
}

async fn message_that_does_not_decode_is_an_error_with_details(server: TestServer) {
    let token = server.token(User::WriterInA);
    // Field 1 of the request, with a length beyond the end of the message.
    let garbage = reqwest::Body::from(vec![0, 0, 0, 0, 2, 0x0a, 0x7f]);
    let answer = server
        .post(LIST)
        .bearer(&token)
        .text("application/grpc-web", garbage);
    let answer = answer.send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("grpc-status"), Some("3"));
    let details = answer.header("grpc-status-details-bin").unwrap();
    let details = STANDARD_NO_PAD
        .decode(details.trim_end_matches('='))
        .unwrap();
    let reason = b"MESSAGE_MALFORMED";
    assert!(details.windows(reason.len()).any(|window| window == reason));
}

async fn encoding_that_is_not_taken_is_rejected_and_not_repeated(server: TestServer) {
    let token = server.token(User::WriterInA);
    let body = reqwest::Body::from(vec![1, 0, 0, 0, 0]);
    let call = server
        .post(LIST)
        .bearer(&token)
        .text("application/grpc-web", body);
    let answer = call.header("grpc-encoding", "canary").send().await;
    assert_eq!(
        (answer.status, answer.header("grpc-status")),
        (200, Some("12"))
    );
    assert!(answer.header("grpc-status-details-bin").is_some());
    assert_eq!(
        answer.header("grpc-accept-encoding"),
        Some("gzip,zstd,identity")
    );
    assert!(!format!("{:?}{}", answer.headers, answer.body).contains("canary"));
}

async fn protocols_list_the_same_keys(server: TestServer) {
    let token = server.token(User::WriterInA);
    let mut client = server.api_keys(&token);
    let id = client
        .create_api_key(new_key("k"))
        .await
        .unwrap()
        .into_inner()
        .api_key_id;
    assert_eq!(server.list(WORKSPACE_A).await[0]["id"], id);
    let request = ListApiKeysRequest::default();
    let answer = server
        .grpc_web(WebFlavor::Text, LIST, Some(&token), &request)
        .await;
    let web = ListApiKeysResponse::decode(answer.messages[0].as_slice()).unwrap();
    let grpc = client.list_api_keys(request).await.unwrap().into_inner();
    assert_eq!(web, grpc);
}

async fn tokens_are_read_from_metadata_on_one_connection_call_by_call(server: TestServer) {
    let mut client = server.api_keys_without_token();
    let request = || ListApiKeysRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        ..Default::default()
    };
    let good = with_token(&server.token(User::ReaderInA), request());
    client.list_api_keys(good).await.unwrap();
    rejected(client.list_api_keys(request()).await).is(
        Code::Unauthenticated,
        "TOKEN_MISSING",
        UNAUTHENTICATED,
    );
    let other = with_token(&server.token(User::NoAccess), request());
    rejected(client.list_api_keys(other).await).is(
        Code::PermissionDenied,
        "PERMISSION_DENIED",
        LIST_DENIED,
    );
}

each_engine! {
    grpc_web_creates_and_lists
    grpc_web_sends_errors_in_its_trailers
    message_that_does_not_decode_is_an_error_with_details
    encoding_that_is_not_taken_is_rejected_and_not_repeated
    protocols_list_the_same_keys
    tokens_are_read_from_metadata_on_one_connection_call_by_call
}
