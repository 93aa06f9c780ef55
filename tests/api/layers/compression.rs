//! Compressed messages of gRPC and gRPC-Web, in both directions. Size limits apply to the decompressed
//! message.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use keyward::proto::v1::{
    AiType, CreateApiKeyRequest, CreateRepoAiKeyRequest, ListApiKeysRequest, ListApiKeysResponse,
    ResolveApiKeyRequest,
};
use prost::Message;
use serde_json::json;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::{
    REPO_A, TestServer, User, WORKSPACE_A, WebAnswer, WebFlavor, flagged, grpc_frame, rejected,
};

const MIB: usize = 1024 * 1024;
const TOO_LARGE: &str = "The request body is larger than 1048576 bytes";
const TOO_LONG: &str = "The request body is larger than 4096 bytes";
const MALFORMED: &str = "The request message cannot be decoded";
const CREATE: &str = "/keyward.v1.ApiKeyService/CreateApiKey";
const LIST: &str = "/keyward.v1.ApiKeyService/ListApiKeys";

const ENCODINGS: [(&str, CompressionEncoding); 2] = [
    ("gzip", CompressionEncoding::Gzip),
    ("zstd", CompressionEncoding::Zstd),
];

fn compressed(encoding: &str, content: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::encode_all(content, 3).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn decompressed(encoding: &str, content: &[u8]) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::decode_all(content).unwrap();
    }
    let mut bytes = Vec::new();
    GzDecoder::new(content).read_to_end(&mut bytes).unwrap();
    bytes
}

fn new_key(key: &str, secret_bytes: usize) -> CreateApiKeyRequest {
    CreateApiKeyRequest {
        workspace_id: WORKSPACE_A.to_owned(),
        key: key.to_owned(),
        secret: "s".repeat(secret_bytes),
        provider: "AWS".to_owned(),
        ..Default::default()
    }
}

/// Makes a native gRPC request without a client that knows the allowed encodings; returns the response
/// headers.
async fn grpc(
    server: &TestServer,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    framed: Vec<u8>,
) -> http::HeaderMap {
    let mut request = server.http2.post(server.url(path)).body(framed);
    request = request
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.headers().clone()
}

/// Sends a message that claims to be compressed with `encoding`, on each protocol that has encodings.
async fn rejections(
    server: &TestServer,
    encoding: &str,
    message: &[u8],
) -> Vec<(String, String, bool)> {
    let token = server.token(User::Owner);
    let framed = flagged(1, message);
    let headers = [("grpc-encoding", encoding)];
    let native = grpc(server, CREATE, Some(&token), &headers, framed.clone()).await;
    let text =
        |headers: &http::HeaderMap, name: &str| headers[name].to_str().unwrap().replace("%20", " ");
    let rejection_of = |headers: &http::HeaderMap| {
        let details = headers.contains_key("grpc-status-details-bin");
        (
            text(headers, "grpc-status"),
            text(headers, "grpc-message"),
            details,
        )
    };
    let mut rejections = vec![rejection_of(&native)];
    for flavor in WebFlavor::ALL {
        let request = server.grpc_web_request(flavor, CREATE, framed.clone());
        let request = request
            .header("grpc-encoding", encoding)
            .bearer_auth(&token);
        rejections.push(rejection_of(&WebAnswer::of(flavor, request).await.headers));
    }
    rejections
}

async fn requests_and_answers_are_compressed_over_grpc(server: TestServer) {
    let token = server.token(User::Owner);
    for (name, encoding) in ENCODINGS {
        let client = server.api_keys(&token).send_compressed(encoding);
        let mut client = client.accept_compressed(encoding);
        client.create_api_key(new_key(name, 5000)).await.unwrap();
        let listed = client
            .list_api_keys(ListApiKeysRequest::default())
            .await
            .unwrap();
        assert_eq!(listed.metadata().get("grpc-encoding").unwrap(), name);
        assert!(
            listed
                .into_inner()
                .api_keys
                .iter()
                .any(|key| key.key == name)
        );
    }
    // A client that accepts no encoding gets none.
    let mut client = server.api_keys(&token);
    let listed = client
        .list_api_keys(ListApiKeysRequest::default())
        .await
        .unwrap();
    assert_eq!(listed.metadata().get("grpc-encoding"), None);
}

async fn requests_and_answers_are_compressed_over_grpc_web(server: TestServer) {
    let token = server.token(User::Owner);
    // Small messages are not compressed.
    for number in 0..8 {
        let key = new_key(&format!("filler {number}"), 10);
        server.api_keys(&token).create_api_key(key).await.unwrap();
    }
    for (name, _) in ENCODINGS {
        for flavor in WebFlavor::ALL {
            let key = format!("{name} {flavor:?}");
            let message = compressed(name, &new_key(&key, 5000).encode_to_vec());
            let call = server.grpc_web_request(flavor, CREATE, flagged(1, &message));
            let call = call.header("grpc-encoding", name).bearer_auth(&token);
            assert_eq!(WebAnswer::of(flavor, call).await.code(), "0");

            let message = grpc_frame(&ListApiKeysRequest::default());
            let call = server
                .grpc_web_request(flavor, LIST, message)
                .bearer_auth(&token);
            let call = call.header("grpc-accept-encoding", name);
            let answer = WebAnswer::of(flavor, call).await;
            assert_eq!(
                (answer.code(), &answer.headers["grpc-encoding"]),
                ("0", &name.parse().unwrap())
            );
            let listed = decompressed(name, &answer.messages[0]);
            let listed = ListApiKeysResponse::decode(listed.as_slice()).unwrap();
            assert!(listed.api_keys.iter().any(|listed| listed.key == key));
        }
    }
}

async fn message_below_256_bytes_is_not_compressed(server: TestServer) {
    let token = server.token(User::Owner);
    let id = server.create(json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": "s", "provider": "AWS",
    }));
    let path = format!("/apikeys/{}", id.await);
    let describe = async |chars: usize| {
        let call = server.put(&path).bearer(&token);
        call.json(&json!({"description": "d".repeat(chars)}))
            .send()
            .await
            .status
    };
    // From here on every length takes two bytes.
    let least = 130;
    assert_eq!(describe(least).await, 200);
    let mut client = server.api_keys(&token);
    let listed = client
        .list_api_keys(ListApiKeysRequest::default())
        .await
        .unwrap();
    let base = listed.into_inner().encoded_len();
    for (name, _) in ENCODINGS {
        for (bytes, flag) in [(255, 0), (256, 1)] {
            assert_eq!(describe(least + bytes - base).await, 200);
            let message = grpc_frame(&ListApiKeysRequest::default());
            let call = server.grpc_web_request(WebFlavor::Binary, LIST, message);
            let call = call
                .header("grpc-accept-encoding", name)
                .bearer_auth(&token);
            let body = call.send().await.unwrap().bytes().await.unwrap();
            let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
            assert_eq!(body[0], flag, "{name}: {bytes} bytes");
            assert_eq!(
                length == bytes,
                flag == 0,
                "{name}: {length} of {bytes} bytes"
            );
        }
    }
}

async fn secret_is_never_compressed(server: TestServer) {
    let repeated = "secretive ".repeat(20);
    let id = server.create(json!({
        "workspaceId": WORKSPACE_A, "key": "k", "secret": repeated, "provider": "AWS",
    }));
    let resolve = ResolveApiKeyRequest { uuid: id.await };
    for (name, _) in ENCODINGS {
        let create = CreateRepoAiKeyRequest {
            repo_id: REPO_A.to_owned(),
            name: format!("{name} {repeated}"),
            ai_type: AiType::Openai.into(),
        };
        let create_path = "/keyward.v1.RepoAiKeyService/CreateRepoAiKey";
        let resolve_path = "/keyward.v1.ApiKeyService/ResolveApiKey";
        for (path, token, message) in [
            (create_path, server.token(User::Owner), grpc_frame(&create)),
            (resolve_path, server.service_token(), grpc_frame(&resolve)),
        ] {
            let call = server.grpc_web_request(WebFlavor::Binary, path, message);
            let call = call.header("grpc-accept-encoding", name).bearer_auth(token);
            let answer = call.send().await.unwrap();
            assert_eq!(answer.headers()["grpc-encoding"], name);
            // The flag of the first frame.
            let body = answer.bytes().await.unwrap();
            assert_eq!((body[0], body.len() > 100), (0, true), "{path}");
        }
    }
}

async fn caller_is_answered_in_the_first_encoding_that_both_know(server: TestServer) {
    let token = server.token(User::Owner);
    let message = || grpc_frame(&ListApiKeysRequest::default());
    for (accepted, answered) in [
        ("identity", None),
        ("br", None),
        ("", None),
        ("br,zstd,gzip", Some("zstd")),
        ("gzip, zstd", Some("gzip")),
    ] {
        let headers = [("grpc-accept-encoding", accepted)];
        let headers = grpc(&server, LIST, Some(&token), &headers, message()).await;
        let encoding = headers
            .get("grpc-encoding")
            .map(|value| value.to_str().unwrap());
        assert_eq!(encoding, answered, "{accepted}");
    }
}

async fn message_that_is_too_large_once_decompressed_is_rejected(server: TestServer) {
    for (name, _) in ENCODINGS {
        // A thousand times as large as the bytes on the wire, and one byte over the limit.
        let bomb = compressed(name, &new_key("bomb", 32 * MIB).encode_to_vec());
        assert!(bomb.len() < MIB / 8, "{}", bomb.len());
        let fixed = new_key("edge", 0).encode_to_vec().len();
        // The tag and length of the secret take five more bytes.
        let edge = new_key("edge", MIB + 1 - fixed - 4).encode_to_vec();
        assert_eq!(edge.len(), MIB + 1);
        for message in [bomb, compressed(name, &edge)] {
            for rejection in rejections(&server, name, &message).await {
                assert_eq!(rejection, ("8".to_owned(), TOO_LARGE.to_owned(), true));
            }
        }
    }
    assert!(server.list(WORKSPACE_A).await.is_empty());
}

async fn its_details_are_those_of_any_message_that_is_too_large(server: TestServer) {
    for (_, encoding) in ENCODINGS {
        let mut client = server
            .api_keys(&server.token(User::Owner))
            .send_compressed(encoding);
        rejected(client.create_api_key(new_key("k", 8 * MIB)).await)
            .is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED", TOO_LARGE)
            .alone();
    }
}

async fn message_of_the_largest_size_is_read(server: TestServer) {
    for (name, encoding) in ENCODINGS {
        let fixed = new_key(name, 0).encode_to_vec().len();
        let request = new_key(name, MIB - fixed - 4);
        assert_eq!(request.encoded_len(), MIB);
        let mut client = server
            .api_keys(&server.token(User::Owner))
            .send_compressed(encoding);
        // The use case rejects a secret of that size.
        let rejection = rejected(client.create_api_key(request).await);
        assert_eq!(
            rejection.status.code(),
            Code::InvalidArgument,
            "{:?}",
            rejection.status
        );
        assert_ne!(rejection.status.message(), MALFORMED);
    }
}

async fn undecodable_compressed_message_is_an_invalid_argument(server: TestServer) {
    for (name, _) in ENCODINGS {
        let whole = compressed(name, &new_key("k", 5000).encode_to_vec());
        for message in [
            b"neither of them".as_slice(),
            &whole[..whole.len() / 2],
            &[],
        ] {
            for rejection in rejections(&server, name, message).await {
                assert_eq!(
                    rejection,
                    ("3".to_owned(), MALFORMED.to_owned(), true),
                    "{name}"
                );
            }
        }
    }
    // A message compressed with no encoding is INTERNAL (gRPC's compression.md).
    for rejection in rejections(&server, "identity", b"x").await {
        assert_eq!(
            rejection,
            ("13".to_owned(), "Internal server error".to_owned(), true)
        );
    }
}

async fn unknown_encoding_is_rejected_with_those_that_are_known(server: TestServer) {
    let token = server.token(User::Owner);
    for name in ["deflate", "br", "snappy", "GZIP", "gzip,zstd"] {
        let headers = [("grpc-encoding", name)];
        let headers = grpc(&server, LIST, Some(&token), &headers, flagged(1, b"x")).await;
        assert_eq!(headers["grpc-status"], "12", "{name}");
        assert_eq!(headers["grpc-accept-encoding"], "gzip,zstd,identity");
    }
}

/// Methods without a token have a smaller limit: the names in their requests are short.
async fn health_is_compressed_and_its_messages_are_short(server: TestServer) {
    for (_, encoding) in ENCODINGS {
        let client = HealthClient::new(server.channel()).send_compressed(encoding);
        let mut client = client.accept_compressed(encoding);
        client.check(HealthCheckRequest::default()).await.unwrap();
        // The tag and the length take three bytes.
        let short = HealthCheckRequest {
            service: "s".repeat(4093),
        };
        rejected(client.check(short).await).is(
            Code::NotFound,
            "SERVICE_NOT_FOUND",
            "Service not found",
        );
        let long = HealthCheckRequest {
            service: "s".repeat(4094),
        };
        rejected(client.check(long.clone()).await).is(
            Code::ResourceExhausted,
            "RESOURCE_EXHAUSTED",
            TOO_LONG,
        );
        let watched = client.watch(long).await;
        rejected(watched.map(|_| ())).is(Code::ResourceExhausted, "RESOURCE_EXHAUSTED", TOO_LONG);
    }
}

/// The declared size is enough to reject: not a byte of the message is awaited or kept.
async fn oversized_message_is_rejected_at_its_beginning(server: TestServer) {
    let beginning = [&[0][..], &4097_u32.to_be_bytes(), b"a"].concat();
    for method in ["Check", "Watch"] {
        let body = beginning.clone();
        let path = format!("/grpc.health.v1.Health/{method}");
        let headers = grpc(&server, &path, None, &[], body).await;
        assert_eq!(headers["grpc-status"], "8", "{method}");
    }
}

/// Reflection echoes the request, so a long request would cause a long response. The server ends the
/// stream instead.
async fn reflection_answers_no_long_message(server: TestServer) {
    for (length, is_answered) in [(4000, true), (5000, false)] {
        let asked = ServerReflectionRequest {
            host: "h".repeat(length),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client =
            ServerReflectionClient::new(server.channel()).send_compressed(ENCODINGS[0].1);
        let asked = futures_util::stream::iter([asked]);
        let mut answers = client
            .server_reflection_info(asked)
            .await
            .unwrap()
            .into_inner();
        let answered = matches!(answers.message().await, Ok(Some(_)));
        assert_eq!(answered, is_answered, "{length}");
    }
}

each_engine! {
    requests_and_answers_are_compressed_over_grpc
    requests_and_answers_are_compressed_over_grpc_web
    message_below_256_bytes_is_not_compressed
    secret_is_never_compressed
    caller_is_answered_in_the_first_encoding_that_both_know
    message_that_is_too_large_once_decompressed_is_rejected
    its_details_are_those_of_any_message_that_is_too_large
    message_of_the_largest_size_is_read
    undecodable_compressed_message_is_an_invalid_argument
    unknown_encoding_is_rejected_with_those_that_are_known
    health_is_compressed_and_its_messages_are_short
    oversized_message_is_rejected_at_its_beginning
    reflection_answers_no_long_message
}
