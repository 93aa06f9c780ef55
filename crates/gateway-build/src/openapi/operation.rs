//! Binding of a method as an operation.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::declared;
use super::example;
use super::names::is_plain;
use super::node::{Node, Object, object};
use super::path::{self, Path};
use super::scalar::Position;
use super::schema::{NULL, Schemas, is_required};
use crate::error::Error;
use crate::field_path::FieldPath;
use crate::http_rule::{Body, HttpRule};
use crate::options::{self, flag};
use crate::routes::Method;

/// Sources of the fields of a request in a binding.
pub(crate) struct Request {
    /// Path in OpenAPI form.
    pub(crate) path: Path,
    /// Fields that the path sets.
    in_path: Vec<FieldPath>,
    body: Body,
    message: MessageDescriptor,
}

impl Request {
    /// Resolves the names in a binding.
    pub(crate) fn new(method: &Method, rule: &HttpRule) -> Self {
        let message = method.method.input();
        Self {
            path: Path::translate(&rule.path, |field| shown(&message, field)),
            in_path: rule
                .variables
                .iter()
                .map(|variable| variable.field.clone())
                .collect(),
            body: rule.body.clone(),
            message,
        }
    }

    pub(crate) fn has_body(&self) -> bool {
        self.body != Body::None
    }

    /// Returns the parameters of path and query.
    pub(crate) fn parameters(&self, schemas: &mut Schemas) -> Result<Vec<Node>, Error> {
        let mut parameters = Vec::new();
        for parameter in &self.path.parameters {
            parameters.push(self.path_parameter(parameter, schemas)?.into());
        }
        if self.body != Body::All {
            self.query(&self.message, &mut Vec::new(), schemas, &mut parameters)?;
        }
        Ok(parameters)
    }

    fn path_parameter(
        &self,
        parameter: &path::Parameter,
        schemas: &mut Schemas,
    ) -> Result<Object, Error> {
        let way = parameter
            .field
            .as_deref()
            .and_then(|field| way(&self.message, field));
        let field = way.and_then(|way| way.last().cloned());
        let mut object = object! {
            "name" => parameter.name.as_str(),
            "in" => "path",
            "required" => true,
        };
        let mut notes = Vec::new();
        if let Some(pattern) = &parameter.pattern {
            notes.push(format!("The part of `{pattern}` that is not fixed."));
        }
        if parameter.is_rest {
            notes.push("It may have several segments, whose slashes are sent as they are.".into());
        }
        let mut schema = object! {"type" => "string", "minLength" => 1_u64};
        if let Some(field) = field {
            let comment = schemas.field_comment(&field)?;
            notes.splice(..0, comment.description());
            if parameter.pattern.is_none() {
                schema = schemas.value(&field, Position::Text)?;
                let is_text = schema.get("type").and_then(Node::as_str) == Some("string");
                if is_text && schema.get("minLength").is_none() && !parameter.is_rest {
                    schema.set("minLength", 1_u64);
                }
                schema.set_list("examples", comment.examples);
            }
        }
        object.set_some(
            "description",
            Some(notes.join(" ")).filter(|text| !text.is_empty()),
        );
        object.set("schema", schema);
        Ok(object)
    }

    /// Returns the parameters of the query: every field that text can set and that has no other
    /// source.
    fn query(
        &self,
        message: &MessageDescriptor,
        before: &mut Vec<FieldDescriptor>,
        schemas: &mut Schemas,
        found: &mut Vec<Node>,
    ) -> Result<(), Error> {
        for field in options::json_fields(message) {
            let is_body = before.is_empty() && self.body == Body::Field(field.clone());
            let inside = before
                .iter()
                .any(|outer| outer.parent_message() == field.parent_message());
            before.push(field.clone());
            let in_path = self.in_path.iter().any(|path| path.fields == *before);
            let skipped = is_body || inside || in_path;
            match field.kind() {
                _ if skipped || field.is_map() => {}
                Kind::Message(inner) if is_plain(&inner) => {
                    if is_text(&inner) {
                        found.push(query_parameter(before, schemas)?.into());
                    }
                }
                Kind::Message(inner) => {
                    if !field.is_list() {
                        self.query(&inner, before, schemas, found)?;
                    }
                }
                // A null text has no effect.
                Kind::Enum(inner) if inner.full_name() == NULL => {}
                _ => found.push(query_parameter(before, schemas)?.into()),
            }
            before.pop();
        }
        Ok(())
    }

    /// Returns the request body.
    pub(crate) fn body(&self, schemas: &mut Schemas) -> Result<Option<Object>, Error> {
        let (schema, required, example) = match &self.body {
            Body::None => return Ok(None),
            Body::All => {
                let without: Vec<FieldDescriptor> = self
                    .in_path
                    .iter()
                    .filter_map(|path| <[_; 1]>::try_from(path.fields.clone()).ok())
                    .map(|[field]| field)
                    .collect();
                let mut required = false;
                for field in
                    options::json_fields(&self.message).filter(|field| !without.contains(field))
                {
                    required |= is_required(&field, Position::Request)?;
                }
                let example =
                    example::message(schemas, &self.message, Position::Request, &without)?;
                (schemas.body(&self.message, &without)?, required, example)
            }
            Body::Field(field) => {
                let example = example::field(schemas, field, Position::Request)?;
                let required = is_required(field, Position::Request)?;
                (schemas.value(field, Position::Request)?, required, example)
            }
        };
        let mut media = object! {"schema" => schema};
        media.set("example", example);
        Ok(Some(object! {
            "required" => required,
            "content" => object! {"application/json" => media},
        }))
    }
}

fn query_parameter(way: &[FieldDescriptor], schemas: &mut Schemas) -> Result<Object, Error> {
    let names: Vec<&str> = way.iter().map(FieldDescriptor::json_name).collect();
    let mut object = object! {"name" => names.join("."), "in" => "query"};
    if let Some(field) = way.last() {
        let comment = schemas.field_comment(field)?;
        object.set_some("description", comment.description());
        if is_required(field, Position::Text)? && way.len() == 1 {
            object.set("required", true);
        }
        if flag(&field.options(), "deprecated") {
            object.set("deprecated", true);
        }
        let mut schema = schemas.value(field, Position::Text)?;
        schema.set_list("examples", comment.examples);
        object.set("schema", schema);
    }
    Ok(object)
}

/// Returns true if a message with its own form is a text, a number or a bool in JSON.
fn is_text(message: &MessageDescriptor) -> bool {
    !matches!(
        message.name(),
        "Any" | "Empty" | "ListValue" | "Struct" | "Value"
    )
}

/// Returns the fields on the path to a field, by original names.
fn way(message: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut found: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let inside = match found.last().map(FieldDescriptor::kind) {
            None => message.clone(),
            Some(Kind::Message(inner)) => inner,
            Some(_) => return None,
        };
        found.push(inside.get_field_by_name(name)?);
    }
    Some(found)
}

/// Returns the JSON names on that path.
fn shown(message: &MessageDescriptor, path: &str) -> String {
    let Some(way) = way(message, path) else {
        return path.to_owned();
    };
    let names: Vec<&str> = way.iter().map(FieldDescriptor::json_name).collect();
    names.join(".")
}

/// Returns the links of a response to other operations.
pub(crate) fn links(
    method: &Method,
    operation_id: impl Fn(&str) -> String,
) -> Result<Object, Error> {
    let mut links = Object::default();
    for link in declared::method(&method.method)?.links {
        let mut parameters = Object::default();
        for (name, value) in &link.parameters {
            parameters.set(name.as_str(), value.as_str());
        }
        let id = operation_id(&link.method);
        let mut object = object! {"operationId" => id.as_str()};
        if !parameters.is_empty() {
            object.set("parameters", parameters);
        }
        object.set_some("description", link.description);
        links.set(id, object);
    }
    Ok(links)
}
