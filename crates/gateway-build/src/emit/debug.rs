//! `Debug` of messages with fields that must not be printed.

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::error::{Error, declaration};
use crate::names;
use crate::options;

/// The messages whose `Debug` prost must not derive, by full name.
pub(crate) fn redacted(pool: &DescriptorPool, files: &[String]) -> Result<Vec<String>, Error> {
    let own = |message: &MessageDescriptor| {
        files
            .iter()
            .any(|file| file == message.parent_file().name())
    };
    let mut found = Vec::new();
    for message in pool.all_messages().filter(own) {
        if !message.fields().any(|field| options::is_redacted(&field)) {
            continue;
        }
        if message.oneofs().any(|oneof| !oneof.is_synthetic()) {
            let reason = "debug_redact beside a oneof is not supported yet";
            return Err(declaration(
                &message.parent_file(),
                message.full_name(),
                reason,
            ));
        }
        found.push(message.full_name().to_owned());
    }
    Ok(found)
}

/// The messages that need a `Debug` of their own. prost leaves out the derived
/// one for a message and for all that are declared inside it.
pub(crate) fn with_own_debug(
    pool: &DescriptorPool,
    files: &[String],
) -> Result<Vec<MessageDescriptor>, Error> {
    let redacted = redacted(pool, files)?;
    let is_under = |message: &MessageDescriptor, outer: &String| {
        let rest = message.full_name().strip_prefix(outer.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let found: Vec<_> = pool
        .all_messages()
        .filter(|message| !message.is_map_entry())
        .filter(|message| redacted.iter().any(|outer| is_under(message, outer)))
        .collect();
    for message in &found {
        if message.oneofs().any(|oneof| !oneof.is_synthetic()) {
            let reason = "a oneof inside a message with debug_redact is not supported yet";
            return Err(declaration(
                &message.parent_file(),
                message.full_name(),
                reason,
            ));
        }
    }
    Ok(found)
}

pub(crate) fn debug(message: &MessageDescriptor) -> String {
    let rust = names::message(message, message.package_name());
    let mut fields = String::new();
    for field in message.fields() {
        let name = names::field(&field);
        let value = if options::is_redacted(&field) {
            "::core::format_args!(\"[redacted]\")".to_owned()
        } else {
            format!("self.{name}")
        };
        let shown = name.trim_start_matches("r#");
        fields.push_str(&format!("            .field({shown:?}, &{value})\n"));
    }
    format!(
        "impl ::core::fmt::Debug for {rust} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct({name:?})
{fields}            .finish()
    }}
}}
",
        name = message.name(),
    )
}
