//! Which JSON a message has, and which messages need one.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Syntax};

use crate::error::{Error, declaration};
use crate::names;
use crate::options::{self, FieldJson};

const FIELD_MASK: &str = "google.protobuf.FieldMask";

/// All messages and enums that appear in JSON, by full name.
#[derive(Debug, Default)]
pub(crate) struct JsonTypes {
    pub(crate) messages: BTreeMap<String, JsonType>,
    pub(crate) enums: BTreeMap<String, EnumDescriptor>,
}

/// A message that appears in JSON.
#[derive(Debug)]
pub(crate) struct JsonType {
    pub(crate) message: MessageDescriptor,
    pub(crate) members: Vec<Member>,
    /// Whether it is the request of a method with a route.
    pub(crate) is_request: bool,
    /// The place of the mask that says what an update changes.
    pub(crate) update_mask: Option<usize>,
}

/// A field that appears in JSON.
#[derive(Debug)]
pub(crate) struct Member {
    /// The field in Rust.
    pub(crate) field: String,
    /// The name in JSON.
    pub(crate) json_name: String,
    /// The name in the proto file, if it is accepted too.
    pub(crate) proto_name: Option<String>,
    /// The codec's type in Rust.
    pub(crate) codec: String,
    pub(crate) presence: Presence,
    /// Whether a path variable or query parameter can set it.
    pub(crate) is_parameter: bool,
}

/// What an unset field looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has a default value, which is written.
    Always,
    /// It is left out.
    Omitted,
    /// It is null.
    Null,
    /// It is an empty array.
    List,
}

impl JsonTypes {
    /// Adds a message and everything inside it.
    pub(crate) fn add(&mut self, message: &MessageDescriptor, request: bool) -> Result<(), Error> {
        self.visit(message, &mut Vec::new())?;
        if let Some(known) = self.messages.get_mut(message.full_name()) {
            known.is_request |= request;
        }
        Ok(())
    }

    fn visit(&mut self, message: &MessageDescriptor, path: &mut Vec<String>) -> Result<(), Error> {
        let name = message.full_name().to_owned();
        let fault = |reason: &str| Err(declaration(&message.parent_file(), &name, reason));
        if path.contains(&name) {
            return fault("a message inside itself is not supported yet");
        }
        if message.package_name() == "google.protobuf" {
            return fault("it has no JSON form yet");
        }
        if message.parent_file().syntax() != Syntax::Proto3 {
            return fault("only proto3 is supported yet");
        }
        if self.messages.contains_key(&name) {
            return Ok(());
        }
        path.push(name.clone());
        let digits = options::timestamp_digits(&message.parent_file())?;
        let mut members = Vec::new();
        for field in message.fields() {
            members.push(member(&field, digits)?);
            match field.kind() {
                Kind::Message(inner) if !is_well_known(&inner) => self.visit(&inner, path)?,
                Kind::Enum(inner) => {
                    check_enum(&inner)?;
                    self.enums.insert(inner.full_name().to_owned(), inner);
                }
                _ => {}
            }
        }
        path.pop();
        check_names(message, &members)?;
        let found = JsonType {
            message: message.clone(),
            members,
            is_request: false,
            update_mask: update_mask(message),
        };
        self.messages.insert(name, found);
        Ok(())
    }
}

fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// The place of a field that is an update mask by its name and its type.
fn update_mask(message: &MessageDescriptor) -> Option<usize> {
    message.fields().position(|field| {
        field.name() == "update_mask"
            && !field.is_list()
            && matches!(field.kind(), Kind::Message(inner) if inner.full_name() == FIELD_MASK)
    })
}

fn member(field: &FieldDescriptor, digits: u32) -> Result<Member, Error> {
    let fault = |reason: String| declaration(&field.parent_file(), field.full_name(), reason);
    if field.is_map() {
        return Err(fault("maps in JSON are not supported yet".to_owned()));
    }
    if field
        .containing_oneof()
        .is_some_and(|oneof| !oneof.is_synthetic())
    {
        return Err(fault("oneofs in JSON are not supported yet".to_owned()));
    }
    let json = options::field(field)?;
    let presence = match (
        field.is_list(),
        field.supports_presence(),
        json.null_when_unset,
    ) {
        (true, _, _) => Presence::List,
        (_, true, true) => Presence::Null,
        (_, true, false) => Presence::Omitted,
        (_, false, _) => Presence::Always,
    };
    let json_name = field.json_name().to_owned();
    let proto_name = Some(field.name().to_owned())
        .filter(|name| json.decimal_places.is_none() && *name != json_name);
    Ok(Member {
        field: names::field(field),
        json_name,
        proto_name,
        codec: codec(field, digits, &json).map_err(fault)?,
        presence,
        is_parameter: !matches!(field.kind(), Kind::Message(_)),
    })
}

/// The codec of one value of the field.
fn codec(field: &FieldDescriptor, digits: u32, json: &FieldJson) -> Result<String, String> {
    if let Some(places) = json.decimal_places {
        return decimal(&field.kind(), places);
    }
    let plain = match field.kind() {
        Kind::Bool => "Bool",
        Kind::String => "Text",
        Kind::Bytes => "Binary",
        Kind::Double => "Double",
        Kind::Float => "Float",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "Int32",
        Kind::Uint32 | Kind::Fixed32 => "UInt32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "Int64",
        Kind::Uint64 | Kind::Fixed64 => "UInt64",
        Kind::Enum(inner) => {
            let package = field.parent_message().package_name().to_owned();
            return Ok(format!(
                "json::Enum<{}>",
                names::enumeration(&inner, &package)
            ));
        }
        Kind::Message(inner) => return message_codec(field, &inner, digits, json),
    };
    Ok(format!("json::{plain}"))
}

fn message_codec(
    field: &FieldDescriptor,
    inner: &MessageDescriptor,
    digits: u32,
    json: &FieldJson,
) -> Result<String, String> {
    match inner.full_name() {
        "google.protobuf.Timestamp" if json.utc_only => Ok(format!("json::Utc<{digits}>")),
        "google.protobuf.Timestamp" => Ok(format!("json::Timestamp<{digits}>")),
        FIELD_MASK => Ok("json::FieldMask".to_owned()),
        name if is_well_known(inner) => Err(format!("{name} in JSON is not supported yet")),
        _ => {
            let package = field.parent_message().package_name().to_owned();
            Ok(format!(
                "json::Message<{}>",
                names::message(inner, &package)
            ))
        }
    }
}

fn decimal(kind: &Kind, places: u32) -> Result<String, String> {
    let integer = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "i32",
        Kind::Uint32 | Kind::Fixed32 => "u32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "i64",
        Kind::Uint64 | Kind::Fixed64 => "u64",
        _ => return Err("decimal_places needs an integer".to_owned()),
    };
    Ok(format!("json::Decimal<{integer}, {places}>"))
}

/// No two members may answer to one name.
fn check_names(message: &MessageDescriptor, members: &[Member]) -> Result<(), Error> {
    let mut names = BTreeMap::new();
    for member in members {
        for name in std::iter::once(&member.json_name).chain(&member.proto_name) {
            if let Some(other) = names.insert(name, &member.field) {
                let reason = format!("{name} is the JSON name of {other} and {}", member.field);
                return Err(declaration(
                    &message.parent_file(),
                    message.full_name(),
                    reason,
                ));
            }
        }
    }
    Ok(())
}

/// No two values with different numbers may have one name.
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
