//! Examples of whole messages: declared, or assembled from the examples of their fields.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::node::{Node, Object};
use super::scalar::Position;
use super::schema::{Schemas, is_required};
use crate::error::Error;
use crate::options;

/// Maximum nesting depth of messages in an example.
const MAX_DEPTH: usize = 5;

/// Returns an example of a message without some of its fields.
pub(crate) fn message(
    schemas: &Schemas,
    message: &MessageDescriptor,
    position: Position,
    without: &[FieldDescriptor],
) -> Result<Node, Error> {
    inside(schemas, message, position, without, 0)
}

/// Returns an example of a field's value.
pub(crate) fn field(
    schemas: &Schemas,
    field: &FieldDescriptor,
    position: Position,
) -> Result<Node, Error> {
    value(schemas, field, position, 0)
}

fn inside(
    schemas: &Schemas,
    message: &MessageDescriptor,
    position: Position,
    without: &[FieldDescriptor],
    depth: usize,
) -> Result<Node, Error> {
    let own = schemas
        .message_comment(message)?
        .examples
        .into_iter()
        .next();
    if let Some(own) = own {
        return Ok(own);
    }
    let mut object = Object::default();
    for field in options::json_fields(message).filter(|field| !without.contains(field)) {
        let has_own = !schemas.field_comment(&field)?.examples.is_empty();
        if has_own || is_required(&field, position)? {
            object.set(field.json_name(), value(schemas, &field, position, depth)?);
        }
    }
    Ok(object.into())
}

fn value(
    schemas: &Schemas,
    field: &FieldDescriptor,
    position: Position,
    depth: usize,
) -> Result<Node, Error> {
    let own = schemas.field_comment(field)?.examples.into_iter().next();
    if let Some(own) = own {
        return Ok(own);
    }
    let json = options::field(field)?;
    if field.is_map() {
        return Ok(Object::default().into());
    }
    if json.null_when_unset && position == Position::Response {
        return Ok(Node::Null);
    }
    if field.is_list() && depth >= MAX_DEPTH {
        return Ok(Node::List(Vec::new()));
    }
    let one = match field.kind() {
        _ if json.decimal_places.is_some() => Node::from(0_i64),
        Kind::Bool => false.into(),
        Kind::String => "string".into(),
        Kind::Bytes => "".into(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => "0".into(),
        Kind::Enum(inner) => enumeration(&inner),
        Kind::Message(inner) => {
            match well_known(&inner, options::timestamp_digits(&field.parent_file())?) {
                Some(known) => known,
                None if depth >= MAX_DEPTH => Object::default().into(),
                None => inside(schemas, &inner, position, &[], depth + 1)?,
            }
        }
        _ => 0_i64.into(),
    };
    Ok(if field.is_list() {
        Node::List(vec![one])
    } else {
        one
    })
}

/// Returns the first value that is not zero.
fn enumeration(descriptor: &EnumDescriptor) -> Node {
    let mut values = options::enum_values(descriptor).into_iter();
    let value = values.find(|value| value.number() != 0);
    let value = value.unwrap_or_else(|| descriptor.default_value());
    options::enum_value_name(&value).into()
}

fn well_known(message: &MessageDescriptor, digits: u32) -> Option<Node> {
    let fraction = match digits {
        0 => String::new(),
        digits => format!(".{}", "0".repeat(digits as usize)),
    };
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => format!("2027-01-31T00:00:00{fraction}Z").into(),
        "google.protobuf.Duration" => "1.500s".into(),
        "google.protobuf.FieldMask"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue" => "".into(),
        "google.protobuf.Struct" | "google.protobuf.Empty" => Object::default().into(),
        "google.protobuf.Value" => Node::Null,
        "google.protobuf.ListValue" => Node::List(Vec::new()),
        "google.protobuf.BoolValue" => false.into(),
        "google.protobuf.Int64Value" | "google.protobuf.UInt64Value" => "0".into(),
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value" => 0_i64.into(),
        _ => return None,
    })
}
