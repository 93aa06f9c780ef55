//! Helpers of tests that call the probe in the process.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::error::Error;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use keyward_gateway::RestRouter;
use keyward_gateway::json::{self, JsonOptions};
use keyward_gateway_testserver::Probe;
use keyward_gateway_testserver::v1::Everything;
use serde_json::Value;

/// Returns the router of the probe with default settings.
pub(crate) fn router() -> &'static RestRouter {
    static ROUTER: LazyLock<RestRouter> =
        LazyLock::new(|| Probe::default().rest().build().unwrap());
    &ROUTER
}

/// Complete response.
pub(crate) struct RestResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl RestResponse {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.to_vec()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Returns the status and the message of an error.
    pub(crate) fn rejection(&self) -> String {
        let json = self.json();
        let message = json["error"]["message"].as_str().unwrap_or_default();
        format!("{} {message}", self.status)
    }

    /// Returns the field that an error's `BadRequest` names.
    pub(crate) fn field(&self) -> Option<String> {
        let json = self.json();
        let details = json["error"]["details"].as_array()?.clone();
        let named = |detail: &Value| {
            detail["fieldViolations"][0]["field"]
                .as_str()
                .map(str::to_owned)
        };
        details.iter().find_map(named)
    }
}

/// Builds a request from `GET /path` and a JSON body, unless that is empty.
pub(crate) fn request(line: &str, body: &str) -> Request<Full<Bytes>> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(uri);
    if !body.is_empty() {
        builder = builder.header("content-type", "application/json");
    }
    builder
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

/// Calls a router.
pub(crate) async fn call_on<B>(router: &RestRouter, request: Request<B>) -> RestResponse
where
    B: http_body::Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let resolution = router.resolve(request.method(), request.uri().path());
    let (parts, body) = router.call(resolution, request).await.into_parts();
    RestResponse {
        status: parts.status.as_u16(),
        headers: parts.headers,
        bytes: body.collect().await.unwrap().to_bytes(),
    }
}

/// Calls the probe.
pub(crate) async fn call(line: &str, body: &str) -> RestResponse {
    call_on(router(), request(line, body)).await
}

/// Returns the content of a response without the default values, which are written too.
pub(crate) async fn echoed(line: &str, body: &str) -> Value {
    let answer = call(line, body).await;
    assert!(answer.status < 300, "{line} {body}: {}", answer.text());
    without_defaults(answer.json())
}

/// Removes the members of an empty message.
fn without_defaults(mut json: Value) -> Value {
    static DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
        let text = json::encode(&Everything::default(), &JsonOptions::default());
        serde_json::from_slice(&text.unwrap()).unwrap()
    });
    if let Value::Object(members) = &mut json {
        members.retain(|name, value| DEFAULTS.get(name) != Some(value));
    }
    json
}
