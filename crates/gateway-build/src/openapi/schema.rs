//! Schemas of messages and enums.
//!
//! Requests are accepted in more forms than responses are written in, so a type that is in both has
//! two schemas. The gateway accepts the values that a request's schema allows and rejects those
//! that it forbids, except that members by their original names are accepted but not in the schema.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};

use super::comment::{Comment, Comments};
use super::declared;
use super::enumeration::forms_of_zero;
use super::names::{names, reach};
use super::node::{Node, Object, object};
use super::scalar::{self, Position};
use crate::error::Error;
use crate::options::{self, FieldJson, flag};

/// Enum whose only value is null.
pub(super) const NULL: &str = "google.protobuf.NullValue";
/// Keywords for an array rather than for its elements.
const ARRAY_KEYWORDS: [&str; 3] = ["minItems", "maxItems", "uniqueItems"];

/// Schemas of a document so far.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) comments: Comments,
    /// Types in responses, by full name.
    in_responses: BTreeSet<String>,
    /// Names of types in the document, by full name.
    names: BTreeMap<String, String>,
    /// Finished schemas by name, and null for those under construction.
    pub(super) components: BTreeMap<String, Node>,
    rejects_unknown: bool,
}

impl Schemas {
    /// Creates the set for the types of requests and responses, without schemas.
    pub(crate) fn new(
        pool: &DescriptorPool,
        requests: &[MessageDescriptor],
        responses: &[MessageDescriptor],
        rejects_unknown: bool,
    ) -> Self {
        let (mut in_requests, mut in_responses) = (BTreeMap::new(), BTreeMap::new());
        for message in requests {
            reach(message, &mut in_requests);
        }
        for message in responses {
            reach(message, &mut in_responses);
        }
        let mut all = in_requests;
        all.extend(in_responses.clone());
        Self {
            comments: Comments::new(pool),
            in_responses: in_responses.into_keys().collect(),
            names: names(&all),
            components: BTreeMap::new(),
            rejects_unknown,
        }
    }

    /// Returns the finished schemas.
    pub(crate) fn into_components(self) -> Object {
        self.components.into()
    }

    /// Adds a schema that is not of a message, such as an error's, and returns a reference to it.
    pub(crate) fn add(&mut self, name: &str, schema: Object) -> Object {
        let schema = Node::from(schema);
        let is_free = |name: &String| {
            let known = self.components.get(name);
            known.is_none_or(|known| *known == schema)
        };
        let numbered = (2..).map(|number| format!("{name}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let name = names.find(is_free).unwrap_or_default();
        let reference = refer(&name);
        self.components.insert(name, schema);
        reference
    }

    /// Returns the comment of a message, by its path.
    pub(crate) fn message_comment(&self, message: &MessageDescriptor) -> Result<Comment, Error> {
        let file = message.parent_file();
        self.comments.of(&file, message.path(), message.full_name())
    }

    pub(crate) fn field_comment(&self, field: &FieldDescriptor) -> Result<Comment, Error> {
        let file = field.parent_file();
        self.comments.of(&file, field.path(), field.full_name())
    }

    pub(super) fn name(&self, full_name: &str, position: Position) -> String {
        let name = self.names.get(full_name).cloned();
        let mut name = name.unwrap_or_else(|| full_name.to_owned());
        if position == Position::Request && self.in_responses.contains(full_name) {
            name.push_str("Input");
        }
        name
    }

    /// Returns a reference to a message's schema.
    pub(crate) fn message(
        &mut self,
        message: &MessageDescriptor,
        position: Position,
    ) -> Result<Object, Error> {
        let name = self.name(message.full_name(), position);
        if !self.components.contains_key(&name) {
            self.components.insert(name.clone(), Node::Null);
            let schema = self.message_schema(message, position, &[])?;
            self.components.insert(name.clone(), schema.into());
        }
        Ok(refer(&name))
    }

    /// Returns a reference to the schema of a body without the fields that are bound elsewhere.
    pub(crate) fn body(
        &mut self,
        message: &MessageDescriptor,
        without: &[FieldDescriptor],
    ) -> Result<Object, Error> {
        if without.is_empty() {
            return self.message(message, Position::Request);
        }
        let schema = self.message_schema(message, Position::Request, without)?;
        let name = self.name(message.full_name(), Position::Request);
        Ok(self.add(&name, schema))
    }

    /// Returns the schema of a message's object.
    fn message_schema(
        &mut self,
        message: &MessageDescriptor,
        position: Position,
        without: &[FieldDescriptor],
    ) -> Result<Object, Error> {
        let comment = self.message_comment(message)?;
        let mut schema = object! {"type" => "object"};
        schema.set_some("description", comment.description());
        let (mut properties, mut required) = (Object::default(), Vec::new());
        for field in options::json_fields(message) {
            if without.contains(&field) {
                continue;
            }
            if is_required(&field, position)? {
                required.push(Node::from(field.json_name()));
            }
            properties.set(field.json_name(), self.property(&field, position)?);
        }
        if !properties.is_empty() {
            schema.set("properties", properties);
        }
        schema.set_list("required", required);
        let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic());
        schema.set_list(
            "allOf",
            oneofs.flat_map(|oneof| at_most_one(&oneof)).collect(),
        );
        if position == Position::Request && self.rejects_unknown {
            schema.set("additionalProperties", false);
        }
        schema.merge(declared::message(message)?);
        if flag(&message.options(), "deprecated") {
            schema.set("deprecated", true);
        }
        let whole = without.is_empty();
        schema.set_list(
            "examples",
            if whole { comment.examples } else { Vec::new() },
        );
        Ok(schema)
    }

    /// Returns the schema of a member, with its declarations.
    fn property(&mut self, field: &FieldDescriptor, position: Position) -> Result<Object, Error> {
        let json = options::field(field)?;
        let typed = declared::field(field)?.schema.get("type").is_some();
        let mut schema = self.value(field, position)?;
        let takes_null = match position {
            Position::Request => !is_required(field, position)?,
            Position::Response => json.null_when_unset,
            Position::Text => false,
        };
        if takes_null && !typed {
            schema = scalar::nullable(schema);
        }
        self.describe(field, &mut schema)?;
        Ok(schema)
    }

    /// Adds the declarations of a field to a schema.
    pub(crate) fn describe(
        &self,
        field: &FieldDescriptor,
        schema: &mut Object,
    ) -> Result<(), Error> {
        let comment = self.field_comment(field)?;
        schema.set_some("description", comment.description());
        if flag(&field.options(), "deprecated") {
            schema.set("deprecated", true);
        }
        schema.set_list("examples", comment.examples);
        Ok(())
    }

    /// Returns the schema of a field's value, single or repeated.
    pub(crate) fn value(
        &mut self,
        field: &FieldDescriptor,
        position: Position,
    ) -> Result<Object, Error> {
        let json = options::field(field)?;
        let mut keywords = declared::field(field)?.schema;
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            return self.map(&entry, position, keywords);
        }
        if !field.is_list() {
            return self.single(field, position, &json, keywords);
        }
        let mut array = object! {"type" => "array"};
        for name in ARRAY_KEYWORDS {
            array.set_some(name, keywords.remove(name));
        }
        if json.not_empty.is_some() && array.get("minItems").is_none() {
            array.set("minItems", 1_u64);
        }
        array.set("items", self.single(field, position, &json, keywords)?);
        Ok(array)
    }

    fn map(
        &mut self,
        entry: &MessageDescriptor,
        position: Position,
        keywords: Object,
    ) -> Result<Object, Error> {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let mut schema = object! {"type" => "object"};
        let names = match key.kind() {
            Kind::String => None,
            Kind::Bool => Some(object! {"enum" => vec!["true", "false"]}),
            kind => {
                let number = scalar::scalar(&kind, Position::Request);
                number
                    .get("pattern")
                    .map(|pattern| object! {"pattern" => pattern.clone()})
            }
        };
        schema.set_some("propertyNames", names);
        schema.set("additionalProperties", self.value(&value, position)?);
        schema.merge(keywords);
        Ok(schema)
    }

    /// Returns the schema of one value of a field.
    fn single(
        &mut self,
        field: &FieldDescriptor,
        position: Position,
        json: &FieldJson,
        keywords: Object,
    ) -> Result<Object, Error> {
        let kind = field.kind();
        let mut schema = match (&kind, json.decimal_places) {
            (_, Some(places)) => scalar::decimal(&kind, places, position),
            (Kind::Enum(inner), _) => self.enumeration(inner, position)?,
            (Kind::Message(inner), _) => {
                let digits = options::timestamp_digits(&field.parent_file())?;
                match scalar::well_known(inner.full_name(), position, digits, json.utc_only) {
                    // The mask of an update is also read with the names of the proto file.
                    Some(_) if is_update_mask(field) && position != Position::Response => {
                        object! {"type" => "string"}
                    }
                    Some(schema) => schema,
                    None => self.message(inner, position)?,
                }
            }
            (kind, None) => scalar::scalar(kind, position),
        };
        if options::is_redacted(field) && kind == Kind::String {
            schema.set("format", "password");
        }
        if json.not_empty.is_some() && !field.is_list() && position != Position::Response {
            match &kind {
                Kind::String | Kind::Bytes => schema.set("minLength", 1_u64),
                Kind::Enum(inner) => schema.set("not", forms_of_zero(inner)),
                _ => {}
            }
        }
        schema.merge(keywords);
        Ok(schema)
    }
}

/// Returns true if a member is required: in a request because it is rejected without, in a response
/// because it is always written.
pub(crate) fn is_required(field: &FieldDescriptor, position: Position) -> Result<bool, Error> {
    let json = options::field(field)?;
    let presence = field.supports_presence();
    Ok(match position {
        Position::Response => {
            !presence || json.null_when_unset || declared::field(field)?.always_set
        }
        Position::Request | Position::Text => {
            let is_message = matches!(field.kind(), Kind::Message(_));
            json.not_empty.is_some() && (!presence || is_message)
        }
    })
}

/// Returns true if the field is the mask of an update by its name and its type.
fn is_update_mask(field: &FieldDescriptor) -> bool {
    let is_mask = |message: MessageDescriptor| message.full_name() == "google.protobuf.FieldMask";
    field.name() == "update_mask" && field.kind().as_message().cloned().is_some_and(is_mask)
}

/// Forbids two members of a oneof together. A null is ignored, unless it is the value.
fn at_most_one(oneof: &OneofDescriptor) -> Vec<Node> {
    let given = |field: &FieldDescriptor| match field.kind() {
        Kind::Enum(inner) if inner.full_name() == NULL => object! {},
        _ => object! {"not" => object! {"type" => "null"}},
    };
    let fields: Vec<FieldDescriptor> = oneof.fields().collect();
    let mut rules = Vec::new();
    for (position, first) in fields.iter().enumerate() {
        for second in fields.iter().skip(position + 1) {
            let (one, other) = (first.json_name(), second.json_name());
            let both = object! {
                "required" => vec![one, other],
                "properties" => object! {one => given(first), other => given(second)},
            };
            rules.push(object! {"not" => both}.into());
        }
    }
    rules
}

/// Returns a reference to a schema.
pub(super) fn refer(name: &str) -> Object {
    object! {"$ref" => format!("#/components/schemas/{name}")}
}
