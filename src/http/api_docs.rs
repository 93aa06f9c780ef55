//! Descriptions of the API: its OpenAPI document, and an HTML page made from it. Both are generated from
//! `proto/`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use keyward_core::provider::ProviderRegistry;
use keyward_gateway::{DOCUMENT_METHODS, Document, Rejection};
use serde_json::Value;

use crate::http::route::{self, Description, RouteTarget};

include!(concat!(env!("OUT_DIR"), "/openapi.rs"));

/// Member of the document that marks lists to which operators can add; its value names a registry.
const REGISTRY: &str = "x-registry";

/// Descriptions that this process serves.
#[derive(Clone)]
pub(crate) struct Descriptions {
    openapi: Arc<Document>,
}

impl Descriptions {
    /// Returns the generated descriptions, with the operator's providers added to the document, so that it
    /// matches the accepted values.
    pub(crate) fn new(providers: &ProviderRegistry) -> Self {
        let openapi = with_providers(providers).unwrap_or_else(|| OPENAPI.clone());
        Self {
            openapi: Arc::new(openapi),
        }
    }

    /// Returns the response with a description.
    pub(crate) fn answer(
        &self,
        description: Description,
        target: &RouteTarget,
        request: &Request,
    ) -> Response {
        let document = match description {
            Description::OpenApi => &self.openapi,
            Description::Page => &DOCS,
        };
        match document.respond(request.method(), request.headers()) {
            Some(response) => response.map(Body::new),
            None => route::reject(target, Rejection::method_not_allowed(DOCUMENT_METHODS)),
        }
    }
}

/// Returns the document with further providers. `None` if the operator has registered none.
fn with_providers(providers: &ProviderRegistry) -> Option<Document> {
    let mut document: Value = serde_json::from_slice(&OPENAPI.body).ok()?;
    if !add_providers(&mut document, providers) {
        return None;
    }
    Some(OPENAPI.with_body(serde_json::to_vec(&document).ok()?))
}

/// Adds the providers to every list of them. Returns true if any list changed.
fn add_providers(node: &mut Value, providers: &ProviderRegistry) -> bool {
    let mut changed = false;
    match node {
        Value::Array(items) => {
            for item in items {
                changed |= add_providers(item, providers);
            }
        }
        Value::Object(members) => {
            let is_list = members
                .get(REGISTRY)
                .is_some_and(|name| name == "providers");
            if let Some(Value::Array(known)) = members.get_mut("enum").filter(|_| is_list) {
                let before = known.len();
                for name in providers.names().map(Value::from) {
                    if !known.contains(&name) {
                        known.push(name);
                    }
                }
                changed |= known.len() > before;
            }
            for member in members.values_mut() {
                changed |= add_providers(member, providers);
            }
        }
        _ => {}
    }
    changed
}

#[cfg(test)]
mod tests {
    use keyward_core::provider::Capabilities;

    use super::*;

    #[test]
    fn the_providers_of_the_document_are_those_that_are_built_in() {
        assert!(with_providers(&ProviderRegistry::built_in()).is_none());
    }

    #[test]
    fn providers_that_are_registered_are_in_the_document_too() {
        let mut providers = ProviderRegistry::built_in();
        providers.register("MINIO", Capabilities(1)).unwrap();
        let document = with_providers(&providers).unwrap();
        assert_ne!(document.etag, OPENAPI.etag);
        let document: Value = serde_json::from_slice(&document.body).unwrap();
        for pointer in [
            "/components/schemas/CreateApiKeyRequest/properties/provider/enum",
            "/components/schemas/UpdateApiKeyRequest/properties/provider/anyOf/0/enum",
            "/paths/~1apikeys/get/parameters/1/schema/enum",
        ] {
            let names = document.pointer(pointer).unwrap().as_array().unwrap();
            assert!(names.contains(&"MINIO".into()), "{pointer}");
            assert!(names.contains(&"AWS".into()), "{pointer}");
        }
    }
}
