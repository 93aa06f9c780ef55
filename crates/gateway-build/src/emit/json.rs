//! The JSON form of messages and enums, and the checks on requests.

use std::collections::BTreeSet;

use prost_reflect::{EnumDescriptor, MessageDescriptor};

use super::quoted;
use crate::check::{Emptiness, Nested, Rule};
use crate::json::{JsonType, Member, Presence};
use crate::names;
use crate::options;

/// `JsonMessage`, `Serialize`, `Deserialize`, and `Bind` for requests.
pub(crate) fn message(json: &JsonType) -> String {
    let rust = names::message(&json.message, json.message.package_name());
    let member_names: Vec<String> = json
        .members
        .iter()
        .map(|member| quoted(&member.json_name))
        .collect();
    let lines = |line: fn(usize, &Member) -> String| -> String {
        json.members
            .iter()
            .enumerate()
            .map(|(place, member)| line(place, member))
            .collect()
    };
    let text = format!(
        "const _: () = {{
    use ::keyward_gateway::{{json, serde}};

    impl json::JsonMessage for {rust} {{
        const NAME: &'static str = {name:?};
        const MEMBERS: &'static [&'static str] = &[{members}];

        fn member(name: &str) -> ::core::option::Option<usize> {{
            match name {{
{lookup}                _ => ::core::option::Option::None,
            }}
        }}

        fn read<'de, A: serde::de::MapAccess<'de>>(
            &mut self,
            member: usize,
            members: &mut A,
        ) -> ::core::result::Result<(), A::Error> {{
            match member {{
{read}                _ => _ = members.next_value::<serde::de::IgnoredAny>()?,
            }}
            ::core::result::Result::Ok(())
        }}

        fn write<S: serde::ser::SerializeStruct>(
            &self,
            members: &mut S,
        ) -> ::core::result::Result<(), S::Error> {{
            _ = &members;
{write}            ::core::result::Result::Ok(())
        }}
    }}

{serde}{bind}}};
",
        name = json.message.name(),
        members = member_names.join(", "),
        lookup = lines(lookup),
        read = lines(read),
        write = lines(|_, member| write(member)),
        serde = serde_impls(&rust),
        bind = if json.is_request {
            bind(json, &rust)
        } else {
            String::new()
        },
    );
    text
}

fn serde_impls(rust: &str) -> String {
    format!(
        "    impl serde::Serialize for {rust} {{
        fn serialize<S: serde::Serializer>(
            &self,
            serializer: S,
        ) -> ::core::result::Result<S::Ok, S::Error> {{
            json::serialize(self, serializer)
        }}
    }}

    impl<'de> serde::Deserialize<'de> for {rust} {{
        fn deserialize<D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> ::core::result::Result<Self, D::Error> {{
            json::deserialize(deserializer)
        }}
    }}
"
    )
}

fn lookup(place: usize, member: &Member) -> String {
    let mut pattern = quoted(&member.json_name);
    if let Some(name) = &member.proto_name {
        pattern = format!("{pattern} | {}", quoted(name));
    }
    format!("                {pattern} => ::core::option::Option::Some({place}),\n")
}

fn read(place: usize, member: &Member) -> String {
    let Member { field, codec, .. } = member;
    let taken = match member.presence {
        Presence::Always => format!("json::take::<{codec}, A>(members)?.unwrap_or_default()"),
        Presence::Omitted | Presence::Null => format!("json::take::<{codec}, A>(members)?"),
        Presence::List => {
            format!("json::take::<json::List<{codec}>, A>(members)?.unwrap_or_default()")
        }
    };
    format!("                {place} => self.{field} = {taken},\n")
}

fn write(member: &Member) -> String {
    let Member {
        field,
        codec,
        json_name,
        ..
    } = member;
    let put = match member.presence {
        Presence::Always => format!("put::<{codec}, S>"),
        Presence::Omitted => format!("put_present::<{codec}, S>"),
        Presence::Null => format!("put_or_null::<{codec}, S>"),
        Presence::List => format!("put::<json::List<{codec}>, S>"),
    };
    format!("            json::{put}(members, {json_name:?}, &self.{field})?;\n")
}

fn bind(json: &JsonType, rust: &str) -> String {
    let mut kinds = String::new();
    let mut binds = String::new();
    for (
        place,
        Member {
            field,
            codec,
            presence,
            is_parameter,
            ..
        },
    ) in json.members.iter().enumerate()
    {
        if !is_parameter {
            continue;
        }
        let kind = if *presence == Presence::List {
            "Repeated"
        } else {
            "Single"
        };
        kinds.push_str(&format!("                {place} => Parameter::{kind},\n"));
        let value = format!("json::text::<{codec}>(text)?");
        let bound = match presence {
            Presence::Always => format!("self.{field} = {value}"),
            Presence::Omitted | Presence::Null => {
                format!("self.{field} = ::core::option::Option::Some({value})")
            }
            Presence::List => format!("self.{field}.push({value})"),
        };
        binds.push_str(&format!("                {place} => {bound},\n"));
    }
    format!(
        "
    impl ::keyward_gateway::Bind for {rust} {{
        fn parameter(member: usize) -> ::keyward_gateway::Parameter {{
            use ::keyward_gateway::Parameter;
            match member {{
{kinds}                _ => Parameter::None,
            }}
        }}

        fn bind(
            &mut self,
            member: usize,
            text: &str,
        ) -> ::core::result::Result<(), &'static str> {{
            _ = text;
            match member {{
{binds}                _ => {{}}
            }}
            ::core::result::Result::Ok(())
        }}
{update_mask}    }}
",
        update_mask = update_mask(json),
    )
}

/// `Bind::update_mask`, where the message has the mask.
fn update_mask(json: &JsonType) -> String {
    let place = json.update_mask;
    let Some((place, member)) = place.and_then(|at| Some((at, json.members.get(at)?))) else {
        return String::new();
    };
    let paths: Vec<String> = json
        .message
        .fields()
        .map(|field| quoted(field.name()))
        .collect();
    format!(
        "
        fn update_mask(
            &mut self,
        ) -> ::core::option::Option<::keyward_gateway::UpdateMask<'_>> {{
            ::core::option::Option::Some(::keyward_gateway::UpdateMask {{
                mask: &mut self.{field},
                member: {place},
                paths: &[{paths}],
            }})
        }}
",
        field = member.field,
        paths = paths.join(", "),
    )
}

/// `JsonEnum`.
pub(crate) fn enumeration(descriptor: &EnumDescriptor) -> String {
    let rust = names::enumeration(descriptor, descriptor.package_name());
    let mut numbers = BTreeSet::new();
    let mut known = BTreeSet::new();
    let (mut to_name, mut to_number, mut choices) = (String::new(), String::new(), Vec::new());
    for value in descriptor.values() {
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
    use ::keyward_gateway::json;

    impl json::JsonEnum for {rust} {{
        const EXPECTED: &'static str = {expected:?};

        fn name(number: i32) -> ::core::option::Option<&'static str> {{
            ::core::option::Option::Some(match number {{
{to_name}                _ => return ::core::option::Option::None,
            }})
        }}

        fn number(name: &str) -> ::core::option::Option<i32> {{
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

/// `Check`.
pub(crate) fn check(message: &MessageDescriptor, rules: &[Rule]) -> String {
    let rust = names::message(message, message.package_name());
    let lines: String = rules.iter().map(rule).collect();
    format!(
        "impl ::keyward_gateway::Check for {rust} {{
    fn check(&self, violations: &mut ::std::vec::Vec<::keyward_gateway::Violation>) {{
        _ = &violations;
{lines}    }}
}}
"
    )
}

fn rule(rule: &Rule) -> String {
    let Rule {
        field, json_name, ..
    } = rule;
    let mut text = String::new();
    if let Some((description, emptiness)) = &rule.not_empty {
        let is_empty = match emptiness {
            Emptiness::Length => format!("self.{field}.is_empty()"),
            Emptiness::PresentLength => {
                format!("self.{field}.as_ref().is_some_and(|value| value.is_empty())")
            }
            Emptiness::Zero => format!("self.{field} == 0"),
            Emptiness::PresentZero => format!("self.{field} == ::core::option::Option::Some(0)"),
            Emptiness::Unset => format!("self.{field}.is_none()"),
        };
        text.push_str(&format!(
            "        if {is_empty} {{
            violations.push(::keyward_gateway::Violation::new({json_name:?}, {description:?}));
        }}\n"
        ));
    }
    match rule.nested {
        Nested::No => {}
        Nested::One => text.push_str(&format!(
            "        ::keyward_gateway::check_nested({json_name:?}, self.{field}.as_ref(), violations);\n"
        )),
        Nested::List => text.push_str(&format!(
            "        ::keyward_gateway::check_list({json_name:?}, &self.{field}, violations);\n"
        )),
    }
    text
}
