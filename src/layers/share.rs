//! No organization has more calls under way than its share, so that a flood of one leaves permits to the
//! others; internal services have a reserve. Those that are under way run in turns. Whose call it is only
//! authentication knows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::in_flight::overloaded;
use crate::budget::Owner;
use crate::fair_queue::{FairQueue, Turn};
use crate::in_flight::admit;

pub(super) async fn layer(
    State(queue): State<Arc<FairQueue>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(owner) = request.extensions().get::<Owner>().cloned() else {
        return next.run(request).await;
    };
    if admit(&owner).is_err() {
        return overloaded(&super::target(&request));
    }
    let turn = Turn::new(&queue, owner);
    request.extensions_mut().insert(Arc::clone(&turn));
    keyward_store::occupancy::scope(turn, next.run(request)).await
}
