//! Tests of generated routes and declared services with the real messages, by calls over REST and gRPC.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use keyward_gateway::{RestRouter, Route};
use tonic_types::StatusExt;

use super::super::v1::api_key_service_server::ApiKeyService;
use super::super::v1::management_key_service_server::ManagementKeyService;
use super::super::v1::*;

/// Records requests, and responds only to updates.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

#[tonic::async_trait]
impl ApiKeyService for Recorder {
    async fn list_api_keys(
        &self,
        request: tonic::Request<ListApiKeysRequest>,
    ) -> Result<tonic::Response<ListApiKeysResponse>, tonic::Status> {
        self.0
            .lock()
            .unwrap()
            .push(format!("{:?}", request.get_ref()));
        Err(tonic::Status::internal("the database is on fire"))
    }

    async fn update_api_key(
        &self,
        request: tonic::Request<UpdateApiKeyRequest>,
    ) -> Result<tonic::Response<UpdateApiKeyResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner().uuid);
        Ok(tonic::Response::new(UpdateApiKeyResponse {
            success: true,
            message: "Ok".into(),
        }))
    }

    async fn create_api_key(
        &self,
        _: tonic::Request<CreateApiKeyRequest>,
    ) -> Result<tonic::Response<CreateApiKeyResponse>, tonic::Status> {
        Ok(tonic::Response::new(CreateApiKeyResponse {
            success: true,
            api_key_id: "1".into(),
        }))
    }
}

async fn rest(
    service: &Arc<Recorder>,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    rest_by(
        api_key_service_routes(Arc::clone(service)),
        method,
        path,
        body,
    )
    .await
}

async fn rest_by(
    routes: Vec<Route>,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    let router = RestRouter::builder().routes(routes).build().unwrap();
    let request = Request::builder()
        .method(method.clone())
        .uri(path)
        .header("content-type", "application/json; charset=utf-8")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let resolution = router.resolve(&method, request.uri().path());
    let response = router.call(resolution, request).await;
    let (parts, body) = response.into_parts();
    assert_eq!(parts.headers["content-type"], "application/json");
    let text = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn a_rest_call_reaches_the_service_as_declared() {
    let service = Arc::new(Recorder::default());
    let (status, body) = rest(
        &service,
        Method::PUT,
        "/apikeys/a%2Fb",
        r#"{"uuid":"other","key":"k"}"#,
    )
    .await;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::OK, r#"{"success":true,"message":"Ok"}"#)
    );
    assert_eq!(service.0.lock().unwrap().as_slice(), ["a/b"]);

    let full = r#"{"workspaceId":"w","key":"k","secret":"s","provider":"AWS"}"#;
    let (status, body) = rest(&service, Method::POST, "/apikeys", full).await;
    let created = r#"{"success":true,"apiKeyId":"1"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::CREATED, created));
    let (status, body) = rest(&service, Method::POST, "/apikeys", "").await;
    let rejected = r#"{"success":false,"message":"Workspace ID is required"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, rejected));
    let (status, body) = rest(
        &service,
        Method::PUT,
        "/apikeys/1",
        r#"{"secret":"","key":null}"#,
    )
    .await;
    let rejected = r#"{"success":false,"message":"Secret is required"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, rejected));
}

#[tokio::test]
async fn errors_of_the_service_have_the_declared_form() {
    let service = Arc::new(Recorder::default());
    let path = "/apikeys?workspaceId=w&capability=2&later=1&provider=";
    let (status, body) = rest(&service, Method::GET, path, "").await;
    let internal = r#"{"success":false,"apiKeys":[],"message":"Internal server error"}"#;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, internal)
    );
    let seen = service.0.lock().unwrap().remove(0);
    assert!(
        seen.contains(r#"workspace_id: "w""#) && seen.contains("Some(2)"),
        "{seen}"
    );

    let path = "/apikeys?capability=s3cr3t";
    let (status, body) = rest(&service, Method::GET, path, "").await;
    let rejected =
        r#"{"success":false,"message":"`capability` must be an unsigned 32-bit integer"}"#;
    assert_eq!((status, body.as_str()), (StatusCode::BAD_REQUEST, rejected));
    let (status, body) = rest(&service, Method::DELETE, "/apikeys/1", "").await;
    let later = r#"{"success":false,"message":"Not yet implemented"}"#;
    assert_eq!(
        (status, body.as_str()),
        (StatusCode::NOT_IMPLEMENTED, later)
    );
}

/// Records update requests.
#[derive(Default)]
struct Updates(Mutex<Vec<UpdateKeyRequest>>);

#[tonic::async_trait]
impl ManagementKeyService for Updates {
    async fn update_key(
        &self,
        request: tonic::Request<UpdateKeyRequest>,
    ) -> Result<tonic::Response<UpdateKeyResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(UpdateKeyResponse::default()))
    }
}

#[tokio::test]
async fn an_update_has_a_mask_of_what_its_body_has() {
    let service = Arc::new(Updates::default());
    let body = r#"{"limit_reset":"daily","limit":null,"hash":"other","later":1}"#;
    for (path, body) in [
        ("/keys/ab", body),
        ("/api/v1/keys/ab", body),
        ("/keys/ab", r#"{"limit":1,"update_mask":"limit_reset"}"#),
    ] {
        let routes = management_key_service_routes(Arc::clone(&service));
        let (status, _) = rest_by(routes, Method::PATCH, path, body).await;
        assert_eq!(status, StatusCode::OK, "{path} {body}");
    }
    let mask = |paths: &[&str]| prost_types::FieldMask {
        paths: paths.iter().copied().map(str::to_owned).collect(),
    };
    let implied = UpdateKeyRequest {
        hash: "ab".into(),
        limit_reset: Some(LimitReset::Daily.into()),
        update_mask: Some(mask(&["limit_nanos", "limit_reset"])),
        ..Default::default()
    };
    let given = UpdateKeyRequest {
        hash: "ab".into(),
        limit_nanos: Some(1_000_000_000),
        update_mask: Some(mask(&["limit_reset"])),
        ..Default::default()
    };
    let seen = service.0.lock().unwrap();
    assert_eq!(*seen, [implied.clone(), implied, given]);
}

#[tokio::test]
async fn the_grpc_protocol_goes_through_the_same_declaration() {
    let validated = ValidatedApiKeyService(Arc::new(Recorder::default()));
    let request = tonic::Request::new(CreateApiKeyRequest::default());
    let status = validated.create_api_key(request).await.unwrap_err();
    assert_eq!(status.message(), "Workspace ID is required");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "FIELD_REQUIRED");
    let fields: Vec<_> = details.bad_request().unwrap().field_violations.clone();
    let names: Vec<_> = fields
        .iter()
        .map(|violation| violation.field.as_str())
        .collect();
    assert_eq!(names, ["workspaceId", "key", "secret", "provider"]);
}
