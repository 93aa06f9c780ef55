//! Dependencies that `docs/ARCHITECTURE.md` excludes are absent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use DependencyKind::{Build, Development, Normal};

use crate::circles::{Crate, Module};
use crate::shipped::expect_nowhere;
use crate::source::root;

/// Dependency chain: each crate may depend on the crates before it.
const CHAIN: [&str; 4] = ["keyward-crypto", "keyward-core", "keyward-store", "keyward"];
/// Protobuf and HTTP.
const TRANSPORT: [&str; 21] = [
    "axum",
    "axum-core",
    "h2",
    "http",
    "http-body",
    "http-body-util",
    "hyper",
    "hyper-util",
    "opentelemetry-otlp",
    "opentelemetry_sdk",
    "prost",
    "prost-derive",
    "prost-types",
    "protox",
    "reqwest",
    "tonic",
    "tonic-prost",
    "tonic-types",
    "tonic-web",
    "tower",
    "tower-http",
];
/// Databases.
const SQL: [&str; 8] = [
    "diesel",
    "rusqlite",
    "sea-orm",
    "sea-orm-migration",
    "sea-query",
    "sqlx",
    "sqlx-core",
    "tokio-postgres",
];

pub(crate) static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned();
    // Packages of other platforms need not be downloaded.
    let options = ["--locked".to_owned(), "--filter-platform".to_owned(), host];
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .unwrap()
});

fn member(name: &str) -> &'static Package {
    let members = METADATA.workspace_packages();
    members
        .into_iter()
        .find(|package| package.name.as_str() == name)
        .unwrap()
}

/// Returns true for the members that the program or its build script contains. The members for tests
/// and readers are in other folders.
pub(crate) fn is_shipped(package: &Package) -> bool {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().unwrap();
    folder == root() || folder.starts_with(root().join("crates"))
}

/// Returns the declared dependencies of a member, by kind.
fn declared(package: &Package, kind: DependencyKind) -> BTreeSet<&str> {
    let of_kind = package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == kind);
    of_kind.map(|dependency| dependency.name.as_str()).collect()
}

/// Returns everything that is linked into a member, directly or transitively.
fn linked(package: &Package) -> BTreeSet<&'static str> {
    let resolve = METADATA.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> =
        resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::new();
    let mut next = vec![&package.id];
    while let Some(id) = next.pop() {
        let normal =
            |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|info| info.kind == Normal);
        for dependency in nodes[id]
            .deps
            .iter()
            .filter(|dependency| normal(&dependency.dep_kinds))
        {
            if seen.insert(&dependency.pkg) {
                next.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter()
        .map(|id| METADATA[id].name.as_str())
        .collect()
}

#[track_caller]
fn expect_none(what: &str, found: &BTreeSet<&str>, forbidden: &[&str]) {
    let found: Vec<_> = forbidden
        .iter()
        .filter(|name| found.contains(*name))
        .collect();
    assert!(found.is_empty(), "{what} must not know {found:?}");
}

#[test]
fn dependency_chain_has_one_direction() {
    for (place, name) in CHAIN.iter().enumerate() {
        let package = member(name);
        expect_none(name, &linked(package), &CHAIN[place..]);
        for kind in [Normal, Build] {
            let ours: Vec<_> = declared(package, kind)
                .into_iter()
                .filter(|name| name.starts_with("keyward"))
                .collect();
            let helpers = match kind {
                Normal => &["keyward-gateway", "keyward-listener", "keyward-throttle"][..],
                _ => &["keyward-gateway-build"],
            };
            for ours in ours {
                let allowed = CHAIN[..place].contains(&ours) && kind == Normal
                    || *name == "keyward" && helpers.contains(&ours);
                assert!(allowed, "{name} must not depend on {ours} ({kind})");
            }
        }
    }
    // The test detects an existing edge.
    assert!(linked(member("keyward")).is_superset(&CHAIN[..3].iter().copied().collect()));
}

#[test]
fn listener_and_throttle_know_no_policy() {
    for (name, allowed) in [
        ("keyward-throttle", &[][..]),
        ("keyward-listener", &["keyward-crypto", "keyward-throttle"]),
    ] {
        let package = member(name);
        let ours: BTreeSet<_> = linked(package)
            .into_iter()
            .filter(|name| name.starts_with("keyward"))
            .collect();
        assert_eq!(ours, allowed.iter().copied().collect(), "{name}");
        expect_none(
            name,
            &declared(package, Build),
            &[name, "keyward-gateway-build"],
        );
        expect_none(name, &linked(package), &SQL);
        expect_none(
            name,
            &linked(package),
            &["prost", "tonic", "figment", "clap"],
        );
    }
    let throttle = linked(member("keyward-throttle"));
    expect_none("keyward-throttle", &throttle, &TRANSPORT);
    expect_none("keyward-throttle", &throttle, &["tokio"]);
}

#[test]
fn transport_and_sql_stay_in_their_crates() {
    for name in ["keyward-crypto", "keyward-core"] {
        let linked = linked(member(name));
        expect_none(name, &linked, &TRANSPORT);
        expect_none(name, &linked, &SQL);
        expect_none(name, &linked, &["tokio", "figment", "clap"]);
    }
    let store = member("keyward-store");
    expect_none("keyward-store", &declared(store, Normal), &TRANSPORT);
    // Protobuf and gRPC are not transitive dependencies either.
    expect_none(
        "keyward-store",
        &linked(store),
        &["prost", "tonic", "axum", "reqwest", "hyper"],
    );
    expect_none("keyward", &declared(member("keyward"), Normal), &SQL);
    let root = declared(member("keyward"), Normal);
    assert!(root.contains("tonic") && declared(store, Normal).contains("sea-orm"));
}

#[test]
fn helper_crates_have_no_domain_and_are_not_shipped() {
    for name in [
        "keyward-gateway",
        "keyward-gateway-build",
        "keyward-gateway-testserver",
        "keyward-conformance",
        "bookshelf-example",
    ] {
        expect_none(name, &linked(member(name)), &CHAIN);
        expect_none(name, &linked(member(name)), &SQL);
        expect_none(name, &declared(member(name), Development), &CHAIN);
    }
    let (shipped, others): (Vec<_>, Vec<_>) = METADATA
        .workspace_packages()
        .into_iter()
        .partition(|package| is_shipped(package));
    let others: Vec<_> = others.iter().map(|package| package.name.as_str()).collect();
    assert!(others.contains(&"keyward-testkit"), "{others:?}");
    for package in shipped {
        let name = package.name.as_str();
        for kind in [Normal, Build] {
            let declared = declared(package, kind);
            expect_none(name, &declared, &others);
            let builds = name == "keyward" && kind == Build;
            let builder = declared.contains("keyward-gateway-build");
            assert!(!builder || builds, "{name} links the gateway's builder");
        }
    }
    let linked = linked(member("keyward"));
    expect_none("keyward", &linked, &others);
    expect_none(
        "keyward",
        &linked,
        &["keyward-gateway-build", "protox", "openssl"],
    );
}

#[test]
fn every_member_inherits_the_lints() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lints = manifest.split("[workspace.lints.rust]\n").nth(1).unwrap();
    let lints = lints.split("\n[").next().unwrap();
    assert!(
        lints.lines().any(|line| line == "unsafe_code = \"forbid\""),
        "{lints}"
    );
    let members = METADATA.workspace_packages();
    assert!(members.len() >= 7);
    for package in members {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let inherits = manifest.contains("[lints]\nworkspace = true\n");
        assert!(inherits, "{} does not inherit the lints", package.name);
    }
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
