//! Compiles the proto files: messages, clients and servers, and the REST gateway.

use std::fmt::Write as _;
use std::process::ExitCode;

use keyward_gateway_build::{Builder, Error};

const PROTOS: [&str; 5] = [
    "keyward/v1/api_key.proto",
    "keyward/v1/audit.proto",
    "keyward/v1/directory.proto",
    "keyward/v1/management_key.proto",
    "keyward/v1/repo_ai_key.proto",
];

fn main() -> ExitCode {
    match Builder::new()
        .include("proto")
        .files(PROTOS)
        .error_domain("keyward")
        .compile()
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
