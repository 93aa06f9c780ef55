//! `Debug` of messages with redacted fields.

use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, OneofDescriptor};

use crate::names;
use crate::options;

/// Returns the full names of the messages whose `Debug` prost must not derive.
pub(crate) fn redacted(pool: &DescriptorPool, files: &[String]) -> Vec<String> {
    pool.all_messages()
        .filter(|message| {
            files
                .iter()
                .any(|file| file == message.parent_file().name())
        })
        .filter(|message| message.fields().any(|field| options::is_redacted(&field)))
        .map(|message| message.full_name().to_owned())
        .collect()
}

/// Returns the messages that need their own `Debug`. prost omits the derived one for a message, its
/// oneofs, and all nested declarations.
pub(crate) fn with_own_debug(pool: &DescriptorPool, files: &[String]) -> Vec<MessageDescriptor> {
    let redacted = redacted(pool, files);
    let is_under = |message: &MessageDescriptor, outer: &String| {
        let rest = message.full_name().strip_prefix(outer.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    pool.all_messages()
        .filter(|message| !message.is_map_entry())
        .filter(|message| redacted.iter().any(|outer| is_under(message, outer)))
        .collect()
}

/// `Debug` of a message and of its oneofs.
pub(crate) fn debug(message: &MessageDescriptor) -> String {
    let rust = names::message(message, message.package_name());
    let own = message.fields().filter(|field| !names::is_choice(field));
    let mut fields: String = own
        .map(|field| shown(&names::field(&field), &field))
        .collect();
    let mut oneofs = String::new();
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let name = names::snake(oneof.name());
        fields.push_str(&line(&name, &format!("self.{name}")));
        oneofs.push_str(&choice(&oneof, message.package_name()));
    }
    format!(
        "#[allow(deprecated)]
impl ::core::fmt::Debug for {rust} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct({name:?})
{fields}            .finish()
    }}
}}
{oneofs}",
        name = message.name(),
    )
}

const REDACTED: &str = "::core::format_args!(\"[redacted]\")";

fn shown(name: &str, field: &FieldDescriptor) -> String {
    if options::is_redacted(field) {
        line(name, REDACTED)
    } else {
        line(name, &format!("self.{name}"))
    }
}

fn line(name: &str, value: &str) -> String {
    let shown = name.trim_start_matches("r#");
    format!("            .field({shown:?}, &{value})\n")
}

/// `Debug` of a oneof: the variant and, unless it is redacted, its value.
fn choice(oneof: &OneofDescriptor, package: &str) -> String {
    let rust = names::oneof(oneof, package);
    let variants: String = oneof
        .fields()
        .map(|field| {
            let variant = names::variant(oneof, &field, package);
            let name = variant.rsplit("::").next().unwrap_or_default();
            let (bound, value) = if options::is_redacted(&field) {
                ("_", format!("&{REDACTED}"))
            } else {
                ("value", "value".to_owned())
            };
            format!(
                "            {variant}({bound}) => f.debug_tuple({name:?}).field({value}).finish(),\n"
            )
        })
        .collect();
    format!(
        "#[allow(deprecated)]
impl ::core::fmt::Debug for {rust} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        match self {{
{variants}        }}
    }}
}}
"
    )
}
