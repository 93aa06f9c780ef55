//! Compiles the proto file: messages, the client, the server, and the REST routes.

fn main() -> Result<(), keyward_gateway_build::Error> {
    keyward_gateway_build::Builder::new()
        .include("proto")
        .file("bookshelf/v1/bookshelf.proto")
        .error_domain("bookshelf.example")
        .compile()
}
