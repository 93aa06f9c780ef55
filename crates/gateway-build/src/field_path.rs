//! Paths to nested fields, as in path variables.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

/// Path to a field of a message or of a nested message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldPath {
    /// Fields from the outside in; never empty.
    pub(crate) fields: Vec<FieldDescriptor>,
}

impl FieldPath {
    /// Returns the index of each field.
    pub(crate) fn indices(&self) -> Vec<usize> {
        self.fields.iter().map(index).collect()
    }

    /// Returns true if the two exclude each other as members of one oneof.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        let parting = self.fields.iter().zip(&other.fields).find(|(a, b)| a != b);
        parting.is_some_and(|(a, b)| {
            let oneof = a.containing_oneof();
            oneof.is_some() && oneof == b.containing_oneof()
        })
    }
}

/// Returns the index of a field in its message: its member in the generated code.
pub(crate) fn index(field: &FieldDescriptor) -> usize {
    let mut fields = field.parent_message().fields();
    fields.position(|other| other == *field).unwrap_or_default()
}

/// Well-known messages whose JSON is one text, so that a path can contain it.
const TEXTS: [&str; 12] = [
    "google.protobuf.BoolValue",
    "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.FloatValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.StringValue",
    "google.protobuf.Timestamp",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
];

/// Finds the field that a path variable sets.
///
/// `http.proto`: the path must not lead to or through a repeated field, nor end at a message.
/// Well-known messages that are one text are accepted as in grpc-gateway. A field with explicit
/// presence is accepted too (grpc-gateway rejects it), since a path that matches always sets it.
pub(crate) fn resolve(message: &MessageDescriptor, path: &[String]) -> Result<FieldPath, String> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut message = message.clone();
    for (index, name) in path.iter().enumerate() {
        let shown = path.get(..=index).unwrap_or(path).join(".");
        let field = message
            .get_field_by_name(name)
            .ok_or_else(|| format!("the request has no field {shown}"))?;
        let last = index + 1 == path.len();
        if field.is_map() {
            return Err(format!("the field {shown} is a map"));
        }
        if field.is_list() {
            return Err(format!("the field {shown} is repeated"));
        }
        match field.kind() {
            Kind::Message(inner) if last => {
                if !TEXTS.contains(&inner.full_name()) {
                    return Err(format!("the field {shown} is a message"));
                }
            }
            Kind::Message(inner) if inner.package_name() != "google.protobuf" => message = inner,
            _ if last => {}
            _ => return Err(format!("the field {shown} has no fields")),
        }
        fields.push(field);
    }
    Ok(FieldPath { fields })
}
