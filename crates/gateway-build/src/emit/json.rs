//! JSON form of messages and enums.

use std::collections::BTreeSet;

use prost_reflect::EnumDescriptor;

use super::quoted;
use crate::json::{JsonType, Member, Shape};
use crate::names;
use crate::options;

/// `JsonMessage`, `Serialize` and `Deserialize`.
///
/// Generated names begin with two underscores, unlike any name from a proto file: a message may be
/// called `A`, `Option` or `Json`.
pub(crate) fn message(json: &JsonType) -> String {
    let rust = names::message(&json.message, json.message.package_name());
    let lines = |line: fn(usize, &Member) -> String| -> String {
        json.members
            .iter()
            .enumerate()
            .map(|(index, member)| line(index, member))
            .collect()
    };
    format!(
        "#[allow(deprecated, unreachable_patterns, clippy::all)]
const _: () = {{
    use ::keyward_gateway::{{json as __json, serde as __serde}};

    static INFO: __json::MessageInfo = __json::MessageInfo {{
        full_name: {name:?},
        members: &[
{infos}        ],
        member: <{rust} as __json::JsonMessage>::member,
    }};

    impl __json::JsonMessage for {rust} {{
        type Form = __json::Message<Self>;
        const INFO: &'static __json::MessageInfo = &INFO;

        fn member(name: &str) -> ::core::option::Option<usize> {{
            match name {{
{lookup}                _ => ::core::option::Option::None,
            }}
        }}

        fn read<'de, __A: __serde::de::MapAccess<'de>>(
            &mut self,
            member: usize,
            members: &mut __A,
            context: &__json::ReadContext<'_>,
        ) -> ::core::result::Result<(), __A::Error> {{
            _ = context;
            match member {{
{read}                _ => _ = members.next_value::<__serde::de::IgnoredAny>()?,
            }}
            ::core::result::Result::Ok(())
        }}

        fn write<__S: __serde::ser::SerializeStruct>(
            &self,
            members: &mut __S,
            context: &__json::WriteContext<'_>,
        ) -> ::core::result::Result<(), __S::Error> {{
            _ = (&members, context);
{write}            ::core::result::Result::Ok(())
        }}
{update_mask}    }}

{serde}}};
",
        name = json.message.full_name(),
        infos = lines(|_, member| info(member)),
        lookup = lines(lookup),
        read = lines(read),
        write = lines(|_, member| write(member)),
        update_mask = update_mask(json),
        serde = serde_impls(&rust),
    )
}

/// List of the types of a package that an `Any` may contain.
pub(crate) fn types<'t>(messages: impl Iterator<Item = &'t JsonType>) -> String {
    let list: String = messages
        .map(|json| {
            let rust = names::message(&json.message, json.message.package_name());
            format!("    ::keyward_gateway::json::AnyType::message::<{rust}>(),\n")
        })
        .collect();
    format!(
        "/// Every message of the package that a
/// `google.protobuf.Any` may contain.
pub static TYPES: &[::keyward_gateway::json::AnyType] = &[
{list}];
"
    )
}

fn serde_impls(rust: &str) -> String {
    format!(
        "    impl __serde::Serialize for {rust} {{
        fn serialize<__S: __serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {{
            __json::serialize(self, serializer)
        }}
    }}

    impl<'de> __serde::Deserialize<'de> for {rust} {{
        fn deserialize<__D: __serde::Deserializer<'de>>(
            deserializer: __D,
        ) -> ::core::result::Result<Self, __D::Error> {{
            __json::deserialize(deserializer)
        }}
    }}
"
    )
}

/// `MemberInfo`.
fn info(member: &Member) -> String {
    let kind = match (&member.message, &member.shape) {
        (_, Shape::Map(_)) => "Map".to_owned(),
        (None, Shape::List) => "Repeated".to_owned(),
        (None, _) => "Single".to_owned(),
        (Some(_), Shape::List) => "RepeatedMessage".to_owned(),
        (Some(rust), _) => format!("Message(__json::info::<{rust}>)"),
    };
    format!(
        "            __json::MemberInfo {{
                json_name: {json_name:?},
                proto_name: {proto_name:?},
                reads_proto_name: {reads},
                expected: {expected:?},
                kind: __json::MemberKind::{kind},
            }},\n",
        json_name = member.json_name,
        proto_name = member.proto_name,
        reads = member.reads_proto_name,
        expected = member.expected,
    )
}

fn lookup(index: usize, member: &Member) -> String {
    let mut pattern = quoted(&member.json_name);
    if member.reads_proto_name && member.proto_name != member.json_name {
        pattern = format!("{pattern} | {}", quoted(&member.proto_name));
    }
    format!("                {pattern} => ::core::option::Option::Some({index}),\n")
}

fn read(index: usize, member: &Member) -> String {
    let Member { field, codec, .. } = member;
    let call = match &member.shape {
        // Its paths are names of members, which come from the message.
        Shape::Omitted | Shape::Null if codec == "__json::UpdatePaths" => {
            format!("read_update_mask(&mut self.{field}, &INFO, members, context)?")
        }
        Shape::Always => {
            format!("read_field::<{codec}, __A>(&mut self.{field}, members, context)?")
        }
        Shape::Omitted | Shape::Null => {
            format!("read_optional_field::<{codec}, __A>(&mut self.{field}, members, context)?")
        }
        Shape::List => {
            format!(
                "read_field::<__json::List<{codec}>, __A>(&mut self.{field}, members, context)?"
            )
        }
        Shape::Map(key) => {
            format!(
                "read_field::<__json::Map<{key}, {codec}>, __A>(&mut self.{field}, members, context)?"
            )
        }
        Shape::Choice { variant, .. } => format!(
            "read_oneof_field::<{codec}, _, __A>(
                    &mut self.{field},
                    members,
                    context,
                    |choice| match choice {{
                        {variant}(value) => ::core::result::Result::Ok(value),
                        other => ::core::result::Result::Err(other),
                    }},
                    {variant},
                )?"
        ),
    };
    format!("                {index} => __json::{call},\n")
}

fn write(member: &Member) -> String {
    let Member {
        field,
        codec,
        json_name,
        ..
    } = member;
    let (function, value) = match &member.shape {
        Shape::Always => (
            format!("write_field::<{codec}, __S>"),
            format!("&self.{field}"),
        ),
        Shape::Omitted => (
            format!("write_optional_field::<{codec}, __S>"),
            format!("self.{field}.as_ref()"),
        ),
        Shape::Null => (
            format!("write_nullable_field::<{codec}, __S>"),
            format!("self.{field}.as_ref()"),
        ),
        Shape::List => (
            format!("write_field::<__json::List<{codec}>, __S>"),
            format!("&self.{field}"),
        ),
        Shape::Map(key) => (
            format!("write_field::<__json::Map<{key}, {codec}>, __S>"),
            format!("&self.{field}"),
        ),
        Shape::Choice { variant, is_null } => {
            let function = if *is_null {
                "write_nullable_field"
            } else {
                "write_optional_field"
            };
            let value = format!(
                "match &self.{field} {{
                ::core::option::Option::Some({variant}(value)) => ::core::option::Option::Some(value),
                _ => ::core::option::Option::None,
            }}"
            );
            (format!("{function}::<{codec}, __S>"), value)
        }
    };
    format!("            __json::{function}(members, {json_name:?}, {value}, context)?;\n")
}

/// `JsonMessage::update_mask`, if the message has the mask.
fn update_mask(json: &JsonType) -> String {
    let index = json.update_mask;
    let Some((index, member)) = index.and_then(|at| Some((at, json.members.get(at)?))) else {
        return String::new();
    };
    format!(
        "
        fn update_mask(&mut self) -> ::core::option::Option<__json::UpdateMask<'_>> {{
            ::core::option::Option::Some(__json::UpdateMask {{
                mask: &mut self.{field},
                member: {index},
            }})
        }}
",
        field = member.field,
    )
}

/// `JsonEnum`.
pub(crate) fn enumeration(descriptor: &EnumDescriptor) -> String {
    let rust = names::enumeration(descriptor, descriptor.package_name());
    let mut numbers = BTreeSet::new();
    let mut known = BTreeSet::new();
    let (mut to_name, mut to_number, mut choices) = (String::new(), String::new(), Vec::new());
    for value in options::enum_values(descriptor) {
        let number = value.number();
        let name = options::enum_value_name(&value);
        if numbers.insert(number) {
            to_name.push_str(&format!("                {number} => {name:?},\n"));
            if number != 0 {
                choices.push(name.clone());
            }
        }
        for name in [name, value.name().to_owned()] {
            if known.insert(name.clone()) {
                to_number.push_str(&format!("                {name:?} => {number},\n"));
            }
        }
    }
    format!(
        "const _: () = {{
    use ::keyward_gateway::json as __json;

    impl __json::JsonEnum for {rust} {{
        const EXPECTED: &'static str = {expected:?};

        fn name_from_number(number: i32) -> ::core::option::Option<&'static str> {{
            ::core::option::Option::Some(match number {{
{to_name}                _ => return ::core::option::Option::None,
            }})
        }}

        fn number_from_name(name: &str) -> ::core::option::Option<i32> {{
            ::core::option::Option::Some(match name {{
{to_number}                _ => return ::core::option::Option::None,
            }})
        }}
    }}
}};
",
        expected = format!("one of {}", choices.join(", ")),
    )
}
