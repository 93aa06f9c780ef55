//! Bounds the calls under way of each organization to a share, so that a flood of one organization leaves
//! permits to the others; internal services have a reserve. Calls run in turns. Needs the principal.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_throttle::Payer;

use super::concurrency_limit::overloaded;
use crate::admission::fair_queue::{FairQueue, Turn};
use crate::admission::permits::admit;

pub(super) async fn layer(
    State(queue): State<Arc<FairQueue>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(payer) = request.extensions().get::<Payer>().cloned() else {
        return next.run(request).await;
    };
    if admit(&payer).is_err() {
        return overloaded(&super::target(&request));
    }
    let turn = Turn::new(&queue, payer);
    request.extensions_mut().insert(Arc::clone(&turn));
    keyward_store::occupancy::scope(turn, next.run(request)).await
}
