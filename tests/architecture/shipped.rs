//! The shipped source text, and searches in its code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::dependencies::{METADATA, is_shipped};
use crate::source::root;

/// A shipped source file, without its unit tests.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Returns the code of each line with its number, without comments and documentation.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns the positions of matching code.
    pub(crate) fn places(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let found = self.code().filter(|(_, line)| wanted(line));
        found
            .map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim()))
            .collect()
    }
}

/// Collects the source files below a directory, without unit tests: `tests.rs` and `tests/`.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_unit_test = path.file_stem().is_some_and(|name| name == "tests");
        if is_unit_test {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|is| is == "rs") {
            files.push(path);
        }
    }
}

/// Every shipped source file of the workspace.
pub(crate) static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for package in METADATA.workspace_packages() {
        if is_shipped(package) {
            collect(
                &package
                    .manifest_path
                    .parent()
                    .unwrap()
                    .join("src")
                    .into_std_path_buf(),
                &mut files,
            );
        }
    }
    files.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\n").next().unwrap().to_owned();
        let path = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        Source { path, text }
    };
    files.into_iter().map(source).collect()
});

/// Returns the positions of matching code outside these files and directories.
pub(crate) fn outside(allowed: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let is_allowed = |path: &str| {
        allowed
            .iter()
            .any(|prefix| path == *prefix || prefix.ends_with('/') && path.starts_with(prefix))
    };
    for prefix in allowed {
        let one =
            |source: &Source| source.path.starts_with(prefix) && !source.places(&wanted).is_empty();
        assert!(
            SOURCES.iter().any(one),
            "{prefix} is in the list without need"
        );
    }
    let others = SOURCES.iter().filter(|source| !is_allowed(&source.path));
    others.flat_map(|source| source.places(&wanted)).collect()
}

#[track_caller]
pub(crate) fn expect_nowhere(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}
