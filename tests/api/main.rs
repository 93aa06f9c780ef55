//! The API from the client's side: REST, gRPC and gRPC-Web, on SQLite and on PostgreSQL.
//!
//! A test of one REST route is in `routes/<path>/<verb>.rs`, of an RPC without a route in `rpcs/`, of a layer in
//! `layers/`, of every method in `sweeps/`, and of a guarantee that several routes share in `cross_cutting/`. One
//! function tests one guarantee.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

#[macro_use]
mod support;

mod cross_cutting;
mod layers;
mod routes;
mod rpcs;
mod sweeps;
