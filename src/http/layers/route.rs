//! Resolves the target of a call once, before any layer needs it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::route::RouteTable;

pub(super) async fn layer(
    State(table): State<RouteTable>,
    mut request: Request,
    next: Next,
) -> Response {
    let target = table.resolve(&request);
    request.extensions_mut().insert(target);
    next.run(request).await
}
