//! Old and new values of changed fields: without secrets, and bounded in bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Maximum size of a value, in bytes; longer values are cut.
pub const MAX_VALUE_BYTES: usize = 256;
/// Maximum size of all names and values of an event's changes, in bytes. A page of 1,000 events thus stays
/// below the 4 MiB that gRPC clients accept.
pub const MAX_CHANGES_BYTES: usize = 2048;
/// Marks a value that was cut.
const CUT: &str = "\u{2026}";
/// Detail with the number of changes that did not fit.
const LEFT_OUT: &str = "changes_left_out";
/// Replaces an endpoint that may contain a password.
const HIDDEN: &str = "[hidden]";

/// Field names with their values; `None` if the field is not set.
pub type Values = Vec<(Cow<'static, str>, Option<String>)>;

/// A record whose values appear in the audit trail.
pub trait Audited {
    /// Returns the values that may be shown, each under a unique name, the most important first.
    fn audited(&self) -> Values;
}

/// Adds `FIELD.old` and `FIELD.new` to the details for each field that differs. A field that is not
/// set, or a record that does not exist yet, has no such detail.
pub(super) fn add<T: Audited>(details: &mut BTreeMap<String, String>, old: Option<&T>, new: &T) {
    let mut room = MAX_CHANGES_BYTES;
    let mut left_out: u64 = 0;
    for (field, before, after) in differences(old, new) {
        let old = before.map(|value| (format!("{field}.old"), shorten(value)));
        let new = after.map(|value| (format!("{field}.new"), shorten(value)));
        let change: Vec<_> = old.into_iter().chain(new).collect();
        let size = change.iter().map(|(name, value)| name.len() + value.len());
        match room.checked_sub(size.sum()) {
            Some(rest) => {
                room = rest;
                details.extend(change);
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        details.insert(LEFT_OUT.to_owned(), left_out.to_string());
    }
}

type Difference = (Cow<'static, str>, Option<String>, Option<String>);

fn differences<T: Audited>(old: Option<&T>, new: &T) -> Vec<Difference> {
    let mut before: BTreeMap<_, _> = old
        .map(T::audited)
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut found = Vec::new();
    for (field, after) in new.audited() {
        let before = before.remove(&field).flatten();
        if before != after {
            found.push((field, before, after));
        }
    }
    let gone = before.into_iter().filter(|(_, value)| value.is_some());
    found.extend(gone.map(|(field, value)| (field, value, None)));
    found
}

fn shorten(mut value: String) -> String {
    if value.len() > MAX_VALUE_BYTES {
        let end = value.floor_char_boundary(MAX_VALUE_BYTES - CUT.len());
        value.truncate(end);
        value.push_str(CUT);
    }
    value
}

/// Returns an endpoint without userinfo, query and fragment, which may contain secrets. An endpoint with an
/// `@` after its authority is hidden, since the part before the `@` may be the end of a password.
pub(crate) fn endpoint(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + 3),
        None => ("", text),
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') || !is_scheme(scheme) {
        return HIDDEN.to_owned();
    }
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

/// Returns true for `NAME://` and for an empty text.
fn is_scheme(text: &str) -> bool {
    let name = text.strip_suffix("://").unwrap_or(text);
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests;
