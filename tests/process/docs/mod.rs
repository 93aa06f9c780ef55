//! Documents that are generated from the code.

mod openapi;
mod operations;
