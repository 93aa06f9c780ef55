//! A request's body has a bounded size, whether it says its size or not.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keyward_gateway::{BodyTooLarge, Refusal};

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
        return super::refuse(
            &super::target(&request),
            Refusal::body_too_large(limit_bytes),
        );
    }
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let request = request.map(|body| {
        Body::new(Limited::new(body, limit).map_err(move |error| too_large(error, limit_bytes)))
    });
    next.run(request).await
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
