//! Proto files of the annotations and of `google.rpc`, so that a project needs no copies of them.

use protox::Error;
use protox::file::{File, FileResolver};

/// Bundled file: its import name and its text.
macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../proto/", $name)))),*]
    };
}

/// Files of the annotations and of the errors, and their imports.
const FILES: [(&str, &str); 10] = bundled![
    "google/api/annotations.proto",
    "google/api/client.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/launch_stage.proto",
    "google/api/resource.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "keyward/gateway/v1/options.proto",
];

/// Resolver of bundled files. It comes after the included directories, so that a copy there takes
/// precedence.
pub(crate) struct Bundled;

impl FileResolver for Bundled {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((name, source)) => File::from_source(name, source),
            None => Err(Error::file_not_found(name)),
        }
    }
}
