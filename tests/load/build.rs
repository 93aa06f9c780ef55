//! Compiles the public proto files like any gRPC client, without the server's own generator, so
//! that the program measures and checks the API that clients use.

use std::error::Error;

const PROTOS: [&str; 3] = [
    "keyward/v1/api_key.proto",
    "keyward/v1/directory.proto",
    "keyward/v1/management_key.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(PROTOS, ["../../proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
