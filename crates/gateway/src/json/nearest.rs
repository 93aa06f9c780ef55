//! Finds the known name nearest to an unknown one, for errors.

use super::info::{MemberKind, MessageInfo};

/// Maximum length, in characters, of a name that an error repeats or finds a suggestion for.
const MAX_NAME_CHARS: usize = 64;
/// Number of characters that an error repeats of a longer name, which may be a key or a token: the
/// length of the labels of keys.
const LONGER_NAME_CHARS: usize = 12;
/// Maximum number of edits between a name and its suggestion.
const MAX_EDITS: usize = 3;

/// Returns the part of a client's name that an error shows: its printable ASCII characters, or the
/// first [`LONGER_NAME_CHARS`] of more than [`MAX_NAME_CHARS`]. `None` if nothing is left.
pub(crate) fn shown(name: &str) -> Option<String> {
    let is_shown = |character: &char| character.is_ascii_graphic() && *character != '`';
    let mut characters = name.chars().filter(is_shown);
    let mut text: String = characters.by_ref().take(MAX_NAME_CHARS).collect();
    if characters.next().is_some() {
        text.truncate(LONGER_NAME_CHARS);
        text.push_str("...");
    }
    Some(text).filter(|text| !text.is_empty())
}

/// Returns the JSON name of the member nearest to a name that no member has. Case and underscores
/// are ignored, so that `workspaceId` finds `workspace_id`.
pub(super) fn nearest(info: &MessageInfo, name: &str) -> Option<&'static str> {
    // A member that is not read under its name in the proto file.
    let mut members = info.members.iter();
    if let Some(member) = members.find(|member| member.proto_name == name) {
        return Some(member.json_name);
    }
    if name.chars().nth(MAX_NAME_CHARS).is_some() {
        return None;
    }
    let wanted = folded(name);
    let most = (wanted.len() / 3).clamp(1, MAX_EDITS);
    let near = info.members.iter().filter_map(|member| {
        let edits = edits(&wanted, &folded(member.json_name), most)?;
        Some((edits, member.json_name))
    });
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Like [`nearest`], for a path such as `filter.minPages`. Each name before the last one examined
/// is known.
pub(crate) fn nearest_path(info: &'static MessageInfo, path: &str) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut message = info;
    for name in path.split('.') {
        let known = message.index(name);
        let Some(member) = known.and_then(|index| message.members.get(index)) else {
            names.push(nearest(message, name)?);
            return Some(names.join("."));
        };
        names.push(member.json_name);
        message = match member.kind {
            MemberKind::Message(inner) => inner(),
            _ => break,
        };
    }
    None
}

/// Returns a question that suggests the name, or an empty text.
pub(crate) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn folded(name: &str) -> Vec<char> {
    let folded = name.chars().filter(|character| *character != '_');
    folded
        .map(|character| character.to_ascii_lowercase())
        .collect()
}

/// Returns the number of insertions, deletions, substitutions and swaps of neighbours between two
/// texts (optimal string alignment), or `None` above `most`.
fn edits(from: &[char], to: &[char], most: usize) -> Option<usize> {
    if from.len().abs_diff(to.len()) > most {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, character) in from.iter().enumerate() {
        let mut next = Vec::with_capacity(last.len());
        next.push(row + 1);
        for (column, other) in to.iter().enumerate() {
            let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(usize::MAX);
            let swapped =
                previous == Some(*other) && column > 0 && to.get(column - 1) == Some(character);
            let substituted = at(&last, column) + usize::from(character != other);
            let shorter = at(&last, column + 1) + 1;
            let longer = at(&next, column) + 1;
            let mut best = substituted.min(shorter).min(longer);
            if swapped {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            next.push(best);
        }
        before_last = std::mem::replace(&mut last, next);
        previous = Some(*character);
    }
    last.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::{edits, shown};

    #[test]
    fn edits_count_swaps_and_stop_at_the_most() {
        let count = |from: &str, to: &str, most| {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            edits(&characters(from), &characters(to), most)
        };
        for (from, to, expected) in [
            ("limt", "limit", Some(1)),
            ("secrt", "secret", Some(1)),
            ("limti", "limit", Some(1)),
            ("organisationid", "organizationid", Some(1)),
            ("", "ab", Some(2)),
            ("abc", "xyz", Some(3)),
            ("abcd", "wxyz", None),
            ("a", "abcdef", None),
        ] {
            assert_eq!(count(from, to, 3), expected, "{from} {to}");
        }
        assert_eq!(count("limt", "limit", 0), None);
    }

    #[test]
    fn a_name_is_shown_bounded_and_printable() {
        assert_eq!(shown("limt").as_deref(), Some("limt"));
        assert_eq!(shown("a\u{1b}[31m`b\n\u{e4}").as_deref(), Some("a[31mb"));
        assert_eq!(shown("\u{200b}\n"), None);
        assert_eq!(shown(""), None);
        assert_eq!(shown(&"x".repeat(64)).map(|text| text.len()), Some(64));
        assert_eq!(
            shown(&"x".repeat(65)),
            Some(format!("{}...", "x".repeat(12)))
        );
    }
}
