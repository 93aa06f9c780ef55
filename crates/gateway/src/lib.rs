//! Run time of the generated REST gateway: routing, JSON binding, error envelopes.
//!
//! The code that `keyward-gateway-build` writes stands on this crate. It knows
//! HTTP, tonic and JSON, and nothing of any one service: what a service's REST
//! face looks like reaches it as static [`MethodSpec`]s and [`RouteSpec`]s.
//!
//! One failure is one [`Refusal`], whatever the [`Face`] that it is shown to; one
//! request is one call of the service inside the process.

mod bind;
mod check;
mod details;
mod face;
pub mod json;
mod mask;
mod percent;
mod refine;
mod refusal;
mod route;
mod router;
mod spec;

#[doc(hidden)]
pub use serde;

pub use check::{Check, Violation, check_list, check_map, check_nested, check_request, invalid};
pub use face::Face;
pub use refine::{complete_grpc_error, refine};
pub use refusal::{BodyTooLarge, Refusal};
pub use route::{RestCall, Route};
pub use router::{Matched, Resolution, RestRouter};
pub use spec::{Binding, ErrorRule, MethodSpec, RouteSpec, Segment};
