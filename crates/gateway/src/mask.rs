//! Update masks that the body implies.

use prost_types::FieldMask;

use crate::bind::Bind;
use crate::json::Seen;
use crate::spec::{Binding, RouteSpec};

/// The field mask of a request, which says what the call changes.
///
/// A PATCH whose body has no mask means the members that it has, and no others. A
/// null is one of them, so that the method can tell it from an absent member. The
/// mask and its paths are those of <https://google.aip.dev/134>.
#[derive(Debug)]
pub struct UpdateMask<'m> {
    /// The mask itself.
    pub mask: &'m mut Option<FieldMask>,
    /// The mask's own member.
    pub member: usize,
    /// The path of each member, which is its name in the proto file.
    pub paths: &'static [&'static str],
}

/// Makes the mask of a PATCH from what its body gave, unless it gave a mask that
/// names something: then what that names as the body's members are named becomes
/// their paths. What the URL's path gives is not changed but found by it, and so
/// is left out.
pub(crate) fn fill_mask<M: Bind>(message: &mut M, given: &Seen, route: &RouteSpec) {
    if route.http_method != "PATCH" || route.binding != Binding::Body {
        return;
    }
    let Some(update) = message.update_mask() else {
        return;
    };
    if let Some(mask) = update.mask.as_mut().filter(|mask| !mask.paths.is_empty()) {
        for path in &mut mask.paths {
            let member = M::member(path).and_then(|member| update.paths.get(member));
            if let Some(known) = member {
                (*known).clone_into(path);
            }
        }
        return;
    }
    let is_changed = |member| {
        given.contains(member) && member != update.member && !route.variables.contains(&member)
    };
    let paths = update
        .paths
        .iter()
        .enumerate()
        .filter(|(member, _)| is_changed(*member))
        .map(|(_, path)| (*path).to_owned())
        .collect();
    *update.mask = Some(FieldMask { paths });
}
