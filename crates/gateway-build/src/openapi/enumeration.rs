//! Schemas of enums.

use prost_reflect::EnumDescriptor;

use super::node::{Node, Object, object};
use super::scalar::Position;
use super::schema::{NULL, Schemas, refer};
use crate::error::Error;
use crate::options::{self, flag};

impl Schemas {
    /// Returns a reference to an enum's schema.
    pub(super) fn enumeration(
        &mut self,
        descriptor: &EnumDescriptor,
        position: Position,
    ) -> Result<Object, Error> {
        if descriptor.full_name() == NULL {
            return Ok(match position {
                Position::Response => object! {"type" => "null"},
                _ => one_of(vec![Node::Null, "NULL_VALUE".into(), 0_i64.into()]),
            });
        }
        // Texts and JSON are accepted in the same forms.
        let position = match position {
            Position::Text => Position::Request,
            other => other,
        };
        let name = self.name(descriptor.full_name(), position);
        if !self.components.contains_key(&name) {
            let schema = self.enum_schema(descriptor, position)?;
            self.components.insert(name.clone(), schema.into());
        }
        Ok(refer(&name))
    }

    fn enum_schema(
        &self,
        descriptor: &EnumDescriptor,
        position: Position,
    ) -> Result<Object, Error> {
        let file = descriptor.parent_file();
        let comment = self
            .comments
            .of(&file, descriptor.path(), descriptor.full_name())?;
        let mut points = Vec::new();
        let (mut names, mut originals, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for value in options::enum_values(descriptor) {
            let name = options::enum_value_name(&value);
            let said = self
                .comments
                .of(&file, value.path(), value.full_name())?
                .text;
            if !said.is_empty() {
                points.push(format!("- `{name}`: {said}"));
            }
            if name != value.name() {
                originals.push(Node::from(value.name()));
            }
            let number = Node::from(i64::from(value.number()));
            let is_first = !numbers.contains(&number);
            // A response has the first of several names, a request any of them.
            if is_first || position != Position::Response {
                names.push(Node::from(name));
            }
            if is_first {
                numbers.push(number);
            }
        }
        if position != Position::Response {
            names.append(&mut originals);
            names.append(&mut numbers);
        }
        let mut schema = one_of(names);
        let mut text = vec![comment.text, points.join("\n")];
        text.retain(|part| !part.is_empty());
        if !text.is_empty() {
            schema.set("description", text.join("\n\n"));
        }
        if flag(&descriptor.options(), "deprecated") {
            schema.set("deprecated", true);
        }
        Ok(schema)
    }
}

/// Returns the schema of the given texts, integers and null: an enum for each type among them, since
/// many generators of clients take no enum whose values differ in type.
fn one_of(values: Vec<Node>) -> Object {
    let (texts, others): (Vec<_>, Vec<_>) = values
        .into_iter()
        .partition(|value| matches!(value, Node::Text(_)));
    let (nulls, numbers): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|value| *value == Node::Null);
    let mut schemas = Vec::new();
    for (name, values) in [("string", texts), ("integer", numbers)] {
        if !values.is_empty() {
            schemas.push(object! {"type" => name, "enum" => values});
        }
    }
    if !nulls.is_empty() {
        schemas.push(object! {"type" => "null"});
    }
    if schemas.len() == 1 {
        return schemas.remove(0);
    }
    object! {"anyOf" => schemas}
}

/// Returns the schema of the values that a request must not have if the enum must not be empty.
pub(super) fn forms_of_zero(descriptor: &EnumDescriptor) -> Object {
    let zero = descriptor.default_value();
    let mut forms = vec![Node::from(options::enum_value_name(&zero))];
    if forms.first().and_then(Node::as_str) != Some(zero.name()) {
        forms.push(zero.name().into());
    }
    forms.push(0_i64.into());
    one_of(forms)
}
