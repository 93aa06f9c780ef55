//! The annotation `google.api.http`.
//!
//! What it may say is what `google/api/http.proto` says it may. What it says beside
//! that is refused, never ignored. Where the file leaves a choice, the reason for
//! ours stands beside the check.

use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, ReflectMessage};

use crate::error::{Error, annotation};
use crate::field_path::{self, FieldPath};
use crate::options::{has_content, text};
use crate::template::{Segment, Template};

/// The option.
pub(crate) const HTTP: &str = "google.api.http";

/// One HTTP binding of a method.
#[derive(Debug)]
pub(crate) struct HttpRule {
    /// The HTTP method; `*` stands for all.
    pub(crate) http_method: String,
    /// The path as declared.
    pub(crate) path: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) verb: Option<String>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) body: Body,
    /// The field of the response that is the body; all of it when there is none.
    pub(crate) response_body: Option<FieldDescriptor>,
}

/// A variable of a template.
#[derive(Debug)]
pub(crate) struct Variable {
    /// The field of the request that it sets, from the outside in.
    pub(crate) field: FieldPath,
    /// The first segment that it covers.
    pub(crate) first: usize,
    /// How many it covers; None for one that ends in `**`.
    pub(crate) count: Option<usize>,
}

/// What the body of the HTTP request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// Nothing that counts.
    None,
    /// All of the request that the path does not give.
    All,
    /// One field of the request.
    Field(FieldDescriptor),
}

/// All HTTP bindings of a method, the main one first.
pub(crate) fn read(method: &MethodDescriptor, success_status: u32) -> Result<Vec<HttpRule>, Error> {
    let options = method.options();
    let pool = options.descriptor().parent_pool().clone();
    let Some(extension) = pool.get_extension_by_name(HTTP) else {
        return Ok(Vec::new());
    };
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let value = options.get_extension(&extension);
    let Some(main) = value.as_message() else {
        return Ok(Vec::new());
    };
    rules(method, main, success_status)
        .map_err(|reason| annotation(&method.parent_file(), method.full_name(), HTTP, reason))
}

fn rules(
    method: &MethodDescriptor,
    main: &DynamicMessage,
    success_status: u32,
) -> Result<Vec<HttpRule>, String> {
    // One HTTP request has one body, which is one JSON text: there is no telling
    // where its messages would end. Bidirectional streams are out of HTTP's reach
    // altogether, since browsers send the whole request first.
    if method.is_client_streaming() {
        return Err("a method that takes a stream has no form in REST".to_owned());
    }
    if method.is_server_streaming() && !has_content(success_status) {
        return Err(format!("a stream cannot answer with {success_status}"));
    }
    let mut rules = vec![rule(method, main)?];
    for additional in additional(main) {
        if !self::additional(&additional).is_empty() {
            return Err("additional_bindings inside additional_bindings".to_owned());
        }
        rules.push(rule(method, &additional)?);
    }
    Ok(rules)
}

fn additional(rule: &DynamicMessage) -> Vec<DynamicMessage> {
    let list = rule.get_field_by_name("additional_bindings");
    let values = list
        .as_deref()
        .and_then(|value| value.as_list())
        .unwrap_or_default();
    values
        .iter()
        .filter_map(|value| value.as_message().cloned())
        .collect()
}

fn rule(method: &MethodDescriptor, rule: &DynamicMessage) -> Result<HttpRule, String> {
    if text(rule, "selector").is_some() {
        return Err("a selector has no place in an annotation".to_owned());
    }
    let (http_method, path) = pattern(rule)?;
    let template = Template::parse(&path).map_err(|reason| format!("{path}: {reason}"))?;
    let body = body(method, rule, &http_method)?;
    let variables = variables(method, template.variables, &body)
        .map_err(|reason| format!("{path}: {reason}"))?;
    let response_body = text(rule, "response_body")
        .map(|name| {
            method
                .output()
                .get_field_by_name(&name)
                .ok_or_else(|| format!("response_body: the response has no field {name}"))
        })
        .transpose()?;
    Ok(HttpRule {
        http_method,
        path,
        segments: template.segments,
        verb: template.verb,
        variables,
        body,
        response_body,
    })
}

/// The HTTP method and the path.
fn pattern(rule: &DynamicMessage) -> Result<(String, String), String> {
    for (field, method) in [
        ("get", "GET"),
        ("put", "PUT"),
        ("post", "POST"),
        ("delete", "DELETE"),
        ("patch", "PATCH"),
    ] {
        if let Some(path) = text(rule, field) {
            return Ok((method.to_owned(), path));
        }
    }
    let custom = rule.get_field_by_name("custom");
    let custom = custom
        .as_deref()
        .filter(|_| rule.has_field_by_name("custom"))
        .and_then(|value| value.as_message())
        .ok_or("google.api.http has no path")?;
    let kind = text(custom, "kind").ok_or("custom has no kind")?;
    let path = text(custom, "path").ok_or("custom has no path")?;
    // RFC 9110, 5.6.2; `*`, for all methods, is a token too.
    let is_token = |other: char| other.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(other);
    if !kind.chars().all(is_token) {
        return Err("the kind of custom is no HTTP method".to_owned());
    }
    if kind == "CONNECT" {
        return Err("CONNECT has no path".to_owned());
    }
    Ok((kind, path))
}

/// What the body holds.
///
/// A body is refused where nothing on the way can be trusted to carry it: `fetch`
/// cannot send one with GET or HEAD, nor anything with TRACE, and caches answer
/// without looking at it. grpc-gateway refuses GET for it too. DELETE is allowed,
/// as in Envoy (grpc-gateway has an option): the annotation asks for it in so many
/// words, and all that RFC 9110 says is that it means nothing in general.
fn body(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    http_method: &str,
) -> Result<Body, String> {
    let Some(name) = text(rule, "body") else {
        return Ok(Body::None);
    };
    if matches!(http_method, "GET" | "HEAD" | "TRACE") {
        return Err(format!("{http_method} has no body"));
    }
    if name == "*" {
        return Ok(Body::All);
    }
    match method.input().get_field_by_name(&name) {
        Some(field) => Ok(Body::Field(field)),
        None if name.contains('.') => Err("body must be a field of the request itself".to_owned()),
        None => Err(format!("body: the request has no field {name}")),
    }
}

fn variables(
    method: &MethodDescriptor,
    declared: Vec<crate::template::Variable>,
    body: &Body,
) -> Result<Vec<Variable>, String> {
    let mut found: Vec<Variable> = Vec::new();
    for variable in declared {
        let name = variable.path.join(".");
        let field = field_path::resolve(&method.input(), &variable.path)?;
        if found.iter().any(|other| other.field == field) {
            return Err(format!("the field {name} is there twice"));
        }
        if found.iter().any(|other| other.field.excludes(&field)) {
            return Err(format!(
                "the field {name} is in a oneof that another variable sets"
            ));
        }
        if let Body::Field(whole) = body
            && field.fields == [whole.clone()]
        {
            return Err(format!("the field {name} is the body already"));
        }
        found.push(Variable {
            field,
            first: variable.first,
            count: variable.count,
        });
    }
    Ok(found)
}
