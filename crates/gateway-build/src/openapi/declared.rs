//! Options that apply only to the document.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use super::node::{Node, Object};
use crate::error::{Error, declaration};
use crate::options::{extension, flag, text, texts};

/// Declarations of a field.
#[derive(Debug, Default)]
pub(crate) struct FieldFacts {
    /// Keywords for its values.
    pub(crate) schema: Object,
    /// True if every response has it.
    pub(crate) always_set: bool,
}

/// Declarations of a service.
#[derive(Debug, Default)]
pub(crate) struct ServiceFacts {
    pub(crate) title: Option<String>,
    pub(crate) security: Vec<String>,
}

/// Declarations of a method.
#[derive(Debug, Default)]
pub(crate) struct MethodFacts {
    pub(crate) security: Vec<String>,
    pub(crate) links: Vec<Link>,
}

/// Link from a response to a further call.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) method: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) description: Option<String>,
}

pub(crate) fn field(field: &FieldDescriptor) -> Result<FieldFacts, Error> {
    let Some(json) = extension(&field.options(), "field") else {
        return Ok(FieldFacts::default());
    };
    let fault = |reason| declaration(&field.parent_file(), field.full_name(), reason);
    let always_set = flag(&json, "always_set");
    if always_set && !field.supports_presence() {
        return Err(fault(
            "always_set needs a field that can be unset".to_owned(),
        ));
    }
    Ok(FieldFacts {
        schema: keywords(&json).map_err(fault)?,
        always_set,
    })
}

/// Returns the keywords for a message as a whole.
pub(crate) fn message(message: &MessageDescriptor) -> Result<Object, Error> {
    match extension(&message.options(), "message") {
        None => Ok(Object::default()),
        Some(json) => keywords(&json)
            .map_err(|reason| declaration(&message.parent_file(), message.full_name(), reason)),
    }
}

pub(crate) fn service(service: &ServiceDescriptor) -> ServiceFacts {
    extension(&service.options(), "service").map_or_else(ServiceFacts::default, |rest| {
        ServiceFacts {
            title: text(&rest, "title"),
            security: texts(&rest, "security"),
        }
    })
}

pub(crate) fn method(method: &MethodDescriptor) -> Result<MethodFacts, Error> {
    let Some(rest) = extension(&method.options(), "method") else {
        return Ok(MethodFacts::default());
    };
    let links = messages(&rest, "links");
    let links = links.iter().map(|declared| link(method, declared));
    Ok(MethodFacts {
        security: texts(&rest, "security"),
        links: links.collect::<Result<_, _>>()?,
    })
}

fn link(method: &MethodDescriptor, declared: &DynamicMessage) -> Result<Link, Error> {
    let name = text(declared, "method").unwrap_or_default();
    let is_named = |known: &MethodDescriptor| known.full_name() == name;
    let own = method.parent_service().methods();
    let target = own
        .filter(|known| known.name() == name)
        .chain(
            method
                .parent_pool()
                .services()
                .flat_map(methods)
                .filter(is_named),
        )
        .next();
    let Some(target) = target else {
        let reason = format!("there is no method {name:?} to link to");
        return Err(declaration(
            &method.parent_file(),
            method.full_name(),
            reason,
        ));
    };
    let map = declared.get_field_by_name("parameters");
    let mut parameters: Vec<(String, String)> = map
        .iter()
        .filter_map(|map| map.as_map())
        .flatten()
        .filter_map(|(name, value)| match name {
            MapKey::String(name) => Some((name.clone(), value.as_str()?.to_owned())),
            _ => None,
        })
        .collect();
    parameters.sort();
    Ok(Link {
        method: target.full_name().to_owned(),
        parameters,
        description: text(declared, "description"),
    })
}

fn methods(service: ServiceDescriptor) -> Vec<MethodDescriptor> {
    service.methods().collect()
}

fn keywords(message: &DynamicMessage) -> Result<Object, String> {
    let Some(schema) = text(message, "schema") else {
        return Ok(Object::default());
    };
    match Node::parse(&schema) {
        Ok(Node::Object(object)) => Ok(object),
        Ok(_) => Err("schema is not a JSON object".to_owned()),
        Err(error) => Err(format!("schema is not JSON: {error}")),
    }
}

fn messages(message: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    let list = message.get_field_by_name(field);
    let list = list.as_deref().and_then(|value| value.as_list());
    let values = list.unwrap_or_default().iter();
    values
        .filter_map(|value| value.as_message().cloned())
        .collect()
}
