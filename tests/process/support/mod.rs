//! Programs, clients and data for the tests.

pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod deployment;
pub(crate) mod frames;
pub(crate) mod program;
pub(crate) mod random;
pub(crate) mod repository;
pub(crate) mod spending;
