//! Compiles the probe's proto files like any user of the gateway.

use keyward_gateway_build::{Builder, Error, OpenApi};

fn main() -> Result<(), Error> {
    Builder::new()
        .include("proto")
        .include("../../../proto")
        .file("probe/v1/types.proto")
        .file("probe/v1/probe.proto")
        .file("probe/v1/rows.proto")
        .file("probe/v1/awkward.proto")
        .descriptor_name("probe_descriptor.bin")
        .json_for_all_messages()
        .openapi(OpenApi::new("Probe", "1"))
        .compile()
}
