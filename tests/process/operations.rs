//! `docs/operations.md` has every setting, as the configuration's own documentation says it. When that
//! is changed on purpose, write the page anew with
//! `UPDATE_GOLDEN=1 cargo test --test process operations`.

use std::fmt::Write as _;
use std::fs;

use keyward::config::{Config, DEFAULTS};

use crate::architecture::root;

/// A setting as `deploy/keyward.example.toml` describes it.
#[derive(Debug)]
struct Setting {
    section: String,
    name: String,
    /// As TOML, with a default; otherwise an example.
    value: String,
    has_default: bool,
    meaning: String,
}

/// What a line of the file is.
enum Line<'a> {
    Section(&'a str),
    Setting { name: &'a str, value: &'a str },
    Other,
}

/// Reads a line, or one that a `#` has taken out of use.
fn line(text: &str) -> Line<'_> {
    if let Some(section) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        return Line::Section(section);
    }
    match text.split_once(" = ") {
        Some((name, value)) if is_name(name) => Line::Setting { name, value },
        _ => Line::Other,
    }
}

/// Bare or quoted, as TOML has keys: prose with an equals sign in it is none.
fn is_name(text: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (text.starts_with('"') && text.ends_with('"')) || (!text.is_empty() && text.chars().all(bare))
}

/// Every setting with the comment above it. A setting without one shares that of the setting above.
fn settings() -> Vec<Setting> {
    let (mut section, mut comment, mut settings) = (String::new(), String::new(), Vec::new());
    let mut fresh = true;
    for text in DEFAULTS.lines() {
        let (commented, bare) = match text.strip_prefix("# ") {
            Some(bare) => (true, bare),
            None => (false, text),
        };
        match line(bare) {
            Line::Section(name) => {
                section = name.to_owned();
                comment.clear();
            }
            Line::Setting { name, value } => {
                settings.push(Setting {
                    section: section.clone(),
                    name: name.to_owned(),
                    value: value.to_owned(),
                    has_default: !commented,
                    meaning: comment.trim().to_owned(),
                });
                fresh = true;
            }
            Line::Other if commented => {
                if std::mem::take(&mut fresh) {
                    comment.clear();
                }
                comment.push_str(bare);
                comment.push(' ');
            }
            Line::Other => fresh = true,
        }
    }
    settings
}

fn settings_table() -> String {
    let mut table = String::new();
    let mut section = None;
    for setting in settings() {
        if section.as_ref() != Some(&setting.section) {
            let name = &setting.section;
            let _ = write!(table, "\n### `[{name}]`\n\n");
            table.push_str("| setting | default | meaning |\n| --- | --- | --- |\n");
            section = Some(setting.section.clone());
        }
        let default = match setting.has_default {
            true => format!("`{}`", setting.value),
            false => format!("none; such as `{}`", setting.value),
        };
        let meaning = setting.meaning.replace('|', "\\|");
        let _ = writeln!(table, "| `{}` | {default} | {meaning} |", setting.name);
    }
    table.push('\n');
    table
}

/// The page with what is between the two marks replaced.
fn with_section(page: &str, mark: &str, content: &str) -> String {
    let begin = page.find(&format!("<!-- {mark}:")).unwrap();
    let begin = begin + page[begin..].find("-->\n").unwrap() + "-->\n".len();
    let end = page.find(&format!("<!-- /{mark} -->")).unwrap();
    format!("{}{content}{}", &page[..begin], &page[end..])
}

#[test]
fn the_page_has_every_setting() {
    let path = root().join("docs/operations.md");
    let page = fs::read_to_string(&path).unwrap();
    let expected = with_section(&page, "settings", &settings_table());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/operations.md differs from the configuration; see the top of this test's file"
    );
}

#[test]
fn every_setting_is_described_and_every_number_has_its_unit() {
    let settings = settings();
    assert!(settings.len() > 30, "{settings:#?}");
    for Setting {
        section,
        name,
        value,
        meaning,
        ..
    } in &settings
    {
        assert!(meaning.len() > 10, "{section}.{name} is not described");
        let unit = match name.rsplit('_').next().unwrap_or_default() {
            "ms" => "millisecond",
            "seconds" => "second",
            "days" => "day",
            "bytes" => "byte",
            _ => continue,
        };
        assert!(
            meaning.contains(unit),
            "{section}.{name} = {value} does not say its unit: {meaning}"
        );
    }
}

/// What is commented out is no less true: each such line is a setting that exists.
#[test]
fn settings_without_a_default_exist_by_the_names_that_are_shown() {
    let shown: Vec<_> = settings().into_iter().filter(|s| !s.has_default).collect();
    assert!(shown.len() > 8, "{shown:#?}");
    for setting in &shown {
        let Setting {
            section,
            name,
            value,
            ..
        } = setting;
        let text = format!("[{section}]\n{name} = {value}\n");
        // Others are missing yet, or do not go together with it; but no name is unknown.
        if let Err(error) = Config::from_text(&text) {
            assert!(
                !error.to_string().contains("is not a setting"),
                "{text}: {error}"
            );
        }
        let misspelt = format!("[{section}]\n{}x = {value}\n", name.trim_matches('"'));
        if !name.starts_with('"') && section != "providers" {
            let error = Config::from_text(&misspelt).err().unwrap().to_string();
            assert!(error.contains("is not a setting"), "{misspelt}: {error}");
        }
    }
}
