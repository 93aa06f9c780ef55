//! Old and new values of what a change changes: never a secret, and bounded in bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Maximum size of one value, in bytes; longer values are cut.
pub const MAX_VALUE_BYTES: usize = 256;
/// Maximum size of all the names and values of one event's changes, in bytes: a page of 1,000 events
/// stays below the 4 MiB that gRPC clients accept.
pub const MAX_CHANGES_BYTES: usize = 2048;
/// Marks a value that was cut.
const CUT: &str = "\u{2026}";
/// Detail that counts the changes for which there was no room.
const LEFT_OUT: &str = "changes_left_out";
/// Stands for an endpoint that cannot be shown without what may be a password.
const HIDDEN: &str = "[hidden]";

/// Names of fields with their values; `None` is a field that is not set.
pub type Values = Vec<(Cow<'static, str>, Option<String>)>;

/// A record with values that the audit trail shows.
pub trait Audited {
    /// Returns the values that may be shown, each under a name of its own, the most telling first.
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

/// Returns an endpoint without userinfo, query and fragment, which may hold secrets. An endpoint with an
/// `@` after its authority is hidden, since that may be the end of a password.
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

/// Returns true for `NAME://` and for nothing at all.
fn is_scheme(text: &str) -> bool {
    let name = text.strip_suffix("://").unwrap_or(text);
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests;
