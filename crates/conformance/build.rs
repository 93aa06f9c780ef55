//! Compiles the runner's protocol and its test messages.

use std::process::ExitCode;

use keyward_gateway_build::Builder;

fn main() -> ExitCode {
    let compiled = Builder::new()
        .include("proto")
        .file("conformance/conformance.proto")
        .file("google/protobuf/test_messages_proto3.proto")
        .json_for_all_messages()
        .compile();
    match compiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
