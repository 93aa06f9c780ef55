//! Run time of the generated REST gateway: routing, JSON binding, error envelopes.
//!
//! The code that `keyward-gateway-build` writes stands on this crate. It knows
//! HTTP, tonic and JSON, and nothing of any one service: what a service's REST
//! face looks like reaches it as static [`MethodSpec`]s and [`RouteSpec`]s.
//!
//! One failure is one [`Refusal`], whatever the [`Face`] that it is shown to; one
//! request is one call of the service inside the process.

mod bind;
mod body;
mod builder;
mod check;
mod compression;
mod details;
mod document;
mod error_json;
mod face;
pub mod json;
mod mask;
mod pages;
mod percent;
mod preference;
mod refine;
mod refusal;
mod route;
mod router;
mod settings;
mod spec;
mod stream;
mod trie;

#[doc(hidden)]
pub use bytes::Bytes;
#[doc(hidden)]
pub use http::HeaderValue;
#[doc(hidden)]
pub use serde;

pub use body::Body;
pub use builder::{AmbiguousRoute, RestRouterBuilder};
pub use check::{Check, Violation, check_list, check_map, check_nested, check_request, invalid};
pub use compression::uncompressed_if_small;
pub use details::code_name;
pub use document::{DOCUMENT_METHODS, Document};
pub use face::Face;
pub use pages::{PagedRequest, PagedResponse};
pub use refine::{complete_grpc_error, refine, refine_stream};
pub use refusal::{BodyTooLarge, Refusal, allowed};
pub use route::Route;
pub use router::{Matched, Resolution, RestRouter};
pub use spec::{BodyBinding, ErrorRule, MethodSpec, RouteSpec, Segment, Variable};
