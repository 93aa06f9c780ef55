//! JSON forms of messages, and the set of messages that need one.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax};

use crate::error::{Error, annotation, declaration};
use crate::names;
use crate::options::{self, FieldJson};

const FIELD_MASK: &str = "google.protobuf.FieldMask";

/// All messages and enums that appear in JSON, by full name.
#[derive(Debug, Default)]
pub(crate) struct JsonTypes {
    pub(crate) messages: BTreeMap<String, JsonType>,
    pub(crate) enums: BTreeMap<String, EnumDescriptor>,
}

/// Message that appears in JSON.
#[derive(Debug)]
pub(crate) struct JsonType {
    pub(crate) message: MessageDescriptor,
    pub(crate) members: Vec<Member>,
    /// Index of the mask that selects the fields of an update.
    pub(crate) update_mask: Option<usize>,
}

/// Field that appears in JSON.
#[derive(Debug)]
pub(crate) struct Member {
    /// Name of the field in Rust; for a oneof's member, that of the oneof.
    pub(crate) field: String,
    /// Name in JSON.
    pub(crate) json_name: String,
    /// Name in the proto file.
    pub(crate) proto_name: String,
    /// True if the name in the proto file is accepted too.
    pub(crate) reads_proto_name: bool,
    /// Description of the decimals that the field accepts, for errors; empty for other types.
    pub(crate) expected: String,
    /// Type of the codec in Rust, without the additions of the shape.
    pub(crate) codec: String,
    pub(crate) shape: Shape,
    /// Nested message, if it is an object of members.
    pub(crate) message: Option<String>,
}

/// Storage of a field, and its form when unset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Has a default value, which is written.
    Always,
    /// Omitted when unset.
    Omitted,
    /// Null when unset.
    Null,
    /// Empty array when unset.
    List,
    /// Empty object when unset. Contains the codec of the keys.
    Map(String),
    /// Variant of a oneof's type.
    Choice { variant: String, is_null: bool },
}

impl JsonTypes {
    /// Adds a message and all types inside it.
    pub(crate) fn add(&mut self, message: &MessageDescriptor) -> Result<(), Error> {
        let name = message.full_name().to_owned();
        if names::is_well_known(message) || self.messages.contains_key(&name) {
            return Ok(());
        }
        if message.parent_file().syntax() != Syntax::Proto3 {
            let reason = "only proto3 has a JSON form here: prost keeps the groups, extensions \
                          and defaults of proto2 and editions differently";
            return Err(declaration(&message.parent_file(), name, reason));
        }
        let digits = options::timestamp_digits(&message.parent_file())?;
        let members: Vec<Member> = options::json_fields(message)
            .map(|field| member(&field, digits))
            .collect::<Result<_, _>>()?;
        check_names(message, &members)?;
        let found = JsonType {
            message: message.clone(),
            members,
            update_mask: options::json_fields(message).position(|field| is_update_mask(&field)),
        };
        // Inserted before the nested types, since they may include the message itself.
        self.messages.insert(name, found);
        for field in options::json_fields(message) {
            match names::value_kind(&field) {
                Kind::Message(inner) if !names::is_well_known(&inner) => self.add(&inner)?,
                Kind::Enum(inner) if inner.package_name() != "google.protobuf" => {
                    check_enum(&inner)?;
                    self.enums.insert(inner.full_name().to_owned(), inner);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Returns true if a field is an update mask, by its name and its type.
fn is_update_mask(field: &FieldDescriptor) -> bool {
    field.name() == "update_mask"
        && !field.is_list()
        && !names::is_choice(field)
        && matches!(field.kind(), Kind::Message(inner) if inner.full_name() == FIELD_MASK)
}

fn member(field: &FieldDescriptor, digits: u32) -> Result<Member, Error> {
    let file = field.parent_file();
    let fault =
        |reason: String| annotation(&file, field.full_name(), "keyward.gateway.v1.field", reason);
    let json = options::field(field)?;
    let value = names::value_kind(field);
    let package = field.parent_message().package_name().to_owned();
    let message = match &value {
        Kind::Message(inner) if !names::is_well_known(inner) => {
            Some(names::message(inner, &package))
        }
        _ => None,
    };
    let mut codec = codec(field, &value, digits, &json).map_err(fault)?;
    if message.is_some() && is_boxed(field) {
        codec = format!("__json::Boxed<{codec}>");
    }
    let oneof = names::real_oneof(field);
    let rust = match &oneof {
        Some(oneof) => names::snake(oneof.name()),
        None => names::field(field),
    };
    Ok(Member {
        field: rust,
        json_name: field.json_name().to_owned(),
        proto_name: field.name().to_owned(),
        reads_proto_name: json.decimal_places.is_none(),
        expected: json.decimal_places.map_or_else(String::new, |places| {
            expected_decimal(places, json.schema.as_deref())
        }),
        codec,
        shape: shape(field, &json, &package),
        message,
    })
}

fn shape(field: &FieldDescriptor, json: &FieldJson, package: &str) -> Shape {
    if let Kind::Message(entry) = field.kind()
        && field.is_map()
    {
        return Shape::Map(scalar(&entry.map_entry_key_field().kind()).unwrap_or_default());
    }
    if let Some(oneof) = names::real_oneof(field) {
        let variant = names::variant(&oneof, field, package);
        let is_null = json.null_when_unset;
        return Shape::Choice { variant, is_null };
    }
    match (field.supports_presence(), json.null_when_unset) {
        _ if field.is_list() => Shape::List,
        (true, true) => Shape::Null,
        (true, false) => Shape::Omitted,
        (false, _) => Shape::Always,
    }
}

/// Returns true if prost boxes the field: the nested message contains the message of the field,
/// without a list or a map in between.
fn is_boxed(field: &FieldDescriptor) -> bool {
    let outer = field.parent_message();
    let mut seen = BTreeSet::new();
    let mut open: Vec<MessageDescriptor> = direct(field).into_iter().collect();
    while let Some(message) = open.pop() {
        if message == *outer {
            return true;
        }
        if seen.insert(message.full_name().to_owned()) {
            open.extend(message.fields().filter_map(|field| direct(&field)));
        }
    }
    false
}

/// Returns the message directly in the field.
fn direct(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(inner) if !field.is_list() && !field.is_map() => Some(inner),
        _ => None,
    }
}

/// Returns the codec of one value of the field.
fn codec(
    field: &FieldDescriptor,
    value: &Kind,
    digits: u32,
    json: &FieldJson,
) -> Result<String, String> {
    if let Some(places) = json.decimal_places {
        return decimal(value, places);
    }
    let package = field.parent_message().package_name().to_owned();
    match value {
        Kind::Enum(inner) if inner.full_name() == "google.protobuf.NullValue" => {
            Ok("__json::NullValue".to_owned())
        }
        Kind::Enum(inner) if inner.package_name() == "google.protobuf" => Err(format!(
            "{} describes proto files and has no JSON form here",
            inner.full_name()
        )),
        Kind::Enum(inner) => {
            let rust = names::enumeration(inner, &package);
            Ok(format!("__json::Enum<{rust}>"))
        }
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Timestamp" => {
            let name = if json.utc_only { "Utc" } else { "Timestamp" };
            Ok(format!("__json::{name}<{digits}>"))
        }
        Kind::Message(_) if is_update_mask(field) => Ok("__json::UpdatePaths".to_owned()),
        Kind::Message(inner) if names::is_well_known(inner) => well_known(inner),
        Kind::Message(inner) => {
            let rust = names::message(inner, &package);
            Ok(format!("__json::Message<{rust}>"))
        }
        scalar => self::scalar(scalar).ok_or_else(|| "it has no JSON form".to_owned()),
    }
}

fn scalar(kind: &Kind) -> Option<String> {
    let name = match kind {
        Kind::Bool => "Bool",
        Kind::String => "Text",
        Kind::Bytes => "Binary",
        Kind::Double => "Double",
        Kind::Float => "Float",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "Int32",
        Kind::Uint32 | Kind::Fixed32 => "UInt32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "Int64",
        Kind::Uint64 | Kind::Fixed64 => "UInt64",
        Kind::Message(_) | Kind::Enum(_) => return None,
    };
    Some(format!("__json::{name}"))
}

/// Rejects a top-level message that has no form in JSON.
pub(crate) fn form(message: &MessageDescriptor) -> Result<(), String> {
    if names::is_well_known(message) {
        well_known(message)?;
    }
    Ok(())
}

/// Returns the codec of a message of `google.protobuf`.
fn well_known(message: &MessageDescriptor) -> Result<String, String> {
    let codec = match message.name() {
        "Any" => "Any",
        "BoolValue" => "Bool",
        "BytesValue" => "Binary",
        "DoubleValue" => "Double",
        "Duration" => "Duration",
        "Empty" => "Message<()>",
        "FieldMask" => "FieldMask",
        "FloatValue" => "Float",
        "Int32Value" => "Int32",
        "Int64Value" => "Int64",
        "ListValue" => "ListValue",
        "StringValue" => "Text",
        "Struct" => "Struct",
        "Timestamp" => "Timestamp<0>",
        "UInt32Value" => "UInt32",
        "UInt64Value" => "UInt64",
        "Value" => "Value",
        _ => {
            let name = message.full_name();
            return Err(format!(
                "{name} describes proto files and has no JSON form here"
            ));
        }
    };
    Ok(format!("__json::{codec}"))
}

/// Describes the decimals that a field accepts: within the bounds of its schema, if it has any, and
/// not finer than a unit.
fn expected_decimal(places: u32, schema: Option<&str>) -> String {
    let schema: serde_json::Value = schema
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let range = match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => " within range".to_owned(),
    };
    format!("a number{range} with at most {places} decimal places")
}

fn decimal(kind: &Kind, places: u32) -> Result<String, String> {
    let integer = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "i32",
        Kind::Uint32 | Kind::Fixed32 => "u32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "i64",
        Kind::Uint64 | Kind::Fixed64 => "u64",
        _ => return Err("decimal_places needs an integer".to_owned()),
    };
    Ok(format!("__json::Decimal<{integer}, {places}>"))
}

/// Rejects two members with one name.
fn check_names(message: &MessageDescriptor, members: &[Member]) -> Result<(), Error> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for member in members {
        let mut own = vec![member.json_name.as_str()];
        if member.reads_proto_name && member.proto_name != member.json_name {
            own.push(&member.proto_name);
        }
        for name in own {
            if let Some(other) = names.insert(name, &member.proto_name) {
                let reason = format!(
                    "{name} is the JSON name of {other} and {}",
                    member.proto_name
                );
                let item = format!("{}.{}", message.full_name(), member.proto_name);
                return Err(declaration(&message.parent_file(), item, reason));
            }
        }
    }
    Ok(())
}

/// Rejects two values with one name and different numbers.
pub(crate) fn check_enum(descriptor: &EnumDescriptor) -> Result<(), Error> {
    let mut names = BTreeMap::new();
    for value in descriptor.values() {
        for name in [value.name().to_owned(), options::enum_value_name(&value)] {
            let known = names.insert(name.clone(), value.number());
            if known.is_some_and(|number| number != value.number()) {
                let reason = format!("{name} is the JSON name of two values");
                return Err(declaration(
                    &descriptor.parent_file(),
                    value.full_name(),
                    reason,
                ));
            }
        }
    }
    Ok(())
}
