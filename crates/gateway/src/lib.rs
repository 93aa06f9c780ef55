//! Runtime of the generated REST gateway: routing, JSON binding, error envelopes.
//!
//! The code that `keyward-gateway-build` generates uses this crate. The crate depends on HTTP,
//! tonic and JSON, but not on a service: the REST form of a service is given as static
//! [`MethodSpec`]s and [`RouteSpec`]s.
//!
//! A failure is one [`Rejection`], for each protocol ([`Protocol`]); a request is one in-process call of
//! the service.

mod bind;
mod body;
mod builder;
mod check;
mod compression;
mod details;
mod document;
mod error_json;
mod finish_error;
mod headers;
pub mod json;
mod mask;
mod pages;
mod percent;
mod preference;
mod protocol;
mod rejection;
mod reply;
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
pub use finish_error::{finish_error, finish_error_headers, finish_stream_error};
pub use mask::body_paths;
pub use pages::{PagedRequest, PagedResponse};
pub use protocol::Protocol;
pub use rejection::{BodyTooLarge, Rejection, allowed};
pub use route::Route;
pub use router::{Matched, Resolution, RestRouter};
pub use spec::{BodyBinding, ErrorRule, MethodSpec, RouteSpec, Segment, Variable};
