//! A request's body has a bounded size, whether it says its size or not.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Version;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keyward_gateway::{BodyTooLarge, Refusal};

/// How much of a body that is refused for its size is read all the same.
const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// How long a refused body is read at most.
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
        return super::refuse(&target, Refusal::body_too_large(limit_bytes));
    }
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let request = request.map(|body| {
        Body::new(Limited::new(body, limit).map_err(move |error| too_large(error, limit_bytes)))
    });
    next.run(request).await
}

/// Reads on, within bounds and behind the answer: who is still sending when the connection closes may
/// never see it. A caller who expects to be asked first, and one on HTTP/2, sees it in any case.
async fn discard(body: Body) {
    let mut body = Limited::new(body, MAX_DISCARDED_BYTES);
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // How it ends is the same to everyone.
    let _ = tokio::time::timeout(MAX_DISCARD_TIME, read).await;
}

/// Names the limit in the one error that is about it; both faces' readers know its type.
fn too_large(
    error: Box<dyn std::error::Error + Send + Sync>,
    limit_bytes: u64,
) -> Box<dyn std::error::Error + Send + Sync> {
    if error.is::<LengthLimitError>() {
        return Box::new(tonic::Status::from(BodyTooLarge { limit_bytes }));
    }
    error
}
