//! What is known of a message before there is one.

use super::JsonMessage;
use super::decode::{Fault, parse};
use super::tree::Tree;

/// What the generator says of a message. The members are in the order of their
/// declaration; a message that can hold itself has itself among its members' kinds.
#[derive(Debug)]
pub struct MessageInfo {
    /// The full name, such as `keyward.v1.ApiKey`.
    pub full_name: &'static str,
    /// The members, whose places [`JsonMessage::member`](super::JsonMessage::member)
    /// gives.
    pub members: &'static [MemberInfo],
    /// [`JsonMessage::member`](super::JsonMessage::member).
    pub member: fn(&str) -> Option<usize>,
}

/// What the generator says of a member.
#[derive(Debug)]
pub struct MemberInfo {
    /// The name in JSON.
    pub json_name: &'static str,
    /// The name in the proto file, which paths of masks are made of.
    pub proto_name: &'static str,
    /// Whether the name in the proto file is read too.
    pub reads_proto_name: bool,
    /// What a number must be, where the field says more than its type; else empty.
    pub expected: &'static str,
    /// What the member is.
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Debug, Clone, Copy)]
pub enum MemberKind {
    /// One scalar, one enum, or one message of `google.protobuf` with a form of its
    /// own. A text can set it.
    Single,
    /// A list of those. Texts can set it.
    Repeated,
    /// A map.
    Map,
    /// A list of messages.
    RepeatedMessage,
    /// A message, which texts can set the members of. It is asked for, since a static
    /// that refers to itself through a trait does not compile.
    Message(fn() -> &'static MessageInfo),
}

/// The facts of a message, for [`MemberKind::Message`].
pub fn info<M: JsonMessage>() -> &'static MessageInfo {
    M::INFO
}

impl MessageInfo {
    /// The place of the member of this name, as it is read.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        (self.member)(name)
    }
}

/// The places of the members on a path such as `limits.per_day`, each by the name in
/// JSON or in the proto file. None when there is no such path.
pub fn resolve(info: &'static MessageInfo, path: &str) -> Option<Vec<usize>> {
    let mut places = Vec::new();
    let mut message = Some(info);
    for name in path.split('.') {
        let outer = message?;
        let place = outer.place(name)?;
        places.push(place);
        message = match outer.members.get(place)?.kind {
            MemberKind::Message(inner) => Some(inner()),
            _ => None,
        };
    }
    Some(places)
}

/// What is known of each member on a path.
pub fn members<'p>(
    info: &'static MessageInfo,
    path: &'p [usize],
) -> impl Iterator<Item = &'static MemberInfo> + use<'p> {
    let mut message = Some(info);
    path.iter().map_while(move |place| {
        let member = message?.members.get(*place)?;
        message = match member.kind {
            MemberKind::Message(inner) => Some(inner()),
            _ => None,
        };
        Some(member)
    })
}

/// A mask's path: names as the proto file has them.
pub fn proto_path(info: &'static MessageInfo, places: &[usize]) -> String {
    let names: Vec<&str> = members(info, places)
        .map(|member| member.proto_name)
        .collect();
    names.join(".")
}

/// A path of a mask in names of the proto file, each given by its name in JSON or in the proto
/// file, or in the lowerCamel of the latter. What follows a map is a key of it. `*` is the whole
/// (<https://google.aip.dev/134>). None when the path names no field.
pub(super) fn mask_path(info: &'static MessageInfo, path: &str, snake: &str) -> Option<String> {
    if path == "*" {
        return Some(path.to_owned());
    }
    let by_json = walk(info, path, MessageInfo::place);
    by_json.or_else(|| {
        walk(info, snake, |message, name| {
            let mut members = message.members.iter();
            members.position(|member| member.proto_name == name)
        })
    })
}

fn walk(
    info: &'static MessageInfo,
    path: &str,
    find: impl Fn(&MessageInfo, &str) -> Option<usize>,
) -> Option<String> {
    let mut found: Vec<&str> = Vec::new();
    let mut message = Some(info);
    let mut names = path.split('.');
    while let Some(name) = names.next() {
        let outer = message?;
        let member = outer.members.get(find(outer, name)?)?;
        found.push(member.proto_name);
        message = match member.kind {
            MemberKind::Message(inner) => Some(inner()),
            MemberKind::Map => {
                found.extend(names);
                break;
            }
            _ => None,
        };
    }
    Some(found.join("."))
}

/// What a body changes, as a field mask names it: the paths in proto names, in the
/// order of declaration. Messages inside are descended into; null, lists, maps,
/// values with a form of their own and empty messages are changed as a whole. What
/// is no JSON object changes nothing.
///
/// # Errors
///
/// Where the text stops being JSON.
pub fn body_paths(info: &'static MessageInfo, body: &[u8]) -> Result<Vec<String>, Fault> {
    let mut paths = Vec::new();
    if !body.is_empty() {
        add_paths(info, &parse(body)?, "", &mut paths);
    }
    Ok(paths)
}

fn add_paths(info: &MessageInfo, tree: &Tree, outer: &str, paths: &mut Vec<String>) {
    let Tree::Object(entries) = tree else {
        return;
    };
    let mut given: Vec<(usize, &Tree)> = entries
        .iter()
        .filter_map(|(name, value)| Some((info.place(name)?, value)))
        .collect();
    given.sort_by_key(|(place, _)| *place);
    for (place, value) in given {
        let Some(member) = info.members.get(place) else {
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
