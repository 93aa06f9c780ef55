//! Path variables and query parameters become fields of the request.

use std::borrow::Cow;

use tonic::Status;

use crate::json::{self, Fault, JsonMessage, JsonOptions, MemberKind};
use crate::percent;
use crate::spec::RouteSpec;

/// The reason of an error that a parameter is to blame for.
const REASON: &str = "PARAMETER_MALFORMED";

/// Sets what the query gives and the path does not.
pub(crate) fn bind_query<M: JsonMessage>(
    message: &mut M,
    query: &str,
    route: &RouteSpec,
    options: &JsonOptions,
) -> Result<(), Status> {
    let domain = route.method.error_domain;
    let mut values: Vec<(Vec<usize>, Cow<'_, str>)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = percent::decode(name, true) else {
            continue;
        };
        let Some(member) = M::member(&name) else {
            continue;
        };
        let Some(info) = M::INFO.members.get(member) else {
            continue;
        };
        let takes_text = matches!(info.kind, MemberKind::Single | MemberKind::Repeated);
        if !takes_text || route.variables.contains(&member) {
            continue;
        }
        let Some(value) = percent::decode(value, true) else {
            let fault = Fault {
                field: info.json_name.to_owned(),
                description: format!("`{}` must be percent-encoded UTF-8", info.json_name),
            };
            return Err(fault.into_status(REASON, domain));
        };
        values.push((vec![member], value));
    }
    json::bind_query(message, &values, options).map_err(|fault| fault.into_status(REASON, domain))
}

/// Sets what the path gives.
pub(crate) fn bind_path<M: JsonMessage>(
    message: &mut M,
    values: &[String],
    route: &RouteSpec,
    options: &JsonOptions,
) -> Result<(), Status> {
    for (member, value) in route.variables.iter().zip(values) {
        json::bind_path(message, std::slice::from_ref(member), value, options)
            .map_err(|fault| fault.into_status(REASON, route.method.error_domain))?;
    }
    Ok(())
}
