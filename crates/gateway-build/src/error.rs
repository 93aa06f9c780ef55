//! Build errors.

use std::fmt;
use std::io;
use std::path::PathBuf;

use prost_reflect::{FileDescriptor, MessageDescriptor};

/// Build error: `file:line: reason`.
///
/// Its `Debug` form is the same line with the causes, since Rust prints the error of a build
/// script's `main` in that form.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The proto files do not compile. Contains the file, the position if known, and the reason.
    #[error("{0}")]
    Protos(String),
    /// An annotation is invalid or cannot be implemented.
    #[error("{}: {item}: {reason}", position(file, *line))]
    Declaration {
        /// Proto file.
        file: String,
        /// Line in the file, if known.
        line: Option<u32>,
        /// Full name of the service, method, message, field or enum value.
        item: String,
        /// Reason for the error.
        reason: String,
    },
    /// Two routes match the same requests.
    #[error("{}: {item}: the route {route} matches the same requests as {other}'s", position(file, *line))]
    AmbiguousRoute {
        /// Proto file.
        file: String,
        /// Line in the file, if known.
        line: Option<u32>,
        /// Method with the second route.
        item: String,
        /// HTTP method and path.
        route: String,
        /// Method that has the route already.
        other: String,
    },
    /// The output directory is set neither by the caller nor by cargo.
    #[error("no output directory: OUT_DIR is not set and none was given")]
    NoOutDir,
    /// A file cannot be written.
    #[error("{path}: cannot be written")]
    Write {
        /// File path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")?;
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            write!(formatter, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

fn position(file: &str, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

/// Creates an error for the declaration of `item`, a full name, in `file`. It has the line of the
/// item.
pub(crate) fn declaration(
    file: &FileDescriptor,
    item: impl Into<String>,
    reason: impl Into<String>,
) -> Error {
    annotation(file, item, "", reason)
}

/// Creates an error for the option `extension`, such as `google.api.http`, of an item. It has the
/// line of the option, or of the item if the option is absent.
pub(crate) fn annotation(
    file: &FileDescriptor,
    item: impl Into<String>,
    extension: &str,
    reason: impl Into<String>,
) -> Error {
    let item = item.into();
    Error::Declaration {
        file: file.name().to_owned(),
        line: line(file, &item, extension),
        item,
        reason: reason.into(),
    }
}

/// Returns the line of an option of an item, or of the item.
pub(crate) fn line(file: &FileDescriptor, item: &str, extension: &str) -> Option<u32> {
    let (path, options) = find(file, item)?;
    let mut of_option = path.clone();
    of_option.push(options);
    if let Some(extension) = file.parent_pool().get_extension_by_name(extension) {
        of_option.push(i32::try_from(extension.number()).ok()?);
        let found = first_line(file, |known| known.starts_with(&of_option));
        if found.is_some() {
            return found;
        }
    }
    first_line(file, |known| known == path)
}

/// Returns the first line of all locations with such a path.
fn first_line(file: &FileDescriptor, is_wanted: impl Fn(&[i32]) -> bool) -> Option<u32> {
    let proto = file.file_descriptor_proto();
    let locations = &proto.source_code_info.as_ref()?.location;
    let lines = locations
        .iter()
        .filter(|location| is_wanted(&location.path))
        .filter_map(|location| location.span.first().copied());
    u32::try_from(lines.min()?.checked_add(1)?).ok()
}

/// Returns the path of an item in its file, and the number of its options.
fn find(file: &FileDescriptor, item: &str) -> Option<(Vec<i32>, i32)> {
    for service in file.services() {
        if service.full_name() == item {
            return Some((service.path().to_vec(), 3));
        }
        if let Some(method) = service.methods().find(|known| known.full_name() == item) {
            return Some((method.path().to_vec(), 4));
        }
    }
    let enums = file.enums().find_map(|found| in_enum(&found, item));
    enums.or_else(|| file.messages().find_map(|found| in_message(&found, item)))
}

fn in_message(message: &MessageDescriptor, item: &str) -> Option<(Vec<i32>, i32)> {
    if message.full_name() == item {
        return Some((message.path().to_vec(), 7));
    }
    if let Some(field) = message.fields().find(|known| known.full_name() == item) {
        return Some((field.path().to_vec(), 8));
    }
    if let Some(oneof) = message.oneofs().find(|known| known.full_name() == item) {
        return Some((oneof.path().to_vec(), 2));
    }
    let inner = message
        .child_enums()
        .find_map(|found| in_enum(&found, item));
    inner.or_else(|| {
        message
            .child_messages()
            .find_map(|found| in_message(&found, item))
    })
}

fn in_enum(found: &prost_reflect::EnumDescriptor, item: &str) -> Option<(Vec<i32>, i32)> {
    if found.full_name() == item {
        return Some((found.path().to_vec(), 3));
    }
    let value = found.values().find(|known| known.full_name() == item)?;
    Some((value.path().to_vec(), 3))
}
