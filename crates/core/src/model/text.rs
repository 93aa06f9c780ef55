//! Validation of texts from requests.

use crate::error::Error;

/// Maximum length of a name, in bytes of UTF-8: a human-readable one, or of a region, tenant or subscription.
pub const MAX_NAME_BYTES: usize = 255;

/// Checks a human-readable name, which may be empty.
///
/// # Errors
/// The defect of the name, without the name.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Error> {
    check_text(field, "Name", name, MAX_NAME_BYTES)
}

/// Checks the field `name` of a resource that users identify by its name.
///
/// # Errors
/// The name is empty, invisible or otherwise invalid; the error does not contain it.
pub(crate) fn check_own_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::invalid("name", "Name is required"));
    }
    check_name("name", name)?;
    if !name.chars().any(is_visible) {
        return Err(Error::invalid("name", "Name must have a visible character"));
    }
    Ok(())
}

/// Returns true if a character is visible: it is neither white space, nor a control character, nor
/// default-ignorable in Unicode (`Default_Ignorable_Code_Point`), nor another blank.
fn is_visible(character: char) -> bool {
    let is_ignorable = matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    // The empty pattern of Braille is a letter that looks like a space.
    let is_blank = character == '\u{2800}';
    !(character.is_whitespace() || character.is_control() || is_ignorable || is_blank)
}

/// Checks a single-line text: at most `max_bytes` bytes of UTF-8, no control characters.
///
/// # Errors
/// The defect of the text, without the text.
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

/// Rules for an optional text; an empty text unsets it.
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

    /// Allows line breaks and tabs.
    pub(crate) const fn with_lines(self) -> Self {
        Self {
            lines: true,
            ..self
        }
    }

    /// Checks the text.
    ///
    /// # Errors
    /// The defect of the text, without the text.
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
