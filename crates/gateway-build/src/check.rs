//! Which messages have rules that requests must keep.

use std::collections::BTreeMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::error::{Error, declaration};
use crate::names;
use crate::options;

/// What is checked of one field.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The field in Rust.
    pub(crate) field: String,
    /// Its name in JSON.
    pub(crate) json_name: String,
    /// What refuses it when it is empty, and how that is told.
    pub(crate) not_empty: Option<(String, Emptiness)>,
    /// Whether messages inside have rules of their own.
    pub(crate) nested: Nested,
}

/// How to tell that a field is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// By its length.
    Length,
    /// Present, and by its length.
    PresentLength,
    /// It is the enum's first value.
    Zero,
    /// Present, and the enum's first value.
    PresentZero,
    /// It is unset.
    Unset,
}

/// Where messages with rules of their own are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nested {
    No,
    One,
    List,
}

/// A message to check and its rules, in the order of its fields.
pub(crate) type Checked = BTreeMap<String, (MessageDescriptor, Vec<Rule>)>;

/// The rules of every request and of every message inside one that has some.
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
    if checked.contains_key(message.full_name()) || message.package_name() == "google.protobuf" {
        return Ok(());
    }
    let mut rules = Vec::new();
    for field in message.fields() {
        rules.extend(rule(&field)?);
    }
    checked.insert(message.full_name().to_owned(), (message.clone(), rules));
    for field in message.fields().filter(|field| !field.is_map()) {
        if let Kind::Message(inner) = field.kind()
            && has_rules(&inner, &mut Vec::new())?
        {
            visit(&inner, checked)?;
        }
    }
    Ok(())
}

/// The rule of a field, if it has one or messages inside it have.
pub(crate) fn rule(field: &FieldDescriptor) -> Result<Option<Rule>, Error> {
    let fault = |reason: &str| Err(declaration(&field.parent_file(), field.full_name(), reason));
    let json = options::field(field)?;
    let inner_rules = match field.kind() {
        Kind::Message(inner) => has_rules(&inner, &mut Vec::new())?,
        _ => false,
    };
    if json.not_empty.is_none() && !inner_rules {
        return Ok(None);
    }
    if field.is_map()
        || field
            .containing_oneof()
            .is_some_and(|oneof| !oneof.is_synthetic())
    {
        return fault("not_empty in maps and oneofs is not supported yet");
    }
    let not_empty = match json.not_empty {
        None => None,
        Some(text) => match emptiness(field) {
            Some(emptiness) => Some((text, emptiness)),
            None => return fault("not_empty does not fit a number or a bool"),
        },
    };
    let nested = match (inner_rules, field.is_list()) {
        (false, _) => Nested::No,
        (true, false) => Nested::One,
        (true, true) => Nested::List,
    };
    Ok(Some(Rule {
        field: names::field(field),
        json_name: field.json_name().to_owned(),
        not_empty,
        nested,
    }))
}

fn emptiness(field: &FieldDescriptor) -> Option<Emptiness> {
    match (field.kind(), field.supports_presence()) {
        _ if field.is_list() => Some(Emptiness::Length),
        (Kind::String | Kind::Bytes, true) => Some(Emptiness::PresentLength),
        (Kind::String | Kind::Bytes, false) => Some(Emptiness::Length),
        (Kind::Enum(_), true) => Some(Emptiness::PresentZero),
        (Kind::Enum(_), false) => Some(Emptiness::Zero),
        (Kind::Message(_), _) => Some(Emptiness::Unset),
        _ => None,
    }
}

/// Whether the message or one inside it has a rule.
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
