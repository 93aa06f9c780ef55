//! Constructs that `docs/ARCHITECTURE.md` excludes are absent from the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::circles::{Crate, Module};
use crate::dependencies::{METADATA, is_shipped};
use crate::source::root;

/// A shipped source file, without its unit tests.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Returns the code of each line with its number, without comments and documentation.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(number, line)| (number + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns the positions of matching code.
    fn places(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
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
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
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
fn outside(allowed: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
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
fn expect_nowhere(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

#[test]
fn secrets_are_exposed_in_few_places() {
    let allowed = [
        "crates/crypto/",
        // The vault seals its input; a new secret is measured and compared by fingerprint.
        "crates/core/src/services/vault.rs",
        "crates/core/src/model/provider_key_fields.rs",
        "crates/core/src/services/provider_keys/patch.rs",
        // A database URL may contain a password.
        "crates/store/src/connect.rs",
        // A token presented by an application is parsed; the public half of a repo AI key has the format of a secret.
        "crates/core/src/services/issued_keys.rs",
        "crates/core/src/services/repo_ai_keys.rs",
        // The TLS key is read from its file.
        "crates/listener/src/tls/files.rs",
        // The development signing key, and its management key, which is written to a file.
        "src/cli/token.rs",
        "src/cli/dev.rs",
        // Outputs: resolved secrets, or new ones that are shown once.
        "src/cli/admin.rs",
        "src/api/convert/provider_key.rs",
        "src/api/convert/issued_key.rs",
        "src/api/convert/repo_ai_key.rs",
    ];
    let places = outside(&allowed, |line| line.contains(".expose()"));
    expect_nowhere("a secret is exposed outside the files that may", &places);
}

#[test]
fn core_layers_use_only_those_below() {
    let layers = ["model", "policy", "ports", "services"];
    let level = |module: &Module| {
        layers
            .iter()
            .position(|layer| module.first() == Some(&(*layer).into()))
    };
    let core = Crate::read(&root().join("crates/core/src"));
    let edges = core.edges();
    for (at, layer) in layers.iter().enumerate() {
        assert!(
            edges.keys().any(|module| level(module) == Some(at)),
            "{layer}"
        );
    }
    let mut imports = Vec::new();
    for (module, used) in &edges {
        let above = used
            .iter()
            .filter(|other| level(module).is_some() && level(other) > level(module));
        imports
            .extend(above.map(|other| format!("{} uses {}", module.join("::"), other.join("::"))));
    }
    expect_nowhere("a layer of the core uses one above it", &imports);
}

/// Returns true if a struct or an enum begins in these lines.
fn is_type(text: &str) -> bool {
    let mut words = text.lines().flat_map(|line| line.split(' ').take(2));
    words.any(|word| word == "struct" || word == "enum")
}

/// Returns true if an item derives a trait, or has another attribute with that word.
fn derives(item: &str, name: &str) -> bool {
    let attributes = item.lines().take_while(|line| !is_type(line));
    attributes
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
        .any(|word| word == name)
}

/// Returns true if a name is in an item, and not as a part of another name.
fn names(item: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    item.match_indices(name).any(|(at, _)| {
        let continued = name.ends_with(is_part) && item[at + name.len()..].starts_with(is_part);
        !item[..at].ends_with(is_part) && !continued
    })
}

/// Returns every struct and enum with its attributes, from the first attribute to the closing brace.
fn items(source: &Source) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    for (_, line) in source.code() {
        let begun = is_type(&item);
        let attribute = line.starts_with("#[") || !item.is_empty() && !item.ends_with("]\n");
        if !begun && !attribute && !is_type(line) {
            item.clear();
            continue;
        }
        item.push_str(line);
        item.push('\n');
        let ends = line.starts_with('}') || line.ends_with(';') || line.ends_with("{}");
        if ends && is_type(&item) {
            items.push(std::mem::take(&mut item));
        }
    }
    items
}

#[test]
fn types_with_secrets_are_never_printed_or_serialized() {
    // These types redact their content, so deriving Debug around them is safe.
    let guarded = ["Secret<", "Key256", "Token"];
    // These would print a key.
    let raw = [
        "Key<",
        "EncodingKey",
        "[u8; KEY_BYTES]",
        "Zeroizing<",
        "chacha20poly1305::",
    ];
    let mut holders = 0;
    for source in SOURCES.iter() {
        for item in items(source) {
            let holds = |types: &[&str]| types.iter().any(|name| names(&item, name));
            if holds(&guarded) || holds(&raw) {
                holders += 1;
                assert!(
                    !derives(&item, "Serialize"),
                    "{} serializes:\n{item}",
                    source.path
                );
                let prints = derives(&item, "Debug") && holds(&raw);
                assert!(
                    !prints,
                    "{} derives Debug around a key:\n{item}",
                    source.path
                );
            }
        }
    }
    assert!(
        holders >= 8,
        "the scan sees {holders} holders of secrets alone"
    );
}

#[test]
fn scan_finds_items_and_positions() {
    let text = "\
//! A file.
#[derive(Debug)]
struct Open(u8);

/// Holds a key.
#[derive(
    Clone, Serialize,
)]
pub(crate) struct Holder {
    key: Secret<String>, // not `.expose()`d
}

fn leak(holder: &Holder) -> &str {
    // holder.key.expose()
    holder.key.expose()
}
";
    let source = Source {
        path: "a.rs".to_owned(),
        text: text.to_owned(),
    };
    let found = items(&source);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(derives(&found[0], "Debug") && !derives(&found[0], "Serialize"));
    assert!(derives(&found[1], "Serialize") && names(&found[1], "Secret<"));
    assert!(names("key: Key<U32>,", "Key<") && !names("enum CallingKey<'p> {", "Key<"));
    assert!(names("token: Token,", "Token") && !names("kind: TokenKind,", "Token"));
    let places = source.places(|line| line.contains("holder.key.expose()"));
    assert_eq!(places, ["a.rs:15: holder.key.expose()"]);
}

#[test]
fn status_codes_are_picked_in_few_places() {
    let allowed = [
        "src/api/status.rs",
        "src/http/layers/",
        "src/http/dispatch.rs",
        // The services' entry point, for a call that arrives without a caller.
        "src/api/services/mod.rs",
        // The gateway's errors, which have no internal cause.
        "crates/gateway/",
        "crates/gateway-build/",
    ];
    let constructors = [
        "aborted(",
        "already_exists(",
        "cancelled(",
        "data_loss(",
        "deadline_exceeded(",
        "failed_precondition(",
        "internal(",
        "invalid_argument(",
        "not_found(",
        "new(",
        "out_of_range(",
        "permission_denied(",
        "resource_exhausted(",
        "unauthenticated(",
        "unavailable(",
        "unimplemented(",
        "unknown(",
    ];
    let picks = |line: &str| {
        line.match_indices("Status::").any(|(at, found)| {
            let rest = &line[at + found.len()..];
            let whole = !line[..at].ends_with(|c: char| c.is_alphanumeric());
            whole
                && constructors
                    .iter()
                    .any(|constructor| rest.starts_with(constructor))
        }) || line.match_indices("Code::").any(|(at, _)| {
            let before = &line[..at];
            !before.ends_with(|c: char| c.is_alphanumeric())
        })
    };
    expect_nowhere(
        "a status code is picked elsewhere",
        &outside(&allowed, picks),
    );
}

/// Returns the paths of the API, from the annotations of the proto files.
fn api_paths() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(root().join("proto/keyward/v1")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for verb in ["get", "put", "post", "delete", "patch"] {
            for (at, found) in text.match_indices(&format!("{verb}: \"/")) {
                let path = text[at + found.len() - 1..].split('"').next().unwrap();
                paths.insert(path.split("/{").next().unwrap().to_owned());
            }
        }
    }
    paths
}

#[test]
fn no_path_of_the_api_is_written_by_hand() {
    let paths = api_paths();
    assert!(
        paths.contains("/apikeys") && paths.contains("/keys") && paths.len() >= 4,
        "{paths:?}"
    );
    let names_one = |line: &str| {
        paths.iter().any(|path| {
            line.match_indices(path.as_str()).any(|(at, _)| {
                let after = line[at + path.len()..].chars().next().unwrap_or('"');
                // In a string, at its beginning or after a variable, and not a part of a longer word.
                let begins = line[..at].ends_with(['"', '}', 'L']);
                begins && !after.is_alphanumeric() && !"_-.".contains(after)
            })
        }) || line.contains("keyward.v1.") && line.contains('"')
    };
    // Commands that `keyward dev` prints for copying.
    let places = outside(&["src/cli/dev.rs"], names_one);
    let places: Vec<_> = places
        .into_iter()
        .filter(|place| !place.contains("include_proto!(\"keyward.v1\")"))
        .collect();
    expect_nowhere("a path of the API is written by hand", &places);
}

/// Returns the JSON names of every field of the API.
fn field_names() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(keyward::proto::DESCRIPTOR).unwrap();
    let messages = pool
        .all_messages()
        .filter(|message| message.package_name() == "keyward.v1");
    let names = |message: MessageDescriptor| {
        message
            .fields()
            .map(|field| field.json_name().to_owned())
            .collect::<Vec<_>>()
    };
    messages.flat_map(names).collect()
}

#[test]
fn field_that_an_error_names_is_one_of_the_api() {
    let known = field_names();
    let markers = [
        "Error::invalid(",
        "OptionalText::new(",
        "check_text(",
        "check_name(",
        "::parse,",
    ];
    let mut named = BTreeSet::new();
    let here = |source: &&Source| {
        source.path.starts_with("src/api/convert/") || source.path.starts_with("crates/core/src/")
    };
    for source in SOURCES.iter().filter(here) {
        let text: String = source.code().map(|(_, line)| line).collect();
        for marker in markers {
            for rest in text.split(marker).skip(1) {
                let literal = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|it| it.split('"').next());
                named.extend(literal.map(str::to_owned));
            }
        }
    }
    // The provider registry refers to the configuration.
    named.retain(|field| !field.starts_with("providers."));
    assert!(
        named.contains("workspaceId") && named.contains("member.role"),
        "{named:?}"
    );
    let unknown = |field: &&String| !field.split('.').all(|name| known.contains(name));
    let unknown: Vec<_> = named.iter().filter(unknown).collect();
    assert!(unknown.is_empty(), "no field of the API: {unknown:?}");
}
