//! Rust names that prost and tonic generate.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};

/// Returns the name of a field of a message's struct.
pub(crate) fn field(field: &FieldDescriptor) -> String {
    snake(field.name())
}

/// Returns the name of a method of a service's trait, or any other `lower_snake` name.
pub(crate) fn snake(name: &str) -> String {
    escape(name.to_snake_case())
}

/// Returns the module of a service, before `_server` or `_client`.
pub(crate) fn service_module(service: &str) -> String {
    let mut name = String::with_capacity(service.len() + 4);
    for (index, character) in service.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            name.push('_');
        }
        name.extend(character.to_lowercase());
    }
    name
}

/// Returns true for a message of `google.protobuf`, for which prost has types.
pub(crate) fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// Returns the oneof of a field, except for one that represents `optional`.
pub(crate) fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
}

/// Returns true if a field is a member of a oneof.
pub(crate) fn is_choice(field: &FieldDescriptor) -> bool {
    real_oneof(field).is_some()
}

/// Returns the kind of the field's values; for a map, not that of its entries.
pub(crate) fn value_kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        other => other,
    }
}

/// Returns the enum that prost generates for a oneof, relative to a package.
pub(crate) fn oneof(oneof: &OneofDescriptor, package: &str) -> String {
    let message = oneof.parent_message();
    let mut name = oneof.name().to_upper_camel_case();
    let messages = message
        .child_messages()
        .map(|inner| inner.name().to_owned());
    let enums = message.child_enums().map(|inner| inner.name().to_owned());
    if messages
        .chain(enums)
        .any(|inner| inner.to_upper_camel_case() == name)
    {
        name.push_str("OneOf");
    }
    let mut parents = vec![message.name().to_owned()];
    parents.extend(parents_of(message.parent_message()));
    type_path(package, message.package_name(), &parents, &name)
}

/// Returns the variant of a oneof's member, relative to a package.
pub(crate) fn variant(oneof: &OneofDescriptor, field: &FieldDescriptor, package: &str) -> String {
    let name = escape(field.name().to_upper_camel_case());
    format!("{}::{name}", self::oneof(oneof, package))
}

/// Returns the type of a message, relative to a package.
pub(crate) fn message(message: &MessageDescriptor, package: &str) -> String {
    if is_well_known(message) {
        return well_known(message.name());
    }
    let parents = parents_of(message.parent_message());
    type_path(package, message.package_name(), &parents, message.name())
}

/// Returns the type of an enum, relative to a package.
pub(crate) fn enumeration(enumeration: &EnumDescriptor, package: &str) -> String {
    let parents = parents_of(enumeration.parent_message());
    type_path(
        package,
        enumeration.package_name(),
        &parents,
        enumeration.name(),
    )
}

/// Returns prost's type of a message of `google.protobuf`.
fn well_known(name: &str) -> String {
    match name {
        "BoolValue" => "bool",
        "BytesValue" => "::std::vec::Vec<u8>",
        "DoubleValue" => "f64",
        "Empty" => "()",
        "FloatValue" => "f32",
        "Int32Value" => "i32",
        "Int64Value" => "i64",
        "StringValue" => "::std::string::String",
        "UInt32Value" => "u32",
        "UInt64Value" => "u64",
        other => return format!("::prost_types::{}", other.to_upper_camel_case()),
    }
    .to_owned()
}

/// Returns the names of a message and its enclosing messages, from the inside out.
fn parents_of(message: Option<MessageDescriptor>) -> Vec<String> {
    let mut parents = Vec::new();
    let mut next = message;
    while let Some(message) = next {
        parents.push(message.name().to_owned());
        next = message.parent_message();
    }
    parents
}

/// `parents` go from the inside out.
fn type_path(from: &str, to: &str, parents: &[String], name: &str) -> String {
    let mut path = Vec::new();
    if from != to {
        let parts = |package: &str| -> Vec<String> {
            let parts = package.split('.').filter(|part| !part.is_empty());
            parts.map(snake).collect()
        };
        path.extend(parts(from).iter().map(|_| "super".to_owned()));
        path.extend(parts(to));
    }
    path.extend(parents.iter().rev().map(|parent| snake(parent)));
    path.push(escape(name.to_upper_camel_case()));
    path.join("::")
}

/// Keywords become raw identifiers, as in prost.
fn escape(name: String) -> String {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do",
        "dyn", "else", "enum", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
        "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
        "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
        "virtual", "where", "while", "yield",
    ];
    match name.as_str() {
        "_" | "super" | "self" | "Self" | "extern" | "crate" => format!("{name}_"),
        keyword if KEYWORDS.contains(&keyword) => format!("r#{name}"),
        number if number.starts_with(|first: char| first.is_numeric()) => format!("_{name}"),
        _ => name,
    }
}
