//! Fuzz targets.
//!
//! Each function accepts any bytes and panics if a guarantee does not hold; the fuzzer itself
//! detects overflows, hangs and excessive memory. `targets/` has a target for each, and `seeds/` the
//! initial inputs and earlier findings, which `tests/seeds.rs` runs in every test run.
//!
//! ```sh
//! cargo install cargo-fuzz
//! cd tests/gateway/fuzz
//! cargo +nightly fuzz run --fuzz-dir targets json targets/corpus/json seeds/json -- -max_total_time=600
//! ```
#![allow(clippy::unwrap_used, reason = "a broken guarantee is to end the run")]

mod matching;
mod patch;

use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use keyward_crypto::Envelope;
use keyward_gateway::json::{self, JsonOptions};
use keyward_gateway::{Protocol, Rejection, Resolution, RestRouter, Route, RouteSpec};
use keyward_gateway_testserver::{Probe, v1};
use tonic::{Code, Status};

static REST: LazyLock<RestRouter> = LazyLock::new(|| Probe::default().rest().build().unwrap());
static SPECS: LazyLock<Vec<&'static RouteSpec>> = LazyLock::new(|| {
    let routes = Probe::default().routes();
    routes.iter().map(Route::spec).collect()
});
static STRICT: LazyLock<JsonOptions> = LazyLock::new(|| {
    JsonOptions::default()
        .with_types(v1::TYPES)
        .reject_unknown_members()
});

/// Target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("template", template),
    ("path", path),
    ("query", query),
    ("json", json),
    ("envelope", envelope),
    ("status", status),
];

/// Checks that a path template is unchanged after it is parsed, printed and parsed again.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(printed) = keyward_gateway_build::fuzzing::template(text) {
        let again = keyward_gateway_build::fuzzing::template(&printed);
        assert_eq!(again.as_deref(), Ok(printed.as_str()), "{text}");
    }
}

/// Checks that the router and a naive matcher find the same route for a method and a path.
pub fn path(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let Ok(path) = std::str::from_utf8(rest) else {
        return;
    };
    let names = [
        "GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "REPORT", "PUT",
    ];
    let name = names.get(usize::from(*first) % names.len()).unwrap();
    let method = Method::from_bytes(name.as_bytes()).unwrap();
    let best = matching::best(&SPECS, &method, path);
    match REST.resolve(&method, path) {
        Resolution::Matched(matched) => {
            assert_eq!(
                Some(matched.spec().template),
                best.map(|spec| spec.template)
            );
        }
        Resolution::MethodNotAllowed { allow, .. } => {
            assert!(best.is_none() && !allow.is_empty() && method != Method::OPTIONS);
        }
        Resolution::Options { allow, .. } => {
            assert!(best.is_none() && !allow.is_empty() && method == Method::OPTIONS);
        }
        // Only a request's content type leads to the last of these.
        other => assert!(
            best.is_none() && !matches!(other, Resolution::UnsupportedGrpc { .. }),
            "{other:?}"
        ),
    }
}

/// Checks that a query is accepted or rejected, and that the response to an accepted one is valid
/// JSON.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let request = Request::get(format!("/query?{text}")).body(Full::new(Bytes::new()));
    let Ok(request) = request else {
        return;
    };
    let Some((status, body)) = call(request) else {
        return;
    };
    match status {
        200 => _ = json::decode::<v1::Everything>(&body, &STRICT).unwrap(),
        // Every value that a query can set has a form in JSON.
        other => {
            assert_eq!(other, 400);
            serde_json::from_slice::<serde_json::Value>(&body).unwrap();
        }
    }
}

/// Checks that JSON is unchanged after it is written and read again, and that the members of a
/// PATCH are in its mask.
pub fn json(data: &[u8]) {
    patch::check(data);
    let Ok(message) = json::decode::<v1::Everything>(data, &STRICT) else {
        return;
    };
    let Ok(text) = json::encode(&message, &STRICT) else {
        return;
    };
    let again: v1::Everything = json::decode(&text, &STRICT).unwrap();
    assert_eq!(json::encode(&again, &STRICT).unwrap(), text);
}

/// Checks that a sealed secret's envelope is unchanged after it is read and written.
pub fn envelope(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        assert_eq!(envelope.to_bytes(), data);
    }
}

/// Checks that REST writes any details of an error as JSON.
pub fn status(data: &[u8]) {
    let status = Status::with_details(Code::NotFound, "gone", Bytes::copy_from_slice(data));
    let answer = Rejection::new(status).render(Protocol::Rest, &v1::OUTCOMES);
    let (_, body) = collected(answer).unwrap();
    serde_json::from_slice::<serde_json::Value>(&body).unwrap();
}

/// Returns the status and the body of the probe's response.
fn call(request: Request<Full<Bytes>>) -> Option<(u16, Bytes)> {
    let resolution = REST.resolve(request.method(), request.uri().path());
    collected(REST.call(resolution, request).now_or_never()?)
}

fn collected<B: http_body::Body>(response: Response<B>) -> Option<(u16, Bytes)> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().now_or_never()?.ok()?;
    Some((status, body.to_bytes()))
}
