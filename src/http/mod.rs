//! HTTP: the layers that every call passes, the dispatch of calls to their protocols, and the endpoints that need
//! no token.

pub(crate) mod health_service;
pub mod unauthenticated;
