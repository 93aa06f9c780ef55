//! API: its messages and descriptors, their conversion from and to the core's types, the gRPC services, and the
//! status of each error.

pub(crate) mod convert;
pub mod proto;
pub(crate) mod services;
pub(crate) mod status;
