//! What describes the API to those who call it: its OpenAPI document, and a page for people made from
//! it. Both are generated from `proto/`.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use keyward_gateway::{DOCUMENT_METHODS, Document, Refusal};

use crate::layers::{self, Target};

include!(concat!(env!("OUT_DIR"), "/openapi.rs"));

/// The description at a path.
pub(crate) fn at(path: &str) -> Option<&'static Document> {
    match path {
        "/openapi.json" => Some(&OPENAPI),
        "/docs" => Some(&DOCS),
        _ => None,
    }
}

/// Answers with a description.
pub(crate) fn answer(document: &Document, target: &Target, request: &Request) -> Response {
    match document.answer(request.method(), request.headers()) {
        Some(response) => response.map(Body::new),
        None => layers::refuse(target, Refusal::method_not_allowed(DOCUMENT_METHODS)),
    }
}
