//! No organization has more calls under way than its share, so that a flood of one leaves permits to the
//! others; internal services have a reserve. Whose call it is only authentication knows.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

use super::in_flight::overloaded;
use crate::budget::Owner;
use crate::in_flight::admit;

pub(super) async fn layer(request: Request, next: Next) -> Response {
    let owner = request.extensions().get::<Owner>();
    match owner.map_or(Ok(()), admit) {
        Ok(()) => next.run(request).await,
        Err(_) => overloaded(&super::target(&request)),
    }
}
