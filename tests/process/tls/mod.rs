//! TLS and client certificates.

mod clients;
mod reload;
mod serve;
