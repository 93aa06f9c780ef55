//! Path variables and query parameters become fields of the request.

use tonic::Status;

use crate::check::{Violation, refused_fields};
use crate::json::JsonMessage;
use crate::mask::UpdateMask;
use crate::percent;
use crate::spec::{MethodSpec, RouteSpec};

/// What a member of a message can take from a path or a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// Nothing: it is a message.
    None,
    /// One text.
    Single,
    /// Any number of texts.
    Repeated,
}

/// A request message whose members can come from texts.
pub trait Bind: JsonMessage {
    /// What the member can take.
    fn parameter(member: usize) -> Parameter;

    /// Sets the member from a text, or adds to it when it is repeated.
    ///
    /// # Errors
    ///
    /// What the text should have been, such as `a number`.
    fn bind(&mut self, member: usize, text: &str) -> Result<(), &'static str>;

    /// The message's `update_mask`, if it has one.
    fn update_mask(&mut self) -> Option<UpdateMask<'_>> {
        None
    }
}

/// Sets what the query gives and the path does not.
pub(crate) fn bind_query<M: Bind>(
    message: &mut M,
    query: &str,
    route: &RouteSpec,
) -> Result<(), Status> {
    let mut bound: Vec<usize> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = percent::decode(name, true) else {
            continue;
        };
        let Some(member) = M::member(&name) else {
            continue;
        };
        let parameter = M::parameter(member);
        if parameter == Parameter::None || route.variables.contains(&member) {
            continue;
        }
        if parameter == Parameter::Single {
            if bound.contains(&member) {
                return Err(refused::<M>(route.method, member, "must be given once"));
            }
            bound.push(member);
        }
        let Some(value) = percent::decode(value, true) else {
            return Err(refused::<M>(
                route.method,
                member,
                "must be percent-encoded UTF-8",
            ));
        };
        message.bind(member, &value).map_err(|expected| {
            refused::<M>(route.method, member, &format!("must be {expected}"))
        })?;
    }
    Ok(())
}

/// Sets what the path gives.
pub(crate) fn bind_path<M: Bind>(
    message: &mut M,
    values: &[String],
    route: &RouteSpec,
) -> Result<(), Status> {
    for (member, value) in route.variables.iter().copied().zip(values) {
        message.bind(member, value).map_err(|expected| {
            refused::<M>(route.method, member, &format!("must be {expected}"))
        })?;
    }
    Ok(())
}

fn refused<M: JsonMessage>(method: &MethodSpec, member: usize, fault: &str) -> Status {
    let name = M::MEMBERS.get(member).copied().unwrap_or_default();
    let violation = Violation::new(name, format!("`{name}` {fault}"));
    refused_fields(&[violation], "PARAMETER_MALFORMED", method.error_domain)
}
