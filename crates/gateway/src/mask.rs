//! Update masks that the body implies.

use prost_types::FieldMask;

use crate::json::{self, JsonMessage};
use crate::spec::{Binding, RouteSpec};

/// Makes the mask of a PATCH from what its body gave, unless it gave a mask that
/// names something: then what that names as the body's members are named becomes
/// their paths. What the URL's path gives is not changed but found by it, and so
/// is left out.
///
/// A PATCH whose body has no mask means the members that it has, and no others. A
/// null is one of them, so that the method can tell it from an absent member.
pub(crate) fn fill_mask<M: JsonMessage>(message: &mut M, body: &[u8], route: &RouteSpec) {
    if route.http_method != "PATCH" || route.binding != Binding::Body {
        return;
    }
    let Some(update) = message.update_mask() else {
        return;
    };
    let path_of = |member: usize| {
        M::INFO
            .members
            .get(member)
            .map_or("", |info| info.proto_name)
    };
    if let Some(mask) = update.mask.as_mut().filter(|mask| !mask.paths.is_empty()) {
        for path in &mut mask.paths {
            if let Some(member) = M::member(path) {
                path_of(member).clone_into(path);
            }
        }
        return;
    }
    let mut paths = json::body_paths(M::INFO, body);
    paths.retain(|path| {
        let is = |member: usize| path_of(member) == path;
        !is(update.member) && !route.variables.iter().copied().any(is)
    });
    *update.mask = Some(FieldMask { paths });
}
