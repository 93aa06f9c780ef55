//! Configuration errors, which contain no values of the configuration.

use std::path::Path;

use figment::error::Kind;

/// Configuration error; never contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    pub(super) fn new(problems: Vec<String>) -> Self {
        Self(problems)
    }

    pub(super) fn field(field: &str, problem: impl std::fmt::Display) -> Self {
        Self(vec![format!("`{field}` {problem}")])
    }

    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self(vec![format!("{} cannot be read: {error}", path.display())])
    }
}

/// Converts figment's error and removes the values.
pub(super) fn describe(error: figment::Error) -> ConfigError {
    ConfigError(
        error
            .into_iter()
            .map(|error| describe_one(&error))
            .collect(),
    )
}

fn describe_one(error: &figment::Error) -> String {
    let mut path = error.path.clone();
    // An unknown name may already end the path, and may be a misplaced value.
    if let Kind::UnknownField(name, _) | Kind::UnknownVariant(name, _) = &error.kind
        && path.last() == Some(name)
    {
        path.pop();
    }
    let field = path.join(".");
    match &error.kind {
        Kind::InvalidType(_, wanted)
        | Kind::InvalidValue(_, wanted)
        | Kind::InvalidLength(_, wanted) => format!("`{field}` must be {wanted}"),
        Kind::UnknownVariant(_, known) => format!("`{field}` must be one of {}", known.join(", ")),
        Kind::UnknownField(name, known) => {
            let name = if field.is_empty() {
                name.clone()
            } else {
                format!("{field}.{name}")
            };
            format!("`{name}` is not a setting; there are {}", known.join(", "))
        }
        Kind::MissingField(name) => format!("`{field}.{name}` is required"),
        Kind::DuplicateField(name) => format!("`{field}.{name}` is given twice"),
        Kind::ISizeOutOfRange(_) | Kind::USizeOutOfRange(_) => format!("`{field}` is out of range"),
        Kind::Unsupported(_) | Kind::UnsupportedKey(..) => {
            format!("`{field}` has a kind of value that no setting has")
        }
        // The parser quotes the text below the first line, which has the location of the error.
        Kind::Message(message) if field.is_empty() => {
            message.lines().next().unwrap_or_default().to_owned()
        }
        Kind::Message(_) => format!("`{field}` is malformed"),
    }
}
