//! Binds path variables and query parameters to fields of the request.

use std::borrow::Cow;

use tonic::Status;

use crate::json::{
    self, DecodeError, JsonMessage, MAX_PARAMETER_DEPTH, MemberKind, MessageInfo, members,
};
use crate::mask::masked;
use crate::percent::{self, Keep};
use crate::settings::Settings;
use crate::spec::{BodyBinding, RouteSpec};

/// Reason of an error that a parameter causes.
const REASON: &str = "PARAMETER_MALFORMED";

/// Sets the fields that the query has and that neither path nor body sets. A parameter that leads
/// to no field is unknown. A router that rejects unknown parameters also rejects parameters whose
/// field cannot be set from text, and parameters whose field comes from the body: they would have
/// no effect.
///
/// # Errors
///
/// Names the malformed parameter and the expected form.
pub(crate) fn bind_query<M: JsonMessage>(
    message: &mut M,
    query: &str,
    route: &RouteSpec,
    settings: &Settings,
) -> Result<(), Status> {
    let rejected = |error: DecodeError| error.into_status(REASON, route.method.error_domain);
    let mut values: Vec<(Vec<usize>, Cow<'_, str>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent::decode(name, Keep::NothingPlusIsSpace).ok_or_else(|| {
            rejected(DecodeError::of_all(
                "The query must be percent-encoded UTF-8",
            ))
        })?;
        let path = parameter(M::INFO, &name);
        let Some(value) = percent::decode(value, Keep::NothingPlusIsSpace) else {
            return Err(rejected(malformed(M::INFO, path.as_deref())));
        };
        match path {
            Some(path) if route.is_in_path(&path) => {}
            Some(path) if !route.is_in_body(&path) && is_settable(M::INFO, &path) => {
                values.push((path, value));
            }
            _ if !settings.rejects_unknown => {}
            Some(path) => return Err(rejected(misplaced(M::INFO, &path, route))),
            None => return Err(rejected(unknown(M::INFO, &name))),
        }
    }
    if values.is_empty() {
        return Ok(());
    }
    let masked = masked(M::INFO, route);
    json::read_query(message, &values, &settings.json, masked).map_err(rejected)
}

/// Members that lead to the field of a parameter.
fn parameter(info: &'static MessageInfo, name: &str) -> Option<Vec<usize>> {
    if name.split('.').nth(MAX_PARAMETER_DEPTH as usize).is_some() {
        return None;
    }
    json::resolve(info, name)
}

/// Returns true if text can set the field.
fn is_settable(info: &'static MessageInfo, path: &[usize]) -> bool {
    let kind = members(info, path).last().map(|member| member.kind);
    matches!(kind, Some(MemberKind::Single | MemberKind::Repeated))
}

fn malformed(info: &'static MessageInfo, path: Option<&[usize]>) -> DecodeError {
    match path.map(|path| shown(info, path)) {
        Some(field) => {
            let description = format!("`{field}` must be percent-encoded UTF-8");
            DecodeError::of_field(field, description)
        }
        None => DecodeError::of_all("The query must be percent-encoded UTF-8"),
    }
}

/// Rejection of a parameter whose field is known but cannot come from the query.
fn misplaced(info: &'static MessageInfo, path: &[usize], route: &RouteSpec) -> DecodeError {
    let field = shown(info, path);
    let rule = if route.is_in_body(path) {
        "must be given in the body and not in the query"
    } else {
        "must not be given in the query"
    };
    let description = format!("`{field}` {rule}");
    DecodeError::of_field(field, description)
}

fn unknown(info: &'static MessageInfo, name: &str) -> DecodeError {
    let Some(shown) = json::shown(name) else {
        return DecodeError::of_all("The query must have no unknown parameters");
    };
    let nearest = json::nearest_path(info, name);
    let suggested = json::suggestion(nearest.as_deref());
    let description = format!("`{shown}` is not a known query parameter{suggested}");
    DecodeError::of_field(shown, description).with_nearest(nearest)
}

impl RouteSpec {
    /// Returns true if the URL's path sets the field or a message that contains it.
    fn is_in_path(&self, path: &[usize]) -> bool {
        let mut variables = self.variables.iter();
        variables.any(|variable| path.starts_with(variable.path))
    }

    /// Returns true if the body sets the field or a message that contains it.
    fn is_in_body(&self, path: &[usize]) -> bool {
        match self.body {
            BodyBinding::None => false,
            BodyBinding::All => true,
            BodyBinding::Member(member) => path.first() == Some(&member),
        }
    }
}

/// Sets the fields of the path variables and replaces their values.
///
/// # Errors
///
/// Names the field and the expected form.
pub(crate) fn bind_path<M: JsonMessage>(
    message: &mut M,
    values: &[String],
    route: &RouteSpec,
    settings: &Settings,
) -> Result<(), Status> {
    for (variable, value) in route.variables.iter().zip(values) {
        json::bind_path(message, variable.path, value, &settings.json)
            .map_err(|error| error.into_status(REASON, route.method.error_domain))?;
    }
    Ok(())
}

fn shown(info: &'static MessageInfo, path: &[usize]) -> String {
    let names: Vec<&str> = members(info, path).map(|member| member.json_name).collect();
    names.join(".")
}
