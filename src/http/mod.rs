//! HTTP: the layers that every call passes, the dispatch of calls to their protocols, and the endpoints that need
//! no token.

pub mod api_docs;
mod body;
pub mod client_ip;
pub(crate) mod dispatch;
pub(crate) mod health_service;
pub mod layers;
pub(crate) mod operations;
mod probes;
pub mod readiness;
pub(crate) mod route;
pub mod unauthenticated;
