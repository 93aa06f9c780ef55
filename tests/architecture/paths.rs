//! Paths that the documentation names exist.

use std::fs;

use crate::source::{files, root};

/// Folders of the root whose paths are checked.
const FOLDERS: &[&str] = &[
    "src/", "crates/", "tests/", "docs/", "proto/", "deploy/", "helm/",
];

/// Returns the paths in backticks outside fenced blocks, each with its braces expanded. A pattern, with `*` or `…`, is
/// skipped.
fn paths(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let spans = line.split('`').skip(1).step_by(2);
            let paths = spans.filter(|span| {
                let is_known = FOLDERS.iter().any(|folder| span.starts_with(folder));
                is_known && !span.contains(['*', '…', '<'])
            });
            // A path may be the program of a command.
            found.extend(
                paths
                    .filter_map(|span| span.split_whitespace().next())
                    .flat_map(expanded),
            );
        }
    }
    found
}

/// Returns the paths that a path with braces stands for: `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| {
        let (names, after) = rest.split_once('}')?;
        Some((before, names, after))
    });
    match parts {
        Some((before, names, after)) => {
            let paths = names
                .split(',')
                .map(|name| format!("{before}{name}{after}"));
            paths.flat_map(|path| expanded(&path)).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn paths_in_the_documentation_exist() {
    let mut count = 0;
    let mut missing = Vec::new();
    let documents = files(&root().join("docs")).into_iter();
    for document in documents.chain([root().join("README.md")]) {
        if document.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = fs::read_to_string(&document).unwrap();
        let name = document.strip_prefix(root()).unwrap().display();
        for path in paths(&text) {
            count += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{name}: {path}"));
            }
        }
    }
    assert!(count > 100, "only {count} paths were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn paths_are_found_in_backticks_with_braces_expanded() {
    let text = "`src/a.rs` src/b.rs `c/d.rs` `tests/{e,f}.rs` `docs/*.md` `tests/g/run --all`\n```\n`src/h.rs`\n```";
    let found = ["src/a.rs", "tests/e.rs", "tests/f.rs", "tests/g/run"];
    assert_eq!(paths(text), found);
}
