//! The prose in a file: comments, Markdown without code, and the texts of logs and errors.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Folders whose text is not written here.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "node_modules",
    "google",
    "third_party",
    "golden",
];
/// Number of words from which a string literal is taken for a sentence rather than for a name or a format.
const MIN_WORDS_OF_A_SENTENCE: usize = 3;

/// Returns the root of the repository. Cargo runs a test in its package's directory, which is the checkout; a path
/// from build time would outlive it.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_dir().unwrap());
    &ROOT
}

/// Paths of all files below a folder, without those of others.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// Prose of a file. `None` if it is of a kind that has none.
pub(crate) fn prose(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let text = || std::fs::read_to_string(path).ok();
    let Some((_, kind)) = name.rsplit_once('.') else {
        // A script, or a file like `justfile`.
        let text = text()?;
        let is_python = text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("#!") && line.contains("python"));
        return Some(match is_python {
            true => of_python(&text),
            false => of_lines(&text, "#"),
        });
    };
    match kind {
        "rs" => Some(of_rust(&text()?)),
        "md" => Some(of_markdown(&text()?)),
        "py" => Some(of_python(&text()?)),
        "toml" | "service" => Some(of_lines(&text()?, "#")),
        "yaml" | "yml" | "tpl" => {
            let text = text()?;
            Some(
                of_lines(&text, "#")
                    + &of_blocks(&text, "{{/*", "*/")
                    + &of_blocks(&text, "{{- /*", "*/"),
            )
        }
        "proto" | "js" | "mjs" => {
            let text = text()?;
            Some(of_lines(&text, "//") + &of_blocks(&text, "/*", "*/"))
        }
        "css" => Some(of_blocks(&text()?, "/*", "*/")),
        _ => None,
    }
}

/// Comments of a language whose comments begin with this mark, on lines of their own or after code.
fn of_lines(text: &str, mark: &str) -> String {
    let after_code = format!(" {mark} ");
    let comments = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let comment = match line.strip_prefix(mark) {
            Some(comment) => comment,
            None => line.split_once(&after_code)?.1,
        };
        Some(comment.trim_start_matches(['/', '#', '!']))
    });
    comments.collect::<Vec<_>>().join("\n") + "\n"
}

/// Comments between two marks, each of which begins a line.
fn of_blocks(text: &str, begin: &str, end: &str) -> String {
    let mut prose = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(begin) {
        let (block, next) = after.split_once(end).unwrap_or((after, ""));
        if before
            .rsplit('\n')
            .next()
            .is_some_and(|line| line.trim().is_empty())
        {
            for line in block.lines() {
                prose.push_str(line.trim_start_matches([' ', '*']));
                prose.push('\n');
            }
        }
        rest = next;
    }
    prose
}

/// Comments and docstrings of Python.
fn of_python(text: &str) -> String {
    of_lines(text, "#") + &of_blocks(text, "\"\"\"", "\"\"\"")
}

/// Markdown without fenced blocks and without code in backticks.
fn of_markdown(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let outside = line.split('`').step_by(2);
            prose.extend(outside.flat_map(|text| [text, " "]));
            prose.push('\n');
        }
    }
    prose
}

/// Comments of Rust, and the literals that are sentences: texts of logs, errors and the command line.
fn of_rust(text: &str) -> String {
    let mut prose = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(comment) = rest.strip_prefix("//") {
            let line = comment.lines().next().unwrap_or_default();
            prose.push_str(line.trim_start_matches(['/', '!']));
            prose.push('\n');
            rest = &comment[line.len()..];
            continue;
        }
        if let Some(literal) = literal(rest) {
            if literal.split_whitespace().count() >= MIN_WORDS_OF_A_SENTENCE {
                prose.push_str(literal);
                prose.push('\n');
            }
            rest = &rest[literal.len()..];
            continue;
        }
        let next = rest.chars().next().unwrap();
        rest = &rest[next.len_utf8()..];
    }
    prose
}

/// Rust without comments and literals.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if let Some(literal) = literal(rest) {
            code.push_str("\"\"");
            rest = &rest[literal.len()..];
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    code
}

/// The literal of a string or a character with which the text begins.
fn literal(text: &str) -> Option<&str> {
    if let Some(after) = text.strip_prefix('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        if after[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 1 + hashes + 1;
            let length = text[body..].find(&end)?;
            return Some(&text[..body + length + end.len()]);
        }
        return None;
    }
    if text.starts_with('"') {
        return escaped(text, '"');
    }
    // A lifetime is not a character.
    let inner = text.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    if first == '\\' || inner[first.len_utf8()..].starts_with('\'') {
        return escaped(text, '\'');
    }
    None
}

/// The text up to the same mark as its first, but for those behind a backslash.
fn escaped(text: &str, mark: char) -> Option<&str> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == mark => return Some(&text[..=at]),
            _ => {}
        }
    }
    None
}

#[test]
fn comments_and_texts_of_rust_are_found() {
    let text = concat!(
        "//! Head\nfn f<'a>(c: char) { // End\n let s = \"// no comment\"; g('\"', '\\'', r#\"\"//\"#);\n",
        " tracing::warn!(cause = f(1), \"failed to read\"); h(\"a name\") }\n/// Last",
    );
    let read = " Head\n End\n\"// no comment\"\n\"failed to read\"\n Last\n";
    assert_eq!(of_rust(text), read);
}

#[test]
fn comments_of_scripts_and_blocks_are_found() {
    let shell = "#!/bin/sh\n# Head\na \"$#\" b  # after c\nd#e\n";
    assert_eq!(of_lines(shell, "#"), "bin/sh\n Head\nafter c\n");
    let python =
        "\"\"\"Head\nmore\"\"\"\nx = \"\"\"data\"\"\"\ndef f():\n    \"\"\"Docs\"\"\"\n    # End\n";
    assert_eq!(of_python(python), " End\nHead\nmore\nDocs\n");
    let script = "/** Head\n * more */\nf(\"/*\", g); /* not found */\n/* End */";
    assert_eq!(of_blocks(script, "/*", "*/"), "Head\nmore \nEnd \n");
}

#[test]
fn code_in_markdown_is_not_prose() {
    let text = "A `b` c\n```sh\nd\n```\ne";
    assert_eq!(of_markdown(text), "A   c \ne \n");
}
