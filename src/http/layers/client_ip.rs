//! Determines the client address of a call once, before any layer needs it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use keyward_listener::Peer;
use keyward_throttle::{Owner, Payer};

use crate::http::client_ip::{ClientIp, TrustedProxies};

pub(super) async fn layer(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let Some(peer) = peer else {
        return next.run(request).await;
    };
    let client = ClientIp(proxies.client(peer, request.headers()));
    request.extensions_mut().insert(client);
    let mut response = next.run(request).await;
    // A response without a principal is charged to its address until the client has read it.
    let extensions = response.extensions_mut();
    extensions.get_or_insert_with(|| Payer::from(Owner::Address(client.network())));
    response
}
