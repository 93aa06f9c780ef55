//! Compiles the public proto files like any gRPC client.

use std::error::Error;

const PROTOS: [&str; 3] = [
    "keyward/v1/api_key.proto",
    "keyward/v1/management_key.proto",
    "keyward/v1/repo_ai_key.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(PROTOS, ["../../proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
