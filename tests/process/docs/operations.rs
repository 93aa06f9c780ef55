//! `docs/operations.md` has every setting as the configuration's documentation describes it, and every metric
//! as a running Keyward reports it. After an intended change, update the page with
//! `UPDATE_GOLDEN=1 cargo test --test process docs::operations`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;

use keyward::config::{Config, DEFAULTS};
use keyward::proto::v1::ListApiKeysRequest;
use keyward::proto::v1::api_key_service_client::ApiKeyServiceClient;

use crate::support::certificates::Secured;
use crate::support::client::called_by;
use crate::support::repository::root;

/// A setting as `deploy/keyward.example.toml` describes it.
#[derive(Debug)]
struct Setting {
    section: String,
    name: String,
    /// The default as TOML, or else an example.
    value: String,
    has_default: bool,
    meaning: String,
}

/// Kind of a line of the file.
enum Line<'a> {
    Section(&'a str),
    Setting { name: &'a str, value: &'a str },
    Other,
}

/// Parses a line, or a line that is commented out with `#`.
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

/// Returns true for a bare or quoted TOML key: prose with an equals sign is not a key.
fn is_name(text: &str) -> bool {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (text.starts_with('"') && text.ends_with('"')) || (!text.is_empty() && text.chars().all(bare))
}

/// Returns every setting with the comment above it. A setting without a comment shares that of the setting
/// above.
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

/// Returns the page with the section between the two marks replaced.
fn with_section(page: &str, mark: &str, content: &str) -> String {
    let begin = page.find(&format!("<!-- {mark}:")).unwrap();
    let begin = begin + page[begin..].find("-->\n").unwrap() + "-->\n".len();
    let end = page.find(&format!("<!-- /{mark} -->")).unwrap();
    format!("{}{content}{}", &page[..begin], &page[end..])
}

/// Compares the page with the section between the two marks, or updates it.
#[track_caller]
fn expect_section(mark: &str, content: &str) {
    /// Two tests may write the page.
    static PAGE: Mutex<()> = Mutex::new(());

    let _turn = PAGE.lock().unwrap();
    let path = root().join("docs/operations.md");
    let page = fs::read_to_string(&path).unwrap();
    let expected = with_section(&page, mark, content);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "the {mark} of docs/operations.md have changed; see the top of this test's file"
    );
}

#[test]
fn page_has_every_setting() {
    expect_section("settings", &settings_table());
}

/// A family of series, as Prometheus' text format describes it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// Parses the text of `/metrics`. Names that end in `_bucket` and so on belong to their histogram.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (name, labels) = match line.split_once('{') {
                Some((name, rest)) => (name, rest.rsplit_once('}').unwrap().0),
                None => (line.split(' ').next().unwrap(), ""),
            };
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .filter(|base| families.contains_key(*base));
            let family = families.get_mut(base.unwrap_or(name));
            let family = family.unwrap_or_else(|| panic!("{line} is of no family"));
            // No value of Keyward contains a quotation mark.
            let names = labels
                .split("\",")
                .filter_map(|label| label.split('=').next());
            let names = names.filter(|name| !name.is_empty() && *name != "le");
            family.labels.extend(names.map(str::to_owned));
        }
    }
    families
}

fn metrics_table(families: &BTreeMap<String, Family>) -> String {
    let mut table =
        "\n| series | kind | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, Family { kind, help, labels }) in families {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    table.push('\n');
    table
}

/// Uses TLS, so that there is a certificate to report, and makes a successful and a failed request on each
/// protocol.
#[tokio::test(flavor = "multi_thread")]
async fn page_has_every_metric() {
    let secured = Secured::start().await;
    let token = &secured.deployment.env["ADMIN_TOKEN"];
    let client = secured.client().rest(false);
    let get = async |path: &str| {
        let url = format!("{}{path}", secured.url());
        client.get(url).bearer_auth(token).send().await.unwrap()
    };
    let list = || called_by(token, ListApiKeysRequest::default());
    let channel = secured.client().channel(secured.served.address());
    let mut grpc = ApiKeyServiceClient::new(channel);
    assert_eq!(get("/apikeys").await.status(), 200);
    grpc.list_api_keys(list()).await.unwrap();
    let database = &secured.deployment.database;
    database
        .execute("ALTER TABLE provider_keys RENAME TO away")
        .await;
    assert_eq!(get("/apikeys").await.status(), 500);
    grpc.list_api_keys(list()).await.unwrap_err();
    // A separate task reads the reservations from the store.
    let families = loop {
        let families = families(&get("/metrics").await.text().await.unwrap());
        if families.contains_key("keyward_reservations_held") {
            break families;
        }
    };
    secured.served.running.terminate().expect(0);
    for (name, family) in &families {
        assert!(family.help.len() > 10, "{name} is not described");
        assert!(!family.kind.is_empty(), "{name} has no type");
    }
    expect_section("metrics", &metrics_table(&families));
    // The other page lists the values of labels.
    let telemetry = fs::read_to_string(root().join("docs/telemetry.md")).unwrap();
    let rows = telemetry.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.split("` | `").collect();
        let series = cells.get(1).filter(|name| name.starts_with("keyward_"))?;
        Some((cells[0], *series))
    });
    let mut found = 0;
    for (label, series) in rows.filter(|(_, series)| families.contains_key(*series)) {
        let labels = &families[series].labels;
        assert!(labels.contains(label), "{series} has no label {label}");
        found += 1;
    }
    assert!(found > 3, "only {found} labels were compared");
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

/// Commented-out lines are checked too: each is an existing setting.
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
        // Other required settings may be missing or conflict with it, but no name is unknown.
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
