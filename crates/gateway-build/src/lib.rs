//! Generates REST routes and JSON bindings from annotated protobuf services at build time.
//!
//! [`Builder`] compiles proto files without protoc, generates messages, clients and servers with
//! `tonic-prost-build`, and adds the declarations of `google.api.http` and `keyward.gateway.v1`:
//! JSON forms, checks, method specs, routes. The generated code uses the crate `keyward-gateway`.
//!
//! An annotation that cannot be implemented fails the build; annotations are never ignored.

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
    /// Creates a builder without files.
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

    /// Sets the output directory. The default is cargo's `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.out_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets the file name of the descriptor set. The default is `keyward_descriptor.bin`.
    #[must_use]
    pub fn descriptor_name(mut self, name: impl Into<String>) -> Self {
        self.descriptor_name = name.into();
        self
    }

    /// Sets the domain of each error's `ErrorInfo`. The default is the service's package.
    #[must_use]
    pub fn error_domain(mut self, domain: impl Into<String>) -> Self {
        self.error_domain = domain.into();
        self
    }

    /// Sets the JSON text of an error for services without the option `error_body`, in the form of
    /// that option. The default is the form of <https://google.aip.dev/193>.
    #[must_use]
    pub fn error_body(mut self, body: impl Into<String>) -> Self {
        self.error_body = Some(body.into());
        self
    }

    /// Generates JSON for every message of the files, not only for those that routes use: for
    /// messages inside a `google.protobuf.Any`, or written as JSON without a route.
    #[must_use]
    pub fn json_for_all_messages(mut self) -> Self {
        self.all_messages = true;
        self
    }

    /// Also writes an OpenAPI 3.1 document as `openapi.json`, an HTML page generated from it as
    /// `docs.html`, and `openapi.rs`, to be included with `include!`: the statics `OPENAPI` and
    /// `DOCS`, which serve the two.
    #[must_use]
    pub fn openapi(mut self, openapi: OpenApi) -> Self {
        self.openapi = Some(openapi);
        self
    }

    /// Compiles the files and writes the output.
    ///
    /// # Errors
    ///
    /// Names the proto file and the error in it, or the file that cannot be written.
    pub fn compile(self) -> Result<(), Error> {
        compile::compile(&self)
    }
}
