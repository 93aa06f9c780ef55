//! Turns annotated protobuf services into REST routes and JSON bindings at build time.
//!
//! [`Builder`] compiles proto files without protoc, lets `tonic-prost-build` write
//! messages, clients and servers, and adds what the annotations of
//! `google.api.http` and `keyward.gateway.v1` declare: JSON forms, checks, method
//! specs, routes. The result stands on the crate `keyward-gateway`.
//!
//! An annotation that cannot be honoured fails the build; none is ever ignored.

mod bundled;
mod check;
mod compile;
mod emit;
mod error;
mod field_path;
#[doc(hidden)]
pub mod fuzzing;
mod http_rule;
mod json;
mod names;
mod openapi;
mod options;
mod pages;
mod routes;
mod template;

use std::path::{Path, PathBuf};

pub use error::Error;
pub use openapi::OpenApi;

/// Compiles proto files into one Rust file for each package, to be included with
/// `tonic::include_proto!`, and the descriptor set `keyward_descriptor.bin`.
#[derive(Debug, Clone)]
pub struct Builder {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    out_dir: Option<PathBuf>,
    descriptor_name: String,
    error_domain: String,
    error_body: Option<String>,
    all_messages: bool,
    openapi: Option<OpenApi>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            includes: Vec::new(),
            files: Vec::new(),
            out_dir: None,
            descriptor_name: "keyward_descriptor.bin".to_owned(),
            error_domain: String::new(),
            error_body: None,
            all_messages: false,
            openapi: None,
        }
    }
}

impl Builder {
    /// A builder without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory in which imports are looked up.
    #[must_use]
    pub fn include(mut self, directory: impl AsRef<Path>) -> Self {
        self.includes.push(directory.as_ref().to_owned());
        self
    }

    /// Adds a file to compile, by its name under an included directory.
    #[must_use]
    pub fn file(mut self, file: impl AsRef<Path>) -> Self {
        self.files.push(file.as_ref().to_owned());
        self
    }

    /// Adds files to compile.
    #[must_use]
    pub fn files<P: AsRef<Path>>(mut self, files: impl IntoIterator<Item = P>) -> Self {
        self.files
            .extend(files.into_iter().map(|file| file.as_ref().to_owned()));
        self
    }

    /// Where to write; cargo's `OUT_DIR` when not given.
    #[must_use]
    pub fn out_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.out_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// The name of the written descriptor set; `keyward_descriptor.bin` when not given.
    #[must_use]
    pub fn descriptor_name(mut self, name: impl Into<String>) -> Self {
        self.descriptor_name = name.into();
        self
    }

    /// The domain of each error's `ErrorInfo`; the service's package when not given.
    #[must_use]
    pub fn error_domain(mut self, domain: impl Into<String>) -> Self {
        self.error_domain = domain.into();
        self
    }

    /// The JSON text of an error of a service that declares none, as the option
    /// `error_body` has it. When not given, it is that of <https://google.aip.dev/193>.
    #[must_use]
    pub fn error_body(mut self, body: impl Into<String>) -> Self {
        self.error_body = Some(body.into());
        self
    }

    /// Gives every message of the files a form in JSON, not only those that routes
    /// lead to: those that a `google.protobuf.Any` may hold, or that are written as
    /// JSON without a route.
    #[must_use]
    pub fn json_for_all_messages(mut self) -> Self {
        self.all_messages = true;
        self
    }

    /// Writes an OpenAPI 3.1 document too, as `openapi.json`, a page for people made from it, as
    /// `docs.html`, and `openapi.rs`, to be included with `include!`: the statics `OPENAPI` and
    /// `DOCS`, which answer with the two.
    #[must_use]
    pub fn openapi(mut self, openapi: OpenApi) -> Self {
        self.openapi = Some(openapi);
        self
    }

    /// Compiles and writes everything.
    ///
    /// # Errors
    ///
    /// Names the proto file and what is wrong in it, or the file that cannot be
    /// written.
    pub fn compile(self) -> Result<(), Error> {
        compile::compile(&self)
    }
}
