//! Tests of errors in the form of each protocol.

#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::error::Error as _;
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use keyward_gateway::{
    Body, BodyTooLarge, ErrorRule, MethodSpec, Protocol, Rejection, Violation, finish_error,
    finish_error_headers, invalid,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

static SPEC: MethodSpec = MethodSpec {
    service: "probe.v1.Probe",
    method: "Do",
    grpc_path: "/probe.v1.Probe/Do",
    success_status: 200,
    error_body: Some(r#"{"code":$status,"message":$message}"#),
    error_domain: "probe",
    errors: &[
        rule(Code::PermissionDenied, None, Some("Do not"), None),
        rule(
            Code::Internal,
            None,
            None,
            Some(r#"{"list":[],"message":$message}"#),
        ),
        rule(Code::PermissionDenied, Some(418), Some("Never"), None),
        rule(Code::AlreadyExists, Some(400), None, None),
    ],
    server_streaming: false,
};

const fn rule(
    code: Code,
    status: Option<u16>,
    message: Option<&'static str>,
    body: Option<&'static str>,
) -> ErrorRule {
    ErrorRule {
        code,
        status,
        message,
        body,
    }
}

async fn rest(rejection: Rejection) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = rejection.render(Protocol::Rest, &SPEC).into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn every_code_has_its_http_status() {
    for (code, expected) in [
        (Code::Cancelled, 499),
        (Code::Unknown, 500),
        (Code::InvalidArgument, 400),
        (Code::DeadlineExceeded, 504),
        (Code::NotFound, 404),
        (Code::AlreadyExists, 400),
        (Code::PermissionDenied, 418),
        (Code::ResourceExhausted, 429),
        (Code::FailedPrecondition, 400),
        (Code::Aborted, 409),
        (Code::OutOfRange, 400),
        (Code::Unimplemented, 501),
        (Code::Internal, 500),
        (Code::Unavailable, 503),
        (Code::DataLoss, 500),
        (Code::Unauthenticated, 401),
    ] {
        let (status, headers, body) = rest(Status::new(code, "text").into()).await;
        assert_eq!(status.as_u16(), expected, "{code:?}");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers.contains_key("www-authenticate"), status == 401);
        assert!(body.starts_with('{'), "{body}");
    }
}

#[tokio::test]
async fn bodies_come_from_the_template_and_texts_are_escaped() {
    let (_, _, body) = rest(Status::not_found("no \"$status\"\n$message").into()).await;
    assert_eq!(body, r#"{"code":404,"message":"no \"$status\"\n$message"}"#);
    let (_, _, body) = rest(Status::internal("the cause").into()).await;
    assert_eq!(body, r#"{"list":[],"message":"Internal server error"}"#);
    let (_, _, body) = rest(Status::unknown("the cause").into()).await;
    assert_eq!(body, r#"{"list":[],"message":"Internal server error"}"#);
    let (_, _, body) = rest(Status::permission_denied("the cause").into()).await;
    assert_eq!(body, r#"{"code":418,"message":"Do not"}"#);
}

#[tokio::test]
async fn a_rejection_may_know_better_than_its_code() {
    let (status, headers, _) = rest(Rejection::method_not_allowed("GET, POST")).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "GET, POST");
    assert_eq!(rest(Rejection::not_found()).await.0, StatusCode::NOT_FOUND);
    let (status, ..) = rest(Rejection::unsupported_media_type()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _, body) = rest(Rejection::body_too_large(1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.contains("larger than 1024 bytes"), "{body}");
    assert_eq!(
        Status::from(BodyTooLarge { limit_bytes: 1 }).code(),
        Code::ResourceExhausted
    );
}

#[tokio::test]
async fn retry_info_becomes_retry_after_rounded_up() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(2_001)));
    let status = Status::with_error_details(Code::ResourceExhausted, "slow down", details);
    let (status, headers, _) = rest(status.into()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["retry-after"], "3");
}

#[tokio::test]
async fn metadata_comes_along_unless_it_is_the_connections() {
    let mut status = Status::not_found("gone");
    for name in [
        "connection",
        "date",
        "host",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "x-mine",
    ] {
        status.metadata_mut().insert(name, "1".parse().unwrap());
    }
    let (_, headers, _) = rest(status.into()).await;
    let names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-mine", "content-type"]);
}

#[tokio::test]
async fn the_challenge_of_the_service_wins() {
    let (_, headers, _) = rest(Status::unauthenticated("who").into()).await;
    assert_eq!(headers["www-authenticate"], "Bearer");
    let mut status = Status::unauthenticated("who");
    for challenge in ["Basic realm=\"probe\"", "DPoP"] {
        let challenge = challenge.parse().unwrap();
        status.metadata_mut().append("www-authenticate", challenge);
    }
    let (_, headers, _) = rest(status.into()).await;
    let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"probe\"", "DPoP"]);
    let own = Rejection::new(Status::unauthenticated("who")).with_header(
        http::header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static("DPoP"),
    );
    let (_, headers, _) = rest(own).await;
    assert_eq!(headers["www-authenticate"], "DPoP");
}

#[test]
fn finishing_fixes_text_and_details_once() {
    let finished = finish_error(&SPEC, Status::permission_denied("the cause"));
    assert_eq!(
        (finished.code(), finished.message()),
        (Code::PermissionDenied, "Do not")
    );
    assert_eq!(
        finished
            .source()
            .unwrap()
            .downcast_ref::<Status>()
            .unwrap()
            .message(),
        "the cause"
    );
    let info = finished.get_error_details();
    let info = info.error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        ("PERMISSION_DENIED", "probe")
    );
    assert_eq!(packed_message(&finished), "Do not");

    let again = finish_error(&SPEC, finished.clone());
    assert_eq!(again.details(), finished.details());
    assert_eq!(
        again
            .source()
            .unwrap()
            .downcast_ref::<Status>()
            .unwrap()
            .message(),
        "the cause"
    );
}

#[test]
fn finishing_keeps_details_and_metadata() {
    let mut details = ErrorDetails::with_bad_request_violation("a", "b");
    details.set_error_info("MINE", "mine", [("key".to_owned(), "value".to_owned())]);
    let mut status = Status::with_error_details(Code::NotFound, "gone", details);
    status.metadata_mut().insert("x-mine", "1".parse().unwrap());
    let finished = finish_error(&SPEC, status);
    let details = finished.get_error_details_vec();
    assert_eq!(details.len(), 2);
    assert_eq!(
        finished.get_error_details().error_info().unwrap().reason,
        "MINE"
    );
    assert_eq!(finished.metadata().get("x-mine").unwrap(), "1");
}

#[test]
fn an_internal_error_loses_details_that_could_tell_its_cause() {
    let mut details = ErrorDetails::with_debug_info(vec!["stack".to_owned()], "the cause");
    details.set_error_info("MINE", "mine", [("a".to_owned(), "b".to_owned())]);
    let status = Status::with_error_details(Code::Internal, "the cause", details);
    let finished = finish_error(&SPEC, status);
    assert_eq!(finished.get_error_details_vec().len(), 1);
    let wire = String::from_utf8_lossy(finished.details()).into_owned();
    assert!(!wire.contains("cause") && !wire.contains("stack"), "{wire}");
}

#[test]
fn violations_name_every_field_and_speak_with_the_first() {
    let list = [
        Violation::new("a", "A is required"),
        Violation::new("b.c", "C is required"),
    ];
    let status = finish_error(&SPEC, invalid(&list, "probe"));
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "A is required")
    );
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "FIELD_REQUIRED");
    assert_eq!(
        details.bad_request().unwrap().field_violations[1].field,
        "b.c"
    );
}

#[test]
fn grpc_callers_get_trailers_only() {
    for (protocol, content_type) in [
        (Protocol::Grpc, "application/grpc"),
        (Protocol::GrpcWeb, "application/grpc-web+proto"),
        (Protocol::GrpcWebText, "application/grpc-web-text+proto"),
    ] {
        let response: Response<Body> = Rejection::method_not_allowed("GET").render(protocol, &SPEC);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], content_type);
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(!response.headers().contains_key("allow"));
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.message(), "Method not allowed");
        assert_eq!(
            status.get_error_details().error_info().unwrap().reason,
            "UNIMPLEMENTED"
        );
        assert_eq!(packed_message(&status), "Method not allowed");
        assert!(response.extensions().get::<Status>().is_some());
    }
}

#[test]
fn errors_that_tonic_makes_are_completed() {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", "12".parse().unwrap());
    headers.insert("x-request-id", "1".parse().unwrap());
    finish_error_headers(&mut headers, None, "probe");
    let status = Status::from_header_map(&headers).unwrap();
    assert_eq!(
        status.get_error_details().error_info().unwrap().domain,
        "probe"
    );
    assert_eq!(headers["x-request-id"], "1");

    let before = headers.clone();
    finish_error_headers(&mut headers, Some(&SPEC), "other");
    assert_eq!(headers, before);

    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", "13".parse().unwrap());
    headers.insert("grpc-message", "the%20cause".parse().unwrap());
    finish_error_headers(&mut headers, Some(&SPEC), "other");
    assert_eq!(headers["grpc-message"], "Internal%20server%20error");

    let mut headers = HeaderMap::new();
    finish_error_headers(&mut headers, None, "probe");
    assert!(headers.is_empty());
    headers.insert("grpc-status", "0".parse().unwrap());
    finish_error_headers(&mut headers, None, "probe");
    assert_eq!(headers.len(), 1);
}

#[test]
fn the_content_type_tells_the_protocol() {
    for (content_type, protocol) in [
        ("application/grpc", Protocol::Grpc),
        ("application/grpc+proto", Protocol::Grpc),
        ("application/GRPC; a=b", Protocol::Grpc),
        ("application/grpc-web", Protocol::GrpcWeb),
        ("application/grpc-web+proto", Protocol::GrpcWeb),
        ("application/grpc-web-text", Protocol::GrpcWebText),
        ("application/grpc-web-text+proto", Protocol::GrpcWebText),
        ("application/grpcx", Protocol::Rest),
        ("application/json", Protocol::Rest),
        ("", Protocol::Rest),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        assert_eq!(Protocol::of(&headers), protocol, "{content_type}");
    }
    assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Rest);
}

fn packed_message(status: &Status) -> String {
    let packed: tonic_types::Status = prost::Message::decode(status.details()).unwrap();
    assert_eq!(packed.code, status.code() as i32);
    packed.message
}
