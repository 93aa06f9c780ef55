//! Status codes, paths and names of fields of the API are in few files, and agree with the proto files.

use std::collections::BTreeSet;
use std::fs;

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::shipped::{SOURCES, Source, expect_nowhere, outside};
use crate::source::root;

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
