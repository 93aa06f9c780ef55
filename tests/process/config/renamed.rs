//! Settings that have another name than before are rejected with their new name.

use std::fs;

use keyward::config::RENAMED;
use tempfile::TempDir;

use crate::support::program::Program;

/// Every setting of the example file before the first setting was renamed, and later ones that were renamed.
const OLD_EXAMPLE: &str = include_str!("old_example.toml");
/// A value that must not be in any output.
const CANARY: &str = "Canary7QzX";

#[test]
fn old_file_is_rejected_with_all_new_names() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("keyward.toml");
    fs::write(&file, OLD_EXAMPLE).unwrap();
    let program = Program::keyward(["serve", "--config", file.to_str().unwrap()]);
    let printed = program.run().expect(78);
    for (old, new) in RENAMED {
        let line = format!("`{old}` is now `{new}`");
        assert!(printed.contains(&line), "{line}: {printed}");
    }
    assert_eq!(printed.matches(" is now ").count(), RENAMED.len());
}

#[test]
fn old_variables_are_rejected_with_all_new_names() {
    let program = RENAMED
        .iter()
        .fold(Program::keyward(["serve"]), |program, (old, _)| {
            let variable = format!("KEYWARD_{}", old.replace('.', "__").to_uppercase());
            program.env(&variable, CANARY)
        });
    let printed = program.run().expect(78);
    for (old, new) in RENAMED {
        let line = format!("`{old}` is now `{new}`");
        assert!(printed.contains(&line), "{line}: {printed}");
    }
    assert!(!printed.contains(CANARY), "{printed}");
}
