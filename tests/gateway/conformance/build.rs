//! Compiles the runner's protocol and its test messages, and those of the tests here.

use std::process::ExitCode;

use keyward_gateway_build::{Builder, Error};

fn main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compile() -> Result<(), Error> {
    Builder::new()
        .include("proto")
        .file("conformance/conformance.proto")
        .file("google/protobuf/test_messages_proto3.proto")
        .json_for_all_messages()
        .compile()?;
    Builder::new()
        .include("proto")
        .include("../../../proto")
        .file("own/options.proto")
        .descriptor_name("own.bin")
        .json_for_all_messages()
        .compile()
}
