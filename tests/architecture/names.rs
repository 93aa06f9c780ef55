//! Names of tests: `subject_condition_outcome`, short, and without words that stand for a person.

use std::fs;

use crate::source::{files, root};

/// Maximum number of characters in a name.
const MAX_CHARS: usize = 60;

/// Words that no name has.
const EXCLUDED: &[&str] = &[
    "who", "whoever", "whom", "whatever", "nobody", "somebody", "told", "anew",
];

/// Macros that generate a test for each listed function.
const LISTS: &[&str] = &["each_engine!", "common_tests!", "conformance_tests!"];

/// Returns the tests in a source text: functions with the attribute of a test, and the functions that a macro lists.
fn tests(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut is_test, mut is_list) = (false, false);
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if is_list {
            is_list = line != "}";
            found.extend(words.iter().filter(|word| is_name(word)));
        } else if line.ends_with(['{', ':'])
            && LISTS.iter().any(|list| {
                let line = line.trim_start_matches("$crate::");
                line.starts_with(list)
            })
        {
            is_list = true;
        } else if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && let Some(at) = words.iter().position(|word| *word == "fn") {
            is_test = false;
            let name = words.get(at + 1).and_then(|rest| rest.split('(').next());
            found.extend(name.filter(|name| is_name(name)));
        }
    }
    found
}

fn is_name(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    !word.is_empty() && word.chars().all(is_part)
}

/// Returns the reason why a test may not have this name.
fn objection(name: &str) -> Option<String> {
    let count = name.chars().count();
    if count > MAX_CHARS {
        return Some(format!("{count} characters"));
    }
    if name.starts_with("what_") {
        return Some("begins with \"what\"".to_owned());
    }
    let word = name.split('_').find(|word| EXCLUDED.contains(word))?;
    Some(format!("has the word {word:?}"))
}

#[test]
fn test_names_are_short_and_have_a_subject() {
    let mut count = 0;
    let mut objections = Vec::new();
    for path in files(root()) {
        if path.extension().is_none_or(|kind| kind != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        for name in tests(&text) {
            count += 1;
            objections.extend(objection(name).map(|why| format!("{place}: {name}: {why}")));
        }
    }
    assert!(count > 1000, "the scan sees {count} tests alone");
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn tests_are_found_by_attribute_or_in_a_list() {
    let text = "\
#[test]
#[cfg(unix)]
fn first_is_found() {}
fn helper() {}
#[tokio::test(flavor = \"multi_thread\")]
async fn second_is_found() {}
each_engine! {
    third_is_found
    fourth_is_found
}
$crate::conformance_tests! { @module $fixture, audit:
    fifth_is_found
}
";
    let names = ["first", "second", "third", "fourth", "fifth"];
    assert_eq!(tests(text), names.map(|name| format!("{name}_is_found")));
}

#[test]
fn dialect_and_length_are_objected_to() {
    for name in [
        "who_calls_is_known",
        "what_is_sent_arrives",
        "caller_is_told",
    ] {
        assert!(objection(name).is_some(), "{name}");
    }
    assert!(objection(&"a".repeat(MAX_CHARS + 1)).is_some());
    assert_eq!(objection(&"a".repeat(MAX_CHARS)), None);
    assert_eq!(objection("somewhat_whole_what_follows_is_read"), None);
}
