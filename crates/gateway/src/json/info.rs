//! Static facts about messages.

use super::JsonMessage;

/// Description of a message, from the generator. Members are in the order of their declaration. A
/// message that can contain itself is among the kinds of its own members.
#[derive(Debug)]
pub struct MessageInfo {
    /// Full name, such as `keyward.v1.ApiKey`.
    pub full_name: &'static str,
    /// Members. [`JsonMessage::member`](super::JsonMessage::member) returns their indices.
    pub members: &'static [MemberInfo],
    /// [`JsonMessage::member`](super::JsonMessage::member).
    pub member: fn(&str) -> Option<usize>,
}

/// Description of a member, from the generator.
#[derive(Debug)]
pub struct MemberInfo {
    /// Name in JSON.
    pub json_name: &'static str,
    /// Name in the proto file, which the paths of masks use.
    pub proto_name: &'static str,
    /// True if the name in the proto file is accepted too.
    pub reads_proto_name: bool,
    /// Expected form of a number, if the field restricts its type; otherwise empty.
    pub expected: &'static str,
    /// Kind of the member.
    pub kind: MemberKind,
}

/// Kind of a member.
#[derive(Debug, Clone, Copy)]
pub enum MemberKind {
    /// Single scalar or enum, or a message of `google.protobuf` with its own form. Text can set it.
    Single,
    /// List of such values. Texts can set it.
    Repeated,
    /// Map.
    Map,
    /// List of messages.
    RepeatedMessage,
    /// Message whose members can be set from text. A function, since a static that refers to itself
    /// through a trait does not compile.
    Message(fn() -> &'static MessageInfo),
}

/// Returns the description of a message, for [`MemberKind::Message`].
pub fn info<M: JsonMessage>() -> &'static MessageInfo {
    M::INFO
}

impl MessageInfo {
    /// Returns the index of the member that is read under this name.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        (self.member)(name)
    }
}

/// Returns the indices of the members on a path such as `limits.per_day`, where each name is the
/// one in JSON or in the proto file. `None` for an unknown path.
pub fn resolve(info: &'static MessageInfo, path: &str) -> Option<Vec<usize>> {
    let mut indices = Vec::new();
    let mut message = Some(info);
    for name in path.split('.') {
        let outer = message?;
        let index = outer.index(name)?;
        indices.push(index);
        message = match outer.members.get(index)?.kind {
            MemberKind::Message(inner) => Some(inner()),
            _ => None,
        };
    }
    Some(indices)
}

/// Returns the description of each member on a path.
pub fn members<'p>(
    info: &'static MessageInfo,
    path: &'p [usize],
) -> impl Iterator<Item = &'static MemberInfo> + use<'p> {
    let mut message = Some(info);
    path.iter().map_while(move |index| {
        let member = message?.members.get(*index)?;
        message = match member.kind {
            MemberKind::Message(inner) => Some(inner()),
            _ => None,
        };
        Some(member)
    })
}

/// Returns the path of a mask, with names of the proto file.
pub fn proto_path(info: &'static MessageInfo, indices: &[usize]) -> String {
    let names: Vec<&str> = members(info, indices)
        .map(|member| member.proto_name)
        .collect();
    names.join(".")
}

/// Converts a path of a mask to names of the proto file. Each name may be the one in JSON, the one
/// in the proto file, or the latter in lowerCamel. The name after a map is a key of it. `*` stands
/// for the whole message (<https://google.aip.dev/134>). `None` if the path leads to no field.
pub(super) fn mask_path(info: &'static MessageInfo, path: &str, snake: &str) -> Option<String> {
    if path == "*" {
        return Some(path.to_owned());
    }
    let by_json = walk(info, path, MessageInfo::index);
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
