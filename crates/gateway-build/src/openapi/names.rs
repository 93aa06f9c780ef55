//! Types of a document and their names in it.

use std::collections::BTreeMap;

use prost_reflect::{Kind, MessageDescriptor};

use super::scalar::{self, Position};

/// Collects every message and enum inside a message, by full name, with the package.
pub(super) fn reach(message: &MessageDescriptor, found: &mut BTreeMap<String, String>) {
    if is_plain(message) {
        return;
    }
    let package = message.package_name().to_owned();
    if !message.is_map_entry()
        && found
            .insert(message.full_name().to_owned(), package)
            .is_some()
    {
        return;
    }
    for field in message.fields() {
        match field.kind() {
            Kind::Message(inner) => reach(&inner, found),
            Kind::Enum(inner) => {
                let package = inner.package_name().to_owned();
                found.insert(inner.full_name().to_owned(), package);
            }
            _ => {}
        }
    }
}

/// Returns true if a message has its own JSON form, and so no schema under its name.
pub(super) fn is_plain(message: &MessageDescriptor) -> bool {
    scalar::well_known(message.full_name(), Position::Response, 0, false).is_some()
}

/// Returns the shortest unambiguous names of all types: without the package if possible.
pub(super) fn names(types: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let short = |full: &str, package: &str| {
        let prefix = format!("{package}.");
        full.strip_prefix(&prefix).unwrap_or(full).to_owned()
    };
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (full, package) in types {
        *count.entry(short(full, package)).or_default() += 1;
    }
    let name = |(full, package): (&String, &String)| {
        let short = short(full, package);
        let is_own = count.get(&short) == Some(&1);
        (full.clone(), if is_own { short } else { full.clone() })
    };
    types.iter().map(name).collect()
}
