//! Tests of the router as a service, and of its settings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use keyward_gateway::RestRouter;
use keyward_gateway::json::JsonOptions;
use keyward_gateway_testserver::{Probe, v1};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::ServiceExt;

use support::{call_on, request};

/// A gRPC request gets a gRPC response, regardless of the path.
#[tokio::test]
async fn unknown_method_is_rejected_in_the_format_of_its_protocol() {
    let rest = Probe::default().rest().build().unwrap();
    for path in ["/none.v1.None/None", "/body", "/none"] {
        for (content_type, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc-web", "application/grpc-web+proto"),
            (
                "application/grpc-web-text",
                "application/grpc-web-text+proto",
            ),
        ] {
            let request = Request::post(path).header("content-type", content_type);
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = rest.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(response.headers()["content-type"], answered);
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(
                (status.code(), status.message()),
                (Code::Unimplemented, "Unknown method")
            );
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(info.reason, "UNIMPLEMENTED");
            assert_eq!(info.domain, v1::PATHS.error_domain);
        }
        // gRPC has no other method.
        let request = Request::put(path).header("content-type", "application/grpc");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = rest.clone().oneshot(request).await.unwrap();
        assert!(response.status().is_client_error(), "{path}");
    }
}

/// JSON options combine with the other settings of the router, in any order.
#[tokio::test]
async fn json_follows_the_router_options() {
    let options = || {
        JsonOptions::default()
            .omit_defaults()
            .ignore_unknown_enum_names()
    };
    let probe = Probe::default();
    let strict = || RestRouter::builder().routes(probe.routes());
    for router in [
        strict()
            .json(options())
            .types(v1::TYPES)
            .reject_unknown_members(),
        strict()
            .types(v1::TYPES)
            .reject_unknown_members()
            .json(options()),
    ] {
        let router = router.build().unwrap();
        let answer = |body: &'static str| {
            let router = router.clone();
            async move { call_on(&router, request("POST /body", body)).await }
        };
        assert_eq!(answer("{}").await.text(), "{}");
        let text = answer(r#"{"aString":"x","aColor":"NOT_THERE"}"#).await;
        assert_eq!(text.text(), r#"{"aString":"x"}"#);
        assert_eq!(answer(r#"{"none":1}"#).await.status, 400);
        let query = call_on(&router, request("GET /query?none=1", "")).await;
        assert_eq!(query.status, 400);
        let own = r#"{"any":{"@type":"type.googleapis.com/probe.v1.OwnDetail","bigNumber":"7"}}"#;
        assert_eq!(answer(own).await.text(), own);
    }
}
