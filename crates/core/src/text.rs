//! Texts that callers send, checked once at the edge.

use crate::error::Error;

/// Maximum length of a human-readable name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// Checks a human-readable name, which may be empty.
///
/// # Errors
/// What is wrong with the name, without the name.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Error> {
    check_text(field, "Name", name, MAX_NAME_BYTES)
}

/// Checks the name by which people know a thing apart, the field `name`.
///
/// # Errors
/// It is empty, or what else is wrong with it, without the name.
pub(crate) fn check_own_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid("name", "Name is required"));
    }
    check_name("name", name)
}

/// Checks a text of one line: at most `max_bytes` bytes of UTF-8, no control characters.
///
/// # Errors
/// What is wrong with the text, without the text.
pub(crate) fn check_text(
    field: &'static str,
    label: &str,
    text: &str,
    max_bytes: usize,
) -> Result<(), Error> {
    check_length(field, label, text, max_bytes)?;
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(
            field,
            format!("{label} must not have control characters"),
        ));
    }
    Ok(())
}

fn check_length(
    field: &'static str,
    label: &str,
    text: &str,
    max_bytes: usize,
) -> Result<(), Error> {
    if text.len() > max_bytes {
        let message = format!("{label} must have at most {max_bytes} bytes");
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// A text that may be unset, which an empty text makes it.
#[derive(Clone, Copy)]
pub(crate) struct OptionalText {
    field: &'static str,
    label: &'static str,
    max_bytes: usize,
    lines: bool,
}

impl OptionalText {
    pub(crate) const fn new(field: &'static str, label: &'static str, max_bytes: usize) -> Self {
        Self {
            field,
            label,
            max_bytes,
            lines: false,
        }
    }

    /// Lets the text have several lines and tabs.
    pub(crate) const fn with_lines(self) -> Self {
        Self {
            lines: true,
            ..self
        }
    }

    /// Checks the text.
    ///
    /// # Errors
    /// What is wrong with the text, without the text.
    pub(crate) fn parse(self, text: Option<String>) -> Result<Option<String>, Error> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        check_length(self.field, self.label, &text, self.max_bytes)?;
        let fits = |c: char| !c.is_control() || (self.lines && matches!(c, '\n' | '\r' | '\t'));
        if !text.chars().all(fits) {
            let message = format!("{} must not have control characters", self.label);
            return Err(Error::invalid(self.field, message));
        }
        Ok(Some(text))
    }
}
