//! Entry points for the fuzzer only.

use std::fmt::Write as _;

use crate::template::{Segment, Template};

/// Parses a path template and prints it in its canonical form.
///
/// # Errors
///
/// Gives the reason why the template is malformed.
pub fn template(text: &str) -> Result<String, String> {
    let template = Template::parse(text)?;
    let mut printed = String::new();
    for (index, segment) in template.segments.iter().enumerate() {
        let begins = |first: usize| first == index;
        let begun = template.variables.iter().find(|one| begins(one.first));
        printed.push('/');
        if let Some(variable) = begun {
            printed.push('{');
            printed.push_str(&variable.path.join("."));
            printed.push('=');
        }
        match segment {
            Segment::Literal(text) => printed.push_str(&escaped(text)),
            Segment::Wildcard => printed.push('*'),
            Segment::CatchAll => printed.push_str("**"),
        }
        let last = template.segments.len() - 1;
        let ends = template.variables.iter().any(|one| {
            let end = one.count.map_or(last, |count| one.first + count - 1);
            end == index
        });
        if ends {
            printed.push('}');
        }
    }
    if let Some(verb) = &template.verb {
        printed.push(':');
        printed.push_str(&escaped(verb));
    }
    Ok(printed)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
