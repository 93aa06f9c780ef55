//! Update masks that the body implies.

use http::Method;
use prost_types::FieldMask;

use crate::json::{
    BufferedValue, DecodeError, JsonMessage, Masked, MemberKind, MessageInfo, parse, proto_path,
};
use crate::spec::{BodyBinding, RouteSpec};

/// Sets the mask of a PATCH from its body, unless the client sent a mask that is not empty.
///
/// A PATCH without a mask changes exactly the members that its body has. A null is one of them, so
/// that the method can distinguish it from an absent member. If the body is one field, the paths
/// begin in it, as in <https://google.aip.dev/134>. Fields that the URL's path sets identify the
/// resource and are left out.
///
/// # Errors
///
/// Gives the position where the body is not JSON.
pub(crate) fn fill_mask<M: JsonMessage>(
    message: &mut M,
    http_method: &Method,
    body: &[u8],
    route: &RouteSpec,
) -> Result<(), DecodeError> {
    let Some(changed) = changed(M::INFO, route).filter(|_| http_method == Method::PATCH) else {
        return Ok(());
    };
    let Some(update) = message.update_mask() else {
        return Ok(());
    };
    let given = update.mask.as_ref();
    if given.is_some_and(|mask| !mask.paths.is_empty()) {
        return Ok(());
    }
    let own = match route.body {
        BodyBinding::All => Some(proto_path(M::INFO, &[update.member])),
        _ => None,
    };
    let by_path: Vec<String> = route
        .variables
        .iter()
        .filter_map(|variable| relative(variable.path, route.body))
        .map(|indices| proto_path(changed, indices))
        .chain(own)
        .collect();
    let mut paths = body_paths(changed, body)?;
    paths.retain(|path| !by_path.iter().any(|given| covers(given, path)));
    *update.mask = Some(FieldMask { paths });
    Ok(())
}

/// Returns the message that the request's own mask applies to, so that its names are looked up like
/// the body's members.
pub(crate) fn masked(request: &'static MessageInfo, route: &RouteSpec) -> Option<Masked> {
    let changed = changed(request, route)?;
    Some(Masked { request, changed })
}

/// Returns the message whose members the body has.
fn changed(info: &'static MessageInfo, route: &RouteSpec) -> Option<&'static MessageInfo> {
    let member = match route.body {
        BodyBinding::None => return None,
        BodyBinding::All => return Some(info),
        BodyBinding::Member(member) => info.members.get(member)?,
    };
    match member.kind {
        MemberKind::Message(inner) => Some(inner()),
        _ => None,
    }
}

/// Returns the path of a variable's field, relative to the message whose members the body has.
fn relative(path: &[usize], body: BodyBinding) -> Option<&[usize]> {
    match body {
        BodyBinding::Member(member) => path
            .split_first()
            .filter(|(first, _)| **first == member)
            .map(|(_, rest)| rest),
        _ => Some(path),
    }
}

/// Returns true if the path equals the given one or leads through it.
fn covers(given: &str, path: &str) -> bool {
    path.strip_prefix(given)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns the paths that a body changes, as in a field mask: in proto names, in the order of
/// declaration. Nested messages are descended into; null, lists, maps, values with their own form
/// and empty messages are changed as a whole. A body that is not a JSON object changes nothing.
///
/// # Errors
///
/// Gives the position where the text is not JSON.
pub fn body_paths(info: &'static MessageInfo, body: &[u8]) -> Result<Vec<String>, DecodeError> {
    let mut paths = Vec::new();
    if !body.is_empty() {
        add_paths(info, &parse(body)?, "", &mut paths);
    }
    Ok(paths)
}

fn add_paths(info: &MessageInfo, value: &BufferedValue, outer: &str, paths: &mut Vec<String>) {
    let BufferedValue::Object(entries) = value else {
        return;
    };
    let mut given: Vec<(usize, &BufferedValue)> = entries
        .iter()
        .filter_map(|(name, value)| Some((info.index(name)?, value)))
        .collect();
    given.sort_by_key(|(index, _)| *index);
    for (index, value) in given {
        let Some(member) = info.members.get(index) else {
            continue;
        };
        let path = if outer.is_empty() {
            member.proto_name.to_owned()
        } else {
            format!("{outer}.{}", member.proto_name)
        };
        let before = paths.len();
        if let MemberKind::Message(inner) = member.kind {
            add_paths(inner(), value, &path, paths);
        }
        if paths.len() == before {
            paths.push(path);
        }
    }
}
