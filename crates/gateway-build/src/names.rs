//! The names that prost and tonic give in Rust.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor};

/// The field of a message's struct.
pub(crate) fn field(field: &FieldDescriptor) -> String {
    snake(field.name())
}

/// A method of a service's trait, or any other `lower_snake` name.
pub(crate) fn snake(name: &str) -> String {
    escape(name.to_snake_case())
}

/// The module of a service, before `_server` or `_client`.
pub(crate) fn service_module(service: &str) -> String {
    let mut name = String::with_capacity(service.len() + 4);
    for (place, character) in service.chars().enumerate() {
        if character.is_uppercase() && place > 0 {
            name.push('_');
        }
        name.extend(character.to_lowercase());
    }
    name
}

/// The type of a message, seen from a package.
pub(crate) fn message(message: &MessageDescriptor, package: &str) -> String {
    let mut parents = Vec::new();
    let mut parent = message.parent_message();
    while let Some(outer) = parent {
        parents.push(outer.name().to_owned());
        parent = outer.parent_message();
    }
    type_path(package, message.package_name(), parents, message.name())
}

/// The type of an enum, seen from a package.
pub(crate) fn enumeration(enumeration: &EnumDescriptor, package: &str) -> String {
    let mut parents = Vec::new();
    let mut parent = enumeration.parent_message();
    while let Some(outer) = parent {
        parents.push(outer.name().to_owned());
        parent = outer.parent_message();
    }
    type_path(
        package,
        enumeration.package_name(),
        parents,
        enumeration.name(),
    )
}

/// `parents` go from the inside out.
fn type_path(from: &str, to: &str, parents: Vec<String>, name: &str) -> String {
    let mut path = Vec::new();
    if from != to {
        path.extend(from.split('.').map(|_| "super".to_owned()));
        path.extend(to.split('.').map(snake));
    }
    path.extend(parents.iter().rev().map(|parent| snake(parent)));
    path.push(escape(name.to_upper_camel_case()));
    path.join("::")
}

/// Keywords become raw identifiers, as prost makes them.
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
