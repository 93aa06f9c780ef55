//! Path variables and query parameters become fields of the request.

use std::borrow::Cow;

use tonic::Status;

use crate::json::{
    self, Fault, JsonMessage, MAX_PARAMETER_DEPTH, MemberKind, MessageInfo, members,
};
use crate::mask::masked;
use crate::percent::{self, Keep};
use crate::settings::Settings;
use crate::spec::{BodyBinding, RouteSpec};

/// The reason of an error that a parameter is to blame for.
const REASON: &str = "PARAMETER_MALFORMED";

/// Sets what the query gives and neither path nor body does. A parameter that leads
/// to no field, or to one that no text can set, is unknown.
///
/// # Errors
///
/// The parameter that is wrong, and what it should be.
pub(crate) fn bind_query<M: JsonMessage>(
    message: &mut M,
    query: &str,
    route: &RouteSpec,
    settings: &Settings,
) -> Result<(), Status> {
    let refused = |fault: Fault| fault.into_status(REASON, route.method.error_domain);
    let mut values: Vec<(Vec<usize>, Cow<'_, str>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(path) = parameter(M::INFO, name) else {
            if settings.refuses_unknown {
                return Err(refused(Fault {
                    field: String::new(),
                    description: "The query must have no unknown parameters".to_owned(),
                }));
            }
            continue;
        };
        if is_given(&path, route) {
            continue;
        }
        let Some(value) = percent::decode(value, Keep::NothingPlusIsSpace) else {
            let field = shown(M::INFO, &path);
            let description = format!("`{field}` must be percent-encoded UTF-8");
            return Err(refused(Fault { field, description }));
        };
        values.push((path, value));
    }
    if values.is_empty() {
        return Ok(());
    }
    let masked = masked(M::INFO, route);
    json::read_query(message, &values, &settings.json, masked).map_err(refused)
}

/// The members that lead to the field of a parameter.
fn parameter(info: &'static MessageInfo, name: &str) -> Option<Vec<usize>> {
    let name = percent::decode(name, Keep::NothingPlusIsSpace)?;
    if name.split('.').nth(MAX_PARAMETER_DEPTH as usize).is_some() {
        return None;
    }
    let path = json::resolve(info, &name)?;
    let kind = members(info, &path).last()?.kind;
    matches!(kind, MemberKind::Single | MemberKind::Repeated).then_some(path)
}

/// Whether the URL's path or the body gives the field, or what it is in.
fn is_given(path: &[usize], route: &RouteSpec) -> bool {
    let by_body =
        matches!(route.body, BodyBinding::Member(member) if path.first() == Some(&member));
    let mut variables = route.variables.iter();
    by_body || variables.any(|variable| path.starts_with(variable.path))
}

/// Sets what the path gives; it replaces what is there.
///
/// # Errors
///
/// The field and what it should be.
pub(crate) fn bind_path<M: JsonMessage>(
    message: &mut M,
    values: &[String],
    route: &RouteSpec,
    settings: &Settings,
) -> Result<(), Status> {
    for (variable, value) in route.variables.iter().zip(values) {
        json::bind_path(message, variable.path, value, &settings.json)
            .map_err(|fault| fault.into_status(REASON, route.method.error_domain))?;
    }
    Ok(())
}

fn shown(info: &'static MessageInfo, path: &[usize]) -> String {
    let names: Vec<&str> = members(info, path).map(|member| member.json_name).collect();
    names.join(".")
}
