//! Schema and examples of a declared error body.

use super::node::{Node, Object, object};

/// Placeholder for the message while a template is read.
const MESSAGE: &str = "$message";
/// Placeholder for the status while a template is read; not a valid status.
const STATUS: i64 = -7_400_000_001;

/// Placeholder for the name of the code while a template is read.
const CODE: &str = "$code";
/// Placeholder for the details while a template is read.
const DETAILS: &str = "$details";

/// Error body with placeholders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorBody(Node);

impl ErrorBody {
    /// Reads a template that is known to be JSON.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let text = template
            .replace(MESSAGE, "\"$message\"")
            .replace("$status", &STATUS.to_string());
        Node::parse(&text).map(Self)
    }

    /// Returns the error of <https://google.aip.dev/193>, the default of services.
    pub(crate) fn aip_193() -> Self {
        let error = object! {
            "code" => STATUS,
            "message" => MESSAGE,
            "status" => CODE,
            "details" => DETAILS,
        };
        Self(object! {"error" => error}.into())
    }

    /// Returns the schema of every such body.
    pub(crate) fn schema(&self) -> Object {
        schema(&self.0)
    }

    /// Returns the additional constraints of bodies with this status.
    pub(crate) fn with_status(&self, status: u32) -> Option<Object> {
        with_status(&self.0, status)
    }

    /// Returns the body of an error.
    pub(crate) fn example(&self, message: &str, status: u32, code: &str) -> Node {
        let filling = Filling {
            message,
            status,
            code,
        };
        filling.fill(&self.0)
    }
}

fn is_status(node: &Node) -> bool {
    *node == Node::from(STATUS)
}

fn schema(node: &Node) -> Object {
    match node {
        Node::Text(text) if text == MESSAGE => object! {
            "type" => "string",
            "description" => "What is wrong, in words.",
        },
        Node::Text(text) if text == CODE => object! {
            "type" => "string",
            "description" => "The name of the code in gRPC.",
        },
        Node::Text(text) if text == DETAILS => details(),
        Node::Text(text) if text.contains(&STATUS.to_string()) => object! {"type" => "string"},
        node if is_status(node) => object! {
            "type" => "integer",
            "description" => "The HTTP status.",
        },
        Node::Object(members) => {
            let (mut properties, mut required) = (Object::default(), Vec::new());
            for (name, value) in members.iter() {
                properties.set(name, schema(value));
                required.push(Node::from(name));
            }
            let mut object = object! {"type" => "object"};
            if !properties.is_empty() {
                object.set("properties", properties);
            }
            object.set_list("required", required);
            object
        }
        Node::List(list) if !list.is_empty() => {
            let items: Vec<Node> = list.iter().map(|node| schema(node).into()).collect();
            let count = list.len() as u64;
            object! {
                "type" => "array",
                "prefixItems" => items,
                "items" => false,
                "minItems" => count,
                "maxItems" => count,
            }
        }
        fixed => constant(fixed),
    }
}

/// Returns the schema of one value. It also states the type, and for an empty list that it has no
/// items: client generators support a `const` only for a text, number or Boolean.
fn constant(fixed: &Node) -> Object {
    let of_type = |name: &str| object! {"type" => name, "const" => fixed.clone()};
    match fixed {
        Node::Null => object! {"type" => "null"},
        Node::List(_) => object! {"type" => "array", "items" => object! {}, "maxItems" => 0_u64},
        Node::Bool(_) => of_type("boolean"),
        Node::Text(_) => of_type("string"),
        Node::Number(number) if number.is_f64() => of_type("number"),
        Node::Number(_) => of_type("integer"),
        Node::Object(_) => object! {"const" => fixed.clone()},
    }
}

fn with_status(node: &Node, status: u32) -> Option<Object> {
    if is_status(node) {
        return Some(object! {"const" => i64::from(status)});
    }
    if let Some(list) = node.as_list() {
        let items: Vec<_> = list.iter().map(|node| with_status(node, status)).collect();
        if items.iter().all(Option::is_none) {
            return None;
        }
        // An object without a member is a schema of any value.
        let items = items.into_iter().map(Option::unwrap_or_default);
        let items: Vec<Node> = items.map(Node::from).collect();
        return Some(object! {"prefixItems" => items});
    }
    let mut properties = Object::default();
    for (name, value) in node.as_object()?.iter() {
        properties.set_some(name, with_status(value, status));
    }
    (!properties.is_empty()).then(|| object! {"properties" => properties})
}

/// Values for the placeholders of a template.
struct Filling<'a> {
    message: &'a str,
    status: u32,
    code: &'a str,
}

impl Filling<'_> {
    fn fill(&self, node: &Node) -> Node {
        match node {
            Node::Text(text) if text == MESSAGE => self.message.into(),
            Node::Text(text) if text == CODE => self.code.into(),
            Node::Text(text) if text == DETAILS => {
                let info = object! {
                    "@type" => "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason" => self.code,
                };
                vec![info].into()
            }
            Node::Text(text) => {
                let status = self.status.to_string();
                text.replace(&STATUS.to_string(), &status).into()
            }
            node if is_status(node) => i64::from(self.status).into(),
            Node::List(list) => Node::List(list.iter().map(|node| self.fill(node)).collect()),
            Node::Object(members) => {
                let mut object = Object::default();
                for (name, value) in members.iter() {
                    object.set(name, self.fill(value));
                }
                object.into()
            }
            other => other.clone(),
        }
    }
}

/// Returns the schema of an error's details.
pub(crate) fn details() -> Object {
    object! {
        "type" => "array",
        "description" => "What more there is to know, for programs: messages of `google.rpc`.",
        "items" => object! {
            "type" => "object",
            "properties" => object! {"@type" => object! {"type" => "string"}},
            "required" => vec!["@type"],
            // Each kind of message has its own fields.
            "additionalProperties" => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{ErrorBody, Node};

    #[test]
    fn fixed_members_are_constants() {
        let body = ErrorBody::parse(r#"{"ok":false,"error":{"code":$status,"message":$message}}"#);
        let body = body.unwrap();
        let schema = body.schema();
        let ok = schema.get("properties").and_then(|all| all.get("ok"));
        assert_eq!(
            ok.map(Node::compact).as_deref(),
            Some(r#"{"type":"boolean","const":false}"#)
        );
        let more = body.with_status(404).unwrap();
        assert_eq!(
            Node::from(more).compact(),
            r#"{"properties":{"error":{"properties":{"code":{"const":404}}}}}"#
        );
        assert_eq!(
            body.example("No", 404, "NOT_FOUND").compact(),
            r#"{"ok":false,"error":{"code":404,"message":"No"}}"#
        );
    }

    #[test]
    fn the_places_of_a_list_have_their_own_schemas() {
        let body = ErrorBody::parse(r#"{"errors":[{"text":$message},$status,true],"more":[]}"#);
        let body = body.unwrap();
        let schema = body.schema();
        let of = |name: &str| schema.get("properties").and_then(|all| all.get(name));
        assert_eq!(
            of("errors").map(Node::compact).as_deref(),
            Some(concat!(
                r#"{"type":"array","prefixItems":[{"type":"object","properties":{"text":"#,
                r#"{"type":"string","description":"What is wrong, in words."}},"#,
                r#""required":["text"]},{"type":"integer","description":"The HTTP status."},"#,
                r#"{"type":"boolean","const":true}],"items":false,"minItems":3,"maxItems":3}"#
            ))
        );
        assert_eq!(
            of("more").map(Node::compact).as_deref(),
            Some(r#"{"type":"array","items":{},"maxItems":0}"#)
        );
        assert_eq!(
            Node::from(body.with_status(404).unwrap()).compact(),
            r#"{"properties":{"errors":{"prefixItems":[{},{"const":404},{}]}}}"#
        );
        assert_eq!(
            body.example("No", 404, "NOT_FOUND").compact(),
            r#"{"errors":[{"text":"No"},404,true],"more":[]}"#
        );
    }
}
