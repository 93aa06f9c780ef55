//! Bounds the size of request bodies, with or without `content-length`.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Version;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keyward_gateway::{BodyTooLarge, Rejection};

/// Maximum bytes to discard of a body that is rejected for its size.
const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// Maximum time to discard a rejected body.
const MAX_DISCARD_TIME: Duration = Duration::from_secs(2);

pub(super) async fn layer(
    State(limit_bytes): State<u64>,
    request: Request,
    next: Next,
) -> Response {
    let stated = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if stated
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|stated| stated > limit_bytes)
    {
        let target = super::target(&request);
        if request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT) {
            tokio::spawn(discard(request.into_body()));
        }
        return super::reject(&target, Rejection::body_too_large(limit_bytes));
    }
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let request = request.map(|body| {
        Body::new(Limited::new(body, limit).map_err(move |error| too_large(error, limit_bytes)))
    });
    next.run(request).await
}

/// Discards the rest of the body, within bounds and while the response is sent: a client that is still sending
/// when the connection closes may never read it. A client that sends `expect: 100-continue` or uses HTTP/2
/// reads it in any case.
async fn discard(body: Body) {
    let mut body = Limited::new(body, MAX_DISCARDED_BYTES);
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // All outcomes are treated alike.
    let _ = tokio::time::timeout(MAX_DISCARD_TIME, read).await;
}

/// Replaces the error for an exceeded limit by one that names the limit. The readers of both protocols
/// recognize its type. `Limited` boxes both kinds of errors, so that only a downcast distinguishes them.
fn too_large(
    error: Box<dyn std::error::Error + Send + Sync>,
    limit_bytes: u64,
) -> Box<dyn std::error::Error + Send + Sync> {
    if error.is::<LengthLimitError>() {
        return Box::new(tonic::Status::from(BodyTooLarge { limit_bytes }));
    }
    error
}
