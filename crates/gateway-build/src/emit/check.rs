//! Checks on requests.

use prost_reflect::MessageDescriptor;

use crate::check::{Emptiness, Nested, Rule};
use crate::names;

/// `Check`.
pub(crate) fn check(message: &MessageDescriptor, rules: &[Rule]) -> String {
    let rust = names::message(message, message.package_name());
    let lines: String = rules.iter().map(rule).collect();
    format!(
        "#[allow(deprecated, unreachable_patterns, clippy::all)]
impl ::keyward_gateway::Check for {rust} {{
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
        let is_empty = is_empty(rule, *emptiness);
        text.push_str(&format!(
            "        if {is_empty} {{
            violations.push(::keyward_gateway::Violation::new({json_name:?}, {description:?}));
        }}\n"
        ));
    }
    let inner = match &rule.variant {
        Some(variant) => format!(
            "match &self.{field} {{
            ::core::option::Option::Some({variant}(value)) => ::core::option::Option::Some(value),
            _ => ::core::option::Option::None,
        }}"
        ),
        None => format!("self.{field}.as_ref()"),
    };
    let (function, inner) = match rule.nested {
        Nested::No => return text,
        Nested::One => ("check_nested", inner),
        Nested::List => ("check_list", format!("&self.{field}")),
        Nested::Map => ("check_map", format!("&self.{field}")),
    };
    text.push_str(&format!(
        "        ::keyward_gateway::{function}({json_name:?}, {inner}, violations);\n"
    ));
    text
}

/// Returns the expression that is true if the field is empty.
fn is_empty(rule: &Rule, emptiness: Emptiness) -> String {
    let field = &rule.field;
    if let Some(variant) = &rule.variant {
        let is_empty = match emptiness {
            Emptiness::Zero | Emptiness::PresentZero => "*value == 0",
            _ => "value.is_empty()",
        };
        return format!(
            "::core::matches!(&self.{field}, ::core::option::Option::Some({variant}(value)) if {is_empty})"
        );
    }
    match emptiness {
        Emptiness::Length => format!("self.{field}.is_empty()"),
        Emptiness::PresentLength => {
            format!("self.{field}.as_ref().is_some_and(|value| value.is_empty())")
        }
        Emptiness::Zero => format!("self.{field} == 0"),
        Emptiness::PresentZero => format!("self.{field} == ::core::option::Option::Some(0)"),
        Emptiness::Unset => format!("self.{field}.is_none()"),
    }
}
