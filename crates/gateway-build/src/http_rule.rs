//! The annotation `google.api.http`.

use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage};

use crate::error::{Error, declaration};
use crate::options::text;
use crate::template::{Plain, Template};

/// One HTTP binding of a method.
#[derive(Debug)]
pub(crate) struct HttpRule {
    pub(crate) http_method: &'static str,
    pub(crate) path: String,
    pub(crate) segments: Vec<Plain>,
    /// Whether the body is the whole message.
    pub(crate) has_body: bool,
}

/// All HTTP bindings of a method, the main one first.
pub(crate) fn read(method: &MethodDescriptor) -> Result<Vec<HttpRule>, Error> {
    let options = method.options();
    let pool = options.descriptor().parent_pool().clone();
    let Some(extension) = pool.get_extension_by_name("google.api.http") else {
        return Ok(Vec::new());
    };
    if !options.has_extension(&extension) {
        return Ok(Vec::new());
    }
    let value = options.get_extension(&extension);
    let fault = |reason: String| declaration(&method.parent_file(), method.full_name(), reason);
    let Some(main) = value.as_message() else {
        return Ok(Vec::new());
    };

    let mut rules = vec![rule(main).map_err(fault)?];
    for additional in additional(main) {
        if !self::additional(&additional).is_empty() {
            return Err(fault(
                "additional_bindings inside additional_bindings".to_owned(),
            ));
        }
        rules.push(rule(&additional).map_err(fault)?);
    }
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(fault("streaming methods are not supported yet".to_owned()));
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

fn rule(rule: &DynamicMessage) -> Result<HttpRule, String> {
    if rule.has_field_by_name("custom") {
        return Err("custom HTTP methods are not supported yet".to_owned());
    }
    if text(rule, "response_body").is_some() {
        return Err("response_body is not supported yet".to_owned());
    }
    if text(rule, "selector").is_some() {
        return Err("a selector has no place in an annotation".to_owned());
    }
    let patterns = [
        ("get", "GET"),
        ("put", "PUT"),
        ("post", "POST"),
        ("delete", "DELETE"),
        ("patch", "PATCH"),
    ];
    let (http_method, path) = patterns
        .into_iter()
        .find_map(|(field, method)| text(rule, field).map(|path| (method, path)))
        .ok_or("google.api.http has no path")?;
    let has_body = match text(rule, "body").as_deref() {
        None => false,
        Some("*") => true,
        Some(_) => return Err("a body that is one field is not supported yet".to_owned()),
    };
    if has_body && matches!(http_method, "GET" | "DELETE") {
        return Err(format!("{http_method} has no body"));
    }
    let segments = Template::parse(&path)
        .and_then(Template::plain)
        .map_err(|reason| format!("{path}: {reason}"))?;
    Ok(HttpRule {
        http_method,
        path,
        segments,
        has_body,
    })
}
