//! The rule for prose (`docs/CONTRIBUTING.md`), as far as a machine can hold it: phrases that plain technical English
//! does not need are counted, and may not become frequent.

use std::fmt::Write as _;

use crate::source::{files, prose, root};

/// Maximum number of a pattern's matches in 10,000 words.
const MAX_PER_10_000: f64 = 5.0;

/// Words after "what" in a clause without a noun.
const AFTER_WHAT: &[&str] = &[
    "is", "was", "the", "has", "a", "an", "it", "they", "he", "one", "of", "this", "that", "can",
    "may", "are", "were", "every", "each", "all", "no", "its", "there", "to",
];

/// A pattern by its name, and whether it matches at the first of these words.
type Pattern = (&'static str, fn(&[&str]) -> bool);

const PATTERNS: &[Pattern] = &[
    ("who, whom, whoever", |words| {
        matches!(words[0], "who" | "whom" | "whoever")
    }),
    ("what is, what the, …", |words| {
        words[0] == "what" && words.get(1).is_some_and(|next| AFTER_WHAT.contains(next))
    }),
    ("is no, is none", |words| {
        words[0] == "is" && matches!(words.get(1), Some(&("no" | "none")))
    }),
    ("anew, told, so many, whatever", |words| {
        matches!(words[0], "anew" | "told" | "whatever")
            || words[0] == "so" && words.get(1) == Some(&"many")
    }),
];

/// The words of a text in lower case, with what ends a sentence as a word of its own.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in text.chars() {
        if character.is_alphanumeric() || character == '\'' || character == '_' {
            let word = words.last_mut().unwrap();
            word.extend(character.to_lowercase());
        } else {
            if !words.last().unwrap().is_empty() {
                words.push(String::new());
            }
            if ".,;:!?()\"".contains(character) {
                words.last_mut().unwrap().push(character);
                words.push(String::new());
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_word(word: &str) -> bool {
    word.starts_with(char::is_alphanumeric)
}

#[test]
fn prose_has_few_phrases_without_an_actor() {
    let mut total = 0;
    let mut matches = vec![Vec::new(); PATTERNS.len()];
    for path in files(root()) {
        // This file has the phrases.
        let Some(text) = prose(&path).filter(|_| !path.ends_with(file!())) else {
            continue;
        };
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let words = words(&text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        total += words.iter().filter(|word| is_word(word)).count();
        for at in 0..words.len() {
            for (pattern, (_, is_match)) in PATTERNS.iter().enumerate() {
                if is_match(&words[at..]) {
                    let end = (at + 6).min(words.len());
                    matches[pattern].push(format!("{name}: {}", words[at..end].join(" ")));
                }
            }
        }
    }
    assert!(total > 50_000, "only {total} words were found");
    let mut report = String::new();
    for ((pattern, _), found) in PATTERNS.iter().zip(&matches) {
        let rate = found.len() as f64 * 10_000.0 / total as f64;
        println!(
            "{pattern}: {} in {total} words, {rate:.1} per 10,000",
            found.len()
        );
        if rate > MAX_PER_10_000 {
            writeln!(
                report,
                "{pattern}: {rate:.1} per 10,000 words\n  {}",
                found.join("\n  ")
            )
            .unwrap();
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn patterns_match_their_phrases_alone() {
    let matching = |text: &str| {
        let words = words(text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let starts = (0..words.len()).map(|at| &words[at..]);
        let count =
            |is_match: fn(&[&str]) -> bool| starts.clone().filter(|words| is_match(words)).count();
        PATTERNS
            .iter()
            .map(|(_, is_match)| count(*is_match))
            .collect::<Vec<_>>()
    };
    let text = "Who calls? What is\nsent is none. So many were told, whatever.";
    assert_eq!(matching(text), [1, 1, 1, 3]);
    let text = "The caller that is not known. Somewhat is, what follows: so. Many. Whole.";
    assert_eq!(matching(text), [0, 0, 0, 0]);
}
