//! Collects the messages whose fields have rules for requests.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::error::{Error, annotation};
use crate::names;
use crate::options;

/// Checks of one field.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Name of the field in Rust; for a oneof's member, that of the oneof.
    pub(crate) field: String,
    /// Variant of a oneof's member.
    pub(crate) variant: Option<String>,
    /// Name in JSON.
    pub(crate) json_name: String,
    /// Error text for an empty field, and the test for emptiness.
    pub(crate) not_empty: Option<(String, Emptiness)>,
    /// Nested messages that have rules of their own.
    pub(crate) nested: Nested,
}

/// Test for an empty field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// The length is zero.
    Length,
    /// The field is present and its length is zero.
    PresentLength,
    /// The field is the enum's first value.
    Zero,
    /// The field is present and is the enum's first value.
    PresentZero,
    /// The field is unset.
    Unset,
}

/// Position of nested messages that have rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nested {
    No,
    One,
    List,
    Map,
}

/// Message to check and its rules, in field order.
pub(crate) type Checked = BTreeMap<String, (MessageDescriptor, Vec<Rule>)>;

/// Returns the rules of every request and of every nested message that has rules.
pub(crate) fn collect(pool: &DescriptorPool, files: &[String]) -> Result<Checked, Error> {
    let mut checked = Checked::new();
    let own = |name: &str| files.iter().any(|file| file == name);
    for service in pool
        .services()
        .filter(|service| own(service.parent_file().name()))
    {
        for method in service.methods() {
            visit(&method.input(), &mut checked)?;
        }
    }
    Ok(checked)
}

fn visit(message: &MessageDescriptor, checked: &mut Checked) -> Result<(), Error> {
    if checked.contains_key(message.full_name()) || names::is_well_known(message) {
        return Ok(());
    }
    let mut rules = Vec::new();
    for field in message.fields() {
        rules.extend(rule(&field)?);
    }
    checked.insert(message.full_name().to_owned(), (message.clone(), rules));
    for field in message.fields() {
        if let Kind::Message(inner) = names::value_kind(&field)
            && has_rules(&inner, &mut Vec::new())?
        {
            visit(&inner, checked)?;
        }
    }
    Ok(())
}

/// Returns the rule of a field if the field or a nested message has one.
pub(crate) fn rule(field: &FieldDescriptor) -> Result<Option<Rule>, Error> {
    let json = options::field(field)?;
    let inner_rules = match names::value_kind(field) {
        Kind::Message(inner) => has_rules(&inner, &mut Vec::new())?,
        _ => false,
    };
    if json.not_empty.is_none() && !inner_rules {
        return Ok(None);
    }
    let not_empty = match json.not_empty {
        None => None,
        Some(text) => {
            let emptiness = emptiness(field).map_err(|reason| {
                let extension = "keyward.gateway.v1.field";
                annotation(&field.parent_file(), field.full_name(), extension, reason)
            })?;
            Some((text, emptiness))
        }
    };
    let nested = match inner_rules {
        false => Nested::No,
        true if field.is_map() => Nested::Map,
        true if field.is_list() => Nested::List,
        true => Nested::One,
    };
    let package = field.parent_message().package_name().to_owned();
    let oneof = names::real_oneof(field);
    Ok(Some(Rule {
        field: match &oneof {
            Some(oneof) => names::snake(oneof.name()),
            None => names::field(field),
        },
        variant: oneof.map(|oneof| names::variant(&oneof, field, &package)),
        json_name: field.json_name().to_owned(),
        not_empty,
        nested,
    }))
}

fn emptiness(field: &FieldDescriptor) -> Result<Emptiness, &'static str> {
    if field.is_list() || field.is_map() {
        return Ok(Emptiness::Length);
    }
    match (field.kind(), field.supports_presence()) {
        (Kind::String | Kind::Bytes, true) => Ok(Emptiness::PresentLength),
        (Kind::String | Kind::Bytes, false) => Ok(Emptiness::Length),
        (Kind::Enum(_), true) => Ok(Emptiness::PresentZero),
        (Kind::Enum(_), false) => Ok(Emptiness::Zero),
        (Kind::Message(_), _) if names::is_choice(field) => {
            Err("not_empty of a message would leave its oneof no other choice")
        }
        (Kind::Message(_), _) => Ok(Emptiness::Unset),
        _ => Err("not_empty does not fit a number or a bool"),
    }
}

/// Returns true if the message or a nested message has a rule.
fn has_rules(message: &MessageDescriptor, path: &mut Vec<String>) -> Result<bool, Error> {
    if path.iter().any(|name| name == message.full_name()) {
        return Ok(false);
    }
    path.push(message.full_name().to_owned());
    for field in message.fields() {
        if options::field(&field)?.not_empty.is_some() {
            return Ok(true);
        }
        if let Kind::Message(inner) = field.kind()
            && has_rules(&inner, path)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}
