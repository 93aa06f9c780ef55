//! Why a build fails.

use std::io;
use std::path::PathBuf;

use prost_reflect::FileDescriptor;

/// Why a build fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The proto files do not compile. Holds the file, the place in it where that
    /// is known, and the reason.
    #[error("{0}")]
    Protos(String),
    /// An annotation is wrong, or not supported yet.
    #[error("{file}: {item}: {reason}")]
    Declaration {
        /// The proto file.
        file: String,
        /// The full name of the service, method, message, field or enum value.
        item: String,
        /// What is wrong.
        reason: String,
    },
    /// Two routes match the same requests.
    #[error("{file}: {item}: the route {route} cannot be told apart from {other}'s")]
    AmbiguousRoute {
        /// The proto file.
        file: String,
        /// The method.
        item: String,
        /// The HTTP method and the path.
        route: String,
        /// The method that has that route already.
        other: String,
    },
    /// No directory to write to was given, and cargo gave none.
    #[error("no output directory: OUT_DIR is not set and none was given")]
    NoOutDir,
    /// A file cannot be written.
    #[error("{path}: cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The error of an annotation on `item` in `file`.
pub(crate) fn declaration(
    file: &FileDescriptor,
    item: impl Into<String>,
    reason: impl Into<String>,
) -> Error {
    Error::Declaration {
        file: file.name().to_owned(),
        item: item.into(),
        reason: reason.into(),
    }
}
