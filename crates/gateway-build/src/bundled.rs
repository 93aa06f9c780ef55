//! The proto files of the annotations, so that who uses them need not have copies.

use protox::Error;
use protox::file::{File, FileResolver};

/// The files, by the names under which they are imported.
const FILES: [(&str, &str); 4] = [
    (
        "google/api/annotations.proto",
        include_str!("../proto/google/api/annotations.proto"),
    ),
    (
        "google/api/http.proto",
        include_str!("../proto/google/api/http.proto"),
    ),
    (
        "google/rpc/code.proto",
        include_str!("../proto/google/rpc/code.proto"),
    ),
    (
        "keyward/gateway/v1/options.proto",
        include_str!("../proto/keyward/gateway/v1/options.proto"),
    ),
];

/// Finds them. It is asked after the included directories, so that a copy there wins.
pub(crate) struct Bundled;

impl FileResolver for Bundled {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match FILES.iter().find(|(known, _)| *known == name) {
            Some((name, source)) => File::from_source(name, source),
            None => Err(Error::file_not_found(name)),
        }
    }
}
