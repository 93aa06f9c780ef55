//! Compiles the proto file: messages, the client, the server, the REST routes,
//! and their OpenAPI document.

use keyward_gateway_build::{Builder, Error, OpenApi};

fn main() -> Result<(), Error> {
    Builder::new()
        .include("proto")
        .file("bookshelf/v1/bookshelf.proto")
        .error_domain("bookshelf.example")
        .openapi(OpenApi::new("Bookshelf", "1"))
        .compile()
}
