//! Secrets leave their types in few files, and no type with a secret is printed or serialized.

use crate::shipped::{SOURCES, Source, expect_nowhere, outside};

#[test]
fn secrets_are_exposed_in_few_places() {
    let allowed = [
        "crates/crypto/",
        // The vault seals its input; a new secret is measured and compared by fingerprint.
        "crates/core/src/services/vault.rs",
        "crates/core/src/model/provider_key_fields.rs",
        "crates/core/src/services/provider_keys/sealed.rs",
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
