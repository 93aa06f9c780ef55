//! Files of a crate do not import each other in a circle, except those listed here with a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::source::{code, files, root};

/// Circles that stay: their crate, their files, and the reason.
const ALLOWED: &[(&str, &[&str], &str)] = &[
    (
        "gateway",
        &["builder", "router"],
        "a router begins with its builder, which ends with the router",
    ),
    (
        "gateway",
        &[
            "json::any",
            "json::context",
            "json::field",
            "json::message",
            "json::options",
        ],
        "an Any holds a message, whose fields can be of the type Any",
    ),
    (
        "gateway-build",
        &["openapi::enumeration", "openapi::schema"],
        "a schema can be an enumeration, which registers its forms as schemas",
    ),
    (
        "gateway-build",
        &["openapi::page", "openapi::page::operation"],
        "the page is made of operations, which share its helpers",
    ),
    (
        "store",
        &["entity::member", "entity::workspace_access"],
        "SeaORM names a relation in both entities",
    ),
    (
        "store",
        &["entity::provider_key", "entity::workspace"],
        "SeaORM names a relation in both entities",
    ),
];

/// Module path within a crate; the crate's root is empty.
pub(crate) type Module = Vec<String>;

/// A path of a `use` declaration or an expression.
#[derive(Debug, PartialEq)]
struct Import {
    segments: Vec<String>,
    /// Name under which a re-export is visible to others. `None` if it is not a re-export.
    exported: Option<String>,
}

/// Files of a crate by their module, with their imports.
pub(crate) struct Crate {
    modules: BTreeMap<Module, Vec<Import>>,
}

/// Module of a source file by its path below `src`. `None` for programs and unit tests.
fn module_of(path: &Path) -> Option<Module> {
    let mut segments: Module = path
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if segments.iter().any(|segment| segment == "tests") || segments == ["main"] {
        return None;
    }
    if segments == ["lib"] || segments.last().is_some_and(|last| last == "mod") {
        segments.pop();
    }
    Some(segments)
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Adds the paths of a tree such as `a::{b, c::{self, d as e}}`.
fn expand(prefix: &[String], tree: &str, found: &mut Vec<(Vec<String>, String)>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(segments(head));
        let group = group.strip_suffix('}').unwrap_or(group);
        let mut depth = 0;
        let parts = group.split(|character| {
            depth += i32::from(character == '{') - i32::from(character == '}');
            depth == 0 && character == ','
        });
        for part in parts.filter(|part| !part.trim().is_empty()) {
            expand(&prefix, part, found);
        }
        return;
    }
    let (path, name) = match tree.split_once(" as ") {
        Some((path, name)) => (path, Some(name.trim().to_owned())),
        None => (tree, None),
    };
    let mut path: Vec<String> = prefix.iter().cloned().chain(segments(path)).collect();
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
    found.push((path, name));
}

fn segments(path: &str) -> impl Iterator<Item = String> + '_ {
    let parts = path.split("::").map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned)
}

/// Imports of a file without comments, literals and unit tests.
fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut before = "";
    while let Some(start) = rest.find(is_word) {
        let (between, text) = rest.split_at(start);
        let end = text.find(|character| !is_word(character));
        let (word, after) = text.split_at(end.unwrap_or(text.len()));
        rest = after;
        if word == "use" && !between.ends_with('#') {
            let end = after.find(';').unwrap_or(after.len());
            let is_export = before == "pub" || before == "crate" && between.trim() == ")";
            let mut paths = Vec::new();
            expand(&[], &after[..end], &mut paths);
            found.extend(paths.into_iter().map(|(segments, name)| Import {
                segments,
                exported: is_export.then_some(name),
            }));
            rest = &after[end..];
        } else if matches!(word, "crate" | "super") && after.starts_with("::") {
            let end = after
                .find(|character| !is_word(character) && character != ':')
                .unwrap_or(after.len());
            let segments = std::iter::once(word.to_owned())
                .chain(segments(&after[..end]))
                .collect();
            found.push(Import {
                segments,
                exported: None,
            });
            rest = &after[end..];
        }
        before = word;
    }
    found
}

impl Crate {
    /// Reads the files below a folder.
    pub(crate) fn read(source: &Path) -> Self {
        let mut modules = BTreeMap::new();
        for path in files(source) {
            let below = path.strip_prefix(source).unwrap();
            let is_rust = path.extension().is_some_and(|kind| kind == "rs");
            if let Some(module) = module_of(below).filter(|_| is_rust) {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\n").next().unwrap();
                modules.insert(module, imports(&code(text)));
            }
        }
        Self { modules }
    }

    /// Module whose file defines the last segment of a path. `None` if it is in another crate.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Module> {
        let mut module = from.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()),
            child => {
                module.push(child.to_owned());
                if !self.modules.contains_key(&module) {
                    return None;
                }
            }
        }
        rest = &rest[1..];
        while let Some((segment, remaining)) = rest.split_first() {
            if segment == "super" {
                module.pop();
                rest = remaining;
                continue;
            }
            let mut child = module.clone();
            child.push(segment.clone());
            if self.modules.contains_key(&child) {
                module = child;
                rest = remaining;
                continue;
            }
            let exports = self.modules.get(&module)?.iter();
            let export = exports
                .clone()
                .find(|import| import.exported.as_ref() == Some(segment));
            if let Some(export) = export.filter(|_| depth < 8) {
                let mut path = export.segments.clone();
                path.extend_from_slice(remaining);
                return self.resolve(&module, &path, depth + 1);
            }
            break;
        }
        self.modules.contains_key(&module).then_some(module)
    }

    /// Imported modules of each module, without re-exports: a user of the name imports the file that defines it.
    pub(crate) fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let edges = self.modules.iter().map(|(module, imports)| {
            let used = imports.iter().filter(|import| import.exported.is_none());
            let used = used.filter_map(|import| self.resolve(module, &import.segments, 0));
            (module, used.filter(|other| other != module).collect())
        });
        edges.collect()
    }

    /// Circles: sets of modules each of which imports every other one, directly or through others.
    fn circles(&self) -> Vec<Vec<Module>> {
        let edges = self.edges();
        let reached = |start: &Module| {
            let mut reached = BTreeSet::new();
            let mut open = vec![start.clone()];
            while let Some(module) = open.pop() {
                for next in &edges[&module] {
                    if reached.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<Module, BTreeSet<Module>> = self
            .modules
            .keys()
            .map(|module| (module.clone(), reached(module)))
            .collect();
        let mut circles: Vec<Vec<Module>> = Vec::new();
        for (module, others) in &reached {
            let circle: Vec<Module> = others
                .iter()
                .filter(|other| reached[*other].contains(module))
                .cloned()
                .collect();
            if !circle.is_empty() && !circles.contains(&circle) {
                circles.push(circle);
            }
        }
        circles
    }
}

fn name(module: &[String]) -> String {
    match module {
        [] => "lib".to_owned(),
        _ => module.join("::"),
    }
}

#[test]
fn files_import_each_other_in_listed_circles_alone() {
    let mut sources = vec![("keyward".to_owned(), root().join("src"))];
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let krate = folder.file_name().unwrap().to_str().unwrap().to_owned();
        sources.push((krate, folder.join("src")));
    }
    let mut report = Vec::new();
    let mut used = BTreeSet::new();
    for (krate, source) in sources {
        let read = Crate::read(&source);
        if read.modules.is_empty() {
            continue;
        }
        let edges = read.edges();
        for circle in read.circles() {
            let names: Vec<String> = circle.iter().map(|module| name(module)).collect();
            let allowed = ALLOWED
                .iter()
                .position(|(allowed, files, _)| *allowed == krate && names == *files);
            if let Some(allowed) = allowed {
                used.insert(allowed);
                continue;
            }
            report.push(format!("{krate}: {}", circle.len()));
            for module in &circle {
                let inside = edges[module].iter().filter(|other| circle.contains(other));
                let inside: Vec<String> = inside.map(|other| name(other)).collect();
                report.push(format!("  {} -> {}", name(module), inside.join(", ")));
            }
        }
    }
    assert!(report.is_empty(), "circles:\n{}", report.join("\n"));
    for (at, (krate, files, reason)) in ALLOWED.iter().enumerate() {
        assert!(!reason.is_empty());
        assert!(used.contains(&at), "{krate} has no circle of {files:?}");
    }
}

#[test]
fn imports_of_rust_are_found() {
    let text =
        "use a::{b, c::{self, d as e}};\npub(crate) use super::f;\nfn g() { crate::h::i(); }";
    let found = imports(text);
    let paths: Vec<String> = found
        .iter()
        .map(|import| import.segments.join("::"))
        .collect();
    assert_eq!(
        paths,
        ["a::b", "a::c", "a::c::d", "super::f", "crate::h::i"]
    );
    let exported: Vec<&Import> = found.iter().filter(|one| one.exported.is_some()).collect();
    assert_eq!(exported[0].exported.as_deref(), Some("f"));
    assert_eq!(exported.len(), 1);
}

#[test]
fn circles_through_re_exports_are_found() {
    let module = |name: &str| vec![name.to_owned()];
    let modules = BTreeMap::from([
        (Module::new(), imports("pub use b::Thing;")),
        (module("a"), imports("use crate::Thing;")),
        (module("b"), imports("use super::a::Other;")),
        (module("c"), imports("use crate::a::Other;")),
    ]);
    assert_eq!(Crate { modules }.circles(), [[module("a"), module("b")]]);
}
