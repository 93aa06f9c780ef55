//! Turns a panic into an internal error of the one call. The panic message is discarded, since it may contain
//! secrets; the source location is logged.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tonic::Code;

use crate::api::status;

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let target = super::target(&request);
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_message) => {
            let status = status::plain(Code::Internal, "INTERNAL", "Internal server error");
            super::reject(&target, status.into())
        }
    }
}
