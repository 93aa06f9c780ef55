//! Annotation `google.api.http`.
//!
//! Accepts exactly the rules that `google/api/http.proto` allows. Everything else is rejected,
//! never ignored. If the file leaves a choice, the check has a comment with the reason.

use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, ReflectMessage};

use crate::error::{Error, annotation};
use crate::field_path::{self, FieldPath};
use crate::options::{has_content, text};
use crate::template::{Segment, Template};

/// Name of the option.
pub(crate) const HTTP: &str = "google.api.http";

/// HTTP binding of a method.
#[derive(Debug)]
pub(crate) struct HttpRule {
    /// HTTP method; `*` stands for all.
    pub(crate) http_method: String,
    /// Path as declared.
    pub(crate) path: String,
    pub(crate) segments: Vec<Segment>,
    pub(crate) verb: Option<String>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) body: Body,
    /// Field of the response that is the body; `None` for the whole response.
    pub(crate) response_body: Option<FieldDescriptor>,
}

/// Variable of a template.
#[derive(Debug)]
pub(crate) struct Variable {
    /// Field of the request that it sets, from the outside in.
    pub(crate) field: FieldPath,
    /// First segment that it covers.
    pub(crate) first: usize,
    /// Number of segments that it covers; `None` for a variable that ends in `**`.
    pub(crate) count: Option<usize>,
}

/// Content of the HTTP request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// No content.
    None,
    /// All fields of the request that the path does not set.
    All,
    /// One field of the request.
    Field(FieldDescriptor),
}

/// Reads all HTTP bindings of a method, the main one first.
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
    // One HTTP request has one body, which is one JSON text without boundaries between messages.
    // Bidirectional streams are not possible over plain HTTP, since browsers send the whole request
    // first.
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

/// Reads the HTTP method and the path.
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
        return Err("the kind of custom is not an HTTP method".to_owned());
    }
    if kind == "CONNECT" {
        return Err("CONNECT has no path".to_owned());
    }
    Ok((kind, path))
}

/// Reads the binding of the body.
///
/// A body is rejected for methods that cannot carry it reliably: `fetch` cannot send a body with
/// GET or HEAD, nor a request with TRACE, and caches respond without regard to it. grpc-gateway
/// rejects GET with a body too. DELETE is allowed, as in Envoy (grpc-gateway has an option): the
/// annotation requests it explicitly, and RFC 9110 only says that such a body has no defined
/// meaning.
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
